"""One run of a chapter: its size, seed and device, and the way of its experiments."""

import inspect
import os
import re
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from lib import evidence, machine, show
from lib.assertions import A, Assertions
from lib.call import Call
from lib.cells import page_cells
from lib.claims import Claim, Claims
from lib.errors import BookError, ParameterError
from lib.evidence import Evidence, Recipe
from lib.modules import module_file
from lib.pending import Absent, PendingCells
from lib.sizes import SIZES, Sizes, sized
from lib.source import PAGE, Scope, closure


class Run:
    """A run of a chapter at one size.

    Parameters
    ----------
    slug : the chapter's slug.
    size : ``"reduced"`` (a laptop, seconds) or ``"full"`` (a GPU, minutes).
    seed : non-negative integer; member i of an ensemble draws from the stream ``100 + 1000*seed + i``.
    device : ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    data : names of the data sets that the chapter reads (``lib.data``).
    shrink : at full size, a factor below 1 that makes the counts of the table of sizes small: the full code path in
        seconds. ``BOOK_SHRINK`` sets it from outside. Shrunk evidence cannot be recorded.

    Raises
    ------
    ParameterError : one sentence, when a parameter cannot be used.
    """

    def __init__(self, slug: str, size: str = "reduced", seed: int = 0, device: str = "auto",
                 data: tuple[str, ...] | list[str] = (), shrink: float | None = None):
        if size not in SIZES:
            raise ParameterError(f"size={size!r} is not known; choose \"reduced\" or \"full\".")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ParameterError(f"seed={seed!r} is not possible; choose a whole number, 0 or larger.")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", slug):
            raise ParameterError(f"slug={slug!r} is no slug; use small letters, digits and hyphens.")
        try:
            shrink = float(os.environ.get("BOOK_SHRINK", 1) if shrink is None else shrink)
        except ValueError:
            raise ParameterError(f"BOOK_SHRINK={os.environ['BOOK_SHRINK']!r} is no number; unset it.") from None
        if not 0 < shrink <= 1:
            raise ParameterError(f"shrink={shrink!r} is not possible; choose a number above 0, at most 1.")
        self.slug, self.size, self.seed, self.data = slug, size, seed, tuple(data)
        self.shrink = shrink if size == "full" else 1.0
        self.device = machine.device(device)
        self.replay = size == "full" and os.environ.get("BOOK_MODE") == "replay" and self.shrink == 1
        self.paper: Assertions | None = None
        self.experiments: dict[str, Evidence | None] = {}
        self.started = (time.perf_counter(), time.process_time())
        self._places: dict[str, str] = {}
        self._given = self.data
        self._declare()
        shell = show.shell()
        if shell is not None:
            shell.ast_transformers[:] = [t for t in shell.ast_transformers if not isinstance(t, PendingCells)]
            shell.ast_transformers.append(PendingCells(self._has_evidence, shell.user_ns, self._cut))
        self._claims: Claims | None = None

    def __repr__(self) -> str:
        return f"Run of {self.slug}: {self.size} size, seed {self.seed}, on {self.device}"

    def _declare(self, data: Sequence[str] = ()) -> tuple[str, ...]:
        """Declare the chapter's data sets, and those that one experiment reads besides; returns what that one may read."""
        from lib.data import declare
        self.data = tuple(dict.fromkeys((*self.data, *data)))
        declare(self.data)
        return tuple(dict.fromkeys((*self._given, *data)))

    def sizes(self, table: dict[str, tuple]) -> Sizes:
        """The table of sizes, ``{name: (reduced, full, meaning)}``, read at this run's size.

        Shrunk, counts become small and lists are thinned; a fourth entry of a row is the least that makes sense.
        """
        return sized(table, self.size, self.shrink)

    def seeds(self, n: int, renewed: int = 0) -> list[int]:
        """Streams of the ``n`` members of an ensemble; no two seeds of a run share one for n up to 1000.

        ``renewed`` counts how often a rule was changed after results of this experiment were seen: each count moves all
        sizes to streams that nobody has looked at.
        """
        if not 1 <= n <= 1000:
            raise ParameterError(f"an ensemble of {n} members is not possible; choose 1 to 1000.")
        if isinstance(renewed, bool) or not isinstance(renewed, int) or renewed < 0:
            raise ParameterError(f"renewed={renewed!r} is not possible; choose a whole number, 0 or larger.")
        return [100 + 1000 * self.seed + 10**6 * renewed + i for i in range(n)]

    def experiment(self, id: str, fn, only: str | None = None, data: Sequence[str] = (),
                   axes: Mapping[str, Sequence[str]] | None = None, block: int | None = None, alone: bool = False,
                   **params) -> Evidence:
        """Evidence of ``fn(**params)``: replayed, found, or computed and stored.

        ``fn`` is a plain function of the page or of ``lib`` that returns a dictionary of arrays (outcomes per seed). A
        parameter called ``device`` is given to it when it asks for one. In replay (the book's full size) the record is
        used, marked stale where today's text differs; without a record the result is absent and what needs it pends.

        Parameters
        ----------
        only : ``"full"`` (a literal) says that an experiment runs at one size; at the other it is absent.
        data : names (a literal) of data sets that this experiment reads besides the chapter's.
        axes : names of the axes of each array that ``fn`` returns, as ``{"loss": ("seed", "depth")}``; they are checked.
        block : number of seeds that are computed, stored and recorded together; needs ``axes`` and the parameter ``seeds``.
            Blocks that are there are not computed again when seeds are added.
        alone : True where the experiment reads the clock, so that nothing may run beside it.
        """
        place = show.place()
        if self._places.setdefault(id, place) != place:
            raise BookError(f"experiment {id} is run in two places; give each its own id.")
        if only not in (None, *SIZES):
            raise ParameterError(f"only={only!r} is not known; choose \"reduced\" or \"full\".")
        if only not in (None, self.size):
            self.experiments[id] = None
            self._declare(data)
            return Absent(frozenset({id}))
        call = self.call(id, fn, data=data, axes=axes, block=block, alone=alone, **params)
        if self.replay:
            found = evidence.read_record(self.slug, id, call.recipe)
        else:
            found = call.evidence()
        self.experiments[id] = found
        return Absent(frozenset({id})) if found is None else found

    def call(self, id: str, fn, only: str | None = None, data: Sequence[str] = (),
             axes: Mapping[str, Sequence[str]] | None = None, block: int | None = None, alone: bool = False,
             **params) -> Call:
        """What ``experiment(id, fn, ...)`` would compute, without computing it."""
        where = getattr(fn, "__module__", "")
        name = getattr(fn, "__qualname__", "")
        if "." in name or "<" in name or not name or where != "__main__" and module_file(where) is None:
            raise BookError(f"experiment {id} needs a plain function of the page or of lib, not {fn!r}.")
        parts = closure(PAGE if where == "__main__" else where, name, Scope.page(page_cells()))
        shrink = {"shrink": self.shrink} if self.shrink < 1 else {}
        plain = evidence.plain({k: v for k, v in params.items() if k != "device"} | shrink, f"experiment {id}")
        blocks = self._blocks(id, axes, block, params.get("seeds"))
        read = evidence.data_read(parts, self._declare(data))
        recipe = Recipe(self.slug, id, parts, plain, self.seed, {n: _digest(n) for n in read}, blocks)
        asks = "device" in inspect.signature(getattr(fn, "py_func", fn)).parameters
        device = params.get("device", self.device) if asks else None
        return Call(recipe, fn, params, axes, alone, self.size, self.shrink, device)

    def _blocks(self, id: str, axes, block: int | None, seeds: Sequence[int] | None) -> tuple[int, ...]:
        """Numbers of seeds in the blocks of an experiment; shrunk, there are two blocks where there are two seeds."""
        if block is None:
            return ()
        if isinstance(block, bool) or not isinstance(block, int) or block < 1:
            raise ParameterError(f"experiment {id}: block={block!r} is not possible; choose a whole number of seeds.")
        if axes is None or not seeds:
            raise ParameterError(f"experiment {id} is computed in blocks, so it needs {'`axes`' if seeds else '`seeds`'}; "
                                 "say which axis of each array runs over the seeds, and which seeds there are.")
        return evidence.sizes(len(seeds), min(block, max(1, len(seeds) // 2)) if self.shrink < 1 else block)

    def recipe(self, id: str, fn, **options) -> Recipe:
        """All that decides what ``experiment(id, fn, ...)`` returns, without running it."""
        return self.call(id, fn, **options).recipe

    def _has_evidence(self, id: str, only: str | None) -> bool:
        return only in (None, self.size) and (not self.replay or evidence.record_file(self.slug, id).is_file())

    def _cut(self, needs: list[str], ids: list[str]) -> None:
        why = "no record yet" if self.replay else f"evidence at {'full' if self.size == 'reduced' else 'reduced'} size only"
        one = len(needs) == 1
        show.box(f"Pending at {self.size} size: {'experiment' if one else 'experiments'} {', '.join(needs)} "
                 f"{'has' if one else 'have'} {why}.", "pending", pending=ids, needs=needs)
        for id in ids:
            self._claims.pend(id, needs, why, shown=not self.replay)

    def assertions(self, *assertions: A) -> Assertions:
        """Declare what the paper says, before anything runs."""
        self.paper = Assertions(assertions)
        return self.paper

    def claims(self, *claims: Claim) -> Claims:
        """Declare the claims of the chapter, before anything runs."""
        self._claims = Claims(self, claims)
        return self._claims

    def provenance(self) -> SimpleNamespace:
        """What this run used: device, versions, commit, seconds, memory."""
        wall, cpu = self.started
        return SimpleNamespace(slug=self.slug, size=self.size, seed=self.seed, shrink=self.shrink,
                               device=machine.device_words(self.device),
                               versions=evidence.versions(), commit=machine.commit(),
                               seconds=round(time.perf_counter() - wall, 1),
                               core_seconds=round(time.process_time() - cpu, 1), peak_mb=machine.peak_mb("cpu"))


def _digest(name: str) -> str:
    from lib.data import digest
    return digest(name)
