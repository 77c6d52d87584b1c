"""Joint-embedding objectives, each split into what pulls two views together and what keeps the rest apart.

All take embeddings z1, z2 [B, d] of two views of B images and return scalars. ``invariance`` is the first part,
``regulariser`` the second; an objective is their sum, the second times a strength.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import ClusteringError

EPS = 1e-4


def _checked(z1: Tensor, z2: Tensor) -> None:
    if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
        raise ClusteringError(f"views of shapes {tuple(z1.shape)} and {tuple(z2.shape)} cannot be compared; give two tensors "
                              "[B, d] with B of at least 2.")


def covariance(z: Tensor) -> Tensor:
    """Sum of the squared entries off the diagonal of the covariance [d, d] of z [B, d], over d.

    With more dimensions than samples by way of the samples' Gram matrix, which has the same squared norm.
    """
    B, d = z.shape
    z = z - z.mean(0)
    small = z @ z.T if d > B else z.T @ z
    return (small.square().sum() - z.square().sum(0).square().sum()) / ((B - 1)**2 * d)


def variance(z: Tensor) -> Tensor:
    """Mean over coordinates of how far the standard deviation stays below 1."""
    return F.relu(1 - (z.var(0) + EPS).sqrt()).mean()


def terms(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three terms of VICReg: invariance s, variance v, covariance c, as in its official code.

    Source: Bardes, Ponce and LeCun, arXiv:2105.04906.
    """
    _checked(z1, z2)
    return F.mse_loss(z1, z2), (variance(z1) + variance(z2)) / 2, covariance(z1) + covariance(z2)


def vicreg(z1: Tensor, z2: Tensor, lam: float = 25.0, mu: float = 25.0, nu: float = 1.0) -> tuple[Tensor, Tensor]:
    """VICReg: lam s, and mu v + nu c."""
    s, v, c = terms(z1, z2)
    return lam * s, mu * v + nu * c


def simclr(z1: Tensor, z2: Tensor, temperature: float = 0.2) -> tuple[Tensor, Tensor]:
    """NT-Xent: alignment of cosines, and the log-sum-exp over the 2 B - 1 other views.

    Source: Chen and others, arXiv:2002.05709; the split after Wang and Isola, arXiv:2005.10242.
    """
    _checked(z1, z2)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    scores = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    pull = -(F.normalize(z1, dim=1) * F.normalize(z2, dim=1)).sum(1).mean() / temperature
    return pull, scores.logsumexp(1).mean()


def barlow_twins(z1: Tensor, z2: Tensor, weight: float = 5e-3) -> tuple[Tensor, Tensor]:
    """Barlow Twins: the diagonal of the cross-correlation [d, d] against 1, and the rest against 0.

    Source: Zbontar and others, arXiv:2103.03230.
    """
    _checked(z1, z2)
    a, b = ((z - z.mean(0)) / (z.var(0, unbiased=False) + EPS).sqrt() for z in (z1, z2))
    c = a.T @ b / len(a)
    on = c.diagonal()
    return (1 - on).square().sum(), weight * (c.square().sum() - on.square().sum())


def spectral(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """Spectral contrastive loss: minus twice the mean inner product of views, and the mean square of others'.

    Source: HaoChen and others, arXiv:2106.04156.
    """
    _checked(z1, z2)
    scores = z1 @ z2.T
    B = len(z1)
    on = scores.diagonal()
    return -2 * on.mean(), (scores.square().sum() - on.square().sum()) / (B * (B - 1))


@dataclass(frozen=True)
class Objective:
    """invariance + strength * regulariser of one of the four losses."""

    loss: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    strength: float = 1.0

    def __call__(self, z1: Tensor, z2: Tensor) -> Tensor:
        pull, push = self.loss(z1, z2)
        return pull + self.strength * push


NAMED = {"VICReg": vicreg, "SimCLR": simclr, "Barlow Twins": barlow_twins, "spectral": spectral}


def objective(name: str, strength: float = 1.0, **settings: float) -> Objective:
    """One of ``VICReg``, ``SimCLR``, ``Barlow Twins``, ``spectral`` with its settings and the regulariser's strength."""
    if name not in NAMED:
        raise ClusteringError(f"there is no objective {name!r}; choose {', '.join(NAMED)}.")
    return Objective(partial(NAMED[name], **settings), strength)
