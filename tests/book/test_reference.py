"""nbval's comparison is real: it fails when a verdict flips, and refuses references that would compare nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.book import reference, runner
from lib.book.pages import chapter, chapters


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny book with its results and reference made."""
    here = Path(__file__).parent
    root = tmp_path_factory.mktemp("finished")
    (root / "book" / "part").mkdir(parents=True)
    shutil.copy(here / "mini.md", root / "book" / "part")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    with pytest.MonkeyPatch.context() as m:
        m.setenv("BOOK_ROOT", str(root))
        runner.update(chapters())
        reference.refresh(chapter("mini"))
    shutil.copy(here.parent / "reference" / "conftest.py", root / "tests" / "reference")
    return root


@pytest.fixture
def book(finished, tmp_path, monkeypatch):
    """A copy of it to change."""
    shutil.copytree(finished, tmp_path / "b")
    monkeypatch.setenv("BOOK_ROOT", str(tmp_path / "b"))
    return tmp_path / "b"


def nbval(book):
    out = subprocess.run([sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "tests/reference", "-q",
                          "-p", "no:cacheprovider"], cwd=book, capture_output=True, text=True)
    return out.returncode, out.stdout + out.stderr


def change(book, old, new):
    page = book / "book" / "part" / "mini.md"
    assert old in page.read_text()
    page.write_text(page.read_text().replace(old, new))


def change_reference(book, f):
    path = book / "tests" / "reference" / "mini.ipynb"
    notebook = json.loads(path.read_text())
    f(notebook)
    path.write_text(json.dumps(notebook))


def test_same_page_passes_and_prose_and_metadata_do_not_matter(book):
    change(book, "The experiment draws normal numbers.", "Other words.")
    change_reference(book, lambda n: n["cells"][0]["outputs"][0]["metadata"]["book"]["claims"][0].update(alpha=0.5))
    code, said = nbval(book)
    assert code == 0 and "7 passed" in said, said


@pytest.mark.parametrize("old, new", [
    ('above("mean", 0.0)', 'above("mean", 100.0)'), ("claims.judge(\"C1\", mean=E1.x)", "pass"),
    ("+ SHIFT", "- SHIFT")])
def test_a_page_that_flips_a_verdict_fails(book, old, new):
    change(book, old, new)
    code, said = nbval(book)
    assert code == 1 and "failed" in said, said


def _flip(n):
    n["cells"][0]["outputs"][0]["data"]["text/plain"] = "C1 fails: mean above 0"


def test_a_flipped_reference_fails(book):
    change_reference(book, _flip)
    code, said = nbval(book)
    assert code == 1, said


@pytest.mark.parametrize("f, word", [
    (lambda n: n["cells"][0].update(outputs=[]), "holds no claim lines"),
    (lambda n: n.update(cells=[]), "no claim lines"),
    (lambda n: n["cells"][0]["metadata"].update(name="gone"), "does not have"),
    (lambda n: n["metadata"]["book"].update(slug="other"), "must be named")])
def test_references_that_compare_nothing_are_refused(book, f, word):
    change_reference(book, f)
    code, said = nbval(book)
    assert code not in (0, 1) and word in said, said


def test_a_chapter_without_reference_is_named(book):
    (book / "tests" / "reference" / "mini.ipynb").unlink()
    assert reference.missing() == ["mini"]


def test_a_reference_holds_claim_lines_only(book):
    notebook = reference.read("mini")
    assert [c["metadata"]["name"] for c in notebook["cells"]] == ["report"]
    assert set(notebook["cells"][0]["outputs"][0]["data"]) == {"text/plain"}
    assert len((book / "tests" / "reference" / "mini.ipynb").read_bytes()) < 20_000
