"""Identities between entire hypergeometric functions, and binomial sums: coefficient by coefficient."""

from __future__ import annotations

import sympy as sp

J = sp.Dummy("j", integer=True, nonnegative=True)


def power_series_zero(e: sp.Expr) -> bool:
    """Whether a sum of monomials times entire hypergeometric functions of one ``c*x**m`` has only zero coefficients."""
    e = sp.expand(e)
    hypers = e.atoms(sp.hyper)
    found = {_monomial(part.argument) for part in hypers}
    if not hypers or None in found or len({(x, m) for x, _, m in found}) != 1:
        return False
    if any(len(part.ap) > len(part.bq) for part in hypers):
        return False
    x, _, m = next(iter(found))
    classes: dict[int, list] = {}
    for term in sp.Add.make_args(e):
        parts = [f for f in sp.Mul.make_args(term) if isinstance(f, sp.hyper)]
        rest = term / sp.prod(parts)
        factor, shift = rest.as_independent(x)
        shift = _monomial(shift) if shift != 1 else (x, sp.S.One, 0)
        if len(parts) > 1 or shift is None or shift[0] != x or factor.has(sp.hyper):
            return False
        classes.setdefault(shift[2] % m, []).append((factor * shift[1], shift[2] // m, parts[0] if parts else None))
    return all(_class_zero(terms, x) for terms in classes.values())


def _monomial(e: sp.Expr) -> tuple[sp.Symbol, sp.Expr, int] | None:
    """``c*x**m`` with a number or symbols c as ``(x, c, m)``; None for anything else."""
    for x in sorted(e.free_symbols, key=str):
        c, rest = e.as_independent(x)
        base, m = rest.as_base_exp()
        if base == x and m.is_Integer and m > 0 and not c.has(x):
            return x, c, int(m)
    return None


def _coefficient(part: sp.hyper | None, x: sp.Symbol, k: sp.Expr) -> sp.Expr:
    if part is None:
        return sp.S.One if k == 0 else sp.S.Zero
    c = part.argument.as_independent(x)[0]
    top, bottom = sp.prod([sp.rf(a, k) for a in part.ap]), sp.prod([sp.rf(b, k) for b in part.bq])
    return top / bottom * c**k / sp.factorial(k)


def _class_zero(terms: list[tuple[sp.Expr, int, sp.hyper | None]], x: sp.Symbol) -> bool:
    first = max(shift for _, shift, _ in terms) + 1
    for j in range(first):
        total = sum(c * _coefficient(part, x, sp.Integer(j - shift)) for c, shift, part in terms if j >= shift)
        if sp.cancel(sp.expand(total)) != 0:
            return False
    general = [c * _coefficient(part, x, J + first - shift) for c, shift, part in terms if part is not None]
    ratios = [sp.gammasimp((term / general[0]).rewrite(sp.gamma)) for term in general]
    return sp.cancel(sp.expand_func(sum(ratios))) == 0


def binomial_sum(s: sp.Sum) -> sp.Expr | None:
    """``Sum(q(k)*binomial(n, k)*a**k*b**(n - k), (k, 0, n))`` for a polynomial q, by falling factorials."""
    if len(s.limits) != 1 or s.limits[0][1] != 0:
        return None
    k, _, n = s.limits[0]
    total = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(s.function, power_base=False, power_exp=False, deep=False)):
        value = _binomial_term(sp.powsimp(term), k, n)
        if value is None:
            return None
        total += value
    return total


def _binomial_term(term: sp.Expr, k: sp.Symbol, n: sp.Expr) -> sp.Expr | None:
    polynomial, growing, outside, seen = sp.S.One, sp.S.One, sp.S.One, False
    for factor in sp.Mul.make_args(term):
        base, exponent = factor.as_base_exp()
        if not factor.has(k):
            outside *= factor
        elif factor == sp.binomial(n, k) and not seen:
            seen = True
        elif factor.is_polynomial(k):
            polynomial *= factor
        elif not base.has(k) and sp.expand(exponent).is_polynomial(k) and sp.degree(sp.expand(exponent), k) == 1:
            slope = sp.expand(exponent).coeff(k, 1)
            outside *= base ** sp.expand(exponent - slope * k)
            growing *= base**slope
        else:
            return None
    if not seen:
        return None
    total, rest = sp.S.Zero, sp.Poly(polynomial, k)
    # q(k) = sum of c_j k(k-1)...(k-j+1), and each of these sums to n(n-1)...(n-j+1) g**j (1+g)**(n-j)
    j = 0
    while not rest.is_zero:
        value = rest.eval(j)
        total += value * sp.expand_func(sp.ff(n, j)) * growing**j * (1 + growing) ** (n - j)
        rest = (rest - value).quo(sp.Poly(k - j, k))
        j += 1
    return outside * total
