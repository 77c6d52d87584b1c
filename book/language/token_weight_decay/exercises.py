"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch


def check_means(fn: Callable) -> str:
    """Check ``balanced(loss, y, types)``: micro and macro mean of token losses [n] with types [n].

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    g = torch.Generator().manual_seed(5)
    y = torch.cat([torch.zeros(60, dtype=torch.long), torch.randint(1, 9, (40,), generator=g)])
    for name, types in (("every type there", 9), ("types that never come", 20)):
        loss = torch.rand(100, generator=g, dtype=torch.float64) + (y == 0) * 2.0
        by_type = [loss[y == k].mean() for k in range(types) if (y == k).any()]
        wanted = float(loss.mean()), float(sum(by_type) / len(by_type))
        try:
            micro, macro = map(float, fn(loss.clone(), y.clone(), types))
        except NotImplementedError:
            return "not written yet: replace the body of balanced and run this cell again"
        except (TypeError, ValueError, RuntimeError, IndexError) as e:
            return f"wrong with {name}: {type(e).__name__}, {e}"
        if not abs(micro - wanted[0]) < 1e-9:
            return f"wrong with {name}: the micro mean is {wanted[0]:.3g}, you found {micro:.3g}"
        if not abs(macro - wanted[1]) < 1e-9:
            more = " Do types that never come count?" if types > 9 else ""
            return f"wrong with {name}: the macro mean is {wanted[1]:.3g}, you found {macro:.3g}.{more}"
    return "right"
