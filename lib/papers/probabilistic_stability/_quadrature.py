"""Double-exponential quadrature of functions of ``|1 - lam*h|`` under a density, exact at the logarithmic singularity.

Source: arXiv:2303.13093 (the integrals ``E log|1 - lam*h|`` and ``E|1 - lam*h|^p``); chapter "probabilistic-stability".
The rule is tanh-sinh on finite panels and exp-sinh on half-infinite ones. The point ``h = 1/lam`` is always a panel
edge and the distance to it is carried separately from ``h``, so that no digits are lost where the logarithm is
infinite.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEP = 1 / 16
_T = np.arange(-68, 69) * _STEP  # 137 nodes, t in [-4.25, 4.25]
_U = np.pi / 2 * np.sinh(_T)
_LEFT = 1 / (1 + np.exp(-2 * _U))  # distance to the left end of (0, 1)
_RIGHT = 1 / (1 + np.exp(2 * _U))  # distance to the right end of (0, 1)
_W_FINITE = _STEP * np.pi * np.cosh(_T) * _LEFT * _RIGHT
_RAY = np.exp(_U)  # nodes on (0, inf)
_W_RAY = _STEP * np.pi / 2 * np.cosh(_T) * _RAY

LogPdf = Callable[[np.ndarray], np.ndarray]


def grid(edges: np.ndarray, pole: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, weights and distances to the pole, panel by panel.

    Parameters
    ----------
    edges : array [m, p + 1], each row ascending; only the first and last entry of a row may be infinite.
    pole : array [m], the point ``1/lam`` of each row (may be infinite).
    scale : float > 0, length unit of the half-infinite panels.

    Returns
    -------
    h, weight, gap : arrays [m, p, 137]; ``gap = pole - h`` computed from the nearer panel end.
    """
    lo, hi, s = edges[:, :-1, None], edges[:, 1:, None], pole[:, None, None]
    ray_left, ray_right = np.isinf(lo), np.isinf(hi)
    with np.errstate(invalid="ignore"):
        width = np.where(ray_left | ray_right, 0.0, hi - lo)
        h = np.where(_LEFT < 0.5, lo + width * _LEFT, hi - width * _RIGHT)
        gap = np.where(_LEFT < 0.5, (s - lo) - width * _LEFT, (s - hi) + width * _RIGHT)
        weight = width * _W_FINITE
        x, w = scale * _RAY, scale * _W_RAY
        for ray, end, sign in ((ray_right, lo, 1.0), (ray_left, hi, -1.0)):
            h = np.where(ray, end + sign * x, h)
            gap = np.where(ray, (s - end) - sign * x, gap)
            weight = np.where(ray, w, weight)
    return h, weight, gap


def log_multiplier(lam: np.ndarray, h: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """``log|1 - lam*h|`` from ``h`` where ``|lam*h|`` is small and from the distance to the pole elsewhere; [m, p,
    K].
    """
    small = np.abs(lam * h) < 0.5
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(small, np.log1p(-np.where(small, lam * h, 0.0)), np.log(np.abs(lam)) + np.log(np.abs(gap)))


def weighted_nodes(logpdf: LogPdf, breaks: np.ndarray, lam: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Log of the probability weights (normalised) and ``log|1 - lam*h|`` at the nodes.

    Parameters
    ----------
    logpdf : vectorised log density.   breaks : ascending array [q], the support's ends first and last (may be
        infinite).
    lam : array [m], learning rates of any sign.   scale : float > 0, length unit of the law.

    Returns
    -------
    logq, logr : arrays [m, K]; ``logsumexp(logq) = 0`` in every row.
    """
    with np.errstate(divide="ignore"):
        pole = np.where(lam == 0, np.inf, 1 / lam)
    inside = np.clip(pole, breaks[0], breaks[-1])
    inside = np.where(np.isinf(inside), breaks[1], inside)
    edges = np.sort(np.concatenate([np.broadcast_to(breaks, (lam.size, breaks.size)), inside[:, None]], axis=1), axis=1)
    h, weight, gap = grid(edges, pole, scale)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        logq = np.where(weight > 0, np.log(weight) + logpdf(h), -np.inf)
    logr = log_multiplier(lam[:, None, None], h, gap)
    logq, logr = logq.reshape(lam.size, -1), logr.reshape(lam.size, -1)
    return logq - logsumexp(logq)[:, None], logr


def logsumexp(a: np.ndarray) -> np.ndarray:
    """``log(sum(exp(a)))`` along the last axis, with -inf and +inf handled."""
    top = np.max(a, axis=-1, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        return np.log(np.sum(np.exp(a - safe), axis=-1)) + safe[..., 0]


def mean_log(logq: np.ndarray, logr: np.ndarray) -> np.ndarray:
    """``sum(q * log r)`` along the last axis; a node without weight counts nothing, even where ``log r`` is
    infinite.
    """
    q = np.exp(logq)
    with np.errstate(invalid="ignore"):
        return np.sum(np.where(q > 0, q * logr, 0.0), axis=-1)
