"""Closed form of ``E log|1 + m + s*Z|`` for a standard normal ``Z``.

Source: arXiv:2303.13093 (the exponent); closed form derived in chapter "probabilistic-stability", 3.6 item 4:
with ``nu = 1 + m`` and ``a = nu^2 / (2 s^2)`` it is ``log s - (gamma + log 2)/2 + a * 2F2(1, 1; 3/2, 2; -a)``.
"""

from __future__ import annotations

import numpy as np

_LARGE = 40.0  # above it the asymptotic series is exact to double precision
_TERMS = 30


def gaussian_log_abs(m: np.ndarray, s: np.ndarray) -> np.ndarray:
    """``E log|1 + m + s*Z|``, vectorised.

    The ``2F2`` series cancels, so the equal Poisson mixture ``E psi(J + 1/2)``, ``J ~ Poisson(a)``, is summed instead (all
    terms of one size); for ``a > 40`` the series ``log|nu| - sum_k (2k-1)!!/(2k) (s/nu)^(2k)`` is used.

    Parameters
    ----------
    m : array [...], shift of the mean from 1.   s : array [...], >= 0.

    Returns
    -------
    array [...]; ``-inf`` where ``s = 0`` and ``m = -1``.
    """
    from scipy.special import digamma, gammaln

    m, s = np.broadcast_arrays(np.asarray(m, float), np.asarray(s, float))
    nu2 = (1 + m) ** 2
    out = np.empty(m.shape)
    large = nu2 > 2 * _LARGE * s**2
    with np.errstate(divide="ignore", invalid="ignore"):
        out[...] = np.where(s == 0, np.where(nu2 == 0, -np.inf, 0.0), 0.0)
    if large.any():
        x, total = s[large] ** 2 / nu2[large], np.zeros(large.sum())
        term = np.ones_like(x)
        for k in range(1, _TERMS + 1):
            term = term * (2 * k - 1) * x
            total -= term / (2 * k)
        out[large] = _log_abs_one_plus(m[large]) + total
    rest = ~large & (s > 0)
    if rest.any():
        a = nu2[rest] / (2 * s[rest] ** 2)
        j = np.arange(0, 130)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_weight = np.where(j == 0, 0.0, j * np.log(a[:, None])) - a[:, None] - gammaln(j + 1)
        out[rest] = np.log(s[rest]) + (np.log(2) + np.exp(log_weight) @ digamma(j + 0.5)) / 2
    return out


def _log_abs_one_plus(m: np.ndarray) -> np.ndarray:
    small = np.abs(m) < 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(small, np.log1p(np.where(small, m, 0.0)), np.log(np.abs(1 + m)))
