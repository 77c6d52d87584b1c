"""Which of two expressions is larger at a point: by balls, with more digits until it is decided."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp
from flint import arb

from lib.steps.errors import StepError
from lib.steps.evaluate import Backwards, Program, at_precision
from lib.steps.points import Point, to_sympy

PRECISIONS = (128, 512, 3000)
HOLDS = {"=": (0,), "<=": (0, 1), "<": (1,), ">=": (0, -1), ">": (-1,)}


class Undefined(StepError):
    """A side has no finite real value at a point."""


@dataclass
class Values:
    """Both sides at one point; `order` is the sign of right minus left, 0 where they agree, None if not decided."""

    left: arb
    right: arb
    order: int | None


class Pair:
    """Two expressions, compiled, to be compared at many points."""

    def __init__(self, left: sp.Expr, right: sp.Expr | Program):
        self.left = left if isinstance(left, Program) else Program(left)
        self.right = right if isinstance(right, Program) else Program(right)

    def at(self, point: Point) -> Values:
        """Compare at a point.

        Raises
        ------
        Undefined
            If a side has no finite real value there.
        """
        rough = self.left.rough or self.right.rough
        values = None
        for bits in PRECISIONS:
            left, right = value(self.left, point, bits), value(self.right, point, bits)
            values = Values(left, right, order(left, right, rough))
            if values.order is not None or rough:
                break
        return values


def value(program: Program, point: Point, bits: int = 128) -> arb:
    """A finite value, with more digits or by sympy where balls give none."""
    try:
        for precision in (bits, max(512, bits)):
            ball = at_precision(precision, program, point)
            if ball.is_finite():
                return ball
    except Backwards as error:
        raise Undefined(f"undefined at {_short(point)}: {error}") from error
    exact = program.expression.subs({s: to_sympy(x) for s, x in point.items()})
    if exact.is_Rational:
        return at_precision(bits, Program(exact), {})
    raise Undefined(f"undefined at {_short(point)}: {program.expression} has no finite real value")


def _short(point: Point) -> str:
    return ", ".join(f"{s} = {x}" for s, x in point.items()) or "the only point"


def order(left: arb, right: arb, rough: bool) -> int | None:
    """Sign of right minus left; 0 if they agree to the digits asked for."""
    gap = right - left
    size = max(float(abs(left).upper()), float(abs(right).upper()))
    if rough:
        if float(abs(gap).upper()) <= 1e-9 * size + 1e-14:
            return 0
    elif gap.is_zero() or (gap.contains(0) and float(abs(gap).upper()) <= 1e-22 * max(size, 1e-12)):
        return 0
    return 1 if gap > 0 else -1 if gap < 0 else None


def vanishes(program: Program, point: Point) -> bool:
    """Whether an expression is zero at a point as far as the balls can see."""
    ball = value(program, point)
    return ball.contains(0) and float(abs(ball).upper()) < 1e-20
