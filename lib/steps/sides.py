"""What may stand on a side of a step: exact expressions and matrices of them."""

from __future__ import annotations

from fractions import Fraction
from numbers import Rational

import sympy as sp

from lib.steps.errors import StepError

BOUND = (sp.Sum, sp.Product, sp.Integral, sp.Limit, sp.Subs, sp.Derivative)
Side = sp.Expr | sp.MatrixBase | sp.MatrixExpr


def entry_symbols(name: str, rows: int, columns: int) -> list[list[sp.Symbol]]:
    """Symbols of the entries of a matrix symbol: ``W_12``, or ``h_1`` for a column."""
    digit = (lambda i, j: f"{i + 1}") if columns == 1 else (lambda i, j: f"{i + 1}{j + 1}")
    return [[sp.Symbol(f"{name}_{digit(i, j)}") for j in range(columns)] for i in range(rows)]


def has_matrices(value: object) -> bool:
    """Whether an expression is written in matrix symbols (`lib.steps.matrix`)."""
    return isinstance(value, sp.Basic) and value.has(sp.MatrixSymbol)


def explicit(value: sp.Basic) -> sp.Basic:
    """An expression in matrix symbols with each matrix written out in the symbols of its entries."""
    out = value.xreplace({m: sp.ImmutableMatrix(entry_symbols(m.name, *(int(n) for n in m.shape)))
                          for m in value.atoms(sp.MatrixSymbol)}).doit()
    return sp.ImmutableMatrix(out.as_explicit()) if isinstance(out, sp.MatrixExpr) else out


def expression(value: object) -> Side:
    """Accept an exact expression (or matrix, or formula of matrix symbols), refuse everything else with one sentence."""
    if has_matrices(value):
        value = explicit(value)
    if isinstance(value, sp.MatrixBase):
        for entry in value:
            expression(entry)
        return sp.ImmutableMatrix(value)
    if isinstance(value, bool) or (isinstance(value, sp.logic.boolalg.Boolean) and not isinstance(value, sp.Symbol)):
        raise StepError(f"{value} is a truth value, not an expression: a step compares two expressions.")
    if isinstance(value, (list, tuple, set, dict, sp.Set, sp.Tuple, sp.Dict)):
        empty = "an empty solution" if not value else f"a {type(value).__name__}"
        raise StepError(f"A step needs one expression, not {empty}; pick the solution that is meant.")
    if isinstance(value, (float, complex, sp.Float)):
        raise StepError(f"{value} is a floating-point number; write an exact one, for example Rational(1, 3).")
    if isinstance(value, Rational):
        value = sp.Rational(Fraction(value).numerator, Fraction(value).denominator)
    if not isinstance(value, sp.Expr):
        raise StepError(f"A step needs an expression, not {type(value).__name__}.")
    if value.has(sp.Float):
        raise StepError(f"{value} holds a floating-point number; write an exact one, for example Rational(1, 3).")
    if not _finite(value):
        raise StepError(f"{value} holds NaN or infinity.")
    return value


def _finite(e: sp.Basic) -> bool:
    """No NaN, no infinity, apart from the ends of sums and integrals and the points of limits."""
    if e in (sp.nan, sp.zoo, sp.oo, sp.S.NegativeInfinity):
        return False
    if isinstance(e, BOUND):
        return _finite(e.args[0]) and not any(part == sp.nan for part in e.args[1:])
    return all(_finite(part) for part in e.args)


def rebuilt(e: Side) -> Side:
    """The same expression after sympy's automatic evaluation, so that ``evaluate=False`` hides nothing."""
    if isinstance(e, sp.MatrixBase):
        return e.applyfunc(rebuilt)
    if not e.args or isinstance(e, (sp.hyper, sp.Tuple)):
        return e
    if isinstance(e, BOUND):
        return e.func(rebuilt(e.args[0]), *e.args[1:])
    try:
        return e.func(*(rebuilt(part) for part in e.args))
    except (TypeError, ValueError):
        return e


def entries(left: Side, right: Side) -> list[tuple[sp.Expr, sp.Expr]]:
    """Pairs of corresponding entries (one pair for two expressions)."""
    if isinstance(left, sp.MatrixBase) != isinstance(right, sp.MatrixBase):
        raise StepError("A matrix is compared with something that is not a matrix.")
    if not isinstance(left, sp.MatrixBase):
        return [(left, right)]
    if left.shape != right.shape:
        raise StepError(f"A matrix of shape {left.shape} is compared with one of shape {right.shape}.")
    return list(zip(left, right, strict=True))
