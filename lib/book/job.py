"""One job: execute one chapter with papermill, at the sizes that are wanted, and keep each result that is good.

Runs as a process of its own (``python -m lib.book.job <slug> <size> ...``), and all sizes in one kernel, so that imports
are paid and derivations are checked once. It ends with exit code 0, or prints one sentence a fault and ends with 1; a
result that failed is never kept. It ends with whoever started it.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from lib.book import results
from lib.book.pages import Page, chapter
from lib.book.tether import end_with_parent
from lib.errors import BookError
from lib.evidence import digest, to_bytes, write_folder

TIMEOUT = {"reduced": 600, "full": 1200}
RESET = "get_ipython().reset(new_session=True)"
OUTSIDE = re.compile(r"""<(?:script|img|iframe|link|object|embed|video|audio|source)\b[^>]*?\s(?:src|href|data)\s*=\s*["']?"""
                     r"""(?:https?:)?//""", re.I)
SCRIPT = re.compile(r"""<script\b(?![^>]*type=["']application/json["'])|<iframe\b|javascript:|<[a-z][^>]*\son[a-z]+\s*=""",
                    re.I)


class ChapterFailed(BookError):
    """A chapter did not run to its end, or its result lacks what the page declares."""


def notebook_of(page: Page):
    """The page as a notebook without outputs."""
    import jupytext
    return jupytext.reads(page.text, fmt="md:myst")


@contextmanager
def kernel():
    """A kernel that several executions share; it is started by the first of them and killed at the end."""
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_core.utils import run_sync
    manager = AsyncKernelManager(kernel_name="python3")
    try:
        yield manager
    finally:
        if manager.has_kernel:
            run_sync(manager.shutdown_kernel)(now=True)


def execute(page: Page, size: str, seed: int = 0, shared=None) -> dict:
    """Executed notebook of a page, as JSON. Raises ChapterFailed with chapter, cell, line and exception.

    ``shared`` is a manager of :func:`kernel`; what an earlier execution left in its namespace is removed first.
    """
    import jupytext
    import nbformat
    import papermill
    work = Path(tempfile.mkdtemp(prefix="book-"))
    notebook = notebook_of(page)
    if shared is not None:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(RESET, metadata={"name": "reset"}))
    given = {} if shared is None else {"km": shared}
    try:
        jupytext.write(notebook, work / "in.ipynb")
        try:
            papermill.execute_notebook(work / "in.ipynb", work / "out.ipynb", parameters={"size": size, "seed": seed},
                                       kernel_name="python3", cwd=page.path.parent, progress_bar=False,
                                       log_output=False, execution_timeout=TIMEOUT[size], start_timeout=120, **given)
        except Exception as e:
            raise failure(page, size, work / "out.ipynb", e) from None
        out = nbformat.read(work / "out.ipynb", as_version=4)  # joins the lines that the file holds as lists
        out.cells = [c for c in out.cells if c.metadata.get("name") != "reset"]
        return out
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


def foreign(output: dict) -> str:
    """What an output would bring into the page that does not belong there, in words, or the empty string."""
    data = output.get("data") or {}
    if {"application/javascript", "text/javascript"} & data.keys():
        return "a script"
    markup = "".join("".join(data.get(kind, "")) for kind in ("text/html", "image/svg+xml", "text/markdown"))
    if OUTSIDE.search(markup):
        return "something that is loaded from elsewhere"
    return "a script" if SCRIPT.search(markup) else ""


def summary(page: Page, size: str, notebook: dict) -> dict:
    """The machine's record in an executed notebook; raises ChapterFailed where something declared is missing."""
    lines = {c.name: c.line for c in page.cells}
    for cell, out in results.outputs(notebook):
        if what := foreign(out):
            name = cell["metadata"].get("name", "?")
            raise ChapterFailed(f"{page.slug} ({size}): cell `{name}`, {page.relative} line {lines.get(name, 1)}, displays "
                                f"{what}, which a page read offline must not hold; display a figure or a table of lib.")
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


def run(slug: str, sizes: list[str]) -> list[str]:
    """Execute, check and keep one chapter at the wanted sizes; returns one sentence a fault."""
    faults = []
    with kernel() as shared:
        end_with_parent(lambda: _killed(shared))
        for size in sizes:
            try:
                _one(slug, size, shared)
            except BookError as e:
                faults.append(f"{type(e).__name__}: {e}")
    first = faults[0].replace(f"({sizes[0]})", "({})") if faults else ""
    if len(faults) > 1 and all(f.replace(f"({s})", "({})") == first for f, s in zip(faults, sizes)):
        return [first.replace("({})", f"({' and '.join(sizes)})")]  # said once
    return faults


def _one(slug: str, size: str, shared) -> None:
    from filelock import FileLock
    page = chapter(slug)
    place = results.folder(page, size)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.parent / f".{place.name[:16]}.lock"):
        if results.find(page, size):
            return
        shutil.rmtree(place, ignore_errors=True)
        notebook = execute(page, size, shared=shared)
        facts = summary(page, size, notebook)
        if facts["run"]["shrink"] != 1:
            raise ChapterFailed(f"{slug} ({size}) ran shrunk; take the shrink argument out of Run(...) on the page.")
        if results.folder(chapter(slug), size) != place:
            raise ChapterFailed(f"{slug} ({size}) changed while it ran, so its result belongs to no text; run it again.")
        blob = to_bytes(notebook)
        write_folder(place, {"notebook.ipynb": blob, "summary.json": to_bytes({**facts, "notebook": digest(blob)})})


def _killed(shared) -> None:
    """Kill the kernel, which would go on by itself."""
    if shared.has_kernel and getattr(shared.provisioner, "pid", None):
        os.kill(shared.provisioner.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


def main() -> int:
    """Entry of the process."""
    os.environ.setdefault("BOOK_MODE", "replay")
    try:
        faults = run(sys.argv[1], sys.argv[2:])
    except (BookError, OSError) as e:
        faults = [f"{type(e).__name__}: {e}"]
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
