"""Cells that need evidence which this run does not have.

When the full size is replayed and the record of an experiment is missing, or when an experiment runs at another size
only, each cell that needs it is reduced to its definitions; it shows *pending*, and the claims judged in it are pending.
What such cells would have bound is bound to an :class:`Absent`, which raises on any use, so that a use that the walk
missed fails loudly.
"""

import ast
from collections.abc import Callable

from lib.errors import BookError
from lib.source import statements


class AbsentError(BookError):
    """Use of a result that was never computed."""


class Absent:
    """Stands for a result without evidence. Any use raises AbsentError."""

    def __init__(self, needs: frozenset[str]):
        object.__setattr__(self, "_needs", needs)

    def _refuse(self, *_, **__):
        needs = ", ".join(sorted(object.__getattribute__(self, "_needs")))
        raise AbsentError(f"this run has no evidence of {needs}: it runs at the other size only, or has no record yet "
                          "(`python -m lib.book record` makes one).")

    def __getattribute__(self, name: str):
        if name in ("__class__", "__dict__", "_needs"):
            return object.__getattribute__(self, name)
        return object.__getattribute__(self, "_refuse")()

    __call__ = __iter__ = __len__ = __getitem__ = __bool__ = __float__ = __int__ = __array__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __contains__ = __str__ = __repr__ = __format__ = _refuse
    __hash__ = None


def _experiment(node: ast.stmt) -> tuple[str, str | None] | None:
    """Id and only size of ``X = run.experiment("id", ..., only="full")``."""
    call = getattr(node, "value", None)
    if isinstance(node, ast.Assign) and isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        if call.func.attr == "experiment" and call.args and isinstance(call.args[0], ast.Constant):
            only = next((k.value.value for k in call.keywords if k.arg == "only" and isinstance(k.value, ast.Constant)), None)
            return call.args[0].value, only
    return None


def judged(source: str) -> list[str]:
    """Ids of the claims that a cell judges."""
    return [n.args[0].value for n in ast.walk(ast.parse(source))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "judge"
            and n.args and isinstance(n.args[0], ast.Constant)]


class PendingCells:
    """An IPython transformer of syntax trees that cuts the cells which need absent evidence."""

    def __init__(self, has_evidence: Callable[[str, str | None], bool], namespace: dict, on_cut: Callable):
        self.has_evidence, self.namespace, self.on_cut = has_evidence, namespace, on_cut
        self.definitions: dict[str, frozenset[str]] = {}

    def visit(self, module: ast.Module) -> ast.Module:
        """Return the cell as it is, or reduced to its definitions with a call that shows *pending*."""
        if not isinstance(module, ast.Module):
            return module
        source = ast.unparse(module)
        parts = statements(source)
        tainted = {k: object.__getattribute__(v, "_needs") for k, v in self.namespace.items() if type(v) is Absent}
        tainted.update(self.definitions)
        clean, needs = [], set()
        for s in parts:
            of_statement = frozenset().union(*(tainted[n] for n in s.reads if n in tainted))
            found = _experiment(s.node)
            if found and not of_statement and not self.has_evidence(*found):
                tainted.update({n: frozenset({found[0]}) for n in s.binds})
            elif of_statement:
                tainted.update({n: of_statement for n in s.binds | s.changes})
                if _is_definition(s.node):
                    self.definitions.update({n: of_statement for n in s.binds})
                else:
                    needs |= of_statement
            else:
                for n in s.binds:
                    tainted.pop(n, None)
                    self.definitions.pop(n, None)
                clean.append(s)
        if not needs:
            return module
        kept = _needed([s for s in parts if _is_definition(s.node)] + [s for s in clean if _experiment(s.node)], clean)
        self.namespace["_show_pending"] = lambda: self.on_cut(sorted(needs), judged(source))
        changed = {n for s in parts for n in s.changes if n in tainted}
        names = ({n for s in parts for n in s.binds} - {n for s in kept for n in s.binds}) | changed
        self.namespace.update({n: Absent(tainted.get(n, frozenset(needs))) for n in names})
        body = [s.node for s in parts if s in kept] + ast.parse("_show_pending()").body
        return ast.fix_missing_locations(ast.Module(body, []))


def _is_definition(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom)


def _needed(start: list, clean: list) -> list:
    """The statements that those in ``start`` depend on within the cell, themselves included."""
    kept = list(start)
    for s in kept:
        kept += [c for c in clean if c not in kept and c.binds & s.reads]
    return kept
