"""Logarithms of products, split into the factors whose sign is known."""

from __future__ import annotations

import sympy as sp


def split_logs(e: sp.Expr) -> sp.Expr:
    """Split logarithms into those of the factors of their arguments; sound because every part is kept positive."""
    table = {part: _split(part.args[0]) for part in e.atoms(sp.log)}
    return e.xreplace(table)


def _split(argument: sp.Expr) -> sp.Expr:
    total = sp.S.Zero
    inner = argument.args[0] if isinstance(argument, sp.Abs) else argument
    whole = isinstance(argument, sp.Abs)
    inner = sp.factor(sp.together(inner))
    for factor in sp.Mul.make_args(inner):
        base, exponent = factor.as_base_exp()
        if base is sp.E:
            total += exponent
            continue
        if not exponent.is_real:
            return sp.log(argument)
        side = _visible_sign(base)
        if side == 0:
            if not whole:
                return sp.log(argument)
            base = sp.Abs(_monic_sign(base))
        elif side < 0:
            if not whole:
                return sp.log(argument)
            base = -base
        if base.is_Rational and base != 1:
            for prime, power in sp.factorint(base.p).items():
                total += power * exponent * sp.log(prime)
            for prime, power in sp.factorint(base.q).items():
                total -= power * exponent * sp.log(prime)
            continue
        if base.is_number and base.is_positive and base < 1:
            base, exponent = sp.radsimp(1 / base), -exponent
        total += exponent * sp.log(sp.expand(base) if not isinstance(base, sp.Abs) else base)
    return total


def _monic_sign(base: sp.Expr) -> sp.Expr:
    """The same up to a sign, with a fixed choice of it."""
    base = sp.expand(base)
    return -base if base.could_extract_minus_sign() else base


def _visible_sign(base: sp.Expr) -> int:
    """1 or -1 if assumptions show the sign of a factor, else 0."""
    if base.is_positive or sp.expand(base).is_positive:
        return 1
    if base.is_negative or sp.expand(base).is_negative:
        return -1
    return 0
