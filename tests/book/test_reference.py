"""nbval's comparison is real: it fails when a verdict flips, and refuses references that would compare nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.book import reference, runner
from lib.book.pages import Page, chapter, chapters


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


def _claim(value, margin, **more):
    return {"id": "C1", "verdict": "holds", "rule": "r", "stale": None,
            "measured": {"gap": {"value": value, "low": value, "high": value, "n": 1, "margin": margin}}, **more}


@pytest.mark.parametrize("before, after, margin, computed, differ", [
    (1.19e-07, 8.67e-08, 9.9e-07, True, False),  # another processor's rounding, far from its threshold
    (2.57e-07, 8.67e-08, 9.1e-07, True, False),  # with another set of vector instructions
    (1.19e-07, 8.67e-08, 9.9e-07, False, True),  # from stored arrays
    (1.0, 1.6, 0.5, True, True), (1.0, 1.04, 0.5, True, False), (1.0, 1.0 + 1e-8, 0.0, False, False),
    (1e-16, 2e-16, 1e-9, False, False), (1.0, 1.001, 0.5, False, True)])
def test_numbers_are_compared_at_the_scale_of_what_they_decide(before, after, margin, computed, differ):
    today = {"C1"} if computed else set()
    found = reference.changes([_claim(before, margin)], [_claim(after, margin)], "full", today)
    assert bool(found) is differ
    assert reference.changes([_claim(before, margin)], [_claim(after, margin)], "reduced", today) == []
    assert all("the verdict is the same, the number `gap`" in x for x in found)


@pytest.mark.parametrize("change, word", [
    ({"verdict": "fails"}, "holds -> fails"), ({"rule": "other"}, "the rule is not"),
    ({"stale": ["E1"]}, "were fresh and are")])
def test_the_message_says_what_differs(change, word):
    found = reference.changes([_claim(1.0, 1.0)], [_claim(1.0, 1.0, **change)], "full")
    assert len(found) == 1 and word in found[0]


def test_what_rests_on_no_experiment_is_computed_today(mini):
    page = chapter("mini")
    assert reference.judged_today(page) == set()
    text = page.text.replace("mean=E1.x)", "mean=np.arange(3.0) + SHIFT)")
    assert reference.judged_today(Page(page.path, text)) == {"C1"}
    assert "C4" in reference.judged_today(chapter_of_the_book("token-weight-decay"))


def chapter_of_the_book(slug):
    """A chapter of the real book, whatever ``BOOK_ROOT`` says."""
    with pytest.MonkeyPatch.context() as m:
        m.delenv("BOOK_ROOT")
        return chapter(slug)
