"""Record evidence of the full size: with ``same``, the only writer of ``book/records``.

No kernel and no Jupyter package is needed. Of the page only those top-level statements run that the wanted experiments
depend on, so that a full run may be assembled from several sittings and machines.
"""

import ast
import os
import re

from lib import evidence
from lib import run as lib_run
from lib.book.pages import Page
from lib.errors import BookError
from lib.evidence import Evidence
from lib.pending import Absent, AbsentError
from lib.run import Call
from lib.source import Statement, statements


class RecordError(BookError):
    """An experiment that cannot be recorded."""


def experiments(page: Page) -> dict[str, Statement]:
    """Experiments of a page: id -> the statement that runs it."""
    out = {}
    for s in (s for c in page.cells for s in statements(c.source)):
        for n in ast.walk(s.node):
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "experiment":
                if not (n.args and isinstance(n.args[0], ast.Constant) and isinstance(s.node, ast.Assign)):
                    raise RecordError(f"{page.slug}: write experiments as `E1 = run.experiment(\"E1\", ...)`, "
                                      "with the id as a literal.")
                if n.args[0].value in out:
                    raise RecordError(f"{page.slug}: two experiments are called {n.args[0].value}.")
                out[n.args[0].value] = s
    return out


def plan(page: Page, ids: list[str]) -> list[tuple[Statement, int]]:
    """Statements that the wanted experiments depend on, in the page's order, with their lines in the page."""
    every = [(s, c.line + s.node.lineno - 1) for c in page.cells for s in statements(c.source)]
    known = experiments(page)
    unknown = sorted(set(ids) - known.keys())
    if unknown:
        raise RecordError(f"{page.slug} has no experiment {', '.join(unknown)}; it has {', '.join(known)}.")
    wanted = {i for i, (s, _) in enumerate(every) if any(known[d].text == s.text for d in ids)}
    todo = list(wanted)
    while todo:
        i = todo.pop()
        for name in every[i][0].reads:
            for j, (s, _) in enumerate(every):
                if j not in wanted and (name in s.binds or name in s.changes) and (j < i or _is_definition(s)):
                    wanted.add(j)
                    todo.append(j)
    return [every[i] for i in sorted(wanted)]


def _is_definition(s: Statement) -> bool:
    return isinstance(s.node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _is_parameter(s: Statement) -> bool:
    return isinstance(s.node, ast.Assign) and bool(s.binds) and s.binds <= {"size", "seed", "device"} \
        and not re.search(r"\bRun\b", s.text)


def calls(page: Page, ids: list[str], device: str = "auto", seed: int = 0, evidence_of=None) -> dict[str, Call | None]:
    """What the wanted experiments would compute at full size; None for one that waits for the evidence of another.

    ``evidence_of(call)`` gives the evidence that later experiments see of an earlier one, or None where there is none: by
    default what is in the store or in a fresh record.
    """
    evidence_of = evidence_of or (lambda call: call.join(found) if all(found := call.found()) else None)
    known = {s.text: id for id, s in experiments(page).items()}
    namespace = {"__name__": "__main__", "size": "full", "seed": seed, "device": device}
    out: dict[str, Call | None] = {}
    cells = [c.source for c in page.cells]
    ends = [c.line + c.source.count("\n") for c in page.cells]
    for s, line in plan(page, ids):
        if _is_parameter(s):
            continue
        upto = next(i for i, end in enumerate(ends) if line <= end)
        with lib_run.executing(cells[:upto + 1]):
            try:
                if s.text in known:
                    out[known[s.text]] = call = _evaluated(page, s, line, namespace)
                    made = evidence_of(call)
                    namespace.update(dict.fromkeys(s.binds, Absent(frozenset({known[s.text]})) if made is None else made))
                    continue
                tree = ast.increment_lineno(ast.parse(s.text), line - 1)
                exec(compile(tree, str(page.path), "exec"), namespace)  # the page's own code, as a kernel would run it
            except AbsentError:
                needs = [object.__getattribute__(namespace[n], "_needs") for n in s.reads if type(namespace.get(n)) is Absent]
                namespace.update(dict.fromkeys(s.binds, Absent(frozenset().union(*needs))))
                if s.text in known:
                    out[known[s.text]] = None
    return {id: out[id] for id in ids}


def _evaluated(page: Page, s: Statement, line: int, namespace: dict) -> Call:
    """``run.experiment(id, fn, **params)`` evaluated as ``run.call(id, fn, **params)``."""
    call = ast.increment_lineno(ast.parse(s.text), line - 1).body[0].value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "experiment"):
        raise RecordError(f"{page.slug}: write experiments as `E1 = run.experiment(\"E1\", ...)`, with nothing around them.")
    call.func.attr = "call"
    return eval(compile(ast.Expression(call), str(page.path), "eval"), namespace)


def is_fresh(call: Call) -> bool:
    """True when the committed record is what today's page would make, all its blocks included."""
    try:
        found = evidence.read_record(call.recipe.slug, call.recipe.id, call.recipe)
    except evidence.EvidenceError:
        return False
    return found is not None and not found.stale and len(found.info.get("blocks", [])) == len(call.recipe.blocks)


def record(page: Page, ids: list[str], device: str = "auto", seed: int = 0, force: bool = False) -> list[str]:
    """Compute the wanted experiments at full size in this process and write their records; returns one line each.

    Without ids: every experiment without a fresh record. A fresh record is kept unless ``force``.
    """
    _refuse_shrunk()
    said = []
    for id in ids or list(experiments(page)):
        call = calls(page, [id], device, seed, lambda c, id=id: c.evidence() if c.recipe.id != id else None)[id]
        if not force and is_fresh(call):
            said.append(f"{page.slug} {id}: the record is fresh and kept")
        else:
            found = [None] * len(call.recipe.pieces()) if force else call.found()
            said.append(_written(call.join([piece or call.compute(k) for k, piece in enumerate(found)])))
        print(said[-1], flush=True)
    return said


def _refuse_shrunk() -> None:
    if float(os.environ.get("BOOK_SHRINK", 1)) != 1:
        raise RecordError("shrunk evidence cannot be recorded; unset BOOK_SHRINK.")


def _written(made: Evidence) -> str:
    file = evidence.write_record(made)
    blocks = f" in {len(made.info['blocks'])} blocks" if made.info.get("blocks") else ""
    return (f"{made.info['recipe']['slug']} {made.id}: recorded on {made.info['device']}{blocks}, "
            f"{made.info['seconds']:.0f} s of computing, {file.with_suffix('.npz').stat().st_size} bytes")
