"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable


def check_scale_free(fn: Callable) -> str:
    """Check ``scale_free(rho, margin, unit, m, delta)``: capacity and tail of the binary bound on the grid ``2^(k/8)``.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    cases = (3.36, 4.0, 0.26, 20_000, 0.05), (40.0, 1.5, 0.01, 500, 0.01), (1.0, 1.0, 0.2, 80, 0.1)
    for rho, margin, unit, m, delta in cases:
        try:
            capacity, tail = fn(rho, margin, unit, m, delta)
        except NotImplementedError:
            return "not written yet: replace the body of scale_free and run this cell again"
        k = math.ceil(8 * math.log2(rho / margin))
        want = 2 * 2 ** (k / 8) * unit
        if not math.isclose(capacity, want, rel_tol=1e-9):
            below = capacity < 2 * rho / margin * unit
            return (f"wrong at rho = {rho:g}: the capacity is {capacity:.4g}, not {want:.4g}"
                    + ("; the class must contain the network, so round up" if below else ""))
        want = 3 * math.sqrt(math.log(3 * (abs(k) + 1) * (abs(k) + 2) / delta) / (2 * m))
        if not math.isclose(tail, want, rel_tol=1e-9):
            return f"wrong at rho = {rho:g}: the tail is {tail:.4g}, not {want:.4g}; the union runs over all whole numbers k"
    return "right"
