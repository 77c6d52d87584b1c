"""Results of chapters: the executed notebook of one chapter at one size, addressed by all that decides it."""

import json
import platform
from dataclasses import dataclass
from pathlib import Path

from lib import evidence, modules, paths
from lib.book.pages import Page
from lib.data import PACKAGES, digest

SIZES = ("reduced", "full")


def constraints() -> Path:
    """Constraints file of the running Python."""
    return paths.home() / "constraints" / f"py{'.'.join(platform.python_version_tuple()[:2])}.txt"


def key(page: Page, size: str) -> str:
    """Address of a chapter's result: code cells, parameters, modules reached, data, records, constraints, versions."""
    reached = [[f.relative_to(modules.LIB.parent).as_posix(), evidence.digest(f.read_bytes())]
               for f in modules.modules_reached(page.code)]
    cells = [[c.name, c.source, c.tags, c.figure] for c in page.cells]
    folder = paths.records(page.slug)
    files = sorted([*folder.glob("*.npz"), *folder.glob("*.json")]) if size == "full" else []
    replayed = [[f.name, evidence.digest(f.read_bytes())] for f in files if f.name != "claims.json"]
    data = {n: digest(n) for n in page.data if n in PACKAGES}
    pins = constraints().read_text() if constraints().is_file() else ""
    return evidence.digest(json.dumps([page.slug, size, cells, reached, replayed, data, pins, evidence.versions()],
                                      sort_keys=True))


@dataclass(frozen=True)
class Result:
    """A chapter's result: ``notebook`` (the executed notebook as JSON) and ``summary`` (claims, experiments, run)."""

    folder: Path

    @property
    def notebook(self) -> dict:
        """The executed notebook."""
        return json.loads((self.folder / "notebook.ipynb").read_text())

    @property
    def summary(self) -> dict:
        """The machine's record of the claims, the experiments and the run."""
        return json.loads((self.folder / "summary.json").read_text())


def folder(page: Page, size: str) -> Path:
    """Where the result of today's page lies, or would lie."""
    return paths.store() / "chapters" / key(page, size)


def find(page: Page, size: str) -> Result | None:
    """The result of today's page, or None where there is none or its files are damaged."""
    found = Result(folder(page, size))
    try:
        blob = (found.folder / "notebook.ipynb").read_bytes()
        return found if evidence.digest(blob) == found.summary["notebook"] else None
    except (OSError, ValueError, KeyError):
        return None


def outputs(notebook: dict):
    """Pairs (cell, output) of an executed notebook."""
    for cell in notebook["cells"]:
        for out in cell.get("outputs", []):
            yield cell, out


def facts(output: dict) -> dict:
    """What the library said to the machine in an output's metadata."""
    return (output.get("metadata") or {}).get("book") or {}
