"""Statements without what no number depends on: comments, docstrings, annotations, messages of errors, layout."""

import ast
import functools

from lib.modules import is_ours


class _Plain(ast.NodeTransformer):
    """Drops what no number depends on: docstrings, annotations, messages of errors, the place of our own modules."""

    in_class = False

    def _scope(self, node, in_class: bool):
        if isinstance(node.body[0], ast.Expr) and isinstance(getattr(node.body[0].value, "value", None), str):
            node.body = node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
        outer, self.in_class = self.in_class, in_class
        self.generic_visit(node)
        self.in_class = outer
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._scope(node, True)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if not node.decorator_list:  # a decorator may read annotations: constants of a kernel, kinds of a dispatch
            node.returns, a = None, node.args
            for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))):
                arg.annotation = None
        return self._scope(node, False)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if self.in_class:  # a field of a data class; these three words change what it is
            words = {n.id for n in ast.walk(node.annotation) if isinstance(n, ast.Name)}
            if not words & {"ClassVar", "InitVar", "KW_ONLY"}:
                node.annotation = ast.Constant(...)
            return node
        return ast.copy_location(ast.Assign([node.target], node.value) if node.value else ast.Pass(), node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.exc, ast.Call):
            node.exc.args = [a for a in node.exc.args if not _is_message(a)]
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        node.msg = None
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level or is_ours(node.module or ""):  # what it names is followed and is a part itself
            node.module, node.level = "lib", 0
        return node


def _is_message(node: ast.expr) -> bool:
    """True for words, plain, formatted or put together."""
    if isinstance(node, ast.BinOp):
        return _is_message(node.left) or isinstance(node.op, ast.Add) and _is_message(node.right)
    if isinstance(node, ast.IfExp):
        return _is_message(node.body) and _is_message(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "join") and _is_message(node.func.value)
    return isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str)


def plain(text: str) -> ast.Module:
    """Syntax tree of a statement without what no number depends on; lines are those of the text."""
    return _Plain().visit(ast.parse(text))


@functools.cache
def normalise(text: str) -> str:
    """A statement without comments, docstrings, annotations, messages and layout, as this Python prints it."""
    return ast.unparse(plain(text))
