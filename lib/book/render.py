"""Render the pages beside the HTML that stands, and put the new one in its place when it is whole."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import yaml

from lib import paths
from lib.book import reader
from lib.errors import BookError
from lib.evidence import digest
from lib.modules import LIB

PROGRESS = "book: "  # how the Sphinx extension marks what a waiting reader wants to know
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"  # with lib found in the working folder
SAID = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|Error\b")
RENDERERS = ("jupyter-book", "sphinx", "myst-nb", "myst-parser", "sphinx-book-theme", "plotly", "sphinx-mathjax-offline")


class RenderFailed(BookError):
    """Pages that do not render; the HTML that stood before is untouched."""


def html() -> Path:
    """Folder of the rendered book."""
    return paths.build() / "html"


def contents() -> list[str]:
    """Pages of the table of contents in their order, without suffix, such as ``book/index``.

    Raises RenderFailed where it cannot be read or names what is not there.
    """
    file = paths.home() / "_toc.yml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise RenderFailed(f"_toc.yml cannot be read ({e.strerror}); restore it with git.") from None
    except yaml.YAMLError as e:
        raise RenderFailed(f"_toc.yml is no YAML ({' '.join(str(e).split())}); mend that line.") from None
    if not isinstance(found, dict) or "root" not in found:
        raise RenderFailed("_toc.yml names no `root:`; write `format: jb-book` and `root: book/index` at its top.")
    named = [found["root"], *_named(found)]
    missing = [n for n in named if not any((paths.home() / f"{n}{s}").is_file() for s in ("", ".md", ".ipynb", ".rst"))]
    if missing:
        raise RenderFailed(f"_toc.yml names {', '.join(missing)}, and there is no such page; mend the name, or take the "
                           "entry out.")
    return named


def _named(entry: dict) -> list[str]:
    below = [x for key in ("parts", "chapters", "sections") for x in entry.get(key) or []]
    return ([entry["file"]] if "file" in entry else []) + [name for x in below for name in _named(x)]


def stamp() -> str:
    """All that the rendered book depends on: pages, results, styles, configuration, docstrings, versions."""
    root = paths.home()
    files = [root / "_config.yml", root / "_toc.yml", *sorted((root / "book" / "_static").rglob("*")),
             *sorted(root.glob("book/*.bib")), *sorted(LIB.rglob("*.py"))]
    parts = [f"{f.name} {digest(f.read_bytes())}" for f in files if f.is_file()]
    for page in sorted(root.glob("book/**/*.md")):
        parts += [page.relative_to(root).as_posix(), page.read_text(encoding="utf-8"), reader.stamp(page)]
    return digest(*parts, *(metadata.version(name) for name in RENDERERS))


def render() -> bool:
    """Bring ``_build/html`` up to date; returns False where nothing had changed.

    Raises RenderFailed with what Sphinx said where a page gives a warning.
    """
    contents()
    mark, now = html() / ".rendered", stamp()
    if mark.is_file() and mark.read_text() == now and (html() / "index.html").is_file():
        return False
    work = paths.build() / "render"
    said: list[str] = []
    with subprocess.Popen(
            [sys.executable, "-c", JUPYTER_BOOK, "build", ".", "--path-output", str(work), "-W", "-n", "--keep-going",
             "--quiet"], cwd=paths.home(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "BOOK_ROOT": str(paths.home()), "BOOK_PROGRESS": "1", "PYTHONUNBUFFERED": "1"},
            text=True) as process:
        for line in process.stdout:
            if line.startswith(PROGRESS):
                print(line.removeprefix(PROGRESS), end="", flush=True)
            else:
                said.append(line.rstrip())
    if process.returncode:
        shutil.rmtree(work / "_build" / ".doctrees", ignore_errors=True)  # so that a second build warns again
        told = list(dict.fromkeys(x for x in said if SAID.search(x)))
        print("\n".join(told[-40:] or said[-40:]))
        raise RenderFailed("the pages do not render; each warning above names the page and the line. The HTML of the last "
                           "good build stands as it was.")
    _publish(work / "_build" / "html", now)
    return True


def _publish(new: Path, now: str) -> None:
    """Swap a copy of the new HTML in; the folder that Sphinx works in stays for the next build."""
    beside = Path(tempfile.mkdtemp(prefix=".html-", dir=paths.build()))
    try:
        shutil.copytree(new, beside / "html")
        (beside / "html" / ".rendered").write_text(now)
        if html().exists():
            os.replace(html(), beside / "old")
        os.replace(beside / "html", html())
    finally:
        shutil.rmtree(beside, ignore_errors=True)

