"""One side of ``same``: the closures of experiments in one tree, and what they return there, with the lines they enter.

Its text is run by ``python -c`` in the root of a tree of the book, so that ``lib`` is that tree's own: it uses nothing of
``lib`` but what every tree since the second edition has.
"""

import json
import sys
import threading
from pathlib import Path

import numpy as np

import lib
from lib import evidence
from lib.book import record
from lib.book.pages import chapter
from lib.errors import BookError
from lib.modules import module_file
from lib.source import PAGE, module_scope, statements

ROOT = Path.cwd().resolve()


def closures(page, ids: list[str], device: str) -> dict:
    """Of each experiment: the recipe at full size, its texts, where its parts stand, what of the record is stale."""
    calls = record.calls(page, ids, device, evidence_of=lambda c: evidence.read_record(page.slug, c.recipe.id))
    out = {}
    for id, call in calls.items():
        recipe = call.recipe
        found = evidence.read_record(page.slug, id, recipe)
        out[id] = {"recipe": recipe.to_json(), "texts": recipe.texts(), "alone": call.alone,
                   "places": [[p.name, p.text, [list(x) for x in p.links], *_place(page, p)] for p in recipe.parts],
                   "stale": ["its record is missing"] if found is None else found.stale or []}
    return out


def _place(page, part) -> tuple[str, int, str]:
    """File of a part below the root, its line there, its lines; line 0 for an import that the walk put into words."""
    if part.where == PAGE:
        every, file = [(s, c.line, c.source) for c in page.cells for s in statements(c.source)], page.path
    else:
        file = module_file(part.where)
        every = [(s, 1, file.read_text()) for s in module_scope(part.where).statements]
    name = file.resolve().relative_to(ROOT).as_posix()
    for s, line, text in reversed(every):
        if s.text == part.text:
            first = _first(s.node)
            return name, line + first - 1, "\n".join(text.splitlines()[first - 1:s.node.end_lineno])
    return name, 0, part.text


def _first(node) -> int:
    return min([node.lineno] + [d.lineno for d in getattr(node, "decorator_list", [])])


class Entered:
    """Lines that were entered within given stretches of files, as (file below the root, line)."""

    def __init__(self, stretches: list[list]):
        self.of: dict[str, list[tuple[int, int]]] = {}
        for file, first, last in stretches:
            self.of.setdefault(str(ROOT / file), []).append((first, last))
        self.lines: set[tuple[str, int]] = set()

    def __enter__(self):
        threading.settrace(self._call)
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(None)
        threading.settrace(None)

    def _call(self, frame, event, argument):
        stretches = self.of.get(frame.f_code.co_filename)
        if not stretches:
            return None
        first, last = frame.f_code.co_firstlineno, max((n for *_, n in frame.f_code.co_lines() if n), default=0)
        return self._line if any(first <= b and last >= a for a, b in stretches) else None

    def _line(self, frame, event, argument):
        file, line = frame.f_code.co_filename, frame.f_lineno
        if any(a <= line <= b for a, b in self.of[file]):
            self.lines.add((Path(file).relative_to(ROOT).as_posix(), line))
        return self._line


def ran(page, id: str, device: str, seed: int, stretches: list[list], only_first: bool) -> tuple[dict, set]:
    """Arrays of all blocks of an experiment (or the first), computed anew, and the lines that it entered."""
    call = record.calls(page, [id], device, seed, lambda c: c.evidence() if c.recipe.id != id else None)[id]
    with Entered(stretches) as entered:
        made = [call.compute(k) for k in range(1 if only_first else len(call.recipe.pieces()))]
    return {f"{k}/{name}": a for k, one in enumerate(made) for name, a in one.items()}, entered.lines


def main() -> None:
    """``closures`` or ``ran`` of one tree; arguments and answer as JSON, arrays as files of the folder that is named."""
    if Path(lib.__file__).resolve().parents[1] != ROOT:
        raise SystemExit(f"lib comes from {Path(lib.__file__).parent}, not from the tree that is to run.")
    given = json.loads(sys.argv[1])
    page, out = chapter(given["slug"]), {"versions": evidence.versions(), "faults": {}}
    if given["what"] == "closures":
        out["closures"] = closures(page, given["ids"], given["device"])
    else:
        out["entered"] = {}
        for id, seed, run in given["runs"]:
            try:
                arrays, lines = ran(page, id, given["device"], seed, given["lines"][id], given["block"])
            except Exception as e:  # said of this experiment; the others go on
                out["faults"][id] = f"{type(e).__name__}: {e}"
                continue
            np.savez(Path(given["folder"]) / f"{id}-{seed}-{run}.npz", **arrays)
            out["entered"][id] = sorted({*map(tuple, out["entered"].get(id, [])), *lines})
    print("said: " + json.dumps(out))


if __name__ == "__main__":
    try:
        main()
    except BookError as e:
        raise SystemExit(f"{type(e).__name__}: {e}") from None
