"""Exact comparison of an expression with an independent enumeration or simulation."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from fractions import Fraction
from numbers import Rational

import sympy as sp

from lib.steps.compare import Pair, value
from lib.steps.errors import StepError
from lib.steps.evaluate import Program
from lib.steps.points import Point, Points, show, to_sympy


def python_name(symbol: sp.Symbol) -> str:
    """The keyword argument for a symbol; ``lambda`` becomes ``lambda_``."""
    return f"{symbol.name}_" if keyword.iskeyword(symbol.name) else symbol.name


def as_point(given: dict, used: set[sp.Symbol]) -> Point:
    """A point from a dict that names symbols or strings."""
    if not isinstance(given, dict):
        raise StepError(f"An anchor point is a dict such as {{p: 1}}, not {given!r}.")
    names = {s.name: s for s in used} | {python_name(s): s for s in used}
    point: Point = {}
    for key, number in given.items():
        symbol = names.get(key if isinstance(key, str) else key.name)
        if symbol is None:
            raise StepError(f"The anchor point names {key}, which does not occur in the expression.")
        if isinstance(number, (float, sp.Float)):
            raise StepError(f"The anchor point {key} = {number} is not exact; write a fraction.")
        exact = sp.sympify(number)
        if not exact.is_Rational:
            raise StepError(f"The anchor point {key} = {number} is not rational.")
        point[symbol] = Fraction(int(exact.p), int(exact.q))
    if missing := used - point.keys():
        raise StepError(f"The anchor point misses {', '.join(sorted(map(str, missing)))}.")
    return point


def in_domain(point: Point, points: Points) -> bool:
    """Whether the constraints that this point can decide hold."""
    for base in points.first:
        if points.contains({**base, **point}):
            return True
    return False


def check_anchor(e: sp.Expr, fn: Callable[..., object], given: list[dict], tol: float, points: Points) -> int:
    """Compare at every point; return the number of points."""
    if not given:
        raise StepError("An anchor needs at least one point.")
    program = Program(e)
    for raw in given:
        point = as_point(raw, e.free_symbols)
        if not in_domain(point, points):
            raise StepError(f"The anchor point {show(point)} lies outside the domain.")
        number = fn(**{python_name(s): (int(x) if x.denominator == 1 else x) for s, x in point.items()})
        if not _agrees(e, program, point, number, tol):
            raise StepError(
                f"The anchor fails at {show(point)}: counted {number}, but the expression is {_say(e, point)}."
            )
    return len(given)


def _agrees(e: sp.Expr, program: Program, point: Point, number: object, tol: float) -> bool:
    if isinstance(number, bool) or number is None:
        raise StepError(f"The anchor's function returned {number}, not a number.")
    if tol == 0:
        if not isinstance(number, (Rational, sp.Expr)) or (isinstance(number, sp.Expr) and number.has(sp.Float)):
            kind = type(number).__name__
            raise StepError(f"The anchor's function returned {kind}, which is not exact; use a Fraction or give tol.")
        counted = number if isinstance(number, sp.Expr) else to_sympy(Fraction(number))
        return Pair(program, counted).at(point).order == 0
    return bool(abs(float(value(program, point)) - float(number)) <= tol)


def _say(e: sp.Expr, point: Point) -> str:
    exact = e.subs({s: to_sympy(x) for s, x in point.items()})
    return str(exact) if exact.is_Rational else f"{float(value(Program(e), point)):.6g}"
