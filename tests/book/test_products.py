"""What people take away: the ledger, course packs, a new chapter, the plain tools, a wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lib.book import deep, ledger, scaffold, teach
from lib.book.pages import chapters

ROOT = Path(__file__).parents[2]
SLUGS = [p.slug for p in chapters()]
BIN = Path(sys.executable).parent


def environment(**more) -> dict:
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    outside = {k: v for k, v in os.environ.items() if k != "CI"}
    return {**outside, "PATH": path, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", **more}


def test_the_ledger_needs_no_execution(tmp_path):
    """From the committed files alone: an empty store, and no package of the kernel's world imported."""
    code = ("import sys, json, runpy; sys.argv = ['book', 'ledger', '--json']\n"
            "try: runpy.run_module('lib.book', run_name='__main__')\n"
            "except SystemExit as e: assert not e.code\n"
            "print(json.dumps([m for m in ('papermill', 'torch', 'IPython', 'sympy') if m in sys.modules]), file=sys.stderr)")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(BOOK_STORE=str(tmp_path)),
                         capture_output=True, text=True, check=True)
    assert json.loads(out.stderr.strip().splitlines()[-1]) == [] and not list(tmp_path.iterdir())
    found = json.loads(out.stdout)
    assert [c["slug"] for c in found["chapters"]] == SLUGS
    for chapter in found["chapters"]:
        assert chapter["title"] and chapter["claims"]
        for c in chapter["claims"]:
            assert {"id", "statement", "source", "evidence", "criterion", "reduced", "full"} <= c.keys()
            assert c["reduced"] is None or {"verdict", "measured"} <= c["reduced"].keys()
            assert c["full"] is None or {"verdict", "stale", "device"} <= c["full"].keys()


def test_the_headline_counts_pending():
    assert ledger.headline({"chapters": [{"claims": [{"reduced": {"verdict": "holds", "alpha": 0.001}, "full": None}]}]}) == \
        ("1 claims in 1 chapter. reduced size: 1 holds; full size: 1 pending(full). Expected number of wrong statistical "
         "verdicts: 0.001.")


def test_course_packs(tmp_path, monkeypatch):
    for pack in teach.packs(chapters()):
        with zipfile.ZipFile(pack) as z:
            assert set(z.namelist()) == {f"{s}.ipynb" for s in SLUGS}
            text = "".join(z.read(n).decode() for n in z.namelist())
        assert ("{solution}" in text) is (pack.stem == "instructor")
    with pytest.raises(teach.LeakError, match="not closed"):
        teach.without_solutions("::::{solution} a\nsecret\n:::\n")


def test_an_eleventh_chapter_is_as_easy_as_copying_one(tmp_path):
    """Scaffold a chapter in a copy of the book and bring it to a page and a reference."""
    for name in ("lib", "book", "constraints", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "records"))
    for name in ("_config.yml", "_toc.yml", "pyproject.toml", "requirements-data.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    for page in chapters():
        (tmp_path / page.relative).unlink()
        (tmp_path / "tests" / "reference" / f"{page.slug}.ipynb").unlink(missing_ok=True)
    toc = (tmp_path / "_toc.yml").read_text().splitlines()
    left = "\n".join(x for x in toc if not any(s in x for s in SLUGS)) + "\n"
    (tmp_path / "_toc.yml").write_text(re.sub(r"  - caption: .*\n    chapters:\n(?!      - )", "", left))  # emptied parts
    env = environment(PYTHONPATH=str(tmp_path), BOOK_ROOT=str(tmp_path))

    def book(*words):
        return subprocess.run([sys.executable, "-m", "lib.book", *words], cwd=tmp_path, env=env, capture_output=True,
                              text=True)
    made = book("new", "guarantees", "eleventh-chapter")
    assert made.returncode == 0 and len(made.stdout.splitlines()) == 3, made.stderr
    assert "exists already" in book("new", "guarantees", "eleventh-chapter").stderr
    built = book("build")
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "_build/html/book/guarantees/eleventh-chapter.html").read_text()
    assert "C2 holds" in page and "pending(full)" in page
    fresh = book("refresh")
    assert fresh.returncode == 0 and "C1: not declared -&gt; holds".replace("&gt;", ">") in fresh.stdout
    out = subprocess.run([sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--nbval-current-env", "tests/reference",
                          "tests/papers/test_eleventh_chapter.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr


@pytest.mark.parametrize("part, slug, word", [("cooking", "soup", "no part"), ("dynamics", "Soup", "no slug")])
def test_wrong_names_are_refused(mini, part, slug, word):
    with pytest.raises(scaffold.ScaffoldError, match=word):
        scaffold.create(part, slug)


# The two chapters that cost least at reduced size; `python -m lib.book deep` sends all of them through the pipe.
@pytest.mark.parametrize("slug", ["multiplicative-networks", "sparse-rademacher"])
def test_the_plain_pipe_of_jupytext_and_papermill(slug, tmp_path):
    wrong = deep.plain_pipe(next(p for p in chapters() if p.slug == slug), tmp_path)
    assert not wrong, "\n".join(wrong)


def test_plain_jupyter_book_and_a_prose_edit_executes_nothing(mini):
    """``jupyter-book build .`` on a clean tree runs what is missing; then only pages whose joined result changed are read."""
    for name in ("_config.yml", "book/_static", "book/references.bib", "book/index.md", "book/ledger.md"):
        target = mini / name
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    toc = "format: jb-book\nroot: book/index\nchapters:\n- file: book/part/mini\n- file: book/ledger\n"
    (mini / "_toc.yml").write_text(toc)
    command = ["jupyter-book", "build", ".", "-W", "-n", "--keep-going"]

    def build():
        return subprocess.run(command, cwd=mini, env=environment(BOOK_ROOT=str(mini)), capture_output=True, text=True)
    first = build()
    assert first.returncode == 0 and "2 of 2 chapter results" in first.stdout, first.stdout + first.stderr
    page = mini / "book" / "part" / "mini.md"
    page.write_text(page.read_text().replace("The experiment draws normal numbers.", "Other prose."))
    second = build()
    assert second.returncode == 0 and "chapter results to make" not in second.stdout
    assert "Other prose." in (mini / "_build/html/book/part/mini.html").read_text()
    page.write_text(page.read_text().replace("claims.judge(\"C1\", mean=E1.x)", "1 / 0"))
    third = build()
    said = third.stderr.strip().splitlines()[-1]
    assert third.returncode != 0 and "failed in cell `judge`" in said and "ZeroDivisionError" in said
    assert "Other prose." in (mini / "_build/html/book/part/mini.html").read_text()


def test_the_wheel_holds_all_of_lib(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
                          "-w", str(tmp_path), str(source)], env=environment(), capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as z:
        names = {n for n in z.namelist() if n.startswith("lib/")}
        z.extractall(tmp_path / "site")
    here = {f.relative_to(ROOT).as_posix() for f in (ROOT / "lib").rglob("*.py")} | {"lib/book/template.md"}
    assert names == here
    code = ("from lib.papers import probabilistic_stability as ps; import lib; print(lib.__file__, "
            "round(float(ps.thresholds(ps.squared_gaussian(1)).prob_edge), 4))")
    out = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = [{str(tmp_path / 'site')!r}]; "
                          f"import site; site.main(); {code}"], cwd=tmp_path, env=environment(), capture_output=True,
                         text=True)
    assert out.stdout.split() == [str(tmp_path / "site" / "lib" / "__init__.py"), "2.4212"], out.stdout + out.stderr
