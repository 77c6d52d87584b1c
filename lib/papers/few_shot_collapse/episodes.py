"""Few-shot episodes in batches: support and query disjoint, all episodes of a size at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.features import FeaturesError, by_class, centred, checked

BLOCK = 2**21  # numbers in a block of episodes: what fits a cache


def draw(classes: int, samples: int, ways: int, per_class: int, episodes: int,
         rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Classes [T, k] and samples [T, k, s] of each episode, without replacement."""
    def pick(n: int, k: int, rows: int) -> Tensor:
        return torch.from_numpy(rng.permuted(np.broadcast_to(np.arange(n), (rows, n)), axis=1)[:, :k])
    return pick(classes, ways, episodes), pick(samples, per_class, episodes * ways).reshape(episodes, ways, per_class)


def nearest_centre(flat: Tensor, support: Tensor, query: Tensor) -> Tensor:
    """Scores [T, k, q] of queries by support: minus the squared distance, up to the query's norm.

    ``flat`` [N, p] holds the features, ``support`` [T, k, n] and ``query`` [T, q] say which; so do all heads.
    """
    T, k, n = support.shape
    centre = F.embedding_bag(support.reshape(-1, n), flat, mode="mean").reshape(T, k, -1)
    return torch.baddbmm(-centre.square().sum(-1, keepdim=True), centre, taken(flat, query).transpose(1, 2), alpha=2.0)


def taken(flat: Tensor, rows: Tensor) -> Tensor:
    """The rows [T, q] of features [N, p] as [T, q, p]; one long selection is several times faster than indexing."""
    return flat.index_select(0, rows.reshape(-1)).reshape(*rows.shape, -1)


def ridge(flat: Tensor, support: Tensor, query: Tensor, strength: float = 1.0) -> Tensor:
    """Scores [T, k, q] of ridge regression on one-hot labels, centred; ``strength`` times the mean squared feature."""
    T, k, n = support.shape
    x, query = taken(flat, support.reshape(T, k * n)), taken(flat, query)
    mid = x.mean(1, keepdim=True)
    x, q = x - mid, query - mid
    y = torch.eye(k, dtype=x.dtype).repeat_interleave(n, 0) - 1 / k
    gram = x @ x.transpose(1, 2)
    lam = strength * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-12
    dual = torch.linalg.solve(gram + lam * torch.eye(k * n, dtype=x.dtype), y.expand(T, -1, -1))
    return (q @ x.transpose(1, 2) @ dual).transpose(1, 2)


def logistic(flat: Tensor, support: Tensor, query: Tensor, strength: float = 0.1, steps: int = 30) -> Tensor:
    """Scores [T, k, q] of L2-regularised logistic regression on features scaled to unit mean square, by gradient descent."""
    T, k, n = support.shape
    x, query = taken(flat, support.reshape(T, k * n)), taken(flat, query)
    mid = x.mean(1, keepdim=True)
    scale = (x - mid).square().sum(2).mean(1).sqrt()[:, None, None] + 1e-12
    x, q = (x - mid) / scale, (query - mid) / scale
    y = torch.eye(k, dtype=x.dtype).repeat_interleave(n, 0)
    w = x.new_zeros(T, x.shape[2], k)
    for _ in range(steps):
        w = w - (x.transpose(1, 2) @ ((x @ w).softmax(-1) - y) / n + strength * w)
    return (q @ w).transpose(1, 2)


HEADS = {"centre": nearest_centre, "ridge": ridge, "logistic": logistic}


def few_shot_error(features, labels=None, ways: int = 5, shots: int = 1, episodes: int = 400, queries: int = 10,
                   seed: int = 0, head: str = "centre", generator: torch.Generator | None = None) -> float:
    """Mean error of few-shot episodes.

    Parameters
    ----------
    features, labels : features [C, m, p], or [N, p] with labels [N].
    ways, shots, queries : classes an episode, labelled and tested samples a class; ``shots + queries`` samples are needed.
    episodes : number of episodes; all of them are one batched computation, in blocks of bounded memory.
    seed : stream of the episodes; ``generator`` replaces it.
    head : ``"centre"``, ``"ridge"`` or ``"logistic"``.

    Returns
    -------
    Share of queries that the head takes for another class, between 0 and 1; ties count as errors for the centre.
    """
    z = checked(features) if labels is None else by_class(features, labels)
    C, m, p = z.shape
    if head not in HEADS:
        raise FeaturesError(f"head={head!r} is not known; choose {', '.join(HEADS)}.")
    if not 2 <= ways <= C:
        raise FeaturesError(f"{ways} ways cannot be drawn from {C} classes; choose 2 to {C}.")
    if shots < 1 or queries < 1 or shots + queries > m:
        raise FeaturesError(f"{shots} shots and {queries} queries need {shots + queries} samples a class, and there are {m}.")
    if episodes < 1:
        raise FeaturesError(f"episodes={episodes} gives no error to take a mean of; draw at least one.")
    z, gen = centred(z), generator or torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=gen)))
    own = torch.arange(ways).repeat_interleave(queries)[None]
    wrong, size, flat = 0.0, max(1, BLOCK // (ways * (shots + queries) * max(p, m))), z.reshape(C * m, p)
    for first in range(0, episodes, size):
        T = min(size, episodes - first)
        chosen, rows = draw(C, m, ways, shots + queries, T, rng)
        i = chosen[..., None] * m + rows
        score = HEADS[head](flat, i[:, :, :shots], i[:, :, shots:].reshape(T, ways * queries))
        right = score.gather(1, own.expand(T, 1, -1))
        other = score.masked_fill(own == torch.arange(ways)[:, None], -torch.inf).amax(1, keepdim=True)
        wrong += T * float((~(right > other)).double().mean())
    return wrong / episodes


def pair_errors(z: Tensor, shots: int, gen: torch.Generator, repeats: int = 1) -> Tensor:
    """Two-way errors [C, C], symmetric, of all pairs of classes [C, m, p], mean over draws of the support.

    Each class gives ``shots`` samples to its centre and the others as queries; entry (i, j) is the mean of the shares of
    i's queries not nearer to i's centre and of j's not nearer to j's. The diagonal is 0.
    """
    if shots < 1 or repeats < 1:
        raise FeaturesError(f"{shots} shots and {repeats} draws of the support are not possible; take at least one of each.")
    z = centred(checked(z, shots + 1))
    C, m, p = z.shape
    total = z.new_zeros(C, C, dtype=torch.float64)
    for _ in range(repeats):
        rows = torch.rand(C, m, generator=gen).argsort(1)
        s = torch.gather(z, 1, rows[..., None].expand(-1, -1, p))
        centre = s[:, :shots].mean(1)
        wrong = []
        for i in torch.arange(C).split(max(1, 8 * BLOCK // (m * C))):
            d = torch.cdist(s[i, shots:].reshape(-1, p), centre).reshape(len(i), m - shots, C)
            own = d[torch.arange(len(i)), :, i]
            wrong.append((~(d > own[..., None])).double().mean(1))
        share = torch.cat(wrong).fill_diagonal_(0.0)
        total += (share + share.T) / 2
    return total / repeats
