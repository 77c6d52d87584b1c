"""Bring every chapter's result up to date: independent jobs, a few at a time, each resumable."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from lib import paths
from lib.book import reference, results
from lib.book.pages import Page
from lib.errors import BookError
from lib.evidence import to_bytes, write_file

UNKNOWN = 60.0  # core-seconds of a chapter that never ran here


class BuildFailed(BookError):
    """Some chapters have no good result."""


def environment(threads: int = 1) -> dict[str, str]:
    """Environment of a job: capped threads, no progress bars, replay of the full size, tied to its parent.

    Large blocks go back to the system when they are freed (glibc would keep them behind small ones that live longer).
    """
    caps = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                      "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")}
    return {**os.environ, **caps, "TQDM_DISABLE": "1", "MPLBACKEND": "agg", "BOOK_MODE": "replay",
            "BOOK_ROOT": str(paths.home()), "PYTHONHASHSEED": "0", "BOOK_SHRINK": "1", "BOOK_TETHER": "1",
            "MALLOC_MMAP_THRESHOLD_": str(2**22),
            "PYTHONWARNINGS": "ignore:IProgress not found"}


def job(slug: str, sizes: tuple[str, ...]) -> list[str]:
    """Run one chapter's job in a process of its own; returns one sentence for each size that failed."""
    with subprocess.Popen([sys.executable, "-m", "lib.book.job", slug, *sizes], env=environment(), stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        words = process.stderr.read()  # its standard input stays open: the job ends when this process does
        code = process.wait()
    if code == 0:
        return []
    said = [x for x in words.strip().splitlines() if x.startswith(("ChapterFailed:", "PageError:"))] or \
        [x for x in words.strip().splitlines() if x.strip()][-1:]
    return said or [f"{slug} ({' and '.join(sizes)}) ended with exit code {code} and no word."]


def missing(pages: list[Page], sizes=results.SIZES) -> list[tuple[str, tuple[str, ...]]]:
    """Chapters and those of their sizes that have no result of today's page."""
    lacks = [(p.slug, tuple(s for s in sizes if results.find(p, s) is None)) for p in pages]
    return [(slug, without) for slug, without in lacks if without]


def _durations() -> dict[str, float]:
    """Core-seconds that the sizes of chapters last took here, by ``slug size``."""
    try:
        return json.loads((paths.store() / "durations.json").read_text())
    except (OSError, ValueError):
        return {}


def longest_first(jobs: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Jobs in the order in which they start, so that no core waits long for the last."""
    here = _durations()

    def seconds(job: tuple[str, tuple[str, ...]]) -> float:
        slug, sizes = job
        committed = reference.core_seconds(slug)
        return sum(here.get(f"{slug} {size}", committed.get(size, UNKNOWN)) for size in sizes)

    return sorted(jobs, key=seconds, reverse=True)


def update(pages: list[Page], sizes=results.SIZES, workers: int = 0, on: str = "local") -> int:
    """Make the results that are missing; returns how many. Raises BuildFailed with one sentence a failed chapter.

    ``on="ray"`` sends the jobs to the Ray cluster that ``RAY_ADDRESS`` names (extra ``[cluster]``).
    """
    jobs = longest_first(missing(pages, sizes))
    if not jobs:
        return 0
    workers = workers or min(os.cpu_count() or 1, 8)
    lock, start, done, failed = Lock(), time.time(), [0], []

    def one(job_: tuple[str, tuple[str, ...]]) -> None:
        began = time.time()
        say = (_on_ray if on == "ray" else job)(*job_)
        with lock:
            done[0] += 1
            print(f"[{done[0]}/{len(jobs)}] {job_[0]} ({' and '.join(job_[1])}) {'failed' if say else 'done'} in "
                  f"{time.time() - began:.0f} s, {time.time() - start:.0f} s since the start", flush=True)
            failed.extend(say)

    print(f"{sum(len(z) for _, z in jobs)} of {len(pages) * len(sizes)} chapter results to make, "
          f"{min(workers, len(jobs))} chapters at a time: {', '.join(s for s, _ in jobs)}", flush=True)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, jobs))
    _remember(pages, jobs)
    if failed:
        raise BuildFailed("\n".join(sorted(failed)))
    return sum(len(z) for _, z in jobs)


def _remember(pages: list[Page], jobs: list[tuple[str, tuple[str, ...]]]) -> None:
    found = {(p.slug, s): results.find(p, s) for p in pages for s in results.SIZES}
    new = {f"{slug} {s}": found[slug, s].summary["run"]["core_seconds"] for slug, z in jobs for s in z if found[slug, s]}
    write_file(paths.store() / "durations.json", to_bytes(_durations() | new))


def ray_cluster():
    """The module ``ray``, connected to the cluster that ``RAY_ADDRESS`` names."""
    try:
        import ray
    except ImportError:
        raise BuildFailed("--on ray needs Ray; install it with `pip install -e .[cluster]`.") from None
    if not ray.is_initialized():
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
        except ConnectionError:
            raise BuildFailed("--on ray found no Ray cluster; start one with `ray start --head`, or set "
                              "RAY_ADDRESS.") from None
    return ray


def _on_ray(slug: str, sizes: tuple[str, ...]) -> list[str]:
    ray = ray_cluster()
    return ray.get(ray.remote(num_cpus=1, num_gpus=0)(job).remote(slug, sizes))


def table(pages: list[Page]) -> str:
    """One row a chapter and size: claims by verdict, core-seconds, peak memory."""
    head = ["chapter", "size", "holds", "fails", "partial", "undecided", "pending", "seconds", "peak MB"]
    rows = [head]
    for p in pages:
        for size in results.SIZES:
            found = results.find(p, size)
            if found is None:
                continue
            s = found.summary
            verdicts = [c["verdict"] for c in s["claims"]]
            counts = [sum(v == w for v in verdicts) for w in ("holds", "fails", "partial", "undecided")]
            pending = sum(v.startswith("pending") for v in verdicts)
            rows.append([p.slug, size, *map(str, counts), str(pending), f"{s['run']['core_seconds']:.0f}",
                         str(s["run"]["peak_mb"])])
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths)))
                     for r in rows)
