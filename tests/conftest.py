"""Guards that hold for the whole run, and a small book to break in peace."""

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOC = "format: jb-book\nroot: book/index\nchapters:\n- file: book/part/mini\n"


def pytest_collection_modifyitems(session, config, items):
    """A chapter without a reference is an error of the whole run."""
    from lib.book.reference import missing
    if any(Path(str(a)).name in ("tests", "reference") for a in config.args) and missing():
        raise pytest.UsageError(f"no reference for {', '.join(missing())}: run `python -m lib.book refresh`.")


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
def cell():
    """Names that a code cell of a chapter defines: ``cell(slug, name, **given)``; numpy is given as ``np``."""
    import numpy as np

    from lib.book.pages import chapter

    def run(slug, name, **given):
        names = {"np": np, **given}
        exec(next(c.source for c in chapter(slug).cells if c.name == name), names)
        return names
    return run
