"""Sphinx extension of the book: what to read again, offline assets, notebooks to download."""

import os
import shutil
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from lib import paths
from lib.book import reader
from lib.book.pages import checked, is_chapter

MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")


def vendor() -> Path:
    """Folder with the scripts that pages load from the book itself, copied from installed packages once."""
    versions = [metadata.version(p) for p in ("sphinx-mathjax-offline", "plotly")]
    final = paths.build() / "vendor" / "-".join(versions)
    if final.is_dir():
        return final
    whole = Path(tempfile.mkdtemp(dir=_made(final.parent)))
    target = whole / "vendor"
    files = metadata.files("sphinx-mathjax-offline") or []
    source = next(Path(f.locate()) for f in files if f.name == MATHJAX[0]).parent
    for name in MATHJAX:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, _made((target / "mathjax" / name).parent) / Path(name).name)
    shutil.copy(Path(find_spec("plotly").origin).parent / "package_data" / "plotly.min.js", target)
    whole.chmod(0o755)
    try:
        os.replace(whole, final)  # it appears whole or not at all
    except OSError:
        shutil.rmtree(whole)
    return final


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _outdated(app, env, added, changed, removed):
    """Pages whose joined result changed since they were read; outputs are no dependency that Sphinx knows."""
    before = getattr(env, "book_stamps", {})
    now = {}
    for doc in env.found_docs:
        path = Path(env.doc2path(doc))
        if path.suffix == ".md":
            now[doc] = reader.stamp(path)
    env.book_stamps = now
    return [doc for doc, s in now.items() if before.get(doc) != s and doc not in added]


def _downloads(app, pagename, templatename, context, doctree):
    """Write the executed notebook beside the page and tell the theme's download button."""
    path = Path(app.srcdir) / f"{pagename}.md"
    if doctree is None or not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    if is_chapter(text):
        target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(reader.download(checked(path, text)), encoding="utf-8")
        context["ipynb_source"] = f"{pagename}.ipynb"


def _reading(app, env, docnames):
    """Tell a waiting reader what is read and how much is left."""
    app.book_todo = [len(docnames), 0]


def _read(app, docname, source):
    total, done = app.book_todo
    app.book_todo[1] += 1
    _say(f"reading page {done + 1} of {total}: {docname}")


def _writing(app, doctree, docname):
    app.book_written = getattr(app, "book_written", 0) + 1
    if app.book_written == 1:
        _say("writing the pages")


def _say(words: str) -> None:
    if os.environ.get("BOOK_PROGRESS"):
        print(f"book: {words}", flush=True)


def _assets(app, config):
    config.html_extra_path = [*config.html_extra_path, str(vendor())]


def setup(app):
    """Register with Sphinx."""
    app.set_html_assets_policy("always")  # generated tables hold mathematics that Sphinx does not see
    app.connect("config-inited", _assets)
    app.connect("env-get-outdated", _outdated)
    app.connect("env-before-read-docs", _reading)
    app.connect("source-read", _read)
    app.connect("doctree-resolved", _writing)
    app.connect("html-page-context", _downloads, priority=400)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}
