"""What people take away: the ledger, course packs, a new chapter, the plain tools, a wheel."""

import ast
import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from lib import assertions
from lib.book import deep, front, glossary, ledger, listing, reader, results, scaffold, teach
from lib.book.pages import Page, chapters

ROOT = Path(__file__).parents[2]
SLUGS = [p.slug for p in chapters()]
BIN = Path(sys.executable).parent
READS_A_PACKAGE = "multiplicative-networks"  # the cheapest chapter that does


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


def test_the_headline_counts_pending_and_assertions():
    claims = [{"reduced": {"verdict": "holds", "alpha": 0.001}, "full": None, "null": "owed"}]
    found = {"chapters": [{"claims": claims, "assertions": [{"verdict": "open"}]}]}
    assert ledger.headline(found) == (
        "Of 1 assertion of the papers 1 is open. Of 1 claim in 1 chapter, at reduced size 1 holds; at full size 1 waits for "
        "the full size. "
        "1 claim owes a null. Expected number of wrong statistical verdicts: 0.001.")


def test_counts_are_said_as_a_person_would():
    said = ["pending(full)"] * 3 + ["fails"] + ["holds"] * 17
    assert ledger.in_words(said) == "17 hold, 1 fails, 3 wait for the full size"
    assert ledger.in_words(["open", "in part", "upheld", "upheld"]) == "2 are upheld, 1 is upheld in part, 1 is open"
    assert set(ledger.SAID) == {*ledger.VERDICTS, *assertions.VERDICTS}


def test_a_verdict_is_one_line_for_both_sizes_with_the_number_that_made_it():
    def side(verdict, *said):
        return {"id": "C1", "statement": "it $x$", "criterion": "a above 0", "null": "owed", "verdict": verdict, "said": said}

    def line(box):
        return re.sub(r"<[^>]+>", "", box.partition("<details")[0])
    both = ledger.verdict_box({"reduced": side("holds", "a = 1 (99.9 % interval 0 to 2, n = 8)"),
                               "full": side("holds", "a = 3 (99.9 % interval 2 to 4, n = 9)")})
    assert line(both) == r"C1 holds reduced and full it \(x\) a = 3"
    assert both.count("99.9 % interval") == 2 and "Criterion: a above 0." in both and "null: owed" in both
    differ = ledger.verdict_box({"reduced": side("pending(full)"),
                                 "full": side("fails", "p holds (a = 1)", "q fails (b = 2)")})
    assert line(differ) == r"C1 fails full pending(full) reduced it \(x\) q fails (b = 2)"
    for box in (both, differ, ledger.verdict_box({"reduced": side("holds", "a = 1")})):
        assert 'id="verdict-C1-reduced"' in box and 'id="verdict-C1-full"' in box


def test_the_front_page_has_a_card_a_chapter_and_a_square_an_assertion(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_STORE", str(tmp_path))  # the ledger decides; pictures are left out where nothing has run
    found = ledger.collect()
    text = front.markup(found)
    cards = text.split('<div class="book-card">')[1:]
    assert len(cards) == len(SLUGS) and text.count("book-square book-badge") == \
        sum(len(ch["assertions"]) for ch in found["chapters"]) + len(front.MARKS)
    for chapter, page, card in zip(found["chapters"], chapters(), cards, strict=True):
        assert page.relative.removeprefix("book/").removesuffix(".md") + ".html" in card and front.paper(page) in card
        assert len(front.paper(page)) > 9 and ledger.in_words([ledger.best(c)["verdict"] for c in chapter["claims"]]) in card
    assert ledger.headline(found).partition(".")[0] in text and "\n\n" not in text


def test_the_set_up_stands_behind_one_line_that_is_not_downloaded(mini, edit):
    import jupytext

    def folded():
        notebook = jupytext.reads(chapters()[0].text, fmt="md:myst")
        notebook.cells = reader._folded(notebook.cells)
        return notebook, [c.metadata.get("name") or c.source for c in notebook.cells]
    opens, closes = '<details class="book-setup"><summary>How this page runs</summary>', "</details>"
    notebook, cells = folded()
    assert cells[cells.index(opens):cells.index(closes) + 1] == [opens, "imports", "parameters", "run", closes]
    record = next(i for i, c in enumerate(cells) if c.startswith('<details class="book-setup"><summary>Record'))
    assert cells[record + 1:] == ["report", closes]  # all that this page has of it
    given = [c.metadata.get("name") or c.source for c in reader._named_only(notebook).cells]
    assert given == [c for c in cells if not c.startswith("<details") and c != closes]
    edit("```{code-cell} ipython3\n:name: run", "## A heading that no fold may hide\n\n```{code-cell} ipython3\n:name: run")
    assert opens not in folded()[1]


def test_a_sentence_on_a_claim_does_not_stand_beside_its_box():
    import nbformat

    def out(kind, id):
        return {"output_type": "display_data", "data": {}, "metadata": {"book": {"kind": kind, "id": id}}}
    judged, said = (nbformat.v4.new_code_cell("1", metadata={"name": n}) for n in ("judged", "said"))
    boxed, box = set(), out("verdict", "C1")
    assert reader._unsaid(judged, [box, out("say", "C1")], boxed) == [box] and boxed == {"C1"}
    assert reader._unsaid(said, [out("say", "C1"), out("say", "C2")], boxed) == [out("say", "C2")]
    assert "tags" not in said.metadata
    assert reader._unsaid(said, [out("say", "C1")], boxed) == [] and said.metadata["tags"] == ["remove-cell"]
    assert reader._unsaid(judged, [], boxed) == [] and "tags" not in judged.metadata


def test_a_chapter_opens_with_the_picture_that_stands_for_it(mini, edit, monkeypatch):
    import nbformat
    from PIL import Image

    def figure(name):
        buffer = io.BytesIO()
        Image.new("RGB", (2700, 900), "white").save(buffer, "png")
        out = {"output_type": "display_data", "data": {"image/png": base64.b64encode(buffer.getvalue()).decode()},
               "metadata": {"book": {"kind": "figure", "alt": f"that is {name}"}}}
        return {"metadata": {"name": name}, "outputs": [out]}
    cells = [figure(name) for name in ("no-figure-of-the-page", "one", "two")]
    monkeypatch.setattr(results, "find", lambda page, size: SimpleNamespace(notebook={"cells": cells})
                        if size == "full" else None)
    for tags, name in (("", "one"), ("\ntags: [hero]", "two")):
        figures = "".join(f"""```{{code-cell}} ipython3
---
name: {n}
mystnb:
  figure:
    name: fig-{n}{tags if n == "two" else ""}
---
1
```
""" for n in ("one", "two"))
        page = Page(mini / "book" / "x.md", f"# Title\n\n*Paper* by one.\n\nLead.\n\n{figures}")
        assert front.telling(page)[0] == f"fig-{name}" and f'alt="that is {name}"' in front.thumbnail(page)
        said = front.opening(page, {"assertions": [{"id": "A1", "statement": "it <b>", "verdict": "upheld"}]})
        assert f'<a href="#fig-{name}"><img' in said and '<a href="#assertion-A1" title="it &lt;b&gt;">A1</a>' in said
        width = Image.open(io.BytesIO(base64.b64decode(said.partition("base64,")[2].partition('"')[0]))).width
        assert width == front.HERO
    cell = nbformat.v4.new_markdown_cell
    given = [cell("# Title\n\n*Paper* by one.\n\nLead.\n\nMore.\n\nAll."), cell("next")]
    opened = reader._opened(given, said)
    assert [c.source for c in opened] == ["# Title\n\n*Paper* by one.\n\nLead.", said, "More.\n\nAll.", "next"]
    assert reader._opened(given, "") == given and reader._opened(given[1:], said) == given[1:]
    notebook = nbformat.v4.new_notebook(cells=opened)
    assert said not in [c.source for c in reader._named_only(notebook).cells]


@pytest.mark.parametrize("page", chapters(), ids=SLUGS)
def test_every_experiment_shows_what_it_runs(page):
    """The text of its function stands on the page, or behind a fold below the cell that runs it."""
    written = {n.name for tree in page.trees for n in tree.body if isinstance(n, ast.FunctionDef)}
    for cell, tree in zip(page.cells, page.trees, strict=True):
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "run.experiment"):
            what = ast.unparse(call.args[1])
            found = listing.listings(page, ast.unparse(call))
            assert what in written and not found or f"<code>{what}</code>" in found[0], (cell.name, what)
            assert not found or re.search(r"```python\n(@.*\n)*def \w+\(", found[0])


def test_the_map_of_notions_is_made_from_the_chapters_links():
    text = "```{glossary}\nred & hot\n  Words.\n\ngreen\n  More\n  words.\n\nblue\n  Last.\n```"
    one, two = (SimpleNamespace(slug=s, relative=f"book/part/{s}.md", text=t) for s, t in
                (("one-a", "{term}`red & hot` and {term}`as written <green>`"), ("two", "{term}`green`")))
    found = glossary.notions(text, [one, two])
    assert found.count("●") == 3 and "blue" not in found and found.index("red &amp; hot") < found.index('"row">green')
    assert 'href="part/one-a.html" aria-label="green in one-a"' in found and "green in two" in found
    with pytest.raises(glossary.GlossaryError, match="two links to 'white'"):
        glossary.notions(text, [SimpleNamespace(slug="two", relative="book/x.md", text="{term}`white`")])
    real = glossary.notions((ROOT / "book" / "glossary.md").read_text(encoding="utf-8"), chapters())
    assert all(p.slug in real and f"in {p.slug}" in real for p in chapters())


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
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for page in chapters():
        (tmp_path / page.relative).unlink()
        shutil.rmtree((tmp_path / page.relative).with_name(page.slug.replace("-", "_")))
        (tmp_path / "tests" / "reference" / f"{page.slug}.ipynb").unlink(missing_ok=True)
    toc = (tmp_path / "_toc.yml").read_text().splitlines()
    left = "\n".join(x for x in toc if not any(s in x for s in SLUGS)) + "\n"
    (tmp_path / "_toc.yml").write_text(re.sub(r"  - caption: .*\n    chapters:\n(?!      - )", "", left))  # emptied parts
    env = environment(PYTHONPATH=str(tmp_path), BOOK_ROOT=str(tmp_path))

    def book(*words):
        return subprocess.run([sys.executable, "-m", "lib.book", *words], cwd=tmp_path, env=env, capture_output=True,
                              text=True)
    made = book("new", "guarantees", "eleventh-chapter")
    assert made.returncode == 0 and len(made.stdout.splitlines()) == 5, made.stderr
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
@pytest.mark.parametrize("slug", ["distributed-speculative-inference", "centered-attention"])
def test_the_plain_pipe_of_jupytext_and_papermill(slug, tmp_path):
    wrong = deep.plain_pipe(next(p for p in chapters() if p.slug == slug), tmp_path)
    assert not wrong, "\n".join(wrong)


def test_plain_jupyter_book_and_a_prose_edit_executes_nothing(mini):
    """``jupyter-book build .`` on a clean tree runs what is missing; then only pages whose joined result changed are read."""
    for name in ("_config.yml", "book/_static", "book/references.bib", "book/ledger.md"):
        target = mini / name
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    (mini / "book" / "index.md").write_text("# A mini book\n\n<!-- chapters -->\n")
    toc = "format: jb-book\nroot: book/index\nchapters:\n- file: book/part/mini\n- file: book/ledger\n"
    (mini / "_toc.yml").write_text(toc)
    command = ["jupyter-book", "build", ".", "-W", "-n", "--keep-going"]

    def build():
        return subprocess.run(command, cwd=mini, env=environment(BOOK_ROOT=str(mini)), capture_output=True, text=True)
    first = build()
    assert first.returncode == 0 and "2 of 2 chapter results" in first.stdout, first.stdout + first.stderr
    assert 'class="book-thumb"' in (mini / "_build/html/book/index.html").read_text()
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


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A built wheel, unpacked: ``lib`` and the chapters' code as they are installed, with no checkout around them."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("lib", "book"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    out = subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
                          "-w", str(folder), str(source)], env=environment(), capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as z:
        z.extractall(folder / "site")
    return folder / "site"


def installed(site, home) -> dict:
    """Environment of a reader who has the wheel and an empty cache: no checkout is known or importable."""
    env = environment(PYTHONPATH=str(site), XDG_CACHE_HOME=str(home), MPLBACKEND="agg")
    return {k: v for k, v in env.items() if not k.startswith("BOOK_")}


def test_the_wheel_holds_lib_and_the_chapters_code_and_no_page(site, tmp_path):
    here = {f.relative_to(ROOT).as_posix() for f in [*(ROOT / "lib").rglob("*.*"), *(ROOT / "book").rglob("*.py")]
            if "__pycache__" not in f.parts}
    assert {f.relative_to(site).as_posix() for top in ("lib", "book") for f in (site / top).rglob("*.*")} == here
    assert all(f"book/{p.relative.split('/')[1]}/{p.slug.replace('-', '_')}/experiments.py" in here for p in chapters())
    code = ("from lib.papers import probabilistic_stability as ps; import lib; from lib import data, paths\n"
            "print(lib.__file__, paths.root(), paths.home(), len(data.status()), data.have('kjv'),\n"
            "      round(float(ps.thresholds(ps.squared_gaussian(1)).prob_edge), 4))")
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=installed(site, tmp_path / "cache"),
                         capture_output=True, text=True)
    for verb, code in (("data", 0), ("build", 1), ("record", 1)):
        said = subprocess.run([sys.executable, "-m", "lib.book", verb], cwd=tmp_path, env=installed(site, tmp_path / "cache"),
                              capture_output=True, text=True)
        assert said.returncode == code and ("run it in a clone" in said.stderr) is bool(code), said.stderr
    assert not (tmp_path / "cache").exists()
    home = tmp_path / "cache" / "deep-learning-theory-executed"
    assert out.stdout.split() == [str(site / "lib" / "__init__.py"), "None", str(home), "14", "False", "2.4212"], out.stderr


def test_a_downloaded_chapter_runs_where_only_the_wheel_is_installed(site, tmp_path):
    """The notebook that the site offers, in an empty folder; the data package lies in the reader's cache."""
    import nbformat

    from lib import data
    from lib.book import reader, runner
    page = next(p for p in chapters() if p.slug == READS_A_PACKAGE)
    needed = [name for n in page.data if n in data.PACKAGES for name in data.PACKAGES[n]]
    assert needed
    if not all(map(data.have_package, needed)):
        pytest.skip("data")
    runner.update([page])
    work, home = tmp_path / "work", tmp_path / "cache" / "deep-learning-theory-executed"
    work.mkdir()
    (home / ".data" / "packages").mkdir(parents=True)
    for name in needed:
        shutil.copy(data.find(name), home / ".data" / "packages")
    (work / "chapter.ipynb").write_text(reader.download(page), encoding="utf-8")
    out = subprocess.run([sys.executable, "-m", "papermill", "chapter.ipynb", "out.ipynb", "-p", "size", "reduced",
                          "--no-progress-bar"], cwd=work, env=installed(site, tmp_path / "cache"), capture_output=True,
                         text=True)
    assert out.returncode == 0, out.stderr[-3000:]
    done = nbformat.read(work / "out.ipynb", as_version=4)
    code = [c for c in done.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code if c.source.strip())
    verdicts = {o.metadata["book"]["id"] for c in code for o in c.outputs
                if o.get("metadata", {}).get("book", {}).get("kind") == "verdict"}
    judged = {i for c in page.cells for i in re.findall(r'judge\("(\w+)"', c.source)}
    assert verdicts and verdicts <= judged
    assert list((home / "_build" / "store" / "evidence").iterdir())
    assert sorted(f.name for f in work.iterdir()) == ["chapter.ipynb", "out.ipynb"]


def test_what_lib_and_the_pages_import_comes_with_the_wheel():
    """Each package is a dependency, comes with one, or is named by an extra; ranges agree with requirements.txt."""
    import ast
    import tomllib
    from importlib import metadata

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {}
    for line in project["dependencies"]:
        r = Requirement(line)
        asked.setdefault(canonicalize_name(r.name), r)
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line.strip() and not line.startswith("-"):
            r = Requirement(line)
            assert str(asked.get(canonicalize_name(r.name), r).specifier) == str(r.specifier), line
    todo, coming = [n for n, r in asked.items() if r.marker is None or r.marker.evaluate()], set()
    while todo:
        name = todo.pop()
        if name not in coming:
            coming.add(name)
            try:
                needs = [Requirement(x) for x in metadata.requires(name) or []]
            except metadata.PackageNotFoundError:
                continue
            todo += [canonicalize_name(r.name) for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]
    extras = {canonicalize_name(Requirement(x).name) for group in ("peers", "cluster")
              for x in project["optional-dependencies"][group]}
    texts = [f.read_text() for top in ("lib", "book") for f in (ROOT / top).rglob("*.py")
             if f.relative_to(ROOT).parts[:2] != ("lib", "book")]
    imported = set()
    for tree in map(ast.parse, texts + [p.code for p in chapters()]):
        for n in ast.walk(tree):
            if isinstance(n, ast.Import):
                imported |= {a.name.split(".")[0] for a in n.names}
            elif isinstance(n, ast.ImportFrom) and not n.level:
                imported.add(n.module.split(".")[0])
    named = metadata.packages_distributions()
    foreign = imported - set(sys.stdlib_module_names) - {"lib", "book"}
    assert {"numpy", "sklearn", "transformers", "pywt", "msgpack"} <= foreign
    lacking = {m for m in foreign - {"triton"}  # comes with torch where it has a GPU to compile for
               if not {canonicalize_name(d) for d in named.get(m, [m])} & (coming | extras)}
    assert not lacking
