"""Proofs that an expression is positive (or not negative) on a whole domain, the strongest prover first."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from lib.steps.balls import prove_on_box
from lib.steps.domain import Domain
from lib.steps.grammar import Constraint
from lib.steps.rewrite import carry_out, resolve, split_logs
from lib.steps.zero import prove_zero

JUMPS = (sp.Piecewise, sp.sign, sp.floor, sp.ceiling, sp.Heaviside, sp.KroneckerDelta)
UNFINISHED = (sp.Sum, sp.Product, sp.Integral, sp.Derivative)


@dataclass(frozen=True)
class Proof:
    """Who proved a step, and what kind of evidence that is."""

    prover: str
    evidence: str = "symbolic"


def prove_sign(expression: sp.Expr, domain: Domain, strict: bool, gap: sp.Expr | None = None) -> Proof | None:
    """Show ``expression > 0`` (strict) or ``>= 0`` everywhere in the domain.

    Parameters
    ----------
    expression : sympy.Expr
        The larger side minus the smaller one, in plain symbols.
    domain : Domain
        What the symbols may be.
    strict : bool
        Whether 0 is forbidden.
    gap : sympy.Expr, optional
        The same difference in a form whose sign can be seen.

    Returns
    -------
    Proof or None
        None if no prover succeeds; random points are not a prover and not tried here.
    """
    if gap is not None:
        name = prove_zero(expression - gap, domain)
        if name is None:
            return None
        proof = prove_sign(gap, domain, strict)
        return proof and Proof(f"stated gap ({name}), {proof.prover}", proof.evidence)
    for words, candidate in _forms(expression, domain):
        for name, prover in (("signs and factors", _visible), ("slack variables", _slack)):
            if prover(candidate, domain, strict):
                return Proof(words + name)
        variable = _monotone(candidate, domain, strict, depth=3)
        if variable:
            return Proof(f"{words}derivative in {variable}")
    candidate = _forms(expression, domain)[-1][1]
    if prove_on_box(candidate, domain, strict, cells=3000):
        return Proof("balls on the whole closed domain", "verified on box")
    return None


def _forms(e: sp.Expr, domain: Domain) -> list[tuple[str, sp.Expr]]:
    """The expression as it stands, and carried out where it holds sums, derivatives or integrals."""
    forms = [("", resolve(e, domain))]
    if e.has(*UNFINISHED):
        back = {t: s for s, t in domain.typed.items()}
        forms.append(("carried out, ", carry_out(e.xreplace(domain.typed), domain).xreplace(back)))
    return forms


def quick_sign(e: sp.Expr, domain: Domain, weak: bool = False) -> int | None:
    """1 or -1 if signs, factors or slack variables show the strict sign (with `weak`: 1 if not negative), else None."""
    for side in (1,) if weak else (1, -1):
        if _visible(side * e, domain, not weak) or _slack(side * e, domain, not weak):
            return side
    return None


def _visible(e: sp.Expr, domain: Domain, strict: bool) -> bool:
    """Signs of terms and of factors, as sympy's assumptions see them."""
    typed = e.xreplace(domain.typed)
    if _sees(typed, strict):
        return True
    try:
        return _product_sign(sp.factor(sp.together(typed)), strict, lambda f: f)
    except (sp.PolynomialError, NotImplementedError, RecursionError):
        return False


def _sees(e: sp.Expr, strict: bool) -> bool:
    return bool(e.is_positive if strict else e.is_nonnegative)


def _product_sign(product: sp.Expr, strict: bool, prepare) -> bool:
    """Sign of a product from the signs of its factors."""
    negative = False
    for factor in sp.Mul.make_args(product):
        base, exponent = factor.as_base_exp()
        odd = not (exponent.is_integer and exponent.is_even)
        if not odd and base.is_real:
            if (strict or exponent.is_negative) and not (base.is_nonzero or _one_sided(prepare(base))):
                return False
            continue
        if exponent.is_integer and exponent.is_odd:
            factor = base
            need_strict = strict or bool(exponent.is_negative)
        else:
            need_strict = strict
        ready = prepare(factor)
        if _sees(ready, need_strict):
            continue
        if _sees(-ready, need_strict):
            negative = not negative
            continue
        return False
    return not negative


def _one_sided(e: sp.Expr) -> bool:
    return _sees(e, True) or _sees(-e, True)


def _slack(e: sp.Expr, domain: Domain, strict: bool) -> bool:
    """After the change to positive variables, every coefficient of every factor has one sign."""
    if e.has(*JUMPS):
        return False
    if strict:
        for symbol, top in domain.closed_tops():
            if symbol in e.free_symbols:
                at_top = e.subs(symbol, top)
                rest = domain.without(symbol)
                if not (_visible(at_top, rest, True) or _slack(at_top, rest, True)):
                    return False
    try:
        done = _named_logs(e.xreplace(domain.slack))
        top, bottom = sp.fraction(sp.together(done))
        if _termwise(top, strict) and _termwise(bottom, True):
            return True
        if _product_sign(sp.factor(sp.together(done)), strict, sp.expand):
            return True
        if not e.has(sp.log):
            return False
        top, bottom = (_joined_logs(part) for part in sp.fraction(sp.together(split_logs(e.xreplace(domain.slack)))))
        return any(_termwise(side * top, strict) and _termwise(side * bottom, True) for side in (1, -1))
    except (sp.PolynomialError, NotImplementedError, RecursionError, AttributeError):
        return False


def _termwise(e: sp.Expr, strict: bool) -> bool:
    return _sees(sp.expand(e), strict)


def _joined_logs(e: sp.Expr) -> sp.Expr:
    """Logarithms with numeric factors joined to one, whose sign may be visible."""
    return _named_logs(sp.logcombine(sp.expand(e)))


def _named_logs(e: sp.Expr) -> sp.Expr:
    """Each logarithm whose sign is that of its argument minus one, replaced by a symbol of that sign."""
    table = {}
    for part in e.atoms(sp.log):
        if part.free_symbols and not part.has(sp.Sum, sp.Integral):
            over = sp.factor(sp.together(part.args[0] - 1))
            for side in (1, -1):
                if _product_sign(side * over, True, sp.expand) and _product_sign(sp.factor(part.args[0]), True, sp.expand):
                    table[part] = side * sp.Dummy("log", positive=True)
    return e.xreplace(table)


def _monotone(e: sp.Expr, domain: Domain, strict: bool, depth: int) -> str | None:
    """The symbol at one end of whose range e has the sign, and in which e grows away from that end."""
    if e.has(*JUMPS, sp.Abs, sp.Max, sp.Min, *UNFINISHED) or e.count_ops() > 80:
        return None
    for s in sorted(e.free_symbols & set(domain.symbols), key=domain.symbols.index):
        if domain.excluded(s) or any(s in c.gap.free_symbols and not sp.diff(c.gap, s).is_Rational for c in domain.constraints):
            continue
        if _grows(e, s, domain, strict, depth):
            return s.name
        for middle in (sp.S.Zero, sp.S.One, sp.S.Half):
            if not strict and _touches(e, s, middle, domain):
                right = domain.restricted(Constraint(middle, "<=", s, ""))
                left = domain.restricted(Constraint(s, "<=", middle, ""))
                if _grows(e, s, right, False, depth) and _grows(e, s, left, False, depth):
                    return f"{s.name} from {middle} to both sides"
    return None


def _touches(e: sp.Expr, s: sp.Symbol, middle: sp.Expr, domain: Domain) -> bool:
    """Whether the value and the slope vanish at an inner point."""
    ends = [(side, value) for side, bounds in zip((1, -1), domain.bounds(s), strict=True) for value, _ in bounds]
    if any(value.free_symbols or not (side * (middle - value)).is_positive for side, value in ends):
        return False
    try:
        return all(sp.expand(sp.cancel(part.subs(s, middle))) == 0 for part in (e, sp.diff(e, s)))
    except (sp.PolynomialError, NotImplementedError):
        return False


def _grows(e: sp.Expr, s: sp.Symbol, domain: Domain, strict: bool, depth: int) -> bool:
    for side, bounds in zip((1, -1), domain.bounds(s), strict=True):
        for end, is_open in bounds:
            if s in end.free_symbols:
                continue
            start = _value_at(e, s, end, "+" if side > 0 else "-", domain)
            if start is None:
                continue
            rest = domain.without(s)
            wide = domain.without_other_bounds(s, end, side)
            slope = side * sp.diff(e, s)
            above = _settled(start, rest, True, depth)
            if not above and not (_settled(start, rest, False, depth) or prove_zero(start, rest)):
                continue
            if not strict or above:
                if _settled(slope, wide, False, depth):
                    return True
            elif is_open and _settled(slope, wide.opened(s, end, side), True, depth):
                return True
    return False


def _settled(e: sp.Expr, domain: Domain, strict: bool, depth: int) -> bool:
    if _visible(e, domain, strict) or _slack(e, domain, strict):
        return True
    return depth > 1 and _monotone(e, domain, strict, depth - 1) is not None


def _value_at(e: sp.Expr, s: sp.Symbol, end: sp.Expr, direction: str, domain: Domain) -> sp.Expr | None:
    """The value or the one-sided limit at an end, None if it is not finite."""
    value = e.subs(s, end)
    if value.has(sp.nan, sp.zoo, sp.oo, sp.S.NegativeInfinity):
        try:
            value = sp.limit(e.xreplace(domain.typed), domain.typed[s], end.xreplace(domain.typed), direction)
        except (NotImplementedError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        value = value.xreplace({t: plain for plain, t in domain.typed.items()})
    bad = value.has(sp.nan, sp.zoo, sp.oo, sp.S.NegativeInfinity, sp.AccumBounds, sp.Limit)
    return None if bad else value
