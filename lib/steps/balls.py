"""Signs on a whole closed box: interval arithmetic in centred form with python-flint balls."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp
from flint import arb, ctx

from lib.steps.compare import Undefined
from lib.steps.domain import Domain
from lib.steps.errors import StepError
from lib.steps.evaluate import Program, exact
from lib.steps.points import rational, to_sympy
from lib.steps.rewrite import carry_out

Side = tuple[Fraction, Fraction]
BITS = 64


def closed_box(domain: Domain, symbols: list[sp.Symbol]) -> dict[sp.Symbol, Side] | None:
    """The smallest box with rational corners that is seen to hold the closed domain, or None if there is none."""
    box: dict[sp.Symbol, Side] = {}
    for s in symbols:
        ends = []
        for side, bounds in zip((1, -1), domain.bounds(s), strict=True):
            known = [_outward(value, side) for value, _ in bounds if not value.free_symbols]
            if not known:
                return None
            ends.append(max(known) if side > 0 else min(known))
        box[s] = (ends[0], ends[1])
    return box


def _outward(value: sp.Expr, side: int) -> Fraction:
    """A rational at or just outside a numeric bound."""
    near = rational(value, {})
    return near if value.is_Rational else near - side * Fraction(1, 10**9)


def check_box(box: dict, domain: Domain, symbols: list[sp.Symbol]) -> dict[sp.Symbol, Side]:
    """The author's box in fractions; refused if it is smaller than the closed domain."""
    sides: dict[sp.Symbol, Side] = {}
    for s in symbols:
        if s not in box:
            raise StepError(f"The box says nothing about {s}.")
        low, high = (sp.sympify(end) for end in box[s])
        if not (low.is_Rational and high.is_Rational and low <= high):
            raise StepError(f"The box of {s} needs two rational ends in order, not {box[s]}.")
        need = closed_box(domain, [s])
        if need is None:
            raise StepError(f"The domain of {s} is not bounded by numbers, so no box can cover it.")
        if low > to_sympy(need[s][0]) or high < to_sympy(need[s][1]):
            raise StepError(f"The box {s} in [{low}, {high}] is smaller than the domain [{need[s][0]}, {need[s][1]}].")
        sides[s] = (Fraction(int(low.p), int(low.q)), Fraction(int(high.p), int(high.q)))
    return sides


def prove_on_box(
    expression: sp.Expr, domain: Domain, strict: bool, box: dict[sp.Symbol, Side] | None = None, cells: int = 60_000
) -> int | None:
    """Number of cells after which ``expression >= 0`` (strict: ``> 0``) is proved on the closed box, None if it is not.

    Parameters
    ----------
    expression : sympy.Expr
        In plain symbols.
    domain : Domain
        Used for the default box and for the assumptions of derivatives.
    strict : bool
        Whether 0 is forbidden.
    box : dict, optional
        Rational ends of each symbol; by default the closed domain.
    cells : int
        Give up after so many.
    """
    symbols = sorted(expression.free_symbols, key=str)
    box = closed_box(domain, symbols) if box is None else box
    if box is None or not symbols or any(low > high for low, high in box.values()):
        return None
    real = {s: sp.Symbol(s.name, real=True) for s in symbols}
    try:
        search = _Search(expression.xreplace(real), {real[s]: box[s] for s in symbols}, strict, domain)
        with ctx.workprec(BITS):
            return search.run(cells)
    except (StepError, Undefined, NotImplementedError, ValueError, TypeError):
        return None


class _Search:
    """Cut the box until every cell is settled; on a face, where the slope has a sign, only the lower end counts."""

    def __init__(self, expression: sp.Expr, box: dict[sp.Symbol, Side], strict: bool, domain: Domain):
        self.expression, self.strict, self.domain = expression, strict, domain
        self.symbols = list(box)
        self.start = tuple(box.values())
        self.value = Program(expression)
        if self.value.rough:
            raise StepError("A quadrature is inside, so its balls prove nothing.")
        self.slopes = []
        for s in self.symbols:
            slope = Program(carry_out(sp.diff(expression, s), domain))
            if slope.rough:
                raise StepError("A quadrature is inside a slope.")
            self.slopes.append(slope)
        self.zero_faces: dict[tuple, bool] = {}

    def run(self, cells: int) -> int | None:
        stack, used = [self.start], 0
        while stack:
            used += 1
            if used > cells:
                return None
            outcome = self._settle(stack.pop())
            if outcome is None:
                return None
            stack += outcome
        return used

    def _good(self, value: arb) -> bool:
        return bool(value > 0 if self.strict else value >= 0)

    def _settle(self, cell: tuple[Side, ...]) -> list | None:
        """No cells: settled; some cells: go on with them; None: refuted or stuck."""
        values = self._ball(cell)
        whole = self.value(values)
        if self._good(whole):
            return []
        slopes = [slope(values) for slope in self.slopes]
        lower = tuple(
            (a, a) if a < b and slope >= 0 else (b, b) if a < b and slope <= 0 else (a, b)
            for (a, b), slope in zip(cell, slopes, strict=True)
        )
        if lower != cell:
            return [lower]
        centre = tuple(((a + b) / 2,) * 2 for a, b in cell)
        middle = self._ball(centre)
        at_centre = self.value(middle)
        if at_centre < 0 or (self.strict and at_centre <= 0):
            return None
        centred = at_centre
        for s, slope in zip(self.symbols, slopes, strict=True):
            centred += slope * (values[s] - middle[s])
        if self._good(centred):
            return []
        if self._zero_there(cell):
            return []
        widths = [b - a for a, b in cell]
        if max(widths) == 0:
            return None
        weights = [float(w) * _size(slope) for w, slope in zip(widths, slopes, strict=True)]
        i = max(range(len(cell)), key=lambda k: (weights[k], float(widths[k])))
        a, b = cell[i]
        if b - a < Fraction(1, 2**40):
            return None
        middle_point = (a + b) / 2
        return [cell[:i] + (part,) + cell[i + 1 :] for part in ((a, middle_point), (middle_point, b))]

    def _zero_there(self, cell: tuple[Side, ...]) -> bool:
        """Whether the expression is exactly zero on a cell with fixed coordinates (allowed unless strict)."""
        fixed = {s: a for s, (a, b) in zip(self.symbols, cell, strict=True) if a == b}
        if self.strict or not fixed:
            return False
        key = tuple(fixed.items())
        if key not in self.zero_faces:
            rest = self.expression.subs({s: to_sympy(a) for s, a in fixed.items()})
            self.zero_faces[key] = bool(sp.expand(rest) == 0 or (len(self.zero_faces) < 20 and sp.simplify(rest) == 0))
        return self.zero_faces[key]

    def _ball(self, cell: tuple[Side, ...]) -> dict[sp.Symbol, arb]:
        return {
            s: exact(a) if a == b else exact(a).union(exact(b)) for s, (a, b) in zip(self.symbols, cell, strict=True)
        }


def _size(slope: arb) -> float:
    return float(abs(slope).upper()) if slope.is_finite() else 1e9
