"""Wrong variants of an expression: a sign, a factor 2, a lost term."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

MOST = 16  # mutants of one step
CLOSED = (sp.Sum, sp.Product, sp.Integral, sp.Derivative, sp.Subs, sp.Limit)


def mutants(expression: sp.Expr) -> list[sp.Expr]:
    """Up to sixteen different wrong variants, in a fixed order.

    Parameters
    ----------
    expression : sympy.Expr
        The right side of a step.

    Returns
    -------
    list of sympy.Expr
        None of them has the same structure as the expression; some may still have the same values.
    """
    if isinstance(expression, sp.MatrixBase):
        return _matrix(expression)
    found: dict[sp.Expr, None] = {}
    for variant in _variants(expression):
        if variant != expression and not variant.has(sp.nan, sp.zoo):
            found.setdefault(variant)
    everything = list(found)
    if len(everything) <= MOST:
        return everything
    return [everything[i * len(everything) // MOST] for i in range(MOST)]


def _matrix(matrix: sp.MatrixBase) -> list[sp.MatrixBase]:
    """Mutants of the entries, one entry at a time."""
    found = []
    for i in range(len(matrix)):
        for variant in mutants(matrix[i])[:3]:
            copy = sp.Matrix(matrix)
            copy[i] = variant
            found.append(copy)
    return found if len(found) <= MOST else [found[i * len(found) // MOST] for i in range(MOST)]


def _variants(e: sp.Expr) -> Iterator[sp.Expr]:
    if e == 0:
        yield sp.S.One
        return
    yield -e
    yield 2 * e
    yield from _inside(e)


def _inside(e: sp.Basic) -> Iterator[sp.Basic]:
    """Variants of the parts, put back into their place."""
    if isinstance(e, sp.Add):
        terms = sorted(e.args, key=sp.default_sort_key)
        for term in terms:
            rest = e - term
            yield rest  # a lost term
            yield rest - term  # a sign
            yield rest + 2 * term  # a factor 2
    if isinstance(e, sp.Mul):
        for factor in sorted(e.args, key=sp.default_sort_key):
            if factor.is_Number:
                yield e / factor if factor != -1 else -e
    if isinstance(e, sp.Pow) and e.exp.is_Number:
        yield e.base ** (2 * e.exp)
    if isinstance(e, CLOSED):
        for part in _inside(e.args[0]):
            yield e.func(part, *e.args[1:])
        yield e.func(2 * e.args[0], *e.args[1:])
        return
    if e.is_Atom or isinstance(e, (sp.Piecewise, sp.hyper)) or not isinstance(e, sp.Expr):
        return
    for i, argument in enumerate(e.args):
        parts = list(_inside(argument))
        if isinstance(argument, sp.Expr) and e.is_Function:
            parts += [2 * argument]
        for part in parts:
            yield e.func(*e.args[:i], part, *e.args[i + 1 :])
