"""Packs for a course: notebooks without any solution for students, with them for instructors."""

import re
import zipfile
from pathlib import Path

from lib import paths
from lib.book.pages import Page
from lib.errors import BookError

SOLUTION = re.compile(r"(?ms)^(?P<fence>:{3,}|`{3,})\{solution(?:-start)?\}.*?^(?P=fence)[ \t]*$\n?")


class LeakError(BookError):
    """A student pack would hold a solution."""


def without_solutions(text: str) -> str:
    """A page without its solution blocks and without the code cells tagged ``solution``."""
    text = SOLUTION.sub("", text)
    if "{solution" in text:
        raise LeakError("a solution block is not closed with its own fence; close it so that it can be taken out.")
    return text


def notebook(page: Page, solutions: bool):
    """The page as a notebook without outputs, for students or instructors."""
    import jupytext
    nb = jupytext.reads(page.text if solutions else without_solutions(page.text), fmt="md:myst")
    if not solutions:
        nb.cells = [c for c in nb.cells if "solution" not in c.metadata.get("tags", [])]
    return nb


def packs(pages: list[Page]) -> list[Path]:
    """Write ``_build/teach/{student,instructor}.zip``; returns their paths."""
    import jupytext
    folder = paths.build() / "teach"
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for who in ("student", "instructor"):
        target = folder / f"{who}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as z:
            for page in pages:
                z.writestr(f"{page.slug}.ipynb", jupytext.writes(notebook(page, who == "instructor"), fmt="ipynb"))
        out.append(target)
    return out
