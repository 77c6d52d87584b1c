"""Intervals, power and rank correlations, each with its confidence stated."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval. ``n`` is the number of independent outcomes behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def number(x: float) -> str:
    """Three significant digits, as the book prints a number: ``-0.0598``, ``1.2e-07``, ``12``."""
    x = float(x)
    if x == 0 or not np.isfinite(x):
        return {float("inf"): "∞", float("-inf"): "-∞"}.get(x, "0" if x == 0 else "undefined").replace("-", "−")
    if x == round(x) and abs(x) < 1e6:
        return f"{int(x)}".replace("-", "−")
    return (f"{x:.3g}" if 1e-4 <= abs(x) < 1e6 else f"{x:.2e}").replace("-", "−")


def _outcomes(x, least: int) -> np.ndarray:
    x = np.asarray(x, dtype=float)
    if x.ndim != 1 or len(x) < least:
        raise ValueError(f"an interval needs a vector of at least {least} independent outcomes, not shape {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError("an outcome is NaN or infinite; leave it out on purpose, and say so, or mend the measurement.")
    return x


def mean(x, alpha: float = 1e-3) -> Interval:
    """Mean of outcomes ``x`` [n] with Student's interval of confidence ``1 - alpha``."""
    from scipy import stats
    x = _outcomes(x, 2)
    half = stats.t.ppf(1 - alpha / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), len(x))


def proportion(successes: int, n: int, alpha: float = 1e-3) -> Interval:
    """Proportion of ``successes`` among ``n`` independent trials with the Clopper-Pearson interval."""
    from scipy import stats
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes among {n} trials is not possible; count again.")
    low = stats.beta.ppf(alpha / 2, successes, n - successes + 1) if successes else 0.0
    high = stats.beta.ppf(1 - alpha / 2, successes + 1, n - successes) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high), n)


def trials(share, n: int) -> np.ndarray:
    """Booleans [seed, trial] behind shares [seed] of ``n`` trials each, for evidence that kept the shares alone."""
    counts = np.asarray(share, dtype=float) * n
    whole = np.rint(counts)
    if whole.ndim != 1 or not np.allclose(counts, whole, atol=1e-3) or (whole < 0).any() or (whole > n).any():
        raise ValueError(f"these are no shares of {n} trials each; give the number of trials that they were taken over.")
    return np.arange(n) < whole[:, None]


def clustered(x, alpha: float = 1e-3) -> Interval:
    """Share of true outcomes in booleans [seed, trial] when trials of one seed may hang together in any way.

    Seeds are independent, and what one contributes lies in [0, 1]. Sums of such numbers leave their mean no more often
    than e times as often as a binomial count does (Bentkus 2004, Annals of Probability 32, 1650), so the Clopper-Pearson
    interval of the sum over seeds, rounded outwards to whole seeds, at ``alpha / e`` has confidence ``1 - alpha``.
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype != bool or not x.size:
        raise ValueError(f"a share over seeds needs booleans [seed, trial], not {x.dtype} of shape {x.shape}.")
    n, total = len(x), float(x.mean(1).sum())
    low, high = (proportion(min(n, max(0, math.floor(k))), n, alpha / math.e)
                 for k in (total + 1e-9, math.ceil(total - 1e-9)))
    return Interval(total / n, low.low, high.high, n)


def power_of_mean(distance: float, sd: float, n: int, alpha: float = 1e-3) -> float:
    """Probability that Student's interval of ``n`` normal outcomes leaves out a threshold ``distance`` below the mean."""
    from scipy import stats
    if distance <= 0 or n < 2:
        return 0.0
    if sd == 0:
        return 1.0
    return float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, n - 1), n - 1, distance * math.sqrt(n) / sd))


def power_of_share(p: float, bound: float, n: int, alpha: float = 1e-3) -> float:
    """Probability that the Clopper-Pearson interval of ``n`` trials of rate ``p`` lies above ``bound``."""
    from scipy import stats
    k = np.arange(n + 1)
    low = np.where(k > 0, stats.beta.ppf(alpha / 2, np.maximum(k, 1), n - k + 1), 0.0)
    return float(stats.binom.pmf(k, n, p)[low > bound].sum())


def kl(q: float, p: float) -> float:
    """Relative entropy of a coin of bias ``q`` to one of bias ``p`` in (0, 1), in nats."""
    return (q * math.log(q / p) if q else 0.0) + ((1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0)


def kl_inverse(q: float, budget: float) -> float:
    """The largest ``p`` with ``kl(q, p) <= budget``, rounded up: the upper limit of a rate that was seen as ``q``."""
    from scipy.optimize import brentq
    if not 0 <= q <= 1 or not budget >= 0:
        raise ValueError(f"a rate of {q} with a budget of {budget} has no limit; rates lie in [0, 1], budgets from 0 on.")
    top = 1 - 1e-15
    if q >= top or budget == 0:
        return float(q)
    if q == 0:
        return -math.expm1(-budget)
    return 1.0 if kl(q, top) <= budget else min(1.0, brentq(lambda p: kl(q, p) - budget, q, top, xtol=1e-13) + 1e-12)


def band(x, alpha: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, lower and upper end over the leading (seed) axis of ``x`` [S, ...], Student's interval at each point."""
    from scipy import stats
    x = np.asarray(x, dtype=float)
    if x.shape[0] < 2:
        raise ValueError("a band needs at least two seeds along the leading axis.")
    m = x.mean(0)
    half = stats.t.ppf(1 - alpha / 2, x.shape[0] - 1) * x.std(0, ddof=1) / np.sqrt(x.shape[0])
    return m, m - half, m + half


def spearman(x, y) -> float:
    """Rank correlation of two vectors [n], ties by average rank."""
    from scipy import stats
    x, y = _outcomes(x, 3), _outcomes(y, 3)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError("a rank correlation needs two vectors that vary.")
    return float(stats.spearmanr(x, y).statistic)
