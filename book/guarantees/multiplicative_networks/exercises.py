"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lib.papers.multiplicative_networks.circuits import Network, count


def check_cosine(fn: Callable) -> str:
    """Check ``even_cosine(R, n)``: a Network for the even Chebyshev series of cos(R t) up to degree n, sharing ``T_2``.

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    from scipy.special import jv
    t = torch.linspace(-1, 1, 301, dtype=torch.float64)[:, None]
    for R, n in ((2.0, 6), (4.0, 10), (6.0, 14)):
        try:
            net = fn(R, n)
        except NotImplementedError:
            return "not written yet: replace the body of even_cosine and run this cell again"
        except Exception as e:
            return f"wrong at R = {R:g}, n = {n}: it raises {type(e).__name__} ({e})"
        if not isinstance(net, Network):
            return f"wrong at R = {R:g}, n = {n}: it returns {type(net).__name__}, and it must return a Network"
        k = np.arange(0, n + 1, 2)
        c = 2 * jv(k, R) * np.cos(k * np.pi / 2)
        c[0] /= 2
        want = np.cos(np.arccos(t.numpy()) * k) @ c
        with torch.no_grad():
            gap = float(np.abs(net(t).numpy()[:, 0] - want).max())
        gates = count(net).gates
        if not gap < 1e-10:
            return f"wrong at R = {R:g}, n = {n}: it differs from the series by {gap:.2g}"
        if gates > n // 2:
            return f"wrong at R = {R:g}, n = {n}: {gates} gates, and {n // 2} are enough; use T_2k(t) = T_k(2 t^2 - 1)"
    return "right"
