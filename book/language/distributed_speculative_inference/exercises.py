"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

from lib.papers.distributed_speculative_inference.forms import dsi_times


def check_certain(fn: Callable) -> str:
    """Check ``certain(accepts, k, t_target, t_draft)``: the time of the last token of DSI on a path.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    paths = [True], [True, True, True, True], [False, False, True], [True, True, False, True, True, True, True, False]
    for accepts in paths:
        for k in (1, 2, 3):
            try:
                got = fn(list(accepts), k, 1.0, 0.2)
            except NotImplementedError:
                return "not written yet: replace the body of certain and run this cell again"
            want = float(dsi_times(accepts, k, 1.0, 0.2)[-1])
            if not math.isclose(got, want, rel_tol=1e-9):
                early = "; drafts are verified in whole blocks" if got < want else "; the last token needs no draft" \
                    if got > want else ""
                return (f"wrong on {''.join('01'[v] for v in accepts)} (1 is accepted) with k = {k}: {got:.4g}, not "
                        f"{want:.4g}{early}")
    return "right"
