"""Are the assumptions needed: each is given up alone, and the steps are tried at points outside it."""

from __future__ import annotations

from fractions import Fraction

from lib.steps.compare import Undefined
from lib.steps.errors import StepError
from lib.steps.grammar import Given
from lib.steps.points import Point, Points, holds, show
from lib.steps.pointwise import Pointwise

BASES = 4


def findings(points: Points, steps: list[Pointwise]) -> list[tuple[str, str]]:
    """For each sentence of the domain, what happens without it.

    Parameters
    ----------
    points : Points
        The points of the domain, from which one symbol at a time is moved away.
    steps : list of Pointwise
        The steps that a machine checked.

    Returns
    -------
    list of (str, str)
        The sentence and one of ``needed: false at ...``, ``undefined at ...``, ``not found needed``.
    """
    return [(given.text, _finding(given, points, steps)) for given in points.domain.given if given.constraints]


def _finding(given: Given, points: Points, steps: list[Pointwise]) -> str:
    undefined = ""
    for point in _outside(given, points):
        for step in steps:
            if not step.used & set(given.names):
                continue
            try:
                answer = step.holds(point)
            except (Undefined, StepError):
                undefined = undefined or f"undefined at {show(point, step.used)}"
                continue
            if answer is False:
                return f"needed: false at {show(point, step.used)}"
    return undefined or "not found needed"


def _outside(given: Given, points: Points) -> list[Point]:
    """Points that break this sentence and keep the others."""
    others = [(c, p) for c, p in points.tests if c.text != given.text]
    own = [(c, p) for c, p in points.tests if c.text == given.text]
    found = []
    for base in points.first[2 : 2 + BASES] or points.first:
        for symbol in given.names:
            for value in _beyond(symbol, base, points):
                point = {**base, symbol: value}
                whole = symbol in given.integers and value.denominator != 1
                breaks = whole or not all(holds(c.relation, p, point) for c, p in own)
                if breaks and all(holds(c.relation, p, point) for c, p in others):
                    found.append(point)
    return found


def _beyond(symbol, base: Point, points: Points) -> list[Fraction]:
    """Values of one symbol at and beyond its ends."""
    rest = {s: x for s, x in base.items() if s != symbol}
    low, low_open, high, high_open = points.interval(symbol, rest)
    values = []
    for end, is_open, side in ((low, low_open, -1), (high, high_open, 1)):
        if end is not None:
            values += [end] * is_open + [end + side * step for step in (Fraction(1), Fraction(1, 3), Fraction(3))]
    if symbol in points.domain.integers and low is not None:
        values += [low + Fraction(1, 2), low + Fraction(3, 2)]
    return values + [Fraction(0), *_excluded(symbol, points)]


def _excluded(symbol, points: Points) -> list[Fraction]:
    return [Fraction(int(e.p), int(e.q)) for e in points.domain.excluded(symbol) if e.is_Rational]
