"""Signal and mini-batches of Gaussian regression ``y = m*x + sigma*eps``: the law of ``chi = mean(x*y)`` and fast exact
draws.

Source: arXiv:2303.13093, two-layer saddle; chapter "probabilistic-stability", 3.7 and experiments E3b, E4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _quadrature as quad
from ._checks import finite_array, positive, whole
from ._gaussian import gaussian_log_abs
from ._law import Law
from .laws import gaussian, squared_gaussian


@dataclass(frozen=True)
class RegressionSignal(Law):
    """Law of ``chi = mean(x*y)`` over ``S`` samples: given ``g = mean(x^2)`` it is ``N(m*g, sigma^2 * g / S)``."""

    m: float
    sigma: float
    S: int

    mean = property(lambda self: self.m)
    second = property(lambda self: self.m**2 * (1 + 2 / self.S) + self.sigma**2 / self.S)
    support = property(lambda self: (-np.inf, np.inf))

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> np.ndarray:
        g = rng.chisquare(self.S, size) / self.S
        return self.m * g + self.sigma * np.sqrt(g / self.S) * rng.standard_normal(size)

    def batch(self, S: int) -> RegressionSignal:
        """Mean of ``S`` copies: the same law with a batch ``S`` times as large."""
        return RegressionSignal(self.m, self.sigma, self.S * whole("batch", S))

    def _inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes ``g`` and their probabilities, those below 1e-18 dropped."""
        law = squared_gaussian(self.S)
        h, weight, _ = quad.grid(np.asarray(law.breaks)[None], np.array([np.inf]), law.scale)
        with np.errstate(divide="ignore", over="ignore"):
            q = (weight * np.exp(law.logpdf(h))).ravel()
        keep = q > 1e-18
        return h.ravel()[keep], q[keep] / q[keep].sum()

    def _lyapunov(self, lam):
        g, q = self._inputs()
        lam = lam[:, None]
        return gaussian_log_abs(-lam * self.m * g, np.abs(lam) * self.sigma * np.sqrt(g / self.S)) @ q

    def _moment(self, p, lam):
        g, q = self._inputs()
        out = np.empty(p.size)
        for i in range(p.size):
            s = self.sigma * np.sqrt(g / self.S)
            # 1 - lam*(m*g + s*Z) = 1 - lam*h with h = m*g + s*Z: one unit Gaussian a node, rescaled
            inner = [gaussian(self.m * a, b)._moment(p[i : i + 1], lam[i : i + 1])[0] for a, b in zip(g, s)]
            out[i] = quad.logsumexp(np.log(q) + np.array(inner))
        return out


def regression_signal(m: float, sigma: float, batch: int = 1) -> RegressionSignal:
    """Law of ``chi = mean(x*y)`` over a mini-batch of ``y = m*x + sigma*eps``, ``x`` and ``eps`` standard normal.

    Source: chapter "probabilistic-stability", 3.7 and E3b. The exponent is one integral over the closed Gaussian form.

    Parameters
    ----------
    m : float, the true slope.   sigma : float > 0, noise of the label.   batch : samples a batch.

    Returns
    -------
    RegressionSignal ; `phases` and `stable_intervals` of the mirrored law ``regression_signal(-m, ...)`` give
    ``Lambda_+``.
    """
    return RegressionSignal(float(finite_array("m", m)), positive("sigma", sigma), whole("batch", batch))


def draw_statistics(
    rng: np.random.Generator, T: int, n: int, m: float, sigma: float, batch: int = 1, dtype: type = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Batch statistics ``G = mean(x^2)``, ``R = mean(x*y)`` of ``y = m*x + sigma*eps`` for `two_parameter`; each [T,
    n].

    Source: chapter "probabilistic-stability", E3b: two numbers replace ``2*batch`` samples without changing the law.
    """
    S = whole("batch", batch)
    if S == 1:
        G = rng.standard_normal((T, n), dtype=dtype) ** 2
    else:
        G = rng.standard_gamma(S / 2, (T, n), dtype=dtype) * dtype(2 / S)
    R = rng.standard_normal((T, n), dtype=dtype)
    R *= np.sqrt(G)
    R *= dtype(sigma / np.sqrt(S))
    R += dtype(m) * G
    return G, R


def draw_batches(
    rng: np.random.Generator,
    T: int,
    B: int,
    V: np.ndarray,
    sigma: float | np.ndarray,
    batch: int,
    dtype: type = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """Mini-batches of ``y = V x + sigma*eps`` for `matrix_factorisation`, exact in law, with at most ``d_in`` columns.

    Source: chapter "probabilistic-stability", E4. A step sees a batch only through ``x x^T`` and ``y x^T``. If ``x = L
    Q`` with ``Q Q^T = I`` then ``(L, y Q^T)`` has the same two; for Gaussian ``x`` the factor ``L`` is Bartlett's
    triangle and ``eps Q^T`` is again standard normal. So a batch of 64 in dimension 6 costs 6 columns, scaled such that
    the mean over the columns is the mean over the batch.

    Parameters
    ----------
    V : [d_out, d_in].   sigma : number or [B] >= 0, label noise.   batch : samples a batch.   dtype : float32 or
        float64.

    Returns
    -------
    x : [T, B, d_in, s], y : [T, B, d_out, s] with ``s = min(batch, d_in)``.
    """
    V, S = finite_array("V", V).astype(dtype), whole("batch", batch)
    d_out, d = V.shape
    s = min(S, d)
    x = rng.standard_normal((T, B, d, s), dtype=dtype)
    if S > d:
        x = np.tril(x)
        for i in range(d):
            x[:, :, i, i] = np.sqrt(2 * rng.standard_gamma((S - i) / 2, (T, B), dtype=dtype))
        x *= dtype(np.sqrt(s / S))
    y = rng.standard_normal((T, B, d_out, s), dtype=dtype)
    y *= (np.broadcast_to(np.asarray(sigma, dtype), (B,)) * dtype(np.sqrt(s / S)))[:, None, None]
    y += V @ x
    return x, y
