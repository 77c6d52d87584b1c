"""Where an objective will cluster, before anything is trained: water over the canonical correlations of fixed features.

The theorem speaks of free embeddings. Here they are linear in fixed features of the images, small random patches by
default, so that the graph's eigenvalues become canonical correlations between two views, and the optimum is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import ClusteringError
from .waterfilling import Water, optimum


def patches(x: Tensor, filters: int, size: int, pool: int, gen: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Features from random patches of the images x [n, channels, s, s]: correlate, keep what exceeds half a standard
    deviation, of either sign, and average over pool x pool regions; [n, 2 filters pool^2]."""
    s = x.shape[-1] - size + 1
    image, row, column = (torch.randint(k, (filters, ), generator=gen) for k in (len(x), s, s))
    kernel = torch.stack([x[i, :, r:r + size, c:c + size] for i, r, c in zip(image, row, column, strict=True)])
    kernel = kernel - kernel.mean((1, 2, 3), keepdim=True)
    kernel = kernel / kernel.flatten(1).norm(dim=1)[:, None, None, None].clamp_min(1e-3)
    scale = F.conv2d(x[:256], kernel).std()

    def features(images: Tensor) -> Tensor:
        found = []
        for part in images.split(512):
            h = F.conv2d(part, kernel) / scale
            h = torch.cat([F.relu(h - 0.5), F.relu(-h - 0.5)], 1)
            found.append(F.adaptive_avg_pool2d(h, pool).flatten(1))
        return torch.cat(found).double()

    return features


@dataclass(frozen=True)
class Forecast:
    """Canonical correlations ``e`` [q], largest first, and the directions ``W`` [q, q] of standardised features.

    Columns of ``W`` are orthogonal in the covariance of views plus the ridge, with square 1: a column's variance is 1 less
    ridge times its squared length, and ``e`` is lowered alike.
    """

    e: np.ndarray
    W: Tensor
    mean: Tensor
    std: Tensor

    def optimum(self, d: int, lam: float, mu: float, nu: float, batch: int = 0) -> Water:
        """The optimum of VICReg with d dimensions, in batches of that size; one band a direction."""
        return optimum(self.e, np.ones(len(self.e), int), d, lam, mu, nu, batch=batch)

    def embed(self, features: Tensor, found: Water) -> Tensor:
        """Embeddings [n, q'] of features [n, q] at an optimum, up to a rotation."""
        kept = torch.as_tensor(np.flatnonzero(found.used))
        scale = torch.as_tensor(found.energy)[kept].sqrt().to(self.W)
        return ((torch.as_tensor(features).double() - self.mean) / self.std) @ self.W[:, kept] * scale


def forecast(views: Tensor, P: Tensor | None = None, ridge: float = 0.1) -> Forecast:
    """Canonical correlations between the two views of a pair, from several views of each image.

    Parameters
    ----------
    views : features [M, N, q] of M views of N images.
    P : kernel [N, N] that draws the second view's image, its diagonal constant; the same image where absent.
    ridge : added to the variance of each standardised feature.
    """
    views = torch.as_tensor(views)
    if views.ndim != 3 or len(views) < 2:
        raise ClusteringError(f"features of shape {tuple(views.shape)} are not several views; give [M, N, q] with M of 2 or "
                              "more.")
    M, N, q = views.shape
    z = views.double().reshape(M * N, q)
    mean, std = z.mean(0), z.std(0).clamp_min(1e-9)
    z = (z - mean) / std
    C, m = z.T @ z / len(z), z.reshape(M, N, q).mean(0)
    within = (C - m.T @ m / N) * M / (M - 1)
    own = 1.0 if P is None else float(P.diagonal().mean())
    A = m.T @ (m if P is None else P.to(m) @ m) / N - own * within / M
    L = torch.linalg.cholesky(C + ridge * torch.eye(q, dtype=C.dtype, device=C.device))
    half = torch.linalg.solve_triangular(L, A, upper=False)
    e, U = torch.linalg.eigh(torch.linalg.solve_triangular(L, half.T, upper=False))
    return Forecast(e.flip(0).cpu().numpy(), torch.linalg.solve_triangular(L.T, U.flip(1), upper=True), mean, std)
