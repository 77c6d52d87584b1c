"""Rational points of a domain, near its ends and inside, always the same ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property

import sympy as sp

from lib.steps.domain import Domain
from lib.steps.errors import StepError
from lib.steps.evaluate import Program, at_precision

Point = dict[sp.Symbol, Fraction]
FEW, MANY = 12, 200
NEAR, FAR = Fraction(1, 1000), 40
PLAN = ("low", "high", "mid", "ends", "sdne", "near")  # "ends": low and high in turn; "sdne": high and low in turn


class Points:
    """The points at which the steps of one derivation are checked.

    Parameters
    ----------
    domain : Domain
        The domain; a domain without a point is refused.
    """

    def __init__(self, domain: Domain):
        self.domain = domain
        self.tests = [(c, Program(c.gap)) for sentence in domain.given for c in sentence.constraints]
        self._source = self._generate()
        self.first: list[Point] = self._take(FEW)
        if not self.first:
            texts = "; ".join(sentence.text for sentence in domain.given)
            raise StepError(f"The domain ({texts}) has no point.")

    @cached_property
    def more(self) -> list[Point]:
        """Two hundred more points, made when a mutant asks for them."""
        return self._take(MANY)

    def _take(self, count: int) -> list[Point]:
        found = []
        for point in self._source:
            found.append(point)
            if len(found) == count:
                break
        return found

    def contains(self, point: Point) -> bool:
        """Whether a point lies in the domain."""
        if any(point[s].denominator != 1 for s in self.domain.integers):
            return False
        return all(holds(link.relation, program, point) for link, program in self.tests)

    def _generate(self) -> Iterator[Point]:
        rng, seen, misses, turn = random.Random(20240229), set(), 0, 0
        if not self.domain.symbols:
            yield {}
            return
        while misses < 400:
            point = self._one(turn, rng)
            turn += 1
            key = None if point is None else tuple(point.values())
            if key is None or key in seen or not self.contains(point):
                misses += 1
                continue
            seen.add(key)
            yield point

    def _one(self, turn: int, rng: random.Random) -> Point | None:
        point: Point = {}
        for i, symbol in enumerate(self.domain.symbols):
            place = PLAN[turn] if turn < len(PLAN) else "random"
            if turn >= FEW and rng.random() < 0.3:
                place = rng.choice(("low", "high", "near", "mid"))
            if place in ("ends", "sdne"):
                place = ("low", "high")[(i + (place == "sdne")) % 2]
            value = self._value(symbol, point, place, rng)
            if value is None:
                return None
            point[symbol] = value
        return point

    def interval(self, symbol: sp.Symbol, point: Point) -> tuple[Fraction | None, bool, Fraction | None, bool]:
        """Lower end, whether it is open, upper end, whether it is open, given the symbols chosen before."""
        ends = []
        for side, bounds in zip((1, -1), self.domain.bounds(symbol), strict=True):
            known = [(rational(e, point), strict) for e, strict in bounds if e.free_symbols <= point.keys()]
            known = [(value, strict) for value, strict in known if value is not None]
            ends += max(known, key=lambda b, side=side: (side * b[0], b[1])) if known else (None, True)
        return tuple(ends)

    def _value(self, symbol: sp.Symbol, point: Point, place: str, rng: random.Random) -> Fraction | None:
        low, low_open, high, high_open = self.interval(symbol, point)
        if low is not None and high is not None and (low > high or (low == high and (low_open or high_open))):
            return None
        if place == "near":
            banned = [rational(e, point) for e in self.domain.excluded(symbol) if e.free_symbols <= point.keys()]
            if banned and banned[0] is not None:
                return banned[0] + rng.choice((-1, 1)) * NEAR
            place = "random"
        if symbol in self.domain.integers:
            return _whole(low, low_open, high, high_open, place, rng)
        if low is not None and high is not None:
            share = {"low": NEAR if low_open else 0, "high": 1 - NEAR if high_open else 1, "mid": Fraction(1, 2)}
            return low + (high - low) * share.get(place, Fraction(rng.randint(1, 96), 97))
        if low is None and high is None:
            fixed = {"low": Fraction(-20), "high": Fraction(20), "mid": Fraction(0)}
            return fixed.get(place, Fraction(rng.randint(-40, 40), rng.randint(3, 17)))
        end, is_open, side = (low, low_open, 1) if low is not None else (high, high_open, -1)
        step = {"low": NEAR if is_open else 0, "high": FAR, "mid": 1}
        return end + side * Fraction(step.get(place, Fraction(rng.randint(1, 60), rng.randint(3, 17))))


def _whole(low, low_open, high, high_open, place: str, rng: random.Random) -> Fraction | None:
    """A whole number between the ends."""
    bottom = None if low is None else -((-low) // 1) + (low_open and low.denominator == 1)
    top = None if high is None else high // 1 - (high_open and high.denominator == 1)
    if bottom is None:
        bottom = -12 if top is None else top - 12
    if top is None:
        top = bottom + 12
    if bottom > top:
        return None
    fixed = {"low": bottom, "high": top, "mid": min(bottom + 1, top)}
    return Fraction(fixed[place] if place in fixed else rng.randint(int(bottom), int(min(top, bottom + 40))))


def rational(expression: sp.Expr, point: Point) -> Fraction | None:
    """The value of a bound at a point: exact where it is rational, else near it."""
    value = expression.xreplace({s: to_sympy(x) for s, x in point.items()})
    value = value if value.is_Rational else sp.nsimplify(value) if value.is_rational else value
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q))
    ball = at_precision(64, Program(value), {})
    return Fraction(float(ball)) if ball.is_finite() else None


def holds(relation: str, program: Program, point: Point) -> bool:
    """Whether a constraint, given as the program of right minus left, holds at a point."""
    gap = at_precision(128, program, point)
    return {"<": gap > 0, "<=": gap >= 0, "!=": gap != 0}[relation]


def to_sympy(value: Fraction) -> sp.Rational:
    return sp.Rational(value.numerator, value.denominator)


def show(point: Point, used: set[sp.Symbol] | None = None) -> str:
    """A point in words, for example ``p = 1/2, lambda = 3``."""
    return ", ".join(f"{s} = {x}" for s, x in point.items() if used is None or s in used) or "the only point"
