"""One run of a chapter: its size, seed and device, and the way of its experiments."""

import inspect
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from types import SimpleNamespace

from lib import evidence, paths, show
from lib.assertions import A, Assertions
from lib.claims import Claim, Claims
from lib.errors import BookError
from lib.evidence import Evidence, Recipe
from lib.modules import module_file
from lib.pending import Absent, PendingCells
from lib.source import PAGE, Scope, closure

SIZES = ("reduced", "full")
_cells: list[str] | None = None
_IMPORTED = time.time()


class ParameterError(BookError):
    """A parameter of the page that cannot be used."""


@contextmanager
def executing(cells: list[str]):
    """Declare the code cells of a page that runs without a kernel."""
    global _cells
    before, _cells = _cells, cells
    try:
        yield
    finally:
        _cells = before


def page_cells() -> list[str]:
    """Code that the page has executed so far: the kernel's history, its line cache where none is kept, the script."""
    if _cells is not None:
        return _cells
    shell = show.shell()
    if shell is not None:
        history = [c for c in shell.user_ns.get("In", []) if c.strip()]
        return history or _line_cache(shell)
    main = getattr(sys.modules["__main__"], "__file__", None)
    return [open(main, encoding="utf-8").read()] if main else []


def _line_cache(shell) -> list[str]:
    """Compiled cells in order, for clients that store no history (nbval)."""
    import linecache
    return ["".join(linecache.cache[name][2]) for name in shell.compile._filename_map if name in linecache.cache]


@dataclass(frozen=True)
class Sizes:
    """The table of a chapter's sizes; a row is read as an attribute (``S.n_seeds``)."""

    rows: dict
    values: dict
    size: str

    def __getattr__(self, name: str):
        if name.startswith("_") or name not in self.values:
            raise AttributeError(f"the table of sizes has no row `{name}`")
        return self.values[name]

    def _repr_mimebundle_(self, **_) -> dict:
        head = ["name", "meaning", "reduced", "full"]
        body = [[k, r[2], _short(r[0]), _short(r[1])] for k, r in self.rows.items()]
        if self.size == "full" and any(self.values[k] != r[1] for k, r in self.rows.items()):
            head, body = head + ["shrunk"], [b + [_short(self.values[b[0]])] for b in body]
        return show.table(head, body, f"Sizes of this chapter (this run: {self.size})")


def _short(value) -> str:
    if isinstance(value, list | tuple | range):
        items = [f"{v:g}" if isinstance(v, float) else str(v) for v in value]
        return ", ".join(items if len(items) < 9 else items[:3] + ["…", items[-1]])
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def shrunk(value, factor: float):
    """A full-size entry of a table of sizes, made small: counts times ``factor``, lists thinned, floats kept."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple | range):
        return value
    if isinstance(value, int):
        return max(min(value, 2), round(value * factor))
    n = max(2, round(len(value) * factor))
    return [value[round(i * (len(value) - 1) / (n - 1))] for i in range(n)] if len(value) > n else value


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
        self.device = _device(device)
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
        column = SIZES.index(self.size)
        values = {}
        for name, row in table.items():
            if len(row) not in (3, 4):
                raise ParameterError(f"row `{name}` of the table of sizes must be (reduced, full, meaning[, least]).")
            value = row[column]
            if self.shrink < 1:
                small = shrunk(value, self.shrink)
                value = max(small, row[3]) if len(row) == 4 and isinstance(small, int) else small
            values[name] = value
        return Sizes(table, values, self.size)

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
             **params) -> "Call":
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
        return Call(self, recipe, fn, params, axes, alone)

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
                               device=device_words(self.device),
                               versions=evidence.versions(), commit=commit(),
                               seconds=round(time.perf_counter() - wall, 1),
                               core_seconds=round(time.process_time() - cpu, 1), peak_mb=peak_mb("cpu"))


@dataclass(frozen=True)
class Call:
    """One call of ``run.experiment``: its recipe, and how each of its blocks is found or computed."""

    run: Run
    recipe: Recipe
    fn: Callable
    params: dict
    axes: Mapping[str, Sequence[str]] | None
    alone: bool

    @property
    def device(self) -> str | None:
        """Device that the experiment runs on, or None where it does not ask for one (and so uses the CPU)."""
        asks = "device" in inspect.signature(getattr(self.fn, "py_func", self.fn)).parameters
        return self.params.get("device", self.run.device) if asks else None

    @property
    def kind(self) -> str:
        """Kind of that device, as it enters local keys."""
        return device_kind(self.device or "cpu")

    def found(self) -> list[Evidence | None]:
        """Evidence of each block that is there already, in the store or in a fresh record; None where a block is not."""
        pieces = [evidence.find(p, self.kind) for p in self.recipe.pieces()]
        if self.run.size != "full" or self.run.shrink < 1:
            return pieces
        pieces = [p if p and p.info["size"] == "full" else None for p in pieces]  # a record says of itself what made it
        recorded = [] if all(pieces) else evidence.recorded_pieces(self.recipe)
        return [p or (recorded[k] if k < len(recorded) else None) for k, p in enumerate(pieces)]

    def compute(self, k: int = 0) -> Evidence:
        """Compute the ``k``-th block and store it; of an experiment without blocks there is one."""
        piece = self.recipe.pieces()[k]
        edited = sorted({p.where for p in piece.parts if p.where != PAGE
                         and module_file(p.where).stat().st_mtime > _IMPORTED})
        if edited:
            raise BookError(f"{', '.join(edited)} changed on disk after this process had started, so what runs is not what "
                            "the file says; restart the kernel.")
        params = dict(self.params)
        if self.recipe.blocks:
            start = sum(self.recipe.blocks[:k])
            params["seeds"] = params["seeds"][start:start + self.recipe.blocks[k]]
        if self.device is not None:
            params["device"] = self.device
        start = time.perf_counter()
        with sign_of_life(self._words(k), self._expected(piece)):
            result = evidence.arrays(self.recipe.id, self.fn(**params))
        info = {"seconds": round(time.perf_counter() - start, 2), "peak_mb": peak_mb(self.device or "cpu"),
                "device": device_words(self.device or "cpu"), "versions": evidence.versions(), "commit": commit(),
                "made": date.today().isoformat(), "size": self.run.size, "shrink": self.run.shrink}
        if self.axes is not None:
            evidence.fit(self.recipe.id, result, self.axes, len(params["seeds"]) if "seeds" in params else None)
        evidence.forget(piece, self.kind)
        return evidence.keep(piece, self.kind, result, info)

    def _words(self, k: int) -> str:
        return f"{self.recipe.id}, block {k + 1} of {len(self.recipe.blocks)}" if self.recipe.blocks else self.recipe.id

    def _expected(self, piece: Recipe) -> float | None:
        """Seconds that the piece should take at full size, by what was recorded."""
        file = evidence.record_file(piece.slug, piece.id)
        if self.run.size != "full" or self.run.shrink < 1 or not file.is_file():
            return None
        info = json.loads(file.read_text(encoding="utf-8"))
        seeds = [len(params.get("seeds", [0])) for params in (piece.params, info["recipe"]["params"])]
        return info["seconds"] * seeds[0] / seeds[1]

    def evidence(self) -> Evidence:
        """Evidence of all blocks: what is there, and the rest computed."""
        return self.join([piece or self.compute(k) for k, piece in enumerate(self.found())])

    def join(self, pieces: list[Evidence]) -> Evidence:
        """Evidence of the experiment from that of its blocks, or of the first of them."""
        return evidence.together(self.recipe, pieces, self.axes) if self.recipe.blocks else pieces[0]


def _digest(name: str) -> str:
    from lib.data import digest
    return digest(name)


@contextmanager
def sign_of_life(id: str, expected: float | None = None):
    """While an experiment computes: one line with the seconds so far (of about ``expected``), gone when it is done.

    Someone must be there to see it: in a terminal, or in a front end that says which cell it runs, as JupyterLab does and
    papermill and nbval do not. ``TQDM_DISABLE=1`` silences it.
    """
    shell = show.shell()
    parent = getattr(shell, "parent_header", None)
    live = sys.stderr.isatty() if parent is None else bool((parent.get("metadata") or {}).get("cellId"))
    if not live or os.environ.get("TQDM_DISABLE"):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets tqdm warns, and writes text
        from tqdm.auto import tqdm
    words = f"{id}: computing… {{n:.0f}} s" + (f" of about {expected:.0f} s" if expected else "")
    done, start = threading.Event(), time.perf_counter()
    with tqdm(bar_format=words, leave=False, delay=1, miniters=0, disable=False) as bar:

        def tick() -> None:
            # Once a second, beside the experiment; a short one ends before the first line.
            while not done.wait(1):
                bar.update(time.perf_counter() - start - bar.n)

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _device(name: str) -> str:
    if name == "cpu":
        return name
    import torch
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cuda(:\d+)?", str(name)):
        raise ParameterError(f"device={name!r} is not known; choose \"auto\", \"cpu\", \"cuda\" or \"cuda:1\".")
    if not torch.cuda.is_available():
        raise ParameterError(f"device={name!r} needs an NVIDIA GPU and a CUDA build of torch, and none is found here; "
                             "choose device=\"cpu\" or \"auto\".")
    if ":" in name and int(name.split(":")[1]) >= torch.cuda.device_count():
        raise ParameterError(f"device={name!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s).")
    return name


def device_kind(device: str) -> str:
    """Kind of device as it enters local keys."""
    if device == "cpu":
        return f"cpu {platform.machine()}"
    import torch
    return torch.cuda.get_device_name(device)


def device_words(device: str) -> str:
    """The device as a reader would name it."""
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)" if device == "cpu" else device_kind(device)


def peak_mb(device: str) -> int:
    """Peak memory in MB: of the GPU where one is used, else of this process."""
    if device != "cpu":
        import torch
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def commit() -> str:
    """Commit of the checkout, with a ``+`` where files differ from it; ``unknown`` outside a checkout."""
    if paths.root() is None:
        return "unknown"
    try:
        out = subprocess.run(["git", "-C", str(paths.root()), "describe", "--always", "--dirty=+", "--abbrev=10"],
                             capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return out.stdout.strip()
