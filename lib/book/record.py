"""Record evidence of the full size: the only writer of ``book/records``.

No kernel and no Jupyter package is needed. Of the page only those top-level statements run that the wanted experiments
depend on, so that a full run may be assembled from several sittings and machines.
"""

import ast
import os
import re
import time

from lib import evidence
from lib.book.pages import Page
from lib.errors import BookError
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


def record(page: Page, ids: list[str], device: str = "auto", seed: int = 0, force: bool = False) -> list[str]:
    """Compute the wanted experiments at full size and write their records; returns one line each.

    Without ids: every experiment without a fresh record. A fresh record is kept unless ``force``.
    """
    from lib import run as lib_run
    if float(os.environ.get("BOOK_SHRINK", 1)) != 1:
        raise RecordError("shrunk evidence cannot be recorded; unset BOOK_SHRINK.")
    os.environ["BOOK_MODE"] = "compute"
    said = []
    for id in ids or list(experiments(page)):
        steps = plan(page, [id])
        last = experiments(page)[id]
        namespace = {"__name__": "__main__", "size": "full", "seed": seed, "device": device}
        start = time.perf_counter()
        upto = next(i for i, c in enumerate(page.cells) if any(s.text == last.text for s in statements(c.source)))
        with lib_run.executing([c.source for c in page.cells[:upto + 1]]):
            for s, line in steps:
                if _is_parameter(s):
                    continue
                if s.text == last.text:
                    namespace["run"].recording, namespace["run"].anew = True, force
                if s.text == last.text and not force and _fresh(page, id, namespace, s):
                    said.append(f"{page.slug} {id}: the record is fresh and kept")
                    break
                tree = ast.increment_lineno(ast.parse(s.text), line - 1)
                exec(compile(tree, str(page.path), "exec"), namespace)  # the page's own code, as a kernel would run it
            else:
                found = namespace["run"].experiments[id]
                file = evidence.write_record(found)
                said.append(f"{page.slug} {id}: recorded on {found.info['device']} in {found.info['seconds']:.0f} s "
                            f"(sitting {time.perf_counter() - start:.0f} s), {file.with_suffix('.npz').stat().st_size} "
                            "bytes")
        print(said[-1], flush=True)
    return said


def _is_parameter(s: Statement) -> bool:
    return isinstance(s.node, ast.Assign) and bool(s.binds) and s.binds <= {"size", "seed", "device"} \
        and not re.search(r"\bRun\b", s.text)


def _fresh(page: Page, id: str, namespace: dict, s: Statement) -> bool:
    """True when the committed record is what today's statement would make."""
    call = next(n for n in ast.walk(s.node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
                and n.func.attr == "experiment")
    value = eval(compile(ast.Expression(_recipe_call(call)), str(page.path), "eval"), namespace)
    try:
        found = evidence.read_record(page.slug, id, value)
    except evidence.EvidenceError:
        return False
    return found is not None and not found.stale


def _recipe_call(call: ast.Call) -> ast.expr:
    """``run.experiment(id, fn, **params)`` as ``run.recipe(id, fn, **params)``."""
    func = ast.Attribute(call.func.value, "recipe", ast.Load())
    return ast.fix_missing_locations(ast.copy_location(ast.Call(func, call.args, call.keywords), call))
