"""The weekly checks, too long for each push: fresh seeds, thread counts, two stores."""

import os
import tempfile

from lib.book import job, results
from lib.book.pages import Page

FRESH = (1, 2, 3, 4, 5)


def verdicts(page: Page, seed: int, threads: int, store: str) -> dict[str, dict]:
    """Claims of a chapter at reduced size, computed anew in the given store."""
    before = dict(os.environ)
    caps = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    os.environ.update({k: str(threads) for k in caps} | {"BOOK_STORE": store, "TQDM_DISABLE": "1"})
    try:
        return {c["id"]: c for c in job.summary(page, "reduced", job.execute(page, "reduced", seed))["claims"]}
    finally:
        os.environ.clear()
        os.environ.update(before)


def fresh_seeds(page: Page, seeds: tuple[int, ...] = FRESH) -> list[str]:
    """Verdicts at reduced size that differ between fresh seed sets and seed 0, one line each."""
    with tempfile.TemporaryDirectory() as store:
        base = verdicts(page, 0, 1, store)
        out = []
        for seed in seeds:
            found = verdicts(page, seed, 1, store)
            out += [f"{page.slug} {i}: {base[i]['verdict']} at seed 0, {c['verdict']} at seed {seed} "
                    f"({'; '.join(c['said'])})" for i, c in found.items() if c["verdict"] != base[i]["verdict"]]
    return out


def same_numbers(page: Page) -> list[str]:
    """Measured values that differ between two builds in stores of their own with one and two threads."""
    runs = []
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as store:
            runs.append(verdicts(page, 0, threads, store))
    return [f"{page.slug} {i}: {c['measured']} with one thread, {runs[1][i]['measured']} with two"
            for i, c in runs[0].items() if c["measured"] != runs[1][i]["measured"]]


def main(pages: list[Page]) -> int:
    """Run all checks; prints what differs and returns 1 when a verdict does (numbers may, and are shown)."""
    flipped = 0
    for page in pages:
        for line in (found := fresh_seeds(page)):
            print(line)
        flipped += len(found)
        print(f"{page.slug}: {len(found)} verdicts differ on {len(FRESH)} fresh seed sets")
        for line in (found := same_numbers(page)):
            print(line)
        print(f"{page.slug}: {len(found)} claims have other digits with two threads")
        print(f"{page.slug}: results of {', '.join(results.SIZES)} size in the store are left as they were")
    return 1 if flipped else 0
