"""Rewritings that need the domain: signs of absolute values, cases of a Piecewise."""

from __future__ import annotations

import sympy as sp

from lib.steps.coefficients import binomial_sum
from lib.steps.domain import Domain
from lib.steps.visible import quick_sign


def carry_out(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Carry out sums, derivatives, integrals and limits, and drop the cases that the domain excludes."""
    if not e.has(sp.Sum, sp.Product, sp.Derivative, sp.Integral, sp.Subs, sp.Limit, sp.Piecewise):
        return e
    closed = {part: binomial_sum(part) for part in e.atoms(sp.Sum) if part.has(sp.binomial)}
    e = e.xreplace({part: new for part, new in closed.items() if new is not None})
    try:
        done = e.doit()
    except (NotImplementedError, ValueError, TypeError, RecursionError, AttributeError):
        return e
    back = {t: s for s, t in domain.typed.items()}
    return resolve(done.xreplace(back), domain).xreplace(domain.typed)


def resolve(e: sp.Expr, domain: Domain) -> sp.Expr:
    """Replace ``Abs``, ``sign``, ``Max``, ``Min`` and ``Piecewise`` wherever the domain decides the sign."""
    kinds = (sp.Abs, sp.sign, sp.Max, sp.Min, sp.Piecewise, sp.Heaviside)
    for _ in range(4):
        table = {}
        for part in sorted(e.atoms(*kinds), key=sp.default_sort_key):
            new = _decide(part, domain)
            if new is not None:
                table[part] = new
        if not table:
            return e
        e = e.xreplace(table)
    return e


def _decide(part: sp.Expr, domain: Domain) -> sp.Expr | None:
    if isinstance(part, (sp.Abs, sp.sign, sp.Heaviside)):
        inside = part.args[0]
        if isinstance(part, sp.Abs):
            sides = [side for side in (1, -1) if quick_sign(side * inside, domain, weak=True) == 1]
            return sides[0] * inside if sides else None
        side = quick_sign(inside, domain)
        if side is None:
            return None
        return sp.Integer(side) if isinstance(part, sp.sign) else sp.Integer((side + 1) // 2)
    if isinstance(part, (sp.Max, sp.Min)):
        want = 1 if isinstance(part, sp.Max) else -1
        for best in part.args:
            if all(other == best or quick_sign(want * (best - other), domain, weak=True) == 1 for other in part.args):
                return best
        return None
    kept = []
    for value, condition in part.args:
        answer = _truth(condition, domain)
        if answer is False:
            continue
        kept.append((value, sp.true if answer else condition))
        if answer:
            break
    if kept and kept[0][1] == sp.true:
        return kept[0][0]
    return None if len(kept) == len(part.args) or not kept else sp.Piecewise(*kept)


def _truth(condition: sp.Basic, domain: Domain) -> bool | None:
    """Whether a condition holds in the whole domain (True), nowhere (False), or is not decided (None)."""
    if condition in (sp.true, sp.false):
        return condition == sp.true
    if isinstance(condition, (sp.And, sp.Or)):
        answers = [_truth(c, domain) for c in condition.args]
        stop = isinstance(condition, sp.Or)
        return stop if stop in answers else None if None in answers else not stop
    if not isinstance(condition, sp.core.relational.Relational):
        return None
    gap = condition.lhs - condition.rhs
    gap = resolve(gap, domain)
    strict, weak = quick_sign(gap, domain), quick_sign(gap, domain, weak=True)
    back = quick_sign(-gap, domain, weak=True)
    if condition.rel_op in ("==", "!="):
        return None if strict is None else (condition.rel_op == "!=")
    if condition.rel_op in (">", ">="):
        yes = strict == 1 or (condition.rel_op == ">=" and weak == 1)
        no = strict == -1 or (condition.rel_op == ">" and back == 1)
    else:
        yes = strict == -1 or (condition.rel_op == "<=" and back == 1)
        no = strict == 1 or (condition.rel_op == "<" and weak == 1)
    return True if yes else False if no else None
