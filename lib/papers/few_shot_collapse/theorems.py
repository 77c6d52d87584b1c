"""Bounds on the error of the nearest class centre from moments: distance alone, directions, Gaussian approximation."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from lib.features import FeaturesError, Moments, moments


def constant(n: float) -> float:
    """The factor of the averaged distance bound, 4 (1 + 1/sqrt(n))^2."""
    return 4 * (1 + n**-0.5)**2


def by_distance(V_i: Tensor, V_j: Tensor, n: float) -> Tensor:
    """Bound on the error i -> j at n shots from one-sided CDNVs, of any shape; may exceed 1."""
    return ((2 + n**-0.5) * V_i.sqrt() + (V_j / n).sqrt())**2


def signal(along_i, along_j, tr_ii, tr_ij, n: float):
    """Variance of the margin over d^4: ``v``, with directional CDNVs and tr(S_i S_i), tr(S_i S_j) over d^4."""
    return 4 * (along_i + along_j / n + (tr_ii + tr_ij) / n)


def by_direction(V_i: Tensor, v: Tensor, n: float, grid: int = 400) -> Tensor:
    """Bound on the error i -> j at n shots, the least of ``V_i/(n t) + v/(v + (1-t)^2)`` over a grid of t, at most 1.

    Every t gives a valid bound, so a grid only loses tightness. ``n = inf`` stands for known centres.
    """
    if math.isinf(n):
        return v / (v + 1)
    best = torch.ones_like(V_i)
    for t in (torch.arange(grid, dtype=V_i.dtype, device=V_i.device) + 0.5) / grid:
        best = torch.minimum(best, V_i / (n * t) + v / (v + (1 - t)**2))
    return best


def gaussian(V_i, V_j, v, tr_ii, tr_jj, n: float) -> tuple[Tensor, Tensor]:
    """For Gaussian features: Cantelli's bound with exact variance, and the normal approximation of the error.

    ``tr_ii``, ``tr_jj`` are tr(S_i^2), tr(S_j^2) over d^4. Where the mean margin is not positive the bound is 1.
    """
    m = 1 + (V_j - V_i) / n
    vg = v + 2 * (tr_ii + tr_jj) / n**2
    return torch.where(m > 0, vg / (vg + m**2), torch.ones_like(vg)), torch.erfc(m / (2 * vg).sqrt()) / 2


def bounds(features_by_class, shots: int) -> dict[str, Tensor]:
    """All bounds on the two-way error of each unordered pair at ``shots`` shots, from plug-in moments.

    Parameters
    ----------
    features_by_class : features [C, m, p], or :class:`Moments`.
    shots : labelled samples a class.

    Returns
    -------
    ``V``, ``directional`` (both averaged over the two orders), ``distance``, ``direction`` (theorems), ``approximation``
    (Gaussian, no bound); each [C (C - 1) / 2]. Moments are estimates here, so the theorems' values are estimates too.
    """
    if shots < 1:
        raise FeaturesError(f"shots={shots} is not possible; the nearest centre needs at least one labelled sample a class.")
    m = features_by_class if isinstance(features_by_class, Moments) else moments(features_by_class)
    V, W = m.V, m.directional
    own = m.traces.diagonal()
    v = signal(W, W.T, own[:, None] / m.d2**2, m.traces / m.d2**2, shots)
    _, approximation = gaussian(V, V.T, v, own[:, None] / m.d2**2, own[None] / m.d2**2, shots)
    found = {
        "V": V, "directional": W, "distance": by_distance(V, V.T, shots), "direction": by_direction(V, v, shots),
        "approximation": approximation
    }
    i, j = torch.triu_indices(len(V), len(V), 1)
    return {name: (x[i, j] + x[j, i]) / 2 for name, x in found.items()}


def excess(hits, draws: int, bound, alpha: float = 1e-6) -> float:
    """How far errors lie above their bounds beyond chance: the largest Clopper-Pearson lower limit less the bound.

    ``hits`` of ``draws`` and ``bound`` have one shape; NaN bounds are left out. Negative where no bound is violated.
    """
    hits, bound = np.asarray(hits, float), np.asarray(bound, float)
    low = np.where(hits > 0, stats.beta.ppf(alpha, np.maximum(hits, 0.5), draws - hits + 1), 0.0)
    return float(np.nanmax(low - bound))
