"""Limits and Taylor polynomials: proved by sympy, then compared with values near the point."""

from __future__ import annotations

from fractions import Fraction

import sympy as sp
from flint import arb

from lib.steps.compare import Undefined, value
from lib.steps.domain import Domain
from lib.steps.errors import StepError
from lib.steps.evaluate import Program
from lib.steps.mutants import mutants
from lib.steps.points import Point, Points, rational, show
from lib.steps.pointwise import Findings
from lib.steps.rewrite import carry_out
from lib.steps.zero import prove_zero

SMALL = (Fraction(1, 10**2), Fraction(1, 10**4), Fraction(1, 10**8))
LARGE = (Fraction(10**2), Fraction(10**4), Fraction(10**8))
LARGE_WHOLE = (Fraction(10), Fraction(100), Fraction(1000))
BASES = 4
BITS = 600


def approach(points: Points, var: sp.Symbol, target: sp.Expr, direction: str) -> list[list[Point]]:
    """Sequences of points of the domain in which one symbol approaches the target."""
    sequences = []
    for base in points.first:
        if target in (sp.oo, sp.S.NegativeInfinity):
            sizes = LARGE_WHOLE if var in points.domain.integers else LARGE
            steps = [size if target is sp.oo else -size for size in sizes]
        else:
            centre = rational(target, {s: x for s, x in base.items() if s != var})
            steps = [] if centre is None else [centre + (h if direction == "+" else -h) for h in SMALL]
        line = [{**base, var: step} for step in steps]
        if line and all(points.contains(point) for point in line) and line not in sequences:
            sequences.append(line)
    if not sequences:
        raise StepError(
            f"The domain holds no points that approach {var} = {target}{'' if target.is_infinite else direction}."
        )
    return sequences[:BASES]


def check_limit(
    left: sp.Expr, right: sp.Expr, points: Points, var: sp.Symbol, target: sp.Expr, direction: str
) -> tuple[str, Findings]:
    """Prove ``left -> right``; return the prover's name and what the values near the point said."""
    near = _errors(left, right, approach(points, var, target, direction))
    for errors in near:
        far, close = abs(errors[0][1]), abs(errors[-1][1])
        if not (close < far * 3 / 5 or float(close.upper()) < 1e-20):
            raise StepError(
                f"Not the limit: near {show(errors[-1][0])} the distance is still {float(close.mid()):.3g}."
            )
    name = _prove_limit(left, right, points.domain, var, target, direction)
    found = Findings(sum(len(errors) for errors in near))
    for mutant in mutants(right):
        shift = Program(mutant - right)
        dead = False
        for errors in near:
            point, error = errors[-1]
            try:
                dead = dead or bool(abs(value(shift, point)) > 3 * abs(error) + arb(10) ** -20)
            except Undefined:
                dead = True
        found.killed += dead
        if not dead and sp.expand(mutant - right) != 0:
            found.survivors.append(mutant)
    return name, found


def _errors(left: sp.Expr, right: sp.Expr, sequences: list[list[Point]]) -> list[list[tuple[Point, arb]]]:
    """Left minus right along each sequence."""
    a, b = Program(left), Program(right)
    try:
        return [[(point, value(a, point, BITS) - value(b, point, BITS)) for point in line] for line in sequences]
    except Undefined as error:
        raise StepError(f"A side is {error}.") from error


def _prove_limit(left: sp.Expr, right: sp.Expr, domain: Domain, var: sp.Symbol, target: sp.Expr, direction: str) -> str:
    back = {t: s for s, t in domain.typed.items()}
    typed = carry_out(left.xreplace(domain.typed), domain)
    try:
        found = sp.limit(typed, domain.typed[var], target.xreplace(domain.typed), direction)
    except (NotImplementedError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StepError(f"sympy finds no limit of {left} for {var} to {target}; use argue or cite.") from error
    found = found.xreplace(back)
    if found.has(sp.Limit, sp.AccumBounds, sp.nan, sp.zoo) or var in found.free_symbols:
        raise StepError(f"sympy finds no limit of {left} for {var} to {target}; use argue or cite.")
    name = prove_zero(found - right, domain)
    if name is None:
        raise StepError(f"Not proved: sympy finds the limit {found}, which no prover shows to be {right}.")
    return f"limit, {name}"


def check_series(
    left: sp.Expr, right: sp.Expr, points: Points, var: sp.Symbol, order: int, at: sp.Expr
) -> tuple[str, Findings]:
    """Prove that `right` is the Taylor polynomial of `left` below the order; compare remainders near the point."""
    shift = sp.Dummy("h", real=True)
    moved = sp.expand(right.subs(var, at + shift))
    if not moved.is_polynomial(shift) or (moved != 0 and sp.degree(moved, shift) >= order):
        raise StepError(f"{right} is not a polynomial in {var} of degree below {order}.")
    bases = [base for base in points.first][:BASES]
    if not _remainder_fits(left, right, bases, var, order, at):
        raise StepError(f"Not true: the remainder of {right} is not of order {order} at {var} = {at}.")
    name = _prove_series(left, moved, points.domain, var, order, at, shift)
    found = Findings(len(bases) * 2)
    for mutant in mutants(right):
        fits = mutant.is_polynomial(var) and _remainder_fits(left, mutant, bases, var, order, at)
        found.killed += not fits
        if fits and sp.expand(mutant - right) != 0:
            found.survivors.append(mutant)
    return name, found


def _remainder_fits(left: sp.Expr, right: sp.Expr, bases: list[Point], var: sp.Symbol, order: int, at: sp.Expr) -> bool:
    """Whether the remainder falls like ``h**order`` (or faster) between two small h at every base point."""
    a, b = Program(left), Program(right)
    for base in bases:
        centre = rational(at, base)
        sizes = []
        for h in (Fraction(1, 10**5), Fraction(1, 10**7)):
            for sign in (1, -1):
                point = {**base, var: centre + sign * h}
                try:
                    sizes.append((h, abs(value(a, point, BITS + 60 * order) - value(b, point, BITS + 60 * order))))
                    break
                except Undefined:
                    continue
        if len(sizes) < 2:
            raise StepError(f"The left side has no values near {var} = {at}.")
        (_, big), (_, small) = sizes
        if float(small.upper()) > 0 and not small <= big * arb(10) ** (-2 * order + 1):
            return False
    return True


def _prove_series(
    left, moved: sp.Expr, domain: Domain, var: sp.Symbol, order: int, at: sp.Expr, shift: sp.Dummy
) -> str:
    typed = {s: t for s, t in domain.typed.items() if s != var}
    inner = left.subs(var, at + shift).xreplace(typed)
    inner = _truncate_hyper(carry_out(inner, domain), shift, order)
    try:
        done = sp.series(inner, shift, 0, order).removeO()
        if done.has(sp.nan, sp.zoo, sp.oo):
            raise ValueError
    except (NotImplementedError, ValueError, TypeError, AttributeError, RecursionError, sp.PoleError):
        done = sum(sp.diff(inner, shift, k).subs(shift, 0) * shift**k / sp.factorial(k) for k in range(order))
    gap = sp.expand(done - moved.xreplace(typed))
    back = {t: s for s, t in typed.items()}
    for k in range(order):
        if prove_zero(gap.coeff(shift, k).xreplace(back), domain) is None:
            raise StepError(f"Not proved: sympy's coefficient of order {k} in {var} is not the given one.")
    rest = sp.expand(gap - sum(gap.coeff(shift, k) * shift**k for k in range(order)))
    if rest != 0:
        raise StepError(f"Not proved: sympy's series holds terms that are not powers of {var}: {rest}.")
    return "Taylor coefficients"


def _truncate_hyper(e: sp.Expr, shift: sp.Dummy, order: int) -> sp.Expr:
    """Replace a hypergeometric function whose argument vanishes at the point by its first terms."""
    table = {}
    for part in e.atoms(sp.hyper):
        if part.argument.subs(shift, 0) == 0 and part.argument.is_polynomial(shift):
            table[part] = sum(
                sp.prod([sp.rf(a, k) for a in part.ap])
                / sp.prod([sp.rf(b, k) for b in part.bq])
                * part.argument**k
                / sp.factorial(k)
                for k in range(order + 1)
            )
    return e.xreplace(table)
