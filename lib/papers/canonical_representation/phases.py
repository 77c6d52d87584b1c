"""The phases of the polynomial alignment hypothesis: one forward and one backward relation fix every exponent.

With ``W = U S V^T`` write ``H_a, H_b, G_a, G_b ~ S^(2x), S^(2(x+1)), S^(2(y+1)), S^(2y)``: the two shifts by one are
identities. Source: arXiv:2410.03006, Theorem 2 and Table 1; the entries are solved for, not copied.
"""

from __future__ import annotations

import sympy as sp

FORWARD = ("f-RGA", "f-RWA", "f-GWA")
BACKWARD = ("b-RGA", "b-RWA", "b-GWA")


def _equation(relation: str, x: sp.Symbol, y: sp.Symbol) -> sp.Expr:
    """What vanishes when a relation holds, in exponents of S^2; Z has exponent 1."""
    H, G = (x + 1, y) if relation[0] == "f" else (x, y + 1)
    return {"RGA": H - G, "RWA": H - 1, "GWA": G - 1}[relation[2:]]


def phase_table() -> dict[tuple[str, str], tuple | None]:
    """Exponents (H_a, H_b, G_a, G_b) of each pair of relations; None where no exponents fit, so that S is constant."""
    x, y = sp.symbols("x y")
    out = {}
    for f in FORWARD:
        for b in BACKWARD:
            found = sp.linsolve([_equation(f, x, y), _equation(b, x, y)], x, y)
            out[f, b] = next(((u, u + 1, v + 1, v) for u, v in found), None)
    return out


def degenerate(table: dict[tuple[str, str], tuple | None] | None = None) -> list[tuple[str, str]]:
    """Pairs that no spread of singular values satisfies: both relations of one kind."""
    return [pair for pair, found in (table or phase_table()).items() if found is None]
