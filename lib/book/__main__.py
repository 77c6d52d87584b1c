"""``python -m lib.book <verb>``: the one entrance to the machinery. The Makefile's targets are thin aliases of it."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from lib import paths
from lib.errors import BookError


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
    start = time.time()
    pages = _chapters([])
    fetch_declared(pages)
    paths.build().mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.build() / ".rendering.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("another build renders this book; waiting for it", flush=True)
        lock.acquire()
    with lock:
        return _build(args, pages, start)


def _build(args, pages, start: float) -> int:
    from lib.book import reference, runner
    ran = runner.update(pages, workers=args.workers, on=args.on)
    differ = [d for p in pages for d in reference.differences(p)]
    out = subprocess.run(["jupyter-book", "build", ".", "-W", "-n", "--keep-going", "--quiet"], cwd=paths.home(),
                         env={**os.environ, "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
                              "PYTHONPATH": "", "BOOK_ROOT": str(paths.home())},
                         capture_output=True, text=True)
    if out.returncode:
        shutil.rmtree(paths.build() / ".doctrees", ignore_errors=True)  # so that a second build warns again
        print(out.stdout[-3000:], out.stderr[-6000:], sep="\n")
        raise BookError("the pages do not render; the first warning or error above names the page and the line.")
    print(runner.table(pages))
    for d in differ:
        print(f"VERDICT DIFFERS FROM THE COMMITTED ONE: {d}")
    if differ and os.environ.get("CI"):
        raise BookError("verdicts differ from the committed references; look at them, then run "
                        "`python -m lib.book refresh`.")
    print(f"{ran} chapter results made, pages rendered, {time.time() - start:.0f} s in all")
    print(f"open {paths.build() / 'html' / 'index.html'}")
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
    """Compute experiments at full size and commit their evidence to book/records."""
    from lib.book import record as recorder
    for page in _chapters(args.slugs[:1]):
        for id in args.slugs[1:] or recorder.experiments(page):
            if len(args.slugs) == 2:
                recorder.record(page, [id], args.device, force=args.force)
                continue
            command = [sys.executable, "-m", "lib.book", "record", page.slug, id, "--device", args.device]
            done = subprocess.run(command + ["--force"] * args.force)  # a process each: its peak memory is its own
            if done.returncode:
                return done.returncode
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
    """Run the tests: units, steps, guards and browser, then nbval on today's pages; ends with one summary."""
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--nbval-lax", "--nbval-current-env",
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
    """The weekly checks: five fresh seed sets, and the same numbers with one thread and with two."""
    from lib.book import deep as checks
    return checks.main(_chapters(args.slugs))


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
    subprocess.run(["jupytext-config", "set-default-viewer", "markdown", "myst"], env=env, check=True,
                   capture_output=True)
    return subprocess.run(["jupyter-lab", "book", *args.rest], cwd=paths.home(), env=env).returncode


def clean(args) -> int:
    """Remove everything that can be made again, the store of evidence included."""
    shutil.rmtree(paths.build(), ignore_errors=True)
    return 0


VERBS = {f.__name__: f for f in (build, run, test, refresh, record, ledger, power, data, bench, deep, teach, new, lab, clean)}


HANDED_ON = {"test": "pytest", "lab": "JupyterLab"}  # verbs whose arguments go to another program


def main() -> int:
    """Entry: returns the exit code; a fault that the reader can mend ends in one sentence."""
    parser = argparse.ArgumentParser(prog="python -m lib.book", description="Build, run and check the book.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, f in VERBS.items():
        p = verbs.add_parser(name, help=f.__doc__.splitlines()[0], description=f.__doc__)
        if name in HANDED_ON:
            p.usage = f"%(prog)s [arguments of {HANDED_ON[name]}]"
            continue
        p.add_argument("slugs", nargs="*", help="chapters, all when none is named (`record`: chapter, experiments)")
        p.add_argument("--workers", type=int, default=0, help="jobs at a time (default: one a core)")
        p.add_argument("--on", choices=["local", "ray"], default="local", help="where jobs run")
        p.add_argument("--device", default="auto", help="device of `record`")
        p.add_argument("--force", action="store_true", help="`record` again what is fresh")
        p.add_argument("--json", action="store_true", help="`ledger` as JSON")
    args, rest = parser.parse_known_args()
    if rest and args.verb not in HANDED_ON:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    try:
        return VERBS[args.verb](args)
    except BookError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on where it was", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
