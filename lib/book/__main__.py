"""``python -m lib.book <verb>``: the one entrance to the machinery. The Makefile's targets are thin aliases of it."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lib import paths
from lib.errors import BookError

LAB = Path(__file__).with_name("lab")  # what JupyterLab is told: `labconfig/default_setting_overrides.json`


def _chapters(slugs: list[str]):
    from lib.book.pages import chapter, chapters
    return [chapter(s) for s in slugs] if slugs else chapters()


def run(args) -> int:
    """Bring chapter results up to date and print the table."""
    from lib.book import runner
    pages = _chapters(args.slugs)
    fetch_declared(pages)
    ran = runner.update(pages, workers=args.workers, on=args.on)
    print(runner.table(pages))
    print("every result is up to date; nothing was executed" if not ran else f"{ran} results made")
    return 0


def fetch_declared(pages) -> None:
    """Fetch the data packages that chapters declare."""
    names = sorted({n for p in pages for n in p.data})
    if names:
        from lib import data
        data.fetch([p for n in names if n in data.PACKAGES for p in data.PACKAGES[n]])


def build(args) -> int:
    """Execute what changed, render the offline HTML, print the table and the path to open."""
    from filelock import FileLock, Timeout

    from lib.book.pages import survey
    start = time.time()
    try:
        paths.build().mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BookError(f"{paths.build()} is a file, and the book is built in a folder of that name; move it away.") from None
    pages, faults = survey()
    fetch_declared(pages)
    lock = FileLock(paths.build() / ".rendering.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another build renders this book; waiting for it", flush=True)
        lock.acquire()
    with lock:
        return _build(args, pages, faults, start)


def _build(args, pages, faults, start: float) -> int:
    from lib.book import reference, runner
    from lib.book.render import html, render
    try:
        ran = runner.update(pages, workers=args.workers, on=args.on)
    except runner.BuildFailed as e:
        faults = [*faults, *str(e).splitlines()]
    if faults:  # a page that is faulty stops no other chapter, but the book
        raise runner.BuildFailed("\n".join(map(str, faults)))
    differ = [d for p in pages for d in reference.differences(p)]
    rendered = render()
    print(runner.table(pages))
    for d in differ:
        print(f"DIFFERS FROM WHAT IS COMMITTED: {d}")
    if differ and os.environ.get("CI"):
        raise BookError("results differ from the committed ones as said above; look at them, then run "
                        "`python -m lib.book refresh`.")
    print(f"{ran} chapter results made, {'pages rendered' if rendered else 'pages up to date'}, "
          f"{time.time() - start:.0f} s in all")
    print(f"open {html() / 'index.html'}")
    return 0


def refresh(args) -> int:
    """Write references and committed verdicts from today's results, flipped verdicts first."""
    from lib.book import reference, runner
    pages = _chapters(args.slugs)
    runner.update(pages, workers=args.workers)
    said = [x for p in pages for x in reference.refresh(p)]
    print("\n".join(said) if said else "no verdict changed")
    return 0


def record(args) -> int:
    """Compute experiments at full size and commit their evidence to book/records.

    A block that ended is kept: killed, or out of minutes, run the same command again to go on.
    """
    from lib.book.recorder import Sitting
    sitting = Sitting(args.device, args.on, args.minutes, args.workers, args.force)
    for page in _chapters(args.slugs[:1]):
        (sitting.until_decided if args.until_decided else sitting.record)(page, args.slugs[1:])
    return 0


def same(args) -> int:
    """Show that today's text gives the bits of a record, and keep its numbers: same <slug> [E1 ...]."""
    from lib.book.same import same as shown
    for page in _chapters(args.slugs[:1]):
        print("\n".join(shown(page, args.slugs[1:], args.device if args.device != "auto" else "cpu", args.block, args.base)),
              flush=True)
    return 0


def ledger(args) -> int:
    """Print the ledger of all claims from references and records alone."""
    from lib.book import ledger as book_ledger
    found = book_ledger.collect()
    print(json.dumps(found, indent=1, ensure_ascii=False) if args.json else book_ledger.headline(found))
    return 0


def power(args) -> int:
    """Print what each judgement on seeds could have seen: its power at the smallest effect worth naming."""
    from lib.book import power as book_power
    for page in _chapters(args.slugs):
        print(book_power.table(page))
    return 0


def data(args) -> int:
    """Fetch data packages by hash: the named ones, else those that chapters declare; then print their state."""
    from lib import data as book_data
    if args.slugs:
        book_data.fetch(args.slugs)
    else:
        fetch_declared(_chapters([]))
    for row in book_data.status():
        state = "verified" if row["verified"] else "damaged" if row["present"] else "not here"
        print(f"{row['package']} {row['version']}: {state}")
    return 0


def test(args) -> int:
    """Run the tests: units, steps, guards and browser, then nbval on today's pages; ends with one summary.

    As many workers as cores, one thread each; at least two, since a test that waits for a kernel or a browser leaves
    its core to another; at most eight, since each may hold a chapter in memory. ``-n`` overrides it.
    """
    workers = min(max(2, os.cpu_count() or 1), 8)
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--nbval-lax", "--nbval-current-env",
               "--nbval-cell-timeout", "300", *(args.rest or ["tests"])]
    threads = {k: "1" for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
    return subprocess.run(command, cwd=paths.home(), env={**os.environ, **threads, "TQDM_DISABLE": "1"}).returncode


def bench(args) -> int:
    """Run the benchmarks one after another; each measures its peers in the same run."""
    worst = 0
    for file in sorted((paths.home() / "benchmarks").glob("[!_]*.py")):
        print(f"== {file.stem}", flush=True)
        worst = max(worst, subprocess.run([sys.executable, str(file)], cwd=paths.home()).returncode)
    return worst


def deep(args) -> int:
    """The weekly checks: fresh seeds, other processors and threads, both sizes, and the plain tools, all chapters."""
    from lib.book import deep as checks
    return checks.main(_chapters(args.slugs))


def budget(args) -> int:
    """Print what each page asks of its reader against the book's budgets; needs Chromium."""
    from lib.book import budget as book_budget
    pages = _chapters(args.slugs)
    if code := build(args):
        return code
    print(book_budget.table(pages))
    return 0


def pdf(args) -> int:
    """Print the book, and each of its pages, to _build/pdf; needs Chromium."""
    from lib.book import pdf as book_pdf
    from lib.book.render import contents
    names = [p.relative.removesuffix(".md") for p in _chapters(args.slugs)] if args.slugs else contents()
    if code := build(args):
        return code
    print(f"open {book_pdf.write(names, paths.build() / 'pdf')}")
    return 0


def teach(args) -> int:
    """Write the student and instructor packs."""
    from lib.book import teach as packs
    for f in packs.packs(_chapters(args.slugs)):
        print(f)
    return 0


def new(args) -> int:
    """Scaffold a chapter from the template: page, instrument, test; then `python -m lib.book refresh <slug>`."""
    from lib.book import scaffold
    if len(args.slugs) != 2:
        raise BookError("say the part and the slug: python -m lib.book new dynamics my-chapter.")
    for f in scaffold.create(*args.slugs):
        print(f)
    return 0


def lab(args) -> int:
    """Open the book in JupyterLab, chapters as notebooks."""
    bin = os.path.dirname(sys.executable)
    env = {**os.environ, "PATH": bin + os.pathsep + os.environ["PATH"]}
    if not shutil.which("jupyter-lab", path=env["PATH"]):
        raise BookError("JupyterLab is not installed; run `pip install -e .[lab]`.")
    # Settings of this book alone, before the user's own and the installation's: nothing of theirs is written.
    env["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [str(LAB), os.environ.get("JUPYTER_CONFIG_PATH")]))
    return subprocess.run(["jupyter-lab", "book", *args.rest], cwd=paths.home(), env=env).returncode


def clean(args) -> int:
    """Remove everything that can be made again, the store of evidence included."""
    shutil.rmtree(paths.build(), ignore_errors=True)
    return 0


VERBS = {f.__name__: f for f in (build, run, test, refresh, record, same, ledger, power, data, bench, deep, budget, pdf,
                                 teach, new, lab, clean)}


HANDED_ON = {"test": "pytest", "lab": "JupyterLab"}  # verbs whose arguments go to another program
ANYWHERE = ("data", "clean")  # verbs that work where only the wheel is installed


def main() -> int:
    """Entry: returns the exit code; a fault that the reader can mend ends in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m lib.book", description="Build, run and check the book.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, f in VERBS.items():
        p = verbs.add_parser(name, help=f.__doc__.splitlines()[0], description=f.__doc__)
        if name in HANDED_ON:
            p.usage = f"%(prog)s [arguments of {HANDED_ON[name]}]"
            continue
        p.add_argument("slugs", nargs="*", help="chapters, all when none is named (`record`, `same`: chapter, experiments)")
        p.add_argument("--workers", type=int, default=0, help="jobs at a time (default: one a core)")
        p.add_argument("--on", choices=["local", "ray"], default="local", help="where jobs run")
        p.add_argument("--device", default="auto", help="device of `record` and `same`")
        p.add_argument("--minutes", type=float, help="`record`: start no block that will not end in time")
        p.add_argument("--until-decided", action="store_true", help="`record`: stop at the look that decides")
        p.add_argument("--force", action="store_true", help="`record` again what is fresh")
        p.add_argument("--block", action="store_true", help="`same`: compare the first block at full size as well")
        p.add_argument("--base", help="`same`: commit whose text made the record")
        p.add_argument("--json", action="store_true", help="`ledger` as JSON")
    args, rest = parser.parse_known_args()
    if rest and args.verb not in HANDED_ON:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    try:
        if paths.root() is None and args.verb not in ANYWHERE:
            raise BookError(f"`{args.verb}` needs the book's pages, and {paths.home()} holds none; run it in a clone of the "
                            "book, or set BOOK_ROOT to one.")
        return VERBS[args.verb](args)
    except BookError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        print(f"{type(e).__name__}: {e.strerror or e} ({e.filename}); make room there or make it writable. What was there "
              "before is untouched.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on where it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
