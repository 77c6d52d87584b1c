"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def check_two_point(fn: Callable) -> str:
    """Check ``two_point(V)``: values [2] and probabilities [2] of a class of mean 0 with the worst error.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    for V in (0.05, 0.2, 1.0):
        try:
            x, q = (np.asarray(v, float) for v in fn(V))
        except NotImplementedError:
            return "not written yet: replace the body of two_point and run this cell again"
        except (TypeError, ValueError):
            return f"wrong at V = {V:g}: give two values and two probabilities that sum to 1"
        if x.shape != (2, ) or q.shape != (2, ) or (q < 0).any() or abs(q.sum() - 1) > 1e-12:
            return f"wrong at V = {V:g}: give two values and two probabilities that sum to 1"
        if abs(x @ q) > 1e-9:
            return f"wrong at V = {V:g}: the mean is {x @ q:.3g}, and it must be 0"
        if abs(x**2 @ q - V) > 1e-9:
            return f"wrong at V = {V:g}: the variance is {x**2 @ q:.3g}, and at distance 1 it must be V"
        error = float(q[x <= -0.5 + 1e-12].sum())
        if abs(error - 4 * V / (1 + 4 * V)) > 1e-9:
            return f"wrong at V = {V:g}: the error is {error:.3g}, and {4 * V / (1 + 4 * V):.3g} can be reached"
    return "right"
