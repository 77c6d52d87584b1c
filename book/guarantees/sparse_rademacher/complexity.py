"""Rademacher complexities and the steps of the proof, by exact enumeration of signs and by ascent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib import ensemble

from .trees import Trees


def signs(m: int) -> np.ndarray:
    """All sign vectors [2^m, m]."""
    return np.array(list(itertools.product((-1.0, 1.0), repeat=m)))


def contraction(m: int, size: int, lam: float, window: int, seeds: Sequence[int]) -> dict:
    """Left over right side of the contraction steps for random finite sets of vectors, every sign enumerated; [seed, 3].

    Columns: one-sided ReLU; two-sided ReLU without its factor 2; maximum over ``window`` vectors, two-sided, with factor
    2 and argument ``2^ceil(log2 window)`` at a third of ``lam``. At most 1 where the step holds, 2 in the middle column.
    """
    xi, out = signs(m), np.empty((len(seeds), 3))
    for i, s in enumerate(seeds):
        rng = np.random.default_rng(s)
        t = rng.standard_normal((size, window, m)) * rng.gamma(0.5, 2.0, (size, 1, 1)) + rng.standard_normal(m)
        first = t[:, 0]
        plain, bent = xi @ first.T, xi @ np.maximum(first, 0).T
        out[i, 0] = np.exp(lam * bent.max(1)).mean() / np.exp(lam * plain.max(1)).mean()
        out[i, 1] = np.exp(lam * np.abs(bent).max(1)).mean() / np.exp(lam * np.abs(plain).max(1)).mean()
        pooled = xi @ np.maximum(t, 0).max(1).T
        every = np.abs(xi @ t.reshape(-1, m).T).max(1) * 2 ** np.ceil(np.log2(window))
        out[i, 2] = np.exp(lam / 3 * np.abs(pooled).max(1)).mean() / (2 * np.exp(lam / 3 * every).mean())
    return {"ratio": out}


def peeling(m: int, q: int, lam: float, grid: int, seeds: Sequence[int]) -> dict:
    """Left over right side of the peeling lemma, patches in the plane, unit filters on a fine circle; [seed, 2].

    Columns: the lemma; the moment generating function of one patch's norm against ``exp(lam s + lam^2 s^2 / 2)``.
    """
    angle = np.linspace(0, 2 * np.pi, grid, endpoint=False)
    u, xi, out = np.stack([np.cos(angle), np.sin(angle)]), signs(m), np.empty((len(seeds), 2))
    for i, s in enumerate(seeds):
        v = np.random.default_rng(s).standard_normal((q, m, 2))
        bent = np.einsum("sm,qmg->sqg", xi, np.maximum(v @ u, 0))
        left = np.exp(lam * np.sqrt((bent**2).max(2).sum(1))).mean()
        norms = np.linalg.norm(np.einsum("sm,qmp->sqp", xi, v), axis=2)
        right = 2 * np.exp(lam * np.sqrt(q) * norms.max(1)).mean()
        size = np.linalg.norm(v[0])
        out[i] = left / right, np.exp(lam * norms[:, 0]).mean() / np.exp(lam * size + lam**2 * size**2 / 2)
    return {"ratio": out}


def patches(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Patches [n, positions, kernel^2] of grey images [n, s, s]."""
    return torch.nn.functional.unfold(x[:, None], kernel, stride=stride).mT


def largest(v: Tensor, xi: Tensor, shared: bool, restarts: int, steps: int, gen: torch.Generator) -> Tensor:
    """Supremum over unit filters of the two-layer class, the best seen by ascents along the gradient, [T].

    ``v`` [m, positions, p] patches, ``xi`` [T, m] signs. Shared filters: the root of the largest sum over positions; a
    filter of its own at each: the root of the sum of largest. Ascent gives a lower bound, tight where a restart finds the
    top.
    """
    m, J, p = v.shape
    u = torch.randn(len(xi), restarts, 1 if shared else J, p, generator=gen, dtype=v.dtype)
    best = v.new_zeros(len(xi), restarts, 1 if shared else J)
    for step in range(steps + 1):
        u = u / u.norm(dim=-1, keepdim=True)
        z = torch.einsum("mjp,trkp->trmj", v, u) if shared else torch.einsum("mjp,trjp->trmj", v, u)
        total = torch.einsum("tm,trmj->trj", xi, z.relu())  # [T, restarts, positions]
        squares = total.square()
        best = torch.maximum(best, squares.sum(2, keepdim=True) if shared else squares)
        pull = (z > 0) * xi[:, None, :, None] * total[:, :, None]
        pull = torch.einsum("trmj,mjp->trp", pull, v)[:, :, None] if shared else torch.einsum("trmj,mjp->trjp", pull, v)
        u = u + 8 / (8 + step) * pull / pull.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return best.amax(1).sum(1).sqrt()


def two_layers(x: np.ndarray, geometries: Sequence[tuple[int, int]], ms: Sequence[int], seeds: Sequence[int],
               restarts: int, steps: int) -> np.ndarray:
    """Complexity of the class of norm product 1, one sign vector a seed: [seed, geometry, m, 2], filters shared and not."""
    out = np.empty((len(seeds), len(geometries), len(ms), 2), np.float32)
    for g, (kernel, stride) in enumerate(geometries):
        for k, m in enumerate(ms):
            v = patches(torch.tensor(x[:m]), kernel, stride)
            for i, s in enumerate(seeds):
                gen = torch.Generator().manual_seed(int(s))
                xi = torch.randint(2, (1, m), generator=gen).to(v) * 2 - 1
                for c, shared in enumerate((True, False)):
                    out[i, g, k, c] = float(largest(v, xi, shared, restarts, steps, gen)[0]) / m
    return out


def ascend(x: Tensor, kernels: Sequence[int], width: int, steps: int, lr: float, seeds: Sequence[int]) -> np.ndarray:
    """Lower bounds [seed] of the complexity of trees with norm product 1: ascent on networks, one sign vector a seed."""
    nets = Trees(kernels, width, seeds, x.shape[1], str(x.device))
    gens = ensemble.generators([s + 500_000 for s in seeds], str(x.device))
    xi = torch.stack([torch.randint(2, (len(x),), generator=g, device=x.device) * 2 - 1 for g in gens]).to(x)
    optimizer = torch.optim.Adam(nets.tensors(), lr)
    best = torch.zeros(len(seeds), device=x.device)
    for _ in range(steps):
        value = (xi * nets(x, unit=True)).sum(1)
        best = torch.maximum(best, value.detach())
        optimizer.zero_grad()
        (-value.sum()).backward()
        optimizer.step()
    return (best / len(x)).cpu().numpy()
