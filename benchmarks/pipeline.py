"""How long a reader waits: our pipeline beside jupyter-book with its cache, and beside a loop of papermill.

One run on one machine, equal threads (one a job), each in a copy of the book of its own. Ours makes both sizes of each
chapter, the others the reduced size alone. Prints wall time, core-seconds and executions, and the ratios of wall time.

    python benchmarks/pipeline.py [slug ...]        # all chapters without names; --suite adds the test suite
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
THREADS = {k: "1" for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
MODULE = "lib/papers/few_shot_collapse/__init__.py"  # edited to see which chapters run again


def copy(target: Path, slugs: list[str]) -> Path:
    """The book's tracked files in a folder of their own, with the chapters of these slugs alone."""
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    contents = yaml.safe_load((target / "_toc.yml").read_text())
    for part in contents["parts"]:
        part["chapters"] = [c for c in part["chapters"] if Path(c["file"]).name in slugs or c["file"].count("/") == 1]
    contents["parts"] = [p for p in contents["parts"] if p["chapters"]]
    (target / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False))
    for page in target.glob("book/*/*.md"):
        if page.stem not in slugs:
            page.unlink()
    return target


def timed(command: list[str], root: Path, **env) -> tuple[float, float, str]:
    """Wall seconds, core-seconds and words of a command in a copy of the book."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    more = {"PYTHONPATH": str(root), "BOOK_ROOT": str(root), "BOOK_DATA": str(ROOT / ".data"), "TQDM_DISABLE": "1"}
    out = subprocess.run(command, cwd=root, capture_output=True, text=True,
                         env={k: v for k, v in os.environ.items() if k != "CI"} | THREADS | more | env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if out.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{out.stdout[-2000:]}\n{out.stderr[-2000:]}")
    cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cores, out.stdout + out.stderr


class Ours:
    """``python -m lib.book build``."""

    name = "this book"

    def __init__(self, root: Path, slugs: list[str]):
        self.root = copy(root, slugs)

    def build(self) -> tuple[float, float, int]:
        wall, cores, said = timed([sys.executable, "-m", "lib.book", "build"], self.root)
        made = re.search(r"(\d+) chapter results made", said)
        return wall, cores, int(made[1])


class Cached:
    """jupyter-book with ``execute_notebooks: cache`` on the same pages, without our reader."""

    name = "jupyter-book, cache"

    def __init__(self, root: Path, slugs: list[str]):
        self.root = copy(root, slugs)
        config = yaml.safe_load((self.root / "_config.yml").read_text())
        config["execute"] = {"execute_notebooks": "cache", "timeout": 600}
        config["sphinx"]["extra_extensions"].remove("lib.book.extension")
        del config["sphinx"]["config"]["nb_custom_formats"]
        config["sphinx"]["config"]["nb_execution_raise_on_error"] = True
        (self.root / "_config.yml").write_text(yaml.safe_dump(config))

    def build(self) -> tuple[float, float, int]:
        wall, cores, said = timed([sys.executable, "-c", JUPYTER_BOOK, "build", "."], self.root)
        return wall, cores, len(re.findall(r"Executing notebook", said))


class Looped:
    """papermill, one page after another, as a shell script would; it renders nothing and remembers nothing."""

    name = "papermill, loop"

    def __init__(self, root: Path, slugs: list[str]):
        self.root = copy(root, slugs)

    def build(self) -> tuple[float, float, int]:
        wall = cores = 0.0
        pages = sorted(self.root.glob("book/*/*.md"))
        for page in pages:
            line = (f"{sys.executable} -m jupytext --to ipynb --output - {page} | {sys.executable} -m papermill - "
                    "/dev/null -p size reduced --no-progress-bar -k python3")
            w, c, _ = timed(["bash", "-o", "pipefail", "-c", line], self.root)
            wall, cores = wall + w, cores + c
        return wall, cores, len(pages)


def edit(root: Path, file: str, old: str, new: str) -> None:
    """Replace a text in a file of a copy."""
    text = (root / file).read_text()
    assert old in text, f"{file} holds no {old!r}"
    (root / file).write_text(text.replace(old, new, 1))


def main() -> None:
    """Race all cases and print one line each."""
    slugs = [a for a in sys.argv[1:] if not a.startswith("--")] or [p.stem for p in ROOT.glob("book/*/*.md")]
    prose = next(p for p in sorted(ROOT.glob("book/*/*.md")) if p.stem in slugs).relative_to(ROOT).as_posix()
    print(f"{len(slugs)} chapters, {os.cpu_count()} cores\n{'':28s}{'case':24s}{'wall s':>8s}{'core s':>8s}{'runs':>6s}")
    walls: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as work:
        for racer in (Ours, Cached, Looped):
            one = racer(Path(work) / racer.__name__, slugs)
            for case in ("cold", "nothing changed", "prose edited", "a module edited"):
                if racer is Looped and case != "cold":
                    continue  # it runs everything every time
                if case == "prose edited":
                    edit(one.root, prose, "\n## ", "\nOne sentence more.\n\n## ")
                if case == "a module edited":
                    edit(one.root, MODULE, '"""', '"""Edited. ')
                wall, cores, runs = one.build()
                walls[racer.name, case] = wall
                print(f"{racer.name:28s}{case:24s}{wall:8.1f}{cores:8.1f}{runs:6d}", flush=True)
        if "--suite" in sys.argv:
            wall, cores, _ = timed([sys.executable, "-m", "lib.book", "test"], copy(Path(work) / "suite", slugs))
            print(f"{Ours.name:28s}{'test suite':24s}{wall:8.1f}{cores:8.1f}")
    for case in ("cold", "nothing changed", "prose edited"):
        print(f"{case}: {walls[Ours.name, case] / walls[Cached.name, case]:.2f} of jupyter-book's time")


if __name__ == "__main__":
    main()
