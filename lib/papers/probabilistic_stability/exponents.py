"""Thresholds, critical exponents and phases of the scalar recursion ``theta <- (1 - lam*h) * theta``.

Source: arXiv:2303.13093, Theorems 1 and 2 and the phases of the two-layer saddle; chapter "probabilistic-stability".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._checks import finite_array, positive
from ._law import Law
from .laws import Finite

Interval = tuple[float, float]


@dataclass(frozen=True)
class Thresholds:
    """Largest stable learning rates of one law in four senses.

    prob : tuple of intervals ``(low, high)`` of learning rates with ``Lambda < 0`` (islands are possible).
    L1, L2 : learning rate below which ``E|theta|`` and ``E theta^2`` vanish; 0 if there is none.
    gd : full-batch gradient descent, ``2 / E h``; 0 if ``E h <= 0``.
    """

    prob: tuple[Interval, ...]
    L1: float
    L2: float
    gd: float

    @property
    def prob_edge(self) -> float:
        """Upper end of the interval of ``prob`` that begins at 0; 0 if small learning rates are not stable."""
        return self.prob[0][1] if self.prob and self.prob[0][0] == 0 else 0.0


def small_rate_threshold(law: Law) -> float:
    """Second-order threshold ``lam* = -2 E h / E h^2`` above which a saddle attracts.

    Source: arXiv:2303.13093, Eqs. (6)-(7); chapter "probabilistic-stability". Valid for small ``lam*h`` only: for heavy
    tails it can name a threshold where none exists. Negative for a minimum (``E h > 0``), where all small rates are
    stable.
    """
    return -2 * law.mean / law.second


def critical_exponent(law: Law, lam: float | np.ndarray, p_max: float = 1e4) -> float | np.ndarray:
    """Critical exponent ``kappa``: the root ``kappa > 0`` of ``phi(kappa) = log E|1 - lam*h|^kappa = 0``.

    Source: chapter "probabilistic-stability", moment function (derived; Kesten's tail index). ``L_p`` is stable for ``p
    < kappa``.

    Parameters
    ----------
    law : a law of this package.   lam : learning rates, any shape.   p_max : float, search limit.

    Returns
    -------
    same shape as ``lam``: 0 by convention where ``Lambda >= 0`` (nothing is stable), ``inf`` where every moment up to
    ``p_max`` shrinks (for instance ``|1 - lam*h| <= 1`` always).
    """
    rates = finite_array("lam", lam)
    out = np.array([_critical(law, x, p_max) for x in rates.ravel()])
    return out.reshape(rates.shape)[()]


def _critical(law: Law, lam: float, p_max: float) -> float:
    from scipy.optimize import brentq

    if not law.lyapunov(lam) < 0:
        return 0.0
    if max(abs(1 - lam * end) for end in law.support) <= 1:
        return np.inf
    high = 1.0
    while law.moment(high, lam) <= 0:
        high *= 2
        if high > p_max:
            return np.inf
    low = high / 2
    while law.moment(low, lam) >= 0:
        low /= 2
        if low < 1e-12:
            return 0.0
    return brentq(lambda p: law.moment(p, lam), low, high, xtol=1e-13, rtol=1e-13)


def thresholds(law: Law, max_rate: float | None = None) -> Thresholds:
    """Learning-rate thresholds in probability, in ``L_1``, in ``L_2`` and of full-batch gradient descent.

    Source: arXiv:2303.13093, Theorems 1-2; numbers in chapter "probabilistic-stability", closed form 5.

    Parameters
    ----------
    law : a law of this package.
    max_rate : largest learning rate searched for ``prob``; see `stable_intervals`.

    Returns
    -------
    Thresholds
    """
    if law.mean <= 0:
        return Thresholds(stable_intervals(law, high=max_rate), 0.0, 0.0, 0.0)
    from scipy.optimize import brentq

    L2 = 2 * law.mean / law.second
    high = 2 * L2
    while law.moment(1.0, high) <= 0:
        high *= 2
    # E|1 - lam*h| is convex in lam and falls at 0; where it touches 1 within rounding at L2, L2 is the answer
    L1 = brentq(lambda x: law.moment(1.0, x), L2, high, xtol=1e-13) if law.moment(1.0, L2) < 0 else L2
    return Thresholds(stable_intervals(law, high=max_rate), float(L1), float(L2), 2 / law.mean)


def stable_intervals(law: Law, low: float = 0.0, high: float | None = None, n_grid: int = 3000) -> tuple[Interval, ...]:
    """All intervals of learning rates in ``(low, high)`` with ``Lambda(lam) < 0``.

    Source: arXiv:2303.13093 (stable sets of finite data, "fractal-like" boundaries); chapter "probabilistic-stability",
    3.6.

    Parameters
    ----------
    law : a law of this package.
    low, high : range of learning rates, 0 <= low < high. By default ``high`` is infinite for a finite law of at most
        2000 values (between two poles ``1/h`` the exponent is concave, so every interval is found exactly, however
        thin, down to rounding) and 20 root-mean-square curvatures' worth, ``20 / sqrt(E h^2)``, otherwise.
    n_grid : points of the search grid for laws with a density (intervals thinner than its step may be missed).

    Returns
    -------
    tuple of (low, high), ascending; the ends solve ``Lambda = 0`` to 1e-12 relative.

    Raises
    ------
    ValueError if the range is empty.
    """
    exact = isinstance(law, Finite) and law.values.size <= 2000
    low = float(finite_array("low", low))
    top = (np.inf if exact else 20 / np.sqrt(law.second)) if high is None else positive("high", high)
    if not 0 <= low < top:
        raise ValueError(f"the range of learning rates ({low:g}, {top:g}) is empty; pass 0 <= low < high.")
    found = _exact_intervals(law, low, top) if exact else _grid_intervals(law, low, top, n_grid)
    return _merge(found)


def _grid_intervals(law: Law, low: float, high: float, n: int) -> list[Interval]:
    from scipy.optimize import brentq

    fine = np.geomspace(max(low, 1e-5 * high), high, n // 2)
    grid = np.unique(np.concatenate([fine, np.linspace(low, high, n)[1:]]))
    value = law.lyapunov(grid)
    inner = [
        brentq(law.lyapunov, grid[i], grid[i + 1], xtol=1e-14, rtol=1e-13)
        for i in np.flatnonzero((value[1:] < 0) != (value[:-1] < 0))
    ]
    edges = [low, *inner, high]
    stable = bool(value[0] < 0)
    return [(a, b) for i, (a, b) in enumerate(zip(edges, edges[1:])) if (i % 2 == 0) == stable]


def _exact_intervals(law: Finite, low: float, high: float) -> list[Interval]:
    """Between neighbouring poles ``1/h`` the exponent is concave: find its top, then one root on each side of it."""
    h, q = law.values[law.values != 0], law.probs[law.values != 0]
    if h.size == 0:
        return []
    poles = np.unique(1 / h[h > 0])
    edges = np.array([0.0, *poles, np.inf])
    found: list[Interval] = []
    for left, right in zip(edges, edges[1:]):
        if right <= low or left >= high:
            continue
        roots = _concave_roots(law, h, q, left, right)
        pieces = [(left, right)] if roots is None else [(left, roots[0]), (roots[1], right)]
        found += [(max(a, low), min(b, high)) for a, b in pieces if min(b, high) > max(a, low)]
    return found


def _concave_roots(law: Finite, h: np.ndarray, q: np.ndarray, left: float, right: float) -> Interval | None:
    """Ends of the unstable part of the gap (left, right) between two poles; None if the whole gap is stable."""
    from scipy.optimize import brentq

    def slope(x: float) -> float:
        return float(-np.sum(q * h / (1 - x * h)))

    span = (right if np.isfinite(right) else max(4 * left, 4 / np.abs(h).max())) - left
    tiny = max(1e-13 * span, 4 * np.spacing(left))
    a = left if left == 0 else left + tiny
    if np.isinf(right):
        b = left + span
        while law.lyapunov(b) <= 0:  # grows like log(lam) in the end
            b = left + 2 * (b - left)
        return (left if law.lyapunov(a) >= 0 and slope(a) >= 0 else _last_root(law, slope, a, b, left)), np.inf
    b = right - max(1e-13 * span, 4 * np.spacing(right))
    if a >= b:
        return None
    if slope(a) <= 0:
        top = a
    elif slope(b) >= 0:
        top = b
    else:
        top = brentq(slope, a, b, xtol=1e-300, rtol=1e-14)
    if not law.lyapunov(top) > 0:
        return None
    first = left if left == 0 or law.lyapunov(a) >= 0 else brentq(law.lyapunov, a, top, xtol=1e-300, rtol=1e-14)
    last = right if law.lyapunov(b) >= 0 else brentq(law.lyapunov, top, b, xtol=1e-300, rtol=1e-14)
    return first, last


def _last_root(law: Finite, slope, a: float, b: float, left: float) -> float:
    """Root in the last gap: the exponent rises to infinity there if it is increasing, else falls first from 0 at ``lam
    = 0``.
    """
    from scipy.optimize import brentq

    if left == 0 and slope(0.0) > 0:
        return 0.0
    start = a if left > 0 else 1e-12 * b
    return brentq(law.lyapunov, start, b, xtol=1e-300, rtol=1e-14)


def _merge(found: list[Interval]) -> tuple[Interval, ...]:
    """Join intervals that share an end (a pole lies inside an interval) and drop empty ones."""
    out: list[Interval] = []
    for a, b in sorted(found):
        if b <= a:
            continue
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(b, out[-1][1]))
        else:
            out.append((a, b))
    return tuple((float(a), float(b)) for a, b in out)


def phases(law_chi: Law, lam: float | np.ndarray) -> np.ndarray:
    """Phase of the two-layer saddle ``u = w = 0`` of ``l = (u*w*x - y)^2 / 2`` with signal ``chi = mean(x*y)``.

    Source: arXiv:2303.13093, phases of the two-layer saddle (v3 Prop. 3, v4 Prop. 2); formulas in the chapter, 3.5.
    With ``Lambda_+- = E log|1 +- lam*chi|``: I if ``Lambda_- < 0 <= Lambda_+`` (Ib if also ``E(1 - lam*chi)^2 < 1``,
    else Ia), II if ``Lambda_+ < 0 <= Lambda_-``, III if both are negative, IV if neither is.

    Parameters
    ----------
    law_chi : law of ``chi``.   lam : learning rates >= 0, any shape.

    Returns
    -------
    array of str with the shape of ``lam``: "Ia", "Ib", "II", "III" or "IV" (at ``lam = 0`` nothing moves: "IV").
    """
    lam = finite_array("lam", lam)
    if np.any(lam < 0):
        raise ValueError("lam must not be negative; to reverse the roles of u+w and u-w, mirror the law instead.")
    plus, minus = np.asarray(law_chi.lyapunov(-lam)), np.asarray(law_chi.lyapunov(lam))
    square_stable = lam * law_chi.second < 2 * law_chi.mean  # E(1 - lam*chi)^2 < 1
    first = np.where(square_stable, "Ib", "Ia")
    return np.where(minus < 0, np.where(plus < 0, "III", first), np.where(plus < 0, "II", "IV"))[()]
