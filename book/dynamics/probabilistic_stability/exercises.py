"""Checks of the chapter's coding exercises: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

from lib.papers.probabilistic_stability.exponents import thresholds
from lib.papers.probabilistic_stability.laws import gamma, squared_gaussian, uniform


def check_first_moment_edge(fn: Callable) -> str:
    """Check ``first_moment_edge(law)`` of chapter "probabilistic-stability" on four laws.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    for name, law in (("squared Gaussian", squared_gaussian(1)), ("its batch of four", squared_gaussian(4)),
                      ("gamma", gamma(3.0, 0.5)), ("uniform", uniform(0.2, 1.8))):
        try:
            answer = float(fn(law))
        except NotImplementedError:
            return "not written yet: replace the body of first_moment_edge and run this cell again"
        expected = thresholds(law).L1
        if not abs(answer - expected) <= 1e-6 * expected:
            hint = "that is the L2 edge" if abs(answer - thresholds(law).L2) < 1e-9 else \
                "that is the edge in probability" if abs(answer - thresholds(law).prob_edge) < 1e-6 else \
                "E|1 - lam h| is not 1 there"
            return f"wrong for the {name} law: {answer:.6g}; {hint}"
    return "right"
