"""Guards of every page: round trip, tags, lint of the code, typed results, links, committed files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

from lib.book import record
from lib.book.pages import chapters
from lib.rules import HOLDS

ROOT = Path(__file__).parents[1]
PAGES = {p.slug: p for p in chapters()}


def prose(text: str) -> str:
    """A page without its code and exercises, mathematics and code spans removed."""
    text = re.sub(r"(?ms)^(`{3,}|:{3,})\{(code-cell|exercise|solution)\}.*?^\1\s*$", "", text)
    return re.sub(r"(?s)\$\$.*?\$\$|\$[^$]+\$|`[^`]+`|^---.*?^---", "", text, flags=re.M)


@pytest.mark.parametrize("slug", PAGES)
def test_round_trip_through_jupytext_changes_nothing(slug):
    text = PAGES[slug].text
    assert jupytext.writes(jupytext.reads(text, fmt="md:myst"), fmt="md:myst") == text


@pytest.mark.parametrize("slug", PAGES)
def test_what_the_page_folds_is_collapsed_in_notebooks_too(slug):
    """Imports, settings, declarations and plots, in JupyterLab and VS Code; the parameters and what is derived stay open."""
    for cell in PAGES[slug].cells:
        folds = "hide-input" in cell.tags or cell.name == "imports"
        assert cell.options.get("jupyter", {}).get("source_hidden", False) is folds, cell.name


@pytest.mark.parametrize("slug", PAGES)
def test_code_of_the_page_is_clean(slug, tmp_path):
    file = tmp_path / "page.py"
    file.write_text("\n\n\n".join(c.source for c in PAGES[slug].cells) + "\n")
    out = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"),
                          "--ignore", "I001,E402,B018,E731", str(file)], capture_output=True, text=True)
    assert out.returncode == 0, out.stdout


@pytest.mark.parametrize("slug", PAGES)
def test_no_result_is_typed_in_the_prose(slug):
    near = r"measured|found|gives|gave|reached|holds with|accuracy of|is about"
    assert not re.findall(rf"(?i)[^.\n]*\b(?:{near})\b[^.\n]*\b\d+\.\d+[^\n]*", prose(PAGES[slug].text))


@pytest.mark.parametrize("slug", PAGES)
def test_every_figure_is_mentioned_and_enough_are_there(slug):
    page = PAGES[slug]
    names = [c.figure for c in page.cells if c.figure]
    assert 5 <= len(names) <= 12
    missing = [n for n in names if f"`{n}`" not in page.text]
    assert not missing, f"never mentioned by number: {missing}"


@pytest.mark.parametrize("slug", PAGES)
def test_experiments_have_literal_ids_and_closures(slug):
    from lib.source import PAGE, Scope, closure
    page = PAGES[slug]
    scope = Scope.page([c.source for c in page.cells])
    for id, s in record.experiments(page).items():
        call = re.search(rf'experiment\(\s*"{id}",\s*([\w.]+)', s.text)
        assert closure(PAGE, call[1], scope)


@pytest.mark.parametrize("slug", PAGES)
def test_exercises_have_solutions_and_the_student_pack_has_none(slug):
    from lib.book.teach import notebook
    page = PAGES[slug]
    exercises = set(re.findall(r"\{exercise\}[^\n]*\n:label: (\S+)", page.text))
    solutions = set(re.findall(r"\{solution\} (\S+)", page.text))
    assert exercises == solutions and 4 <= len(exercises) <= 6
    student = "\n".join(c.source for c in notebook(page, False).cells)
    hidden = [c.source for c in page.cells if "solution" in c.tags] + re.findall(
        r"(?ms)^:::\{solution\}[^\n]*\n:class: dropdown\n(.*?)^:::$", page.text)
    assert len(hidden) > len(solutions) - 1
    for text in hidden:
        assert text.strip()[:60] not in student
    assert all(e in student for e in exercises)
    assert len(notebook(page, True).cells) > len(notebook(page, False).cells)


def nulls(slug):
    """Null of each numeric claim of a page as it is declared, by the id of the claim."""
    calls = [n for n in ast.walk(ast.parse(PAGES[slug].code)) if isinstance(n, ast.Call)
             and isinstance(n.func, ast.Name) and n.func.id == "Claim"]
    given = [({k.arg: k.value for k in c.keywords}, c.args) for c in calls]
    kinds = [ast.literal_eval(kw["evidence"] if "evidence" in kw else args[3]) for kw, args in given]
    return {args[0].value: getattr(kw.get("null"), "value", "") for (kw, args), kind in zip(given, kinds, strict=True)
            if {"numeric", "timing"} & set(kind)}


@pytest.mark.parametrize("slug", PAGES)
def test_every_numeric_claim_says_what_its_null_is_or_that_it_owes_one(slug):
    declared = nulls(slug)
    assert declared and not [i for i, null in declared.items() if not null.strip() or null.strip() == "none, because"]
    counts = {kind: sum(f(n) for n in declared.values()) for kind, f in (
        ("owed", lambda n: n == "owed"), ("none", lambda n: n.startswith("none, because ")))}
    print(f"{slug}: {len(declared)} numeric claims, {counts['owed']} owe a null, {counts['none']} have none")
    judged = [n for n in declared.values() if n != "owed" and not n.startswith("none, because ")]
    assert PAGES[slug].code.count("null=dict(") == len(judged)


def test_records_hold_what_their_rules_say():
    """Each committed verdict of the full size follows from committed evidence; none is of an experiment without one."""
    from lib.book import reference
    for slug, page in PAGES.items():
        full = reference.full_claims(slug)
        if full is None:
            continue
        have = {i for i, e in full["experiments"].items() if e}
        for i in have:
            from lib import evidence
            assert evidence.read_record(slug, i) is not None
        assert len(page.cells) and all(c["rule"] for c in full["claims"])
        if not have:
            assert not [c for c in full["claims"] if c["verdict"] == HOLDS and "numeric" in c["evidence"]]


def test_nothing_generated_is_committed():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    bad = [f for f in files if f.endswith((".ipynb", ".npz", ".html", ".pyc")) and not f.startswith(
        ("tests/reference/", "book/records/"))]
    assert not bad
    heavy = [f for f in files if (ROOT / f).is_file() and (ROOT / f).stat().st_size > 1_100_000]
    assert not heavy


def test_links_inside_the_book_lead_somewhere():
    for path in [*ROOT.glob("book/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+\.(?:md|png|cff|txt|bib))(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_credits_of_declared_data_are_shown():
    from lib.data import CREDITS
    for page in PAGES.values():
        assert set(page.data) <= CREDITS.keys()
        assert "show.provenance(run)" in page.text
