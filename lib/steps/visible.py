"""Signs that can be seen: from the signs of terms and factors, or after a change to positive variables."""

from __future__ import annotations

import sympy as sp

from lib.steps.domain import Domain
from lib.steps.logs import split_logs

LONG = 120  # operations; longer expressions are not rewritten
JUMPS = (sp.Piecewise, sp.sign, sp.floor, sp.ceiling, sp.Heaviside, sp.KroneckerDelta)


def quick_sign(e: sp.Expr, domain: Domain, weak: bool = False) -> int | None:
    """1 or -1 if signs, factors or slack variables show the strict sign (with `weak`: 1 if not negative), else None."""
    for side in (1,) if weak else (1, -1):
        if visible(side * e, domain, not weak) or slack(side * e, domain, not weak):
            return side
    return None


def visible(e: sp.Expr, domain: Domain, strict: bool) -> bool:
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


def slack(e: sp.Expr, domain: Domain, strict: bool) -> bool:
    """After the change to positive variables, every coefficient of every factor has one sign."""
    if e.has(*JUMPS) or e.count_ops() > LONG:
        return False
    if strict:
        for symbol, top in domain.closed_tops():
            if symbol in e.free_symbols:
                at_top = e.subs(symbol, top)
                rest = domain.without(symbol)
                if not (visible(at_top, rest, True) or slack(at_top, rest, True)):
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
    e = sp.expand(e)
    terms = [term for term in sp.Add.make_args(e) if term.has(sp.log)]
    if len(terms) > 4 or not all(_is_plain_log(term) for term in terms):
        return e
    return _named_logs(sp.logcombine(e))


def _is_plain_log(term: sp.Expr) -> bool:
    """A small whole number times one logarithm."""
    factor, rest = term.as_coeff_Mul()
    return isinstance(rest, sp.log) and factor.is_Integer and abs(factor) <= 3


def _named_logs(e: sp.Expr) -> sp.Expr:
    """Each logarithm whose sign is that of its argument minus one, replaced by a symbol of that sign."""
    table = {}
    for part in e.atoms(sp.log):
        if part.free_symbols and not part.has(sp.Sum, sp.Integral) and part.count_ops() < LONG:
            over = sp.factor(sp.together(part.args[0] - 1))
            for side in (1, -1):
                known = _product_sign(side * over, True, sp.expand)
                if known and _product_sign(sp.factor(part.args[0]), True, sp.expand):
                    table[part] = side * sp.Dummy("log", positive=True)
    return e.xreplace(table)
