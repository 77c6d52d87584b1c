"""Guards that hold for the whole run, how tests share the workers, and a small book to break in peace."""

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOC = "format: jb-book\nroot: book/index\nchapters:\n- file: book/part/mini\n"

# Files whose tests are long and need nothing of each other, and about how many core-seconds one of them takes. Only
# the order of the numbers counts: such tests are dealt out one by one, the longest first.
LONG = {"test_full_path.py": 60, "test_processors.py": 50, "test_products.py": 30, "test_site.py": 30, "test_runner.py": 10}
LAST = "test_device.py"  # it registers a device with torch, which other libraries then find for the rest of the process
NOTEBOOK = 40  # likewise for all cells of one notebook, which need each other


def unit(nodeid: str) -> str:
    """What one worker runs in one piece: a long test, or all of a file (of a notebook: its cells, in order)."""
    file = nodeid.partition("::")[0]
    return nodeid if Path(file).name in LONG else file


def pytest_sessionstart(session):
    """A chapter without a reference is an error of the whole run, said before workers start (theirs would be lost)."""
    from lib.book.reference import missing
    if any(Path(str(a)).name in ("tests", "reference") for a in session.config.args) and missing():
        raise pytest.UsageError(f"no reference for {', '.join(missing())}: run `python -m lib.book refresh`.")


def pytest_collection_modifyitems(config, items):
    """On a worker, long units go first and short ones last."""
    if not hasattr(config, "workerinput"):
        return
    sizes = {}
    for item in items:
        sizes[unit(item.nodeid)] = sizes.get(unit(item.nodeid), 0) + 1

    def length(item) -> tuple[int, int]:
        # known seconds, then the number of tests; the sort is stable, so files and notebooks keep their inner order
        if item.path.name == LAST:
            return -1, 0
        known = NOTEBOOK if item.path.suffix == ".ipynb" else LONG.get(item.path.name, 0)
        return known, sizes[unit(item.nodeid)]
    items.sort(key=length, reverse=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With ``-n`` and no other ``--dist``: each worker takes the next unit in the order of the collection.

    pytest-xdist sends a worker its next unit when two tests or fewer are left to it, so at most one unit waits behind
    a running one. Its own ``loadgroup`` would do the same, but adds the group to each test's name, which then can be
    neither pasted into a command nor found by ``--last-failed``.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False  # it would sort by the number of tests alone
    return Units(config, log)


@pytest.fixture(autouse=True)
def undeclared(monkeypatch):
    """Data sets that one test declared bind no other."""
    from lib.data import sets
    monkeypatch.setattr(sets, "declared", None)


@pytest.fixture
def mini(tmp_path, monkeypatch):
    """A book of one tiny chapter in a folder of its own; ``BOOK_ROOT`` points to it."""
    (tmp_path / "book" / "part").mkdir(parents=True)
    shutil.copy(HERE / "book" / "mini.md", tmp_path / "book" / "part" / "mini.md")
    (tmp_path / "_toc.yml").write_text(TOC)
    monkeypatch.setenv("BOOK_ROOT", str(tmp_path))
    monkeypatch.delenv("BOOK_STORE", raising=False)
    monkeypatch.delenv("BOOK_SHRINK", raising=False)
    return tmp_path


@pytest.fixture
def edit(mini):
    """Replace a text in the mini chapter; the text must be there."""
    path = mini / "book" / "part" / "mini.md"

    def change(old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return change


@pytest.fixture
def recorded(mini):
    """Compute the experiment of the mini chapter at full size in this process and write its record; returns one line."""
    from lib.book import record
    from lib.book.pages import chapter

    def make() -> str:
        record.block(chapter("mini"), "E1", 0, "cpu")
        return record.write(chapter("mini"), "E1", "cpu")
    return make


@pytest.fixture
def cell():
    """Names that a code cell of a chapter defines: ``cell(slug, name, **given)``; numpy is given as ``np``."""
    import numpy as np

    from lib.book.pages import chapter

    def run(slug, name, **given):
        names = {"np": np, **given}
        exec(next(c.source for c in chapter(slug).cells if c.name == name), names)
        return names
    return run
