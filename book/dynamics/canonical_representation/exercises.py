"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib.papers.canonical_representation.moments import alignment


def check_baseline(fn: Callable) -> str:
    """Check ``baseline_of(A, B)``: the alignment of two matrices once one of them is turned at random, by its formula.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    rng = np.random.default_rng(5)
    for d, n, power in ((40, 60, 2), (60, 30, 1.5), (20, 500, 3)):
        X = rng.standard_normal((n, d)) * np.linspace(0.3, 1.5, d)
        A = X.T @ X / n
        z, V = np.linalg.eigh(A)
        B = V @ np.diag(np.abs(z) ** power) @ V.T  # related to A, so that a turn matters
        try:
            answer = float(fn(A, B))
        except NotImplementedError:
            return "not written yet: replace the body of baseline_of and run this cell again"
        turned = []
        for _ in range(40):
            Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
            turned.append(float(alignment(A, Q @ B @ Q.T)))
        expected, spread = np.mean(turned), np.std(turned)
        if not abs(answer - expected) <= 3 * spread / np.sqrt(40) + 0.01:
            hint = "that is the alignment as it stands" if abs(answer - float(alignment(A, B))) < 1e-9 else \
                "that is the value without diagonals" if abs(answer) < 1e-6 else "the random turns give another value"
            return f"wrong at d = {d}: {answer:.3f}, and {expected:.3f} over random turns; {hint}"
    return "right"
