"""Proofs that an expression is zero on a whole domain; each prover has a name that the page shows."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from lib.steps.coefficients import power_series_zero
from lib.steps.domain import Domain
from lib.steps.grammar import Constraint
from lib.steps.logs import split_logs
from lib.steps.rewrite import carry_out, resolve

OPEN = (sp.Sum, sp.Product, sp.Integral, sp.Piecewise, sp.Derivative)
FAILURES = (NotImplementedError, ValueError, TypeError, sp.PolynomialError, RecursionError, AttributeError, KeyError)
J = sp.Dummy("integral")
LONG = 200  # operations; above it simplify is not tried


def prove_zero(expression: sp.Expr, domain: Domain) -> str | None:
    """Name of the prover that shows an expression to be zero everywhere in the domain, or None.

    Parameters
    ----------
    expression : sympy.Expr
        Usually right side minus left side, in plain symbols.
    domain : Domain
        What the symbols may be.
    """
    if isinstance(expression, sp.MatrixBase):
        names = [prove_zero(entry, domain) for entry in expression]
        return None if None in names else max(names, key=lambda name: (len(name), name), default="expand")
    typed = expression.xreplace(domain.typed)
    for name, prover in PROVERS.items():
        if _is_zero(prover, typed, domain):
            return name
    if expression.has(sp.Integral, sp.atan, sp.asin, sp.acos) and not expression.has(sp.Sum, sp.Product):
        for symbol in sorted(expression.free_symbols - domain.integers, key=str):
            if _by_slope(expression, symbol, domain):
                return f"derivative in {symbol} and value at an end"
    done = carry_out(typed, domain)
    if done != typed:
        for name, prover in PROVERS.items():
            if _is_zero(prover, done, domain):
                return f"carried out, {name}"
    for symbol in sorted(domain.integers & expression.free_symbols, key=str):
        if _induction(expression, symbol, domain):
            return f"induction over {symbol}"
    for prepared, words in ((typed, "simplify"), (done, "carried out, simplify")):
        if prepared.count_ops() < LONG and not prepared.has(*OPEN) and _is_zero(_simplify, prepared, domain):
            return words
    return None


def _is_zero(prover: Callable[[sp.Expr, Domain], sp.Expr], e: sp.Expr, domain: Domain) -> bool:
    try:
        return prover(e, domain) == 0
    except FAILURES:
        return False


def _expand(e: sp.Expr, domain: Domain) -> sp.Expr:
    return sp.expand(e)


def _cancel(e: sp.Expr, domain: Domain) -> sp.Expr:
    if e.has(sp.Piecewise):
        return e
    top, _ = sp.fraction(sp.together(e))
    top = sp.expand(top)
    return top if top == 0 else sp.cancel(e)


def _powers(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Roots and powers of positive things, gathered and spread."""
    if not (e.has(sp.Pow) or e.has(sp.exp)):
        return e
    e = e.replace(lambda p: p.is_Pow and not p.exp.is_Integer, lambda p: sp.factor(p.base) ** sp.expand(p.exp))
    e = sp.expand(sp.expand_power_exp(sp.expand_power_base(sp.powdenest(e))))
    if e == 0:
        return e
    top = sp.expand(sp.fraction(sp.together(e))[0])
    top = sp.expand(sp.powsimp(sp.expand_power_exp(top)))
    return top if top == 0 else sp.expand(sp.radsimp(top))


def _resolved(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Absolute values, maxima and cases whose sign the domain decides."""
    back = {t: s for s, t in domain.typed.items()}
    done = resolve(e.xreplace(back), domain).xreplace(domain.typed)
    return e if done == e else _powers(_cancel(done, domain), domain)


def _slack_logs(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Slack variables, logarithms split into the factors of their arguments."""
    if not e.has(sp.log) or e.has(sp.Integral):
        return e
    back = {t: s for s, t in domain.typed.items()}
    for table in (domain.typed, domain.slack):
        top = split_logs(e.xreplace(back).xreplace(table))
        for reduce in (_expand, _cancel, _powers):
            if _is_zero(reduce, top, domain):
                return sp.S.Zero
    return e


def _gammas(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Factorials, binomials and gamma functions."""
    if not e.has(sp.gamma, sp.factorial, sp.binomial, sp.polygamma, sp.harmonic, sp.RisingFactorial):
        return e
    return _cancel(sp.expand_func(sp.gammasimp(sp.combsimp(e))), domain)


def _hypergeometric(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Hypergeometric functions: coefficients of the power series, or the named functions behind them."""
    if not e.has(sp.hyper):
        return e
    if power_series_zero(e):
        return sp.S.Zero
    named = sp.hyperexpand(e).replace(
        lambda f: isinstance(f, sp.erf) and f.args[0].has(sp.I), lambda f: sp.I * sp.erfi(sp.expand(f.args[0] / sp.I))
    )
    return _powers(_cancel(named, domain), domain)


def _trigonometry(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Circular and hyperbolic functions, written with exponentials."""
    if not e.has(sp.sin, sp.cos, sp.tan, sp.cot, sp.sinh, sp.cosh, sp.tanh, sp.coth):
        return e
    return _powers(_cancel(e.rewrite(sp.exp), domain), domain)


def _simplify(e: sp.Expr, domain: Domain) -> sp.Expr:
    return sp.simplify(e)


PROVERS: dict[str, Callable[[sp.Expr, Domain], sp.Expr]] = {
    "expand": _expand,
    "cancel": _cancel,
    "powers": _powers,
    "signs decided, powers": _resolved,
    "slack variables and logarithms": _slack_logs,
    "gamma functions": _gammas,
    "hypergeometric series": _hypergeometric,
    "exponentials": _trigonometry,
}


def _by_slope(e: sp.Expr, s: sp.Symbol, domain: Domain) -> bool:
    """Zero at one end of the range of s, and a derivative in s that is zero: for integrals with a free end."""
    if domain.is_mixed(s) or domain.excluded(s):
        return False
    t = domain.typed[s]
    back = {symbol: plain for plain, symbol in domain.typed.items()}
    rest = domain.without(s)
    try:
        top = sp.fraction(sp.together(resolve(e, domain).xreplace(domain.typed)))[0]
        integrals = sorted(top.atoms(sp.Integral), key=sp.default_sort_key)
        if len(integrals) > 1:
            return False
        whole = integrals[0] if integrals else top
        factor = sp.diff(top.xreplace({whole: J}), J) if integrals else sp.S.One
        if factor.has(J):
            return False
        other = sp.cancel((top - factor * whole) / factor) if integrals else sp.S.Zero
        slope = sp.diff(whole, t) + sp.diff(other, t)
        if slope.has(sp.Integral) or not _plain_zero(slope.xreplace(back), domain):
            return False
        for end in [value for side in domain.bounds(s) for value, _ in side] or [sp.S.Zero]:
            if s in end.free_symbols:
                continue
            start, weight = (part.subs(t, end.xreplace(domain.typed)).doit() for part in (top, factor))
            usable = not start.has(sp.nan, sp.zoo, sp.oo, sp.Integral) and sp.expand(weight) != 0
            if usable and _plain_zero(start.xreplace(back), rest):
                return True
    except FAILURES:
        pass
    return False


def _plain_zero(e: sp.Expr, domain: Domain) -> bool:
    typed = e.xreplace(domain.typed)
    return any(_is_zero(prover, typed, domain) for prover in PROVERS.values())


def _induction(e: sp.Expr, n: sp.Symbol, domain: Domain) -> bool:
    """Zero at the first n, and the difference of neighbours zero: for sums that sympy cannot carry out."""
    sums = [part for part in e.atoms(sp.Sum, sp.Product) if n in part.free_symbols]
    lower, upper = domain.bounds(n)
    tied = any(n in c.gap.free_symbols and len(c.gap.free_symbols) > 1 for c in domain.constraints)
    if not sums or tied or upper or not all(value.is_Integer for value, _ in lower) or not lower:
        return False
    if any(
        len(s.limits) != 1 or s.limits[0][2] != n or n in (s.function.free_symbols | s.limits[0][1].free_symbols)
        for s in sums
    ):
        return False
    if any(isinstance(part, sp.Product) for part in sums):
        return False
    start = max(value for value, _ in lower)
    base = e.subs(n, start).doit()
    following = e.subs(n, n + 1).xreplace({s.subs(n, n + 1): s + s.function.subs(s.limits[0][0], n + 1) for s in sums})
    rest = domain.restricted(Constraint(start, "<=", n, ""))
    step = sp.expand(following - e)
    if step.has(sp.Sum) or any(not s.limits[0][1].is_Integer or s.limits[0][1] > start for s in sums):
        return False
    return prove_zero(base, domain) is not None and prove_zero(step, rest) is not None
