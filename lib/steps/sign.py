"""Proofs that an expression is positive (or not negative) on a whole domain, the strongest prover first."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from lib.steps.balls import prove_on_box
from lib.steps.domain import Domain
from lib.steps.monotone import Monotone
from lib.steps.rewrite import carry_out, resolve
from lib.steps.visible import slack, visible
from lib.steps.zero import prove_zero

CELLS = 2000  # of a box that the author did not ask for
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
    search = Monotone(domain)
    for words, candidate in _forms(expression, domain):
        for name, prover in (("signs and factors", visible), ("slack variables", slack)):
            if prover(candidate, domain, strict):
                return Proof(words + name)
        variable = search.prove(candidate, domain, strict)
        if variable:
            return Proof(f"{words}derivative in {variable}")
    if prove_on_box(candidate, domain, strict, cells=CELLS):
        return Proof("balls on the whole closed domain", "verified on box")
    return None


def _forms(e: sp.Expr, domain: Domain) -> list[tuple[str, sp.Expr]]:
    """The expression as it stands, and carried out where it holds sums, derivatives or integrals."""
    forms = [("", resolve(e, domain))]
    if e.has(*UNFINISHED):
        back = {t: s for s, t in domain.typed.items()}
        forms.append(("carried out, ", carry_out(e.xreplace(domain.typed), domain).xreplace(back)))
    return forms
