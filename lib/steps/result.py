"""What a derivation hands on: the relation that it proved, and its right side as a numpy function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import mpmath
import sympy as sp

from lib.steps.errors import StepError

STRENGTH = ("symbolic", "verified on box", "numeric")


@dataclass(frozen=True)
class Row:
    """One step as the page shows it."""

    number: int
    relation: str
    latex: str
    reason: str
    check: str
    prover: str
    evidence: str
    text: str


@dataclass(frozen=True)
class Result:
    """``lhs relation rhs`` for the whole chain.

    Attributes
    ----------
    lhs, rhs : sympy.Expr
        First and last expression.
    relation : str
        ``=``, ``<=``, ``<``, ``>=``, ``>``, ``->`` (limit) or ``~`` (Taylor polynomial).
    remainder : sympy.Expr
        What a series step left out, as a sum of ``O(...)``; 0 without one.
    evidence : str
        The weakest evidence of the chain, and whether something was cited or argued.
    args : tuple of sympy.Symbol
        Argument order of `fn`: as the symbols appear in the domain.
    """

    lhs: sp.Expr
    relation: str
    rhs: sp.Expr
    evidence: str
    args: tuple[sp.Symbol, ...]
    remainder: sp.Expr = sp.S.Zero

    @cached_property
    def fn(self) -> Callable:
        """The right side as a numpy function of `args`."""
        done = self.rhs.doit()
        special = done.has(sp.hyper, sp.Integral, sp.Sum)
        modules = [{"hyper": _hyper}, "scipy", "numpy"] if special else ["scipy", "numpy"]
        return sp.lambdify(self.args, done, modules=modules)


def _hyper(upper, lower, z):
    """The generalised hypergeometric function of a number or, elementwise, of a numpy array."""

    def at(x) -> float:
        return float(mpmath.hyper(list(upper), list(lower), x))

    if not getattr(z, "ndim", 0):
        return at(z)
    out = z.astype(float)
    out.flat = [at(x) for x in z.flat]
    return out


def joined(relations: list[str]) -> str:
    """The relation between the ends of a chain."""
    directions = {r[0] for r in relations if r[0] in "<>"}
    if len(directions) > 1:
        raise StepError("A chain cannot go up and down: start a new one.")
    limits = "->" in relations
    if directions:
        side = directions.pop()
        last_limit = max((i for i, r in enumerate(relations) if r == "->"), default=-1)
        strict = any(r in "<>" for r in relations[last_limit + 1 :])
        return side if strict else side + "="
    return "->" if limits else "~" if "~" in relations else "="


def weakest(kinds: list[str]) -> str:
    """The evidence of a chain from that of its steps."""
    proved = [kind for kind in kinds if kind in STRENGTH]
    words = [max(proved, key=STRENGTH.index)] if proved else []
    words += [word for word in ("anchored",) if word in kinds and not words]
    words += [word for word in ("cited", "by words") if word in kinds]
    return " + ".join(words) or "nothing checked"
