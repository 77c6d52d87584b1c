"""The weekly checks, too long for each push: fresh seeds, other processors, other thread counts, and the plain tools.

``python -m lib.book.deep <slug> <size> <seed>`` is one computation in a process of its own: it prints the chapter's
claims as JSON, or one sentence and ends with 1.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from lib import paths
from lib.book import job, results, runner
from lib.book.pages import Page, chapter
from lib.errors import BookError

FRESH = (1, 2, 3, 4, 5)
QUIET = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait do not spin: beside another job that costs ten times the time


class CheckFailed(BookError):
    """A check could not be made."""


def numpy_features() -> str:
    """Names of the instruction sets above NumPy's baseline that this processor has, as NumPy wants them."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))


def machines() -> dict[str, dict]:
    """Arguments of ``verdicts`` under which the numeric packages compute as on another machine, by what differs."""
    torch = {"ATEN_CPU_CAPABILITY": "default"}
    mkl = {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    numpy = {"NPY_DISABLE_CPU_FEATURES": numpy_features()}
    return {"two threads": {"threads": 2}, "torch's plain instructions": torch, "MKL at SSE4.2": mkl,
            "NumPy at its baseline": numpy, "all of these at once": {"threads": 2} | torch | mkl | numpy}


def verdicts(page: Page, size: str = "reduced", seed: int = 0, threads: int = 1, **environment: str) -> dict[str, dict]:
    """Claims of a chapter by id, computed anew in a process and a store of their own.

    ``environment`` is set for that process alone. The full size is replayed from its records. Raises CheckFailed
    with the sentence that says why the chapter did not run to its end.
    """
    with tempfile.TemporaryDirectory() as store:
        out = subprocess.run([sys.executable, "-m", "lib.book.deep", page.slug, size, str(seed)],
                             env=runner.environment(threads) | {"BOOK_STORE": store} | QUIET | environment,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if out.returncode == 1 and out.stderr.strip():
        raise CheckFailed(out.stderr.strip().splitlines()[-1])
    if out.returncode:
        raise CheckFailed(f"{page.slug} ({size}) ended with {out.returncode} and no word; a negative number is the signal "
                          "that killed it (-9: look for memory); run the check again.")
    return {c["id"]: c for c in json.loads(out.stdout.splitlines()[-1])}


def flips(page: Page, base: dict[str, dict], found: dict[str, dict], where: str) -> list[str]:
    """Verdicts that differ from the base, one line each: what, where, and the numbers that it rests on."""
    return [f"{page.slug} {i}: {base[i]['verdict']} as it stands, {c['verdict']} {where} ({'; '.join(c['said'])})"
            for i, c in found.items() if c["verdict"] != base[i]["verdict"]]


def fresh_seeds(page: Page, base: dict[str, dict], seeds: tuple[int, ...] = FRESH) -> list[str]:
    """Verdicts at reduced size that differ between fresh seed sets and seed 0, one line each."""
    return [x for s in seeds for x in flips(page, base, verdicts(page, seed=s), f"at seed {s}")]


def plain_pipe(page: Page, folder: Path) -> list[str]:
    """What is wrong with a chapter's way through jupytext and papermill alone; their result goes to the folder.

    Empty when both end well and the notebook holds the chapter's claim report.
    """
    made = folder / f"{page.slug}.ipynb"
    command = (f"jupytext --to ipynb --output - {page.relative} | papermill - {shlex.quote(str(made))} -p size reduced "
               "--no-progress-bar -k python3")
    bin = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    out = subprocess.run(command, shell=True, cwd=paths.home(), env=runner.environment(1) | {"PATH": bin, "BOOK_MODE": ""},
                         capture_output=True, text=True)
    if out.returncode:
        return [f"{page.slug}: `{command}` ended with {out.returncode}; run it from the root of the book: "
                f"{out.stderr.strip()[-2000:]}"]
    shown = [results.facts(o).get("kind") for _, o in results.outputs(json.loads(made.read_text()))]
    return [] if "report" in shown else [f"{page.slug}: the notebook of `{command}` shows no claim report; end the page "
                                         "with claims.report()."]


def check(page: Page) -> list[str]:
    """All weekly checks of a chapter, told as they end; returns what is wrong, one line each."""
    wrong = []

    def tell(what: str, found: list[str]) -> None:
        print("\n".join([*found, f"{page.slug}: {what}: {len(found) or 'nothing'} wrong"]), flush=True)
        wrong.extend(found)

    for size in results.SIZES:
        base = verdicts(page, size)
        if size == "reduced":
            tell(f"{len(FRESH)} fresh seed sets", fresh_seeds(page, base))
        for name, arguments in machines().items():
            found = verdicts(page, size, **arguments)
            digits = sum(c["measured"] != found[i]["measured"] for i, c in base.items())
            tell(f"{size} size with {name} ({digits} of {len(base)} claims have other digits)",
                 flips(page, base, found, f"at {size} size with {name}"))
    with tempfile.TemporaryDirectory() as folder:
        tell("jupytext and papermill alone", plain_pipe(page, Path(folder)))
    return wrong


def main(pages: list[Page]) -> int:
    """Check all pages; a chapter that does not run is told and the others go on. Returns 1 when anything is wrong."""
    wrong = 0
    for page in pages:
        try:
            wrong += len(check(page))
        except CheckFailed as e:
            print(f"{page.slug}: {e}", flush=True)
            wrong += 1
    print(f"{len(pages)} chapters checked, {wrong or 'nothing'} wrong")
    return 1 if wrong else 0


def compute(slug: str, size: str, seed: str) -> int:
    """Entry of the process: execute one chapter and print its claims as one line of JSON."""
    try:
        page = chapter(slug)
        print(json.dumps(job.summary(page, size, job.execute(page, size, int(seed)))["claims"]))
    except BookError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(compute(*sys.argv[1:4]))
