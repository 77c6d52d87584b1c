"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch


def check_causal(fn: Callable) -> str:
    """Check ``centred_causal(a, v)``: causal weights [n, n] times values [n, d], centred over the visible prefix.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    gen = torch.Generator().manual_seed(3)
    for n, d in ((1, 2), (5, 3), (9, 4)):
        a = torch.randn(n, n, generator=gen, dtype=torch.float64)
        a = a.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)
        v = torch.randn(n, d, generator=gen, dtype=torch.float64)
        try:
            got = torch.as_tensor(fn(a.clone(), v.clone()))
        except NotImplementedError:
            return "not written yet: replace the body of centred_causal and run this cell again"
        except (TypeError, ValueError, RuntimeError) as e:
            return f"wrong at {n} tokens: it raises {type(e).__name__}"
        if got.shape != v.shape:
            return f"wrong at {n} tokens: the shape is {tuple(got.shape)}, and it must be {tuple(v.shape)}"
        want = torch.stack([a[i] @ v - v[:i + 1].mean(0) for i in range(n)])
        if not torch.allclose(got, want, atol=1e-9):
            row = int((got - want).abs().amax(1).gt(1e-9).nonzero()[0])
            later = n > 1 and not torch.allclose(got[:1], torch.zeros(1, d, dtype=torch.float64), atol=1e-9)
            hint = "; the first token sees itself only, so its row must be 0" if later else ""
            return f"wrong at {n} tokens: row {row} is off by {(got - want)[row].abs().max():.3g}{hint}"
    return "right"
