"""Bring every chapter's result up to date: independent jobs, a few at a time, each resumable."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from lib import paths
from lib.book import results
from lib.book.pages import Page
from lib.errors import BookError


class BuildFailed(BookError):
    """Some chapters have no good result."""


def environment(threads: int) -> dict[str, str]:
    """Environment of a job: capped threads, no progress bars, replay of the full size.

    Large blocks go back to the system when they are freed (glibc would keep them behind small ones that live longer).
    """
    caps = {k: str(threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                      "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")}
    return {**os.environ, **caps, "TQDM_DISABLE": "1", "MPLBACKEND": "agg", "BOOK_MODE": "replay",
            "BOOK_ROOT": str(paths.home()), "PYTHONHASHSEED": "0", "BOOK_SHRINK": "1",
            "MALLOC_MMAP_THRESHOLD_": str(2**22),
            "PYTHONWARNINGS": "ignore:IProgress not found"}


def job(slug: str, size: str, threads: int = 1) -> str:
    """Run one job in a process of its own; returns the empty string, or the sentence that says why it failed."""
    out = subprocess.run([sys.executable, "-m", "lib.book.job", slug, size], env=environment(threads),
                         stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if out.returncode == 0:
        return ""
    said = [x for x in out.stderr.strip().splitlines() if x.strip()]
    return said[-1] if said else f"{slug} ({size}) ended with exit code {out.returncode} and no word."


def missing(pages: list[Page], sizes=results.SIZES) -> list[tuple[str, str]]:
    """Jobs without a result of today's page."""
    return [(p.slug, s) for p in pages for s in sizes if results.find(p, s) is None]


def update(pages: list[Page], sizes=results.SIZES, workers: int = 0, on: str = "local") -> int:
    """Run the jobs that have no result; returns how many ran. Raises BuildFailed with one sentence a failed chapter.

    ``on="ray"`` sends the jobs to the Ray cluster that ``RAY_ADDRESS`` names (extra ``[cluster]``).
    """
    jobs = missing(pages, sizes)
    if not jobs:
        return 0
    workers = workers or min(os.cpu_count() or 1, 8)
    lock, start, done, failed = Lock(), time.time(), [0], []

    def one(pair: tuple[str, str]) -> None:
        began = time.time()
        say = _on_ray(pair) if on == "ray" else job(*pair)
        with lock:
            done[0] += 1
            state = "failed" if say else "done"
            print(f"[{done[0]}/{len(jobs)}] {pair[0]} ({pair[1]}) {state} in {time.time() - began:.0f} s, "
                  f"{time.time() - start:.0f} s since the start", flush=True)
            if say:
                failed.append(say)

    print(f"{len(jobs)} of {len(pages) * len(sizes)} chapter results to make, {min(workers, len(jobs))} at a time: "
          f"{', '.join(f'{s} ({z})' for s, z in jobs)}", flush=True)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, jobs))
    if failed:
        raise BuildFailed("\n".join(sorted(failed)))
    return len(jobs)


def _on_ray(pair: tuple[str, str]) -> str:
    try:
        import ray
    except ImportError:
        raise BuildFailed("--on ray needs Ray; install it with `pip install -e .[cluster]`.") from None
    if not ray.is_initialized():
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
    return ray.get(ray.remote(num_cpus=1, num_gpus=0)(job).remote(*pair))


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
