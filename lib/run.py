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
from collections.abc import Sequence
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
        self.recording = self.anew = False
        self.paper: Assertions | None = None
        self.experiments: dict[str, Evidence | None] = {}
        self.started = (time.perf_counter(), time.process_time())
        self._places: dict[str, str] = {}
        self._digests = self._data_digests(self.data)
        shell = show.shell()
        if shell is not None:
            shell.ast_transformers[:] = [t for t in shell.ast_transformers if not isinstance(t, PendingCells)]
            shell.ast_transformers.append(PendingCells(self._has_evidence, shell.user_ns, self._cut))
        self._claims: Claims | None = None

    def __repr__(self) -> str:
        return f"Run of {self.slug}: {self.size} size, seed {self.seed}, on {self.device}"

    def _data_digests(self, reads: Sequence[str] = ()) -> dict[str, str]:
        """Declare the chapter's data sets, and those that one experiment reads besides; their digests by name."""
        from lib import data
        self.data = tuple(dict.fromkeys((*self.data, *reads)))
        data.declare(self.data)
        return {name: data.digest(name) for name in reads}

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

    def experiment(self, id: str, fn, only: str | None = None, data: Sequence[str] = (), **params) -> Evidence:
        """Evidence of ``fn(**params)``: replayed, found, or computed and stored.

        ``fn`` is a plain function of the page or of ``lib`` that returns a dictionary of arrays (outcomes per seed). A
        parameter called ``device`` is given to it when it asks for one. In replay (the book's full size) the record is
        used, marked stale where today's text differs; without a record the result is absent and what needs it pends.
        ``only="full"`` (a literal) says that an experiment runs at one size; at the other it is absent in the same way.
        ``data`` (a literal) names data sets that this experiment reads besides the chapter's, so that no other depends on
        them.
        """
        if only not in (None, *SIZES):
            raise ParameterError(f"only={only!r} is not known; choose \"reduced\" or \"full\".")
        place = show.place()
        if self._places.setdefault(id, place) != place:
            raise BookError(f"experiment {id} is run in two places; give each its own id.")
        if only not in (None, self.size):
            self.experiments[id] = None
            self._data_digests(data)
            return Absent(frozenset({id}))
        recipe = self.recipe(id, fn, data=data, **params)
        if self.replay:
            found = evidence.read_record(self.slug, id, recipe)
            self.experiments[id] = found
            return Absent(frozenset({id})) if found is None else found
        kind = device_kind(self._device_of(fn, params) or "cpu")
        found = None if self.anew else evidence.find(recipe, kind)
        if found is not None and self.recording and found.info["size"] != self.size:
            found = None  # the other size computed the same; a record says of itself what made it
        if found is None and self.size == "full" and self.shrink == 1 and not self.recording:
            record = evidence.read_record(self.slug, id, recipe)
            found = record if record is not None and not record.stale else None
        if found is None:
            found = self._compute(recipe, kind, fn, params)
        self.experiments[id] = found
        return found

    def recipe(self, id: str, fn, only: str | None = None, data: Sequence[str] = (), **params) -> Recipe:
        """All that decides what ``experiment(id, fn, **params)`` returns, without running it; ``only`` does not."""
        where = getattr(fn, "__module__", "")
        name = getattr(fn, "__qualname__", "")
        if "." in name or "<" in name or not name or where != "__main__" and not where.startswith("lib."):
            raise BookError(f"experiment {id} needs a plain function of the page or of lib, not {fn!r}.")
        page = Scope.page(page_cells())
        parts = closure(PAGE if where == "__main__" else where, name, page)
        shrink = {"shrink": self.shrink} if self.shrink < 1 else {}
        plain = evidence.plain({k: v for k, v in params.items() if k != "device"} | shrink, f"experiment {id}")
        return Recipe(self.slug, id, parts, plain, self.seed, self._digests | self._data_digests(data))

    def _compute(self, recipe: Recipe, kind: str, fn, params: dict) -> Evidence:
        edited = sorted({p.where for p in recipe.parts if p.where != PAGE
                         and module_file(p.where).stat().st_mtime > _IMPORTED})
        if edited:
            raise BookError(f"{', '.join(edited)} changed on disk after this process had started, so what runs is not what "
                            "the file says; restart the kernel.")
        wants_device = self._device_of(fn, params) is not None and "device" not in params
        device = self._device_of(fn, params) or "cpu"
        start = time.perf_counter()
        with sign_of_life(recipe.id, self._expected(recipe.id)):
            result = fn(**params, **({"device": self.device} if wants_device else {}))
        info = {"seconds": round(time.perf_counter() - start, 2), "peak_mb": peak_mb(device),
                "device": device_words(device), "versions": evidence.versions(), "commit": commit(),
                "made": date.today().isoformat(), "size": self.size, "shrink": self.shrink}
        return evidence.keep(recipe, kind, result, info)

    def _expected(self, id: str) -> float | None:
        """Seconds that the experiment took when it was recorded, at the full size."""
        file = evidence.record_file(self.slug, id)
        if self.size != "full" or self.shrink < 1 or not file.is_file():
            return None
        return json.loads(file.read_text(encoding="utf-8")).get("seconds")

    def _device_of(self, fn, params: dict) -> str | None:
        """Device that an experiment runs on, or None where it does not ask for one (and so uses the CPU)."""
        asks = "device" in inspect.signature(getattr(fn, "py_func", fn)).parameters
        return params.get("device", self.device) if asks else None

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
