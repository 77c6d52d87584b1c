"""Two solvable models of the price that a token type pays for weight decay, and how fast types are learned.

Free features (after Dang and others, 2024, our proof): ``ufm_loss``, ``threshold``, and ``minimise_ufm`` to check them.
One matrix, one context a type (ours): ``linear_loss``, ``front``. Learning: ``half_time``, and ``learn`` to check it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import LedgerError


def zipf(types: int) -> np.ndarray:
    """Frequencies f_k in proportion to 1 / k, [types]."""
    f = 1 / np.arange(1, types + 1)
    return f / f.sum()


def threshold(n: float, types: int, decay: float) -> float:
    """Count n* at or below which a type is never learned: K/(K-1) N^2 lambda^2, where lambda is sqrt(lambda_W lambda_H)."""
    return types / (types - 1) * (n * decay) ** 2


def ufm_loss(counts: np.ndarray, decay: float, total: float | None = None) -> np.ndarray:
    """Loss of each type at the optimum of free non-negative features, nats, shaped as ``counts``.

    Parameters
    ----------
    counts : occurrences n_k of each of the K types (a number of occurrences need not be whole).
    decay : sqrt(lambda_W lambda_H).
    total : N and K of a larger text, as (N, K), where ``counts`` is a sample of its types; else from ``counts``.
    """
    n, k = (float(np.sum(counts)), len(counts)) if total is None else total
    error = n * decay * np.sqrt((k - 1) / (k * np.asarray(counts, dtype=float)))
    return -np.log1p(-np.minimum(error, (k - 1) / k))


def linear_loss(f: np.ndarray, decay: float, types: int) -> np.ndarray:
    """Loss of types of frequency ``f`` at the optimum of one matrix with L2: f pi(delta) = decay (K-1)/K delta, nats."""
    if not decay > 0 or not (np.asarray(f) > 0).all():
        raise LedgerError("the linear model's optimum needs a decay and frequencies above 0; without decay every loss "
                          "falls to 0.")
    from scipy.optimize import brentq
    share = (types - 1) / types

    def margin(fk: float) -> float:
        g = lambda d: fk * (types - 1) / (types - 1 + np.exp(d)) - decay * share * d  # noqa: E731
        return brentq(g, 0.0, min(fk / (decay * share), 700.0), xtol=1e-13)

    return np.log1p((types - 1) * np.exp(-np.array([margin(fk) for fk in np.atleast_1d(f)])))


def descend(f: np.ndarray, decay: float) -> np.ndarray:
    """Loss of each type where L-BFGS ends on the objective of the linear model itself, nats; checks ``linear_loss``."""
    f, w = torch.as_tensor(f), torch.zeros(len(f), len(f), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-18,
                                  line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = -(f * w.log_softmax(1).diagonal()).sum() + decay / 2 * w.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    return -w.detach().log_softmax(1).diagonal().numpy()


def front(types: int, decay: float) -> float:
    """Frequency f* below which a type's probability is under one half in the linear model: 2 decay (K-1)/K log(K-1)."""
    return 2 * decay * (types - 1) / types * np.log(types - 1)


def most_sensitive(types: int) -> tuple[float, float]:
    """Margin at which pi delta / (1 + delta (1 - pi)), the slope in log decay, is largest; that type's frequency over f*."""
    margin = np.linspace(0.05, 3 * np.log(types), 20_000)
    error = (types - 1) / (types - 1 + np.exp(margin))
    best = (error * margin / (1 + margin * (1 - error))).argmax()
    return float(margin[best]), float(margin[best] / error[best] / (2 * np.log(types - 1)))


def half_time(f: np.ndarray, types: int) -> np.ndarray:
    """Time of gradient flow until a type of frequency f has probability one half in the linear model, without decay."""
    return (types - 1) / types / f * (np.log(types - 1) + (types - 2) / (types - 1))


def minimise_ufm(counts: Sequence[int], decays: Sequence[float], width: int, steps: int, seeds: Sequence[int],
                 signed: bool = False) -> dict:
    """Projected Adam on the free-feature model from random starts, all at once; ``signed`` features are not projected.

    ``loss`` [seed, decay, K] of each type, ``objective`` [seed, decay, 2], found and predicted, ``cosine`` [seed, decay],
    largest between features of two types that are alive. Within-class collapse is exact, so one feature a type suffices.
    """
    n = torch.tensor(counts, dtype=torch.float64)
    k, f, lam = len(counts), n / n.sum(), torch.tensor(decays, dtype=torch.float64)[:, None, None]
    if width < k:
        raise LedgerError(f"{k} types need features of at least {k} numbers, not {width}.")
    gen = [torch.Generator().manual_seed(s) for s in seeds]
    start = lambda scale: torch.stack([  # noqa: E731
        torch.randn(len(decays), k, width, generator=g, dtype=torch.float64) * scale for g in gen])
    w, h = start(0.3).requires_grad_(), start(1.0)
    h = (h if signed else h.abs()).requires_grad_()

    def parts() -> tuple[Tensor, Tensor]:
        z = h @ w.mT                                                             # [seed, decay, k, k]
        loss = z.logsumexp(-1) - z.diagonal(dim1=-2, dim2=-1)
        square = (lam * w.square()).sum((-2, -1)) + (lam * n[:, None] * h.square()).sum((-2, -1))
        return loss, (f * loss).sum(-1) + square / 2

    optimizer = torch.optim.Adam([w, h], 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 1e-5)
    for _ in range(steps):
        optimizer.zero_grad()
        parts()[1].sum().backward()
        optimizer.step()
        schedule.step()
        if not signed:
            with torch.no_grad():
                h.clamp_(min=0)
    with torch.no_grad():
        loss, objective = parts()
        u = F.normalize(h, dim=-1)
        alive = (h.norm(dim=-1) > 1e-3).double()
        cosine = (u @ u.mT - torch.eye(k)) * alive[..., None] * alive[..., None, :]
    return {"loss": loss.numpy(), "objective": np.stack([objective.numpy(), np.broadcast_to(
        [optimum(np.array(counts), d) for d in decays], objective.shape)], -1), "cosine": cosine.amax((-2, -1)).numpy()}


def optimum(counts: np.ndarray, decay: float) -> float:
    """Least value of the free-feature objective, by the theorem: sum of f_k L_k + kappa_k m_k."""
    k, f = len(counts), counts / counts.sum()
    loss = ufm_loss(counts, decay)
    error = 1 - np.exp(-loss)
    margin = np.where(error < (k - 1) / k, np.log((k - 1) * (1 - error) / error), 0.0)
    return float((f * loss + decay * np.sqrt(counts * (k - 1) / k) * margin).sum())


def decoupling(types: int, width: int, draws: int, seeds: Sequence[int]) -> dict:
    """Step 4 of the proof on random features: least |W|^2 for given margins, over its bound; below 1 violates it.

    ``ratio`` [seed, 2, draws], for features that are non-negative and for features of both signs.
    """
    out = np.empty((len(seeds), 2, draws))
    for s, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        h, c = rng.standard_normal((draws, types, width)), rng.random((draws, types))
        h *= rng.random(h.shape) < 0.7
        for j, features in enumerate((np.abs(h), h)):
            gram = (np.eye(types) - 1 / types) * (features @ features.transpose(0, 2, 1))
            least = np.einsum("nk,nk->n", c, np.linalg.solve(gram, c[..., None])[..., 0])
            out[s, j] = least / (c ** 2 / np.einsum("nkk->nk", gram)).sum(1)
    return {"ratio": out}


def learn(types: int, batch: int, rates: Sequence[float], steps: int, looks: int, seeds: Sequence[int]) -> dict:
    """One matrix, one context a type, Zipf's frequencies, learned from batches by SGD and by Adam, without decay.

    ``slope`` [seed, 2]: exponent of f in the step at which a type reaches probability one half, over the types that do so
    after the first look; ``half`` [seed, 2, type], that step (NaN where it was not reached).
    """
    f, eye = torch.tensor(zipf(types)), torch.eye(types, dtype=torch.float64)
    half, every = np.full((len(seeds), 2, types), np.nan), max(1, steps // looks)
    for j, rate in enumerate(rates):
        gens = [torch.Generator().manual_seed(seed) for seed in seeds]
        w = torch.zeros(len(seeds), types, types, dtype=torch.float64)
        first, second = torch.zeros_like(w), torch.zeros_like(w)
        for t in range(1, steps + 1):
            n = torch.stack([torch.multinomial(f, batch, True, generator=g).bincount(minlength=types) for g in gens])
            grad = (n / batch)[..., None] * (w.softmax(-1) - eye)                # a row a context
            if j:
                first.lerp_(grad, 0.1)
                second.lerp_(grad.square(), 0.001)
                grad = first / (1 - 0.9 ** t) / ((second / (1 - 0.999 ** t)).sqrt() + 1e-12)
            w -= rate * grad
            if t % every == 0:
                new = (w.softmax(-1).diagonal(dim1=-2, dim2=-1) > 0.5).numpy() & np.isnan(half[:, j])
                half[:, j][new] = t
    slope = np.empty(half.shape[:2])
    for (s, j) in np.ndindex(slope.shape):
        ok = half[s, j] > every
        slope[s, j] = np.polyfit(np.log(f.numpy()[ok]), np.log(half[s, j, ok]), 1)[0]
    return {"slope": slope, "half": half}


def bigram(ids: Tensor, types: int, decays: Sequence[float], steps: int = 200) -> np.ndarray:
    """Loss of each type under the best table of next-token logits with L2, a convex problem, nats, [decay, types].

    ``ids`` [n] below ``types``; the objective is the mean loss plus decay / 2 times the squared length of the table.
    """
    n = torch.bincount(ids[:-1] * types + ids[1:], minlength=types * types).double().view(types, types)
    joint, w = n / n.sum(), torch.zeros(types, types, dtype=torch.float64, requires_grad=True)
    column, out = joint.sum(0), []
    for decay in sorted(decays, reverse=True):
        optimizer = torch.optim.LBFGS([w], max_iter=steps, history_size=20, line_search_fn="strong_wolfe",
                                      tolerance_grad=1e-7, tolerance_change=1e-12)

        def closure(decay=decay, optimizer=optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = -(joint * w.log_softmax(1)).sum() + decay / 2 * w.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            out.append((-(joint * w.log_softmax(1)).sum(0) / column).numpy())
    return np.stack(out)[np.argsort(np.argsort(-np.array(decays)))]
