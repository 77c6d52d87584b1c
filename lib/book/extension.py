"""Sphinx extension of the book: what to read again, offline assets, notebooks to download."""

import base64
import hashlib
import html
import os
import re
import shutil
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes

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


def _without_thebe(app, config):
    """Take out Thebe, which Jupyter Book always adds: it would declare its address on the net twice on every page."""
    for listeners in app.events.listeners.values():
        listeners[:] = [x for x in listeners if x.handler.__module__ != "sphinx_thebe"]
    app.registry.css_files[:] = [x for x in app.registry.css_files if x[0] != "sphinx-thebe.css"]


def _lazily(app, pagename, templatename, context, doctree):
    """Load a picture when it comes near the screen."""
    if "body" in context:
        context["body"] = re.sub(r"<img (?![^>]*loading=)", '<img loading="lazy" ', context["body"])


def _symbols(app, doctree):
    """Name the rows of a page's tables of symbols, and remember what each symbol means and is called in code."""
    tables = [t for t in doctree.findall(nodes.table) if next(t.findall(nodes.entry)).astext() == "symbol"]
    rows = [r for t in tables for body in t.findall(nodes.tbody) for r in body.findall(nodes.row)]
    found = []
    for k, row in enumerate(rows):
        row["ids"].append(f"symbol-{k}")
        words = re.split("[,;]", row.children[1].astext()) + [x.astext() for x in row.children[2].findall(nodes.literal)]
        found += [(w, f"symbol-{k}", "main") for w in dict.fromkeys(w.strip().lower() for w in words) if w]
    app.env.book_symbols = {**getattr(app.env, "book_symbols", {}), app.env.docname: found}


def _searchable(app):
    """Let the search lead to symbols. Sphinx forgets the entries of pages that it does not write again, so all are told anew,
    when the pages stand and before the search index is written."""
    entries = app.builder.indexer._index_entries
    for docname in app.env.found_docs:
        entries[docname] = sorted({*entries.get(docname, ()), *getattr(app.env, "book_symbols", {}).get(docname, ())})
    return ()


SCRIPT = re.compile(r"<script\b(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>(.*?)</script>", re.DOTALL)
HANDLER = re.compile(r'<[^>]+\son[a-z]+="([^"]*)"')
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def with_policy(page: str) -> str:
    """A rendered page that lets no script run but those that it came with, and asks nothing of the network.

    Scripts within the page are named by their hash, files by ``file:`` (opened from disk) or ``'self'`` (served). Styles stay
    open: MathJax and Plotly set them as they draw.
    """
    page = POLICY.sub("", page)
    texts = [*SCRIPT.findall(page), *map(html.unescape, HANDLER.findall(page))]
    hashes = sorted({f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in texts})
    rules = {"default-src": ["'none'"], "script-src": ["'self'", "file:", "'unsafe-hashes'", *hashes],
             "style-src": ["'self'", "file:", "'unsafe-inline'"], "img-src": ["'self'", "file:", "data:", "blob:"],
             "font-src": ["'self'", "file:", "data:"], "base-uri": ["'none'"], "form-action": ["'self'", "file:"]}
    policy = "; ".join(" ".join([name, *sources]) for name, sources in rules.items())
    head = '<meta charset="utf-8" />'
    return page.replace(head, f'{head}<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)


def _policies(app, exception):
    """Write the policy into every page, once all pages stand."""
    for file in Path(app.outdir).rglob("*.html") if exception is None and app.builder.name == "html" else ():
        before = file.read_text(encoding="utf-8")
        after = with_policy(before)
        if after != before:
            file.write_text(after, encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.set_html_assets_policy("always")  # generated tables hold mathematics that Sphinx does not see
    app.connect("config-inited", _assets)
    app.connect("config-inited", _without_thebe)
    app.connect("env-get-outdated", _outdated)
    app.connect("env-before-read-docs", _reading)
    app.connect("source-read", _read)
    app.connect("doctree-resolved", _writing)
    app.connect("doctree-read", _symbols)
    app.connect("html-collect-pages", _searchable)
    app.connect("html-page-context", _downloads, priority=400)
    app.connect("html-page-context", _lazily)
    app.connect("build-finished", _policies)
    return {"version": "1", "env_version": 2, "parallel_read_safe": False, "parallel_write_safe": True}
