"""One job: execute one chapter at one size with papermill and keep the result, if it is good.

Runs as a process of its own (``python -m lib.book.job <slug> <size>``). It ends with exit code 0, or prints one
sentence and ends with 1; a result that failed is never kept.
"""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from lib.book import results
from lib.book.pages import Page, chapter
from lib.errors import BookError
from lib.evidence import to_bytes, write_folder

TIMEOUT = {"reduced": 600, "full": 1200}


class ChapterFailed(BookError):
    """A chapter did not run to its end, or its result lacks what the page declares."""


def notebook_of(page: Page):
    """The page as a notebook without outputs."""
    import jupytext
    return jupytext.reads(page.text, fmt="md:myst")


def execute(page: Page, size: str, seed: int = 0) -> dict:
    """Executed notebook of a page, as JSON. Raises ChapterFailed with chapter, cell, line and exception."""
    import jupytext
    import nbformat
    import papermill
    work = Path(tempfile.mkdtemp(prefix="book-"))
    try:
        jupytext.write(notebook_of(page), work / "in.ipynb")
        try:
            papermill.execute_notebook(work / "in.ipynb", work / "out.ipynb", parameters={"size": size, "seed": seed},
                                       kernel_name="python3", cwd=page.path.parent, progress_bar=False,
                                       log_output=False, execution_timeout=TIMEOUT[size], start_timeout=120)
        except Exception as e:
            raise failure(page, size, work / "out.ipynb", e) from None
        return nbformat.read(work / "out.ipynb", as_version=4)  # joins the lines that the file holds as lists
    finally:
        shutil.rmtree(work, ignore_errors=True)


def failure(page: Page, size: str, out: Path, error: Exception) -> ChapterFailed:
    """Where and why a chapter failed, in one sentence."""
    lines = {c.name: c.line for c in page.cells}
    if out.is_file():
        for cell, output in results.outputs(json.loads(out.read_text())):
            if output.get("output_type") == "error":
                name = cell["metadata"].get("name", "?")
                trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.get("traceback", [])))
                at = re.findall(r"Cell In\[\d+\], line (\d+)", trace)
                line = lines.get(name, 1) + (int(at[0]) - 1 if at else 0)
                return ChapterFailed(f"{page.slug} ({size}) failed in cell `{name}`, {page.relative} line {line}: "
                                     f"{output['ename']}: {' '.join(output['evalue'].split())}")
    first = str(error).strip().splitlines()[:1]
    return ChapterFailed(f"{page.slug} ({size}) failed: {type(error).__name__}: {' '.join(first)}")


def summary(page: Page, size: str, notebook: dict) -> dict:
    """The machine's record in an executed notebook; raises ChapterFailed where something declared is missing."""
    reports = [f for _, o in results.outputs(notebook) if (f := results.facts(o)).get("kind") == "report"]
    if len(reports) != 1:
        raise ChapterFailed(f"{page.slug} ({size}) shows {len(reports)} claim reports; call claims.report() once.")
    judged = [f["id"] for _, o in results.outputs(notebook) if (f := results.facts(o)).get("kind") == "verdict"]
    twice = sorted({i for i in judged if judged.count(i) > 1})
    if twice:
        raise ChapterFailed(f"{page.slug} ({size}): {', '.join(twice)} is judged twice; judge each claim once.")
    shown = {}
    for cell, out in results.outputs(notebook):
        kind = results.facts(out).get("kind")
        if kind in ("figure", "pending"):
            shown.setdefault(cell["metadata"].get("name"), []).append(kind)
    for cell in page.cells:
        if cell.figure and not shown.get(cell.name):
            raise ChapterFailed(f"{page.slug} ({size}): cell `{cell.name}`, {page.relative} line {cell.line}, declares "
                                f"the figure {cell.figure} and shows none; call figures.display in it.")
        if not cell.figure and "figure" in shown.get(cell.name, []):
            raise ChapterFailed(f"{page.slug} ({size}): cell `{cell.name}`, {page.relative} line {cell.line}, shows a "
                                "figure and declares none; give it mystnb: figure: caption and name.")
    figures = sum("figure" in kinds for kinds in shown.values())
    return {**reports[0], "title": page.title, "page": page.relative, "figures": figures}


def run(slug: str, size: str) -> None:
    """Execute, check and keep one chapter at one size."""
    from filelock import FileLock
    page = chapter(slug)
    place = results.folder(page, size)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.parent / f".{place.name[:16]}.lock"):
        if results.find(page, size):
            return
        shutil.rmtree(place, ignore_errors=True)
        notebook = execute(page, size)
        facts = summary(page, size, notebook)
        if facts["run"]["shrink"] != 1:
            raise ChapterFailed(f"{slug} ({size}) ran shrunk; take the shrink argument out of Run(...) on the page.")
        if results.folder(chapter(slug), size) != place:
            raise ChapterFailed(f"{slug} ({size}) changed while it ran, so its result belongs to no text; run it again.")
        write_folder(place, {"notebook.ipynb": to_bytes(notebook), "summary.json": to_bytes(facts)})


def main() -> int:
    """Entry of the process."""
    os.environ.setdefault("BOOK_MODE", "replay")
    try:
        run(*sys.argv[1:3])
    except (BookError, OSError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
