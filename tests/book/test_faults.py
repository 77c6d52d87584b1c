"""Faults that people meet: each ends in one sentence that names the remedy, and nothing good is lost."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.book import job, ledger, reference, render, results, runner
from lib.book.pages import PageError, chapter, chapters, scan, survey
from lib.errors import BookError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(mini):
    """The mini book with all that rendering needs."""
    for name in ("_config.yml", "book/_static", "book/references.bib", "book/index.md"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, mini / name)
    return mini


def book(verb, root, **more):
    """The result of a verb on a book."""
    env = {k: v for k, v in os.environ.items() if k != "CI"} | {"BOOK_ROOT": str(root), **more}
    return subprocess.run([sys.executable, "-m", "lib.book", verb], cwd=ROOT, env=env, capture_output=True, text=True)


def beside(mini, old="1 / 1", new="1 / 1", slug="other"):
    """A second chapter beside the first."""
    text = (mini / "book" / "part" / "mini.md").read_text().replace('Run("mini"', f'Run("{slug}"')
    (mini / "book" / "part" / f"{slug}.md").write_text(text.replace(old, new))


def test_a_syntax_error_stops_its_own_chapter_and_the_book_and_no_other_chapter(mini):
    beside(mini, "def draw(seeds):", "def draw(seeds:")
    good, faults = survey()
    assert [p.slug for p in good] == ["mini"] and len(faults) == 1
    line = (mini / "book" / "part" / "other.md").read_text().splitlines().index("def draw(seeds:") + 1
    assert re.fullmatch(rf"other.md line {line}: cell `experiment` is no Python: .*; mend the cell.", str(faults[0]))
    with pytest.raises(PageError, match="other.md"):
        chapters()
    assert chapter("mini").slug == "mini"
    said = book("build", mini)
    assert said.returncode == 1 and said.stderr.count("other.md") == 1 and "Traceback" not in said.stderr
    assert results.find(chapter("mini"), "reduced")


def test_the_same_fault_at_both_sizes_is_said_once(mini, edit):
    edit("claims.judge(\"C1\", mean=E1.x)", "1 / 0")
    with pytest.raises(runner.BuildFailed) as e:
        runner.update(chapters())
    assert str(e.value).count("ZeroDivisionError") == 1 and "(reduced and full)" in str(e.value)


@pytest.mark.parametrize("text, word", [
    ("```{code-cell} ipython3\n---\nname: a\n", "do not end"), ("```{code-cell} ipython3\n:name: a\n\n1\n", "does not end"),
    ("```{code-cell} ipython3\n:name: [a\n\n1\n```\n", "no YAML")])
def test_unfinished_cells_are_named_by_their_line(text, word):
    with pytest.raises(PageError, match=rf"^line \d: .*{word}"):
        scan(text)


@pytest.mark.parametrize("blob", ["{", "[]", "null", "{}"])
def test_damaged_references_and_verdicts_name_their_file(mini, blob):
    runner.update(chapters())
    reference.refresh(chapter("mini"))
    for file, read in ((reference.file("mini"), lambda: reference.read("mini")),
                       (mini / "book/records/mini/claims.json", lambda: reference.full_claims("mini"))):
        good = file.read_text()
        file.write_text(blob)
        with pytest.raises(reference.ReferenceError, match=rf"{file.name} is damaged .*restore it with git"):
            read()
        with pytest.raises(reference.ReferenceError, match="damaged"):
            ledger.collect()
        file.write_text(good)


def test_the_ledger_notices_a_damaged_and_a_missing_record(mini, recorded):
    recorded()
    runner.update(chapters())
    reference.refresh(chapter("mini"))
    assert ledger.collect()["chapters"][0]["claims"][0]["full"]["verdict"] == "holds"
    file = mini / "book" / "records" / "mini" / "E1.npz"
    blob = file.read_bytes()
    file.write_bytes(blob[:-9])
    with pytest.raises(BookError, match="record mini/E1 is damaged.*restore it with git"):
        ledger.collect()
    file.unlink()
    (file.parent / "E1.json").unlink()
    with pytest.raises(BookError, match="record mini/E1 is missing"):
        ledger.collect()


def test_a_file_in_the_place_of_the_build_folder(mini):
    (mini / "_build").write_text("mine")
    said = book("build", mini)
    assert said.returncode == 1 and "is a file" in said.stderr and len(said.stderr.strip().splitlines()) == 1
    assert (mini / "_build").read_text() == "mine"


@pytest.mark.parametrize("toc, word", [
    ("root: [", "no YAML"), ("format: jb-book\n", "names no `root:`"),
    ("format: jb-book\nroot: book/part/mini\nparts:\n- caption: A\n  chapters:\n  - file: book/part/nowhere\n",
     "names book/part/nowhere")])
def test_a_bad_table_of_contents_is_named(mini, toc, word):
    (mini / "_toc.yml").write_text(toc)
    with pytest.raises(render.RenderFailed, match=word):
        render.contents()


@pytest.mark.parametrize("markup, word", [
    ("<script>alert(1)</script>", "a script"), ("<script src='https://x.org/a.js'></script>", "loaded from elsewhere"),
    ("<img alt='' src=\"//x.org/a.png\">", "loaded from elsewhere"), ("<p onclick='a()'>x</p>", "a script"),
    ("<iframe srcdoc='x'></iframe>", "a script"), ("<a href='https://x.org'>a link</a>", ""),
    ("<script type=\"application/json\">{}</script>", ""), ("<p>1 on=2 and javascript</p>", "")])
def test_scripts_and_things_from_elsewhere_are_refused_in_outputs(markup, word):
    assert word in job.foreign({"data": {"text/html": markup}}) if word else not job.foreign({"data": {"text/html": markup}})
    assert job.foreign({"data": {"application/javascript": "1"}}) == "a script"


def test_a_cell_that_displays_a_script_fails_its_chapter(mini, edit):
    edit("claims.judge(", "from IPython.display import HTML, display\ndisplay(HTML('<script>1</script>'))\nclaims.judge(")
    with pytest.raises(runner.BuildFailed, match="cell `judge`, book/part/mini.md line .* displays a script"):
        runner.update(chapters(), ("reduced",))


def test_a_failed_render_keeps_the_good_pages_and_names_the_line(site, edit):
    (site / "_toc.yml").write_text("format: jb-book\nroot: book/part/mini\n")
    first = book("build", site)
    assert first.returncode == 0 and "pages rendered" in first.stdout and "reading page 1 of" in first.stdout, first.stdout
    again = book("build", site)
    assert again.returncode == 0 and "pages up to date" in again.stdout
    page = site / "_build/html/book/part/mini.html"
    good = page.read_text()
    edit("The experiment draws normal numbers.", "The experiment draws numbers.\nSee {ref}`nowhere`.")
    line = (site / "book/part/mini.md").read_text().splitlines().index("The experiment draws numbers.") + 1
    failed = book("build", site)
    assert failed.returncode == 1 and re.search(rf"mini.md:({line}|{line + 1}):? WARNING", failed.stdout), failed.stdout
    assert len(failed.stderr.strip().splitlines()) == 1 and "stands as it was" in failed.stderr
    assert page.read_text() == good
    edit("See {ref}`nowhere`.", "Nothing else.")
    assert book("build", site).returncode == 0 and "Nothing else." in page.read_text()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_build_leaves_no_job_behind(mini, edit):
    edit("    \"\"\"Shifted", "    import time\n    open(os.environ['MARK'], 'a').write('x')\n    time.sleep(600)\n"
         "    \"\"\"Shifted")
    edit("import numpy as np", "import os\n\nimport numpy as np")
    mark = mini / "mark"
    build = subprocess.Popen([sys.executable, "-m", "lib.book", "run"], cwd=ROOT, stdout=subprocess.DEVNULL,
                             env={**os.environ, "MARK": str(mark)})
    _until(mark.exists)
    build.send_signal(signal.SIGKILL)
    build.wait()
    _until(lambda: not _running(str(mini)))


def _until(true, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)  # between two looks


def _running(root: str) -> list[str]:
    """Processes of a book, by its root in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"BOOK_ROOT={root}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [c for c in found if "lib.book" in c or "ipykernel" in c]


def test_faults_of_the_system_are_one_sentence(mini, monkeypatch, capsys):
    from lib.book import __main__ as entry

    def full(*_):
        """A verb on a full disk."""
        raise OSError(28, "No space left on device", "somewhere")
    monkeypatch.setitem(entry.VERBS, "ledger", full)
    monkeypatch.setattr(sys, "argv", ["book", "ledger"])
    assert entry.main() == 1
    assert "No space left on device (somewhere); make room" in capsys.readouterr().err
    assert issubclass(render.RenderFailed, BookError)
