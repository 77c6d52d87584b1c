"""Certificates of few-shot error on classes never seen, for a fixed encoder: U-statistics of independent classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.features import FeaturesError, checked
from lib.stats import kl, kl_inverse

from .episodes import few_shot_error, pair_errors


def hoeffding(q: float, n: int, delta: float) -> float:
    """Upper limit of a mean of n independent values in [0, 1], or of a U-statistic that averages such means."""
    return min(1.0, q + math.sqrt(math.log(1 / delta) / (2 * n)))


def bernstein(values: Tensor, delta: float) -> float:
    """Empirical Bernstein limit of independent values [n] in [0, 1] (Maurer and Pontil 2009, Theorem 4)."""
    n, L = len(values), math.log(2 / delta)
    return min(1.0, float(values.mean()) + math.sqrt(2 * float(values.var()) * L / n) + 7 * L / (3 * (n - 1)))


@dataclass(frozen=True)
class Certificate:
    """With confidence ``1 - delta`` over the classes the few-shot error on new ones is at most each limit.

    ``error`` is measured on the classes given; ``hoeffding``, ``bernstein`` and ``pairs`` come from two-way errors (times
    ways - 1), ``episodes`` from whole episodes; ``best`` is the smaller of the last two, each at half of delta.
    """

    ways: int
    shots: int
    classes: int
    delta: float
    error: float
    hoeffding: float
    bernstein: float
    pairs: float
    episodes: float

    @property
    def best(self) -> float:
        """The smaller of ``pairs`` and ``episodes``, valid because each was asked at half of delta."""
        return min(self.pairs, self.episodes)


def certificate(features_by_class: Tensor, delta: float = 0.05, ways: int = 2, shots: int = 1, episodes: int = 20_000,
                queries: int = 10, seed: int = 0) -> Certificate:
    """Certify a fixed encoder on classes that had no part in its making.

    Parameters
    ----------
    features_by_class : features [C, m, p] of independent draws from the law of classes.
    delta : probability that the certificate is wrong.
    ways, shots : the task on new classes.
    episodes, queries : episodes that estimate the error of whole tasks, and their tested samples a class.

    Returns
    -------
    :class:`Certificate`. No moment is needed: the kernel of the U-statistic is the observed error.
    """
    z = checked(features_by_class, shots + 1, max(ways, 4))
    if not 0 < delta < 1:
        raise FeaturesError(f"delta={delta} is no probability of failure; choose one between 0 and 1, such as 0.05.")
    if not 2 <= ways:
        raise FeaturesError(f"ways={ways} is not possible; a task needs two classes or more.")
    C, m, _ = z.shape
    if episodes < 1 or shots + queries > m:
        raise FeaturesError(f"{shots} shots and {queries} queries need {shots + queries} samples a class, and there are {m}.")
    gen = torch.Generator().manual_seed(seed)
    h = pair_errors(z, shots, gen)
    half = C // 2
    u = float(h.sum() / (C * (C - 1)))
    disjoint = h[torch.arange(half), torch.arange(half) + half]
    seen = few_shot_error(z, ways=ways, shots=shots, episodes=episodes, queries=queries, generator=gen)
    L, scale = math.log(2 / delta), ways - 1
    whole = kl_inverse(kl_inverse(seen, math.log(4 / delta) / episodes), math.log(4 / delta) / (C // ways))
    return Certificate(ways, shots, C, delta, seen, min(1.0, scale * hoeffding(u, half, delta)),
                       min(1.0, scale * bernstein(disjoint, delta)), min(1.0, scale * kl_inverse(u, L / half)), whole)


def classes_needed(error: float, target: float, delta: float = 0.05) -> int:
    """Fewest classes at which ``Certificate.pairs`` of a two-way error comes below ``target``.

    That limit is asked at half of delta: ``kl_inverse(error, log(2/delta)/(C/2))``.
    """
    if not 0 <= error < target < 1:
        raise FeaturesError(f"an error of {error} never certifies {target}; choose a target above the error and below 1.")
    if not 0 < delta < 1:
        raise FeaturesError(f"delta={delta} is no probability of failure; choose one between 0 and 1, such as 0.05.")
    return 2 * math.ceil(math.log(2 / delta) / kl(error, target))
