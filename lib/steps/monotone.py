"""Signs by calculus: the sign at one end of a range, and the sign of the slope away from it."""

from __future__ import annotations

import sympy as sp

from lib.steps.compare import Undefined, value
from lib.steps.domain import Domain
from lib.steps.errors import StepError
from lib.steps.evaluate import Program
from lib.steps.grammar import Constraint
from lib.steps.points import Point, Points
from lib.steps.visible import JUMPS, slack, visible
from lib.steps.zero import prove_zero

LONG = 80  # operations; longer expressions are not differentiated
TRIES = 30  # ends looked at in one search
ROUGH = (sp.Sum, sp.Product, sp.Integral, sp.Derivative, sp.Abs, sp.Max, sp.Min)
MIDDLES = (sp.S.Zero, sp.S.One, sp.S.Half)


class Monotone:
    """One search; statements that a point of the domain refutes are dropped before any proof is tried."""

    def __init__(self, domain: Domain):
        self.tries = TRIES
        self.points = Points(domain).first

    def prove(
        self, e: sp.Expr, domain: Domain, strict: bool, depth: int = 3, points: list[Point] | None = None
    ) -> str | None:
        """The symbol at one end of whose range e has the sign, and in which e grows away from that end.

        Parameters
        ----------
        e : sympy.Expr
            To be shown positive (strict) or not negative.
        domain : Domain
            What the symbols may be.
        strict : bool
            Whether 0 is forbidden.
        depth : int
            How often a slope may itself be settled by its slope.
        points : list of Point, optional
            Points of the domain; by default those of the domain of the search.
        """
        points = self.points if points is None else points
        if e.has(*JUMPS, *ROUGH) or e.count_ops() > LONG:
            return None
        for s in sorted(e.free_symbols & set(domain.symbols), key=domain.symbols.index):
            if domain.excluded(s) or domain.is_mixed(s):
                continue
            if self._grows(e, s, domain, strict, depth, points):
                return s.name
            for middle in MIDDLES:
                if (
                    not strict
                    and _touches(e, s, middle, domain)
                    and self._both_sides(e, s, middle, domain, depth, points)
                ):
                    return f"{s.name} from {middle} to both sides"
        return None

    def _both_sides(self, e, s: sp.Symbol, middle: sp.Expr, domain: Domain, depth: int, points: list[Point]) -> bool:
        right = domain.restricted(Constraint(middle, "<=", s, ""))
        left = domain.restricted(Constraint(s, "<=", middle, ""))
        above = [point for point in points if point[s] >= middle]
        below = [point for point in points if point[s] <= middle]
        return self._grows(e, s, right, False, depth, above) and self._grows(e, s, left, False, depth, below)

    def _grows(self, e: sp.Expr, s: sp.Symbol, domain: Domain, strict: bool, depth: int, points: list[Point]) -> bool:
        for side, bounds in zip((1, -1), domain.bounds(s), strict=True):
            slope = side * sp.diff(e, s)
            for end, is_open in bounds:
                if s in end.free_symbols or self.tries <= 0 or _refuted(slope, False, points):
                    continue
                self.tries -= 1
                start = _value_at(e, s, end, "+" if side > 0 else "-", domain)
                if start is None or _refuted(start, False, points):
                    continue
                rest = domain.without(s)
                wide = domain.without_other_bounds(s, end, side)
                above = (strict or not is_open) and self._settled(start, rest, True, depth, points)
                if not above and not (self._settled(start, rest, False, depth, points) or prove_zero(start, rest)):
                    continue
                if not strict or above:
                    if self._settled(slope, wide, False, depth, points):
                        return True
                elif is_open and self._settled(slope, wide.opened(s, end, side), True, depth, points):
                    return True
        return False

    def _settled(self, e: sp.Expr, domain: Domain, strict: bool, depth: int, points: list[Point]) -> bool:
        if _refuted(e, strict, points):
            return False
        if visible(e, domain, strict) or slack(e, domain, strict):
            return True
        return depth > 1 and self.prove(e, domain, strict, depth - 1, points) is not None


def _refuted(e: sp.Expr, strict: bool, points: list[Point]) -> bool:
    """Whether e is negative (strict: or zero) at a point."""
    try:
        program = Program(e)
        values = [value(program, point) for point in points]
    except (Undefined, StepError):
        return False
    return any(v < 0 or (strict and v.is_zero()) for v in values)


def _touches(e: sp.Expr, s: sp.Symbol, middle: sp.Expr, domain: Domain) -> bool:
    """Whether the value and the slope vanish at an inner point."""
    ends = [(side, end) for side, bounds in zip((1, -1), domain.bounds(s), strict=True) for end, _ in bounds]
    if any(end.free_symbols or not (side * (middle - end)).is_positive for side, end in ends):
        return False
    try:
        return all(sp.expand(sp.cancel(part.subs(s, middle))) == 0 for part in (e, sp.diff(e, s)))
    except (sp.PolynomialError, NotImplementedError):
        return False


def _value_at(e: sp.Expr, s: sp.Symbol, end: sp.Expr, direction: str, domain: Domain) -> sp.Expr | None:
    """The value or the one-sided limit at an end, None if it is not finite."""
    found = e.subs(s, end)
    if found.has(sp.nan, sp.zoo, sp.oo, sp.S.NegativeInfinity):
        try:
            found = sp.limit(e.xreplace(domain.typed), domain.typed[s], end.xreplace(domain.typed), direction)
        except (NotImplementedError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        found = found.xreplace({t: plain for plain, t in domain.typed.items()})
    bad = found.has(sp.nan, sp.zoo, sp.oo, sp.S.NegativeInfinity, sp.AccumBounds, sp.Limit)
    return None if bad else found
