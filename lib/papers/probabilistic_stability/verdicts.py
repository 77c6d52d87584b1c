"""Verdict on the sign of a Lyapunov exponent from a finite run.

Source: arXiv:2303.13093, Theorems 1 and 3 (the sign decides); chapter "probabilistic-stability".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ._checks import whole


@dataclass(frozen=True)
class Verdict:
    """``verdict`` with the estimated exponent (per step) and its confidence interval ``[low, high]``."""

    verdict: Literal["stable", "unstable", "undecided"]
    exponent: float
    low: float
    high: float


def verdict(
    increments: np.ndarray | None = None,
    *,
    log_norms: np.ndarray | None = None,
    confidence: float = 0.999,
    burn: float = 0.0,
    n_batches: int = 30,
) -> Verdict:
    """Is the point stable in probability? Sign of the mean log increment, with a Student-t interval.

    Source: arXiv:2303.13093, Theorems 1 and 3; chapter "probabilistic-stability". The method of batch means: each chain
    is cut into stretches (one a chain where there are at least ``n_batches`` chains), whose means count as independent.

    Parameters
    ----------
    increments : [T] or [n_chains, T], ``log|z_{t+1}| - log|z_t|`` per step; or
    log_norms : [T + 1] or [n_chains, T + 1], ``log|z_t|`` itself. Pass exactly one of the two.
    confidence : in (0, 1), two-sided.   burn : share of the steps dropped at the start, in [0, 1).
    n_batches : least number of means that the interval rests on.

    Returns
    -------
    Verdict : "stable" if the interval lies below 0, "unstable" if above, "undecided" if it contains 0. A chain that
        hits 0
    exactly (increment ``-inf``) makes the exponent ``-inf``.

    Raises
    ------
    ValueError on NaN or ``+inf``, on both or neither array, or on fewer than two means.
    """
    if (increments is None) == (log_norms is None):
        raise ValueError("pass either increments or log_norms, not both and not neither.")
    if not 0 < confidence < 1 or not 0 <= burn < 1:
        raise ValueError(
            f"confidence must lie in (0, 1) and burn in [0, 1), got {confidence} and {burn}; correct them."
        )
    given = np.atleast_2d(np.asarray(increments if log_norms is None else log_norms, dtype=float))
    if given.ndim != 2 or np.any(np.isnan(given)) or np.any(np.isposinf(given)):
        raise ValueError(
            "the run must be [T] or [n_chains, T] without NaN or +inf; mark diverged chains and drop them."
        )
    if np.any(np.isneginf(given)):
        return Verdict("stable", -np.inf, -np.inf, -np.inf)
    steps = np.diff(given, axis=1) if increments is None else given
    steps = steps[:, int(burn * steps.shape[1]) :]
    n, T = steps.shape
    pieces = min(T, -(-whole("n_batches", n_batches, 2) // n))
    if n * pieces < 2:
        raise ValueError("the run is too short for an interval; pass at least two chains or two steps after burn.")
    low, high = interval(steps.T, confidence, pieces, pool=True)
    return Verdict(_label(low, high), float(steps.mean()), float(low), float(high))


def interval(
    steps: np.ndarray, confidence: float, pieces: int = 30, pool: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Student-t interval of the mean increment by the method of batch means.

    Parameters
    ----------
    steps : [T, ...] increments per step.   confidence : in (0, 1).
    pieces : stretches that each series is cut into.   pool : treat the series (axis 1) as copies of one.

    Returns
    -------
    low, high : arrays [...] (scalars if pooled); infinite where there are fewer than two means.
    """
    from scipy.stats import t as student

    pieces = min(steps.shape[0], pieces)
    length = steps.shape[0] // pieces
    means = steps[steps.shape[0] - pieces * length :].reshape(pieces, length, *steps.shape[1:]).mean(axis=1)
    means = means.ravel() if pool else means
    n = means.shape[0]
    if n < 2:
        return np.full(steps.shape[1:], -np.inf), np.full(steps.shape[1:], np.inf)
    center = steps.mean() if pool else steps.mean(axis=0)
    half = student.ppf((1 + confidence) / 2, n - 1) * means.std(axis=0, ddof=1) / np.sqrt(n)
    return center - half, center + half


def _label(low: float, high: float) -> str:
    return "stable" if high < 0 else "unstable" if low > 0 else "undecided"
