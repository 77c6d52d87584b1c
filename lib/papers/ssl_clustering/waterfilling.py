"""The optimum of VICReg for free embeddings: water poured over the eigenvalues of the graph of positive pairs.

The graph's kernel P [N, N] is symmetric, its rows sum to 1; eigenvalues 1 = e_0 >= e_1 >= ... Energies are variances along
eigenvectors, and sum to the dimension d. The theorem and its proof are ours (chapter "ssl-clustering").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import ClusteringError
from .objectives import variance


@dataclass(frozen=True)
class Water:
    """An optimum: ``energy`` [bands], variance in each band's directions together; ``used`` [bands], directions in use.

    ``tau`` is the water level, ``std`` the standard deviation of each coordinate, 1 where the hinge is tight.
    """

    energy: np.ndarray
    used: np.ndarray
    tau: float
    std: float = 1.0

    @property
    def share(self) -> np.ndarray:
        """Energies over their sum [bands]."""
        return self.energy / self.energy.sum()

    @property
    def rank(self) -> float:
        """Effective rank of the covariance: the sum of its eigenvalues squared over the sum of their squares."""
        kept = self.used > 0
        return float(self.energy.sum()**2 / (self.energy[kept]**2 / self.used[kept]).sum())


def water(e: Sequence[float], m: Sequence[int], d: int, ratio: float, trace: float | None = None) -> Water:
    """Energies for given total variance: ratio (e - tau)_+ a direction, in at most d directions, the largest first.

    Parameters
    ----------
    e, m : eigenvalues and their multiplicities, the constant left out.
    d : dimension of the embeddings.
    ratio : lambda over nu, infinite where nu is 0; with the covariance term summed over both views, as in the official
        code, lambda over twice nu.
    trace : total variance; d (standard deviation 1) where absent.
    """
    e, m, trace = np.asarray(e, float), np.asarray(m, int), d if trace is None else trace
    if e.ndim != 1 or e.shape != m.shape or not len(e) or (m < 1).any() or d < 1 or not ratio > 0 or not trace > 0:
        raise ClusteringError("give eigenvalues with multiplicities of at least 1, d of at least 1, and a positive ratio and "
                              "trace.")
    order = np.argsort(-e, kind="stable")
    room = np.clip(d - np.cumsum(m[order]) + m[order], 0, m[order])
    level = (np.cumsum(room * e[order]) - trace / ratio) / np.cumsum(room)
    wet = int(((e[order] > level) & (room > 0)).sum()) if np.isfinite(ratio) else 1
    used, tau = np.zeros(len(e), int), float(level[wet - 1])
    used[order[:wet]] = room[:wet]
    energy = used * ratio * (e - tau) if np.isfinite(ratio) else trace * (used > 0)
    return Water(np.where(used > 0, energy, 0.0), used, tau, float(np.sqrt(trace / d)))


def optimum(e: Sequence[float], m: Sequence[int], d: int, lam: float, mu: float, nu: float, branches: int = 2,
            batch: int = 0) -> Water:
    """The optimum of VICReg for free embeddings whose coordinates share one standard deviation; the hinge need not be tight.

    That it is the optimum at all is proved where :func:`hinge_needed` is at most mu, and where mu is at least 8 nu (16 nu
    with two branches). At given standard deviation q the energies are those of :func:`water` with trace d q^2; q minimises
    what is left, on a grid of 1,000.

    Parameters
    ----------
    branches : 2 where the covariance term is summed over both views, as in the official code.
    batch : samples whose covariance is penalised; their own fluctuation is added, as for Gaussian embeddings. 0: all.
    """
    weight = branches * nu
    noise = 1 / (batch - 1) if batch else 0.0
    e, ratio = np.asarray(e, float), lam / (weight * (1 + noise)) if weight else np.inf

    def loss(q: float) -> float:
        w = water(e, m, d, ratio, d * q**2)
        square = (w.energy[w.used > 0]**2 / w.used[w.used > 0]).sum() / d
        spread = weight * ((1 + noise) * (square - q**4) + noise * (d - 1) * q**4)
        return 2 * lam * (w.energy * (1 - e)).sum() / d + spread + mu * (1 - q)

    grid = np.arange(1, 1001) / 1000
    q = grid[int(np.argmin([loss(q) for q in grid]))] if np.isfinite(mu) else 1.0
    return water(e, m, d, ratio, d * q**2)


def hinge_needed(found: Water, lam: float, nu: float, branches: int = 1) -> float:
    """The least mu at which the optimum ``found`` with standard deviation 1 is proved to be global: the maximum over q in
    [0, 1] of (1 + q) (2 lambda (1 - tau) - nu (1 + q^2))."""
    q = np.linspace(0, 1, 1001)
    return float(((1 + q) * (2 * lam * (1 - found.tau) - branches * nu * (1 + q**2))).max())


@dataclass(frozen=True)
class Hierarchy:
    """S superclasses of c classes of n samples; a pair's partner is any sample with probability a0, one of its superclass
    with a1, of its class with a2, itself with the rest."""

    S: int
    c: int
    n: int
    a0: float
    a1: float
    a2: float

    @property
    def bands(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and multiplicities of superclass, class and sample directions."""
        a3 = 1 - self.a0 - self.a1 - self.a2
        e = np.array([self.a1 + self.a2 + a3, self.a2 + a3, a3])
        return e, np.array([self.S - 1, self.S * (self.c - 1), self.S * self.c * (self.n - 1)])

    def labels(self) -> tuple[Tensor, Tensor]:
        """Superclass and class of each sample [N]."""
        i = torch.arange(self.S * self.c * self.n)
        return i // (self.c * self.n), i // self.n

    def kernel(self) -> Tensor:
        """P [N, N], float64."""
        above, own = self.labels()
        N = len(own)
        a3 = 1 - self.a0 - self.a1 - self.a2
        same = [(y[:, None] == y[None]).double() for y in (above, own)]
        return self.a0 / N + self.a1 * same[0] / (self.c * self.n) + self.a2 * same[1] / self.n + a3 * torch.eye(N).double()

    def cdnv(self, found: Water) -> float:
        """CDNV of superclasses at an optimum that uses no sample direction: (c - 1) / 2 times the ratio of energies a
        direction, class over superclass; NaN at another."""
        if found.used[2] or found.used[1] not in (0, self.bands[1][1]):
            return float("nan")
        each = found.energy / np.maximum(found.used, 1)
        return float((self.c - 1) / 2 * each[1] / each[0])


def fit(P: Tensor, d: int, lam: float, mu: float, nu: float, steps: int, gen: torch.Generator, lr: float = 0.05) -> Tensor:
    """Free embeddings [N, d] that minimise VICReg on a graph of positive pairs, one branch, by Adam."""
    N = len(P)
    Z = (0.1 * torch.randn(N, d, generator=gen, device=gen.device, dtype=torch.float64).to(P.device)).requires_grad_()
    optimizer = torch.optim.Adam([Z], lr)
    for t in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1.0, 2 * (1 - t / steps))
        z = Z - Z.mean(0)
        s = 2 * ((z * z).sum() - (z * (P @ z)).sum()) / (N * d)
        C = z.T @ z / N
        c = (C.square().sum() - C.diagonal().square().sum()) / d
        loss = lam * s + mu * variance(z * (1 - 1 / N)**0.5) + nu * c
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (Z - Z.mean(0)).detach()
