"""JupyterLab: settings of this book alone, chapters as notebooks, and files that stay as they were when they are saved."""

import json
import os
import sys
from types import SimpleNamespace

import pytest

from lib.book import __main__ as book
from lib.book.pages import chapters
from lib.errors import BookError

PAGES = {p.slug: p for p in chapters()}
FAKE = """#!/bin/sh
echo "$JUPYTER_CONFIG_PATH" > "$HOME/said"; echo "$@" >> "$HOME/said"
"""


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for JupyterLab is a shell script")
def test_lab_is_told_by_a_folder_of_the_book_and_writes_nothing_of_the_users(tmp_path, monkeypatch):
    for folder in ("home", "bin"):
        (tmp_path / folder).mkdir()
    for name, value in (("HOME", str(tmp_path / "home")), ("JUPYTER_CONFIG_PATH", "/another")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(book.sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(BookError, match=r"JupyterLab is not installed; run `pip install -e .\[lab\]`"):
        book.lab(SimpleNamespace(rest=[]))
    (tmp_path / "bin" / "jupyter-lab").write_text(FAKE)
    (tmp_path / "bin" / "jupyter-lab").chmod(0o755)
    assert book.lab(SimpleNamespace(rest=["--no-browser"])) == 0
    assert [f.name for f in (tmp_path / "home").iterdir()] == ["said"]
    first, second = (tmp_path / "home" / "said").read_text().splitlines()
    assert second == "book --no-browser"
    here, other = first.split(os.pathsep)
    assert other == "/another"
    told = json.loads((book.Path(here) / "labconfig" / "default_setting_overrides.json").read_text())
    assert told == {"@jupyterlab/docmanager-extension:plugin": {
        "defaultViewers": {"markdown": "Jupytext Notebook", "myst": "Jupytext Notebook"}}}


def as_lab_saves(notebook) -> None:
    """What JupyterLab puts into a notebook that was opened, run and saved."""
    from jupyter_client.kernelspec import KernelSpecManager
    spec = KernelSpecManager().get_kernel_spec("python3")
    notebook.metadata["kernelspec"] = {"display_name": spec.display_name, "language": spec.language, "name": "python3"}
    notebook.metadata["language_info"] = {
        "codemirror_mode": {"name": "ipython", "version": 3}, "file_extension": ".py", "mimetype": "text/x-python",
        "name": "python", "nbconvert_exporter": "python", "pygments_lexer": "ipython3", "version": sys.version.split()[0]}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2}}
    for i, c in enumerate(notebook.cells):
        c.id = f"{i:08x}-0000-4000"
        c.metadata["trusted"] = True
        if c.cell_type == "code":
            c.metadata.update({"execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}, "collapsed": False,
                               "ExecuteTime": {"end_time": "2026-01-01"}, "scrolled": True})
            c.execution_count = i
            c.outputs = [{"output_type": "stream", "name": "stdout", "text": "output\n"}]


@pytest.mark.parametrize("slug", PAGES)
def test_a_chapter_that_lab_saves_is_the_same_file(slug):
    import jupytext
    text = PAGES[slug].text
    notebook = jupytext.reads(text, fmt="md:myst")
    as_lab_saves(notebook)
    assert jupytext.writes(notebook, fmt="md:myst") == text
