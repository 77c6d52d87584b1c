"""Is a value that an author puts for a symbol inside the domain?"""

from __future__ import annotations

import sympy as sp

from lib.steps.compare import Undefined, value
from lib.steps.domain import Domain
from lib.steps.errors import StepError
from lib.steps.evaluate import Program
from lib.steps.points import Points, show
from lib.steps.sign import Proof, prove_sign


def value_in_domain(symbol: sp.Symbol, new: sp.Expr, domain: Domain, points: Points) -> Proof:
    """Prove every constraint on the symbol for its new value; return the provers' names or refuse."""
    rest = domain if symbol in new.free_symbols else domain.without(symbol)
    if symbol in domain.integers and not new.xreplace(rest.typed).is_integer:
        raise StepError(f"The value {new} is not seen to be an integer, so it may leave the domain of {symbol}.")
    proofs = []
    for link in domain.constraints:
        if symbol not in link.gap.free_symbols:
            continue
        gap = link.gap.subs(symbol, new)
        _look(symbol, new, link.relation, gap, points)
        if link.relation == "!=":
            proof = prove_sign(gap, rest, True) or prove_sign(-gap, rest, True) or _not_zero(gap, rest)
        else:
            proof = prove_sign(gap, rest, link.relation == "<")
        if proof is None:
            raise StepError(
                f"The value {symbol} = {new} is not proved to satisfy {link.left} {link.relation} {link.right}."
            )
        proofs.append(proof)
    if not proofs and not new.xreplace(rest.typed).is_real:
        raise StepError(f"The value {new} is not seen to be real.")
    kind = "verified on box" if any(proof.evidence != "symbolic" for proof in proofs) else "symbolic"
    return Proof(", ".join(dict.fromkeys(proof.prover for proof in proofs)) or "any real number", kind)


def _not_zero(gap: sp.Expr, domain: Domain) -> Proof | None:
    return Proof("signs and factors") if gap.xreplace(domain.typed).is_nonzero else None


def _look(symbol: sp.Symbol, new: sp.Expr, relation: str, gap: sp.Expr, points: Points) -> None:
    """Refuse with a counterexample where a point shows one."""
    program = Program(gap)
    for point in points.first:
        try:
            seen = value(program, point)
        except Undefined as error:
            raise StepError(f"The value {symbol} = {new} is {error}.") from error
        if {"<": seen <= 0, "<=": seen < 0, "!=": seen.is_zero()}[relation]:
            raise StepError(f"The value {symbol} = {new} leaves the domain at {show(point, new.free_symbols)}.")
