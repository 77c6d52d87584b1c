"""Laws of the curvature ``h`` in the scalar recursion ``theta <- (1 - lam*h) * theta``.

Source: arXiv:2303.13093, Theorem 1 (rank-one dynamics); chapter "probabilistic-stability", closed forms.
Each law knows its mean, its second moment, the Lyapunov exponent ``Lambda(lam) = E log|1 - lam*h|`` and the moment
function
``phi(p) = log E|1 - lam*h|^p``. Learning rates may be arrays, and negative: ``lyapunov(-lam)`` is the exponent of ``1 +
lam*h``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import _quadrature as quad
from ._checks import finite_array, positive, whole
from ._gaussian import gaussian_log_abs
from ._law import Law


@dataclass(frozen=True, eq=False)
class Finite(Law):
    """Finitely many values; everything is an exact sum. Made by `two_point` and `empirical`."""

    values: np.ndarray
    probs: np.ndarray
    has_density = False

    @property
    def mean(self) -> float:
        return float(self.probs @ self.values)

    @property
    def second(self) -> float:
        return float(self.probs @ self.values**2)

    @property
    def support(self) -> tuple[float, float]:
        return float(self.values.min()), float(self.values.max())

    def _nodes(self, lam):
        x = -lam[:, None] * self.values
        with np.errstate(divide="ignore", invalid="ignore"):
            logr = np.where(np.abs(x) < 0.5, np.log1p(np.maximum(x, -0.75)), np.log(np.abs(1 + x)))
        return np.broadcast_to(np.log(self.probs), logr.shape), logr

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> np.ndarray:
        return rng.choice(self.values, size=size, p=self.probs)

    def batch(self, S: int, max_atoms: int = 200_000) -> Finite:
        """Exact law of the mean of ``S`` draws with replacement; ValueError if it has more than ``max_atoms``
        values.
        """
        values, probs = self.values, self.probs
        unit = max(np.abs(values).max(), 1e-300)
        sums, weights = np.zeros(1), np.ones(1)
        for _ in range(whole("batch", S)):
            if sums.size * values.size > 20 * max_atoms:
                raise ValueError("the exact batch law has too many values; use empirical(samples, batch=S, rng=...).")
            total = (sums[:, None] + values).ravel()
            _, first, where = np.unique(np.round(total / unit, 10), return_index=True, return_inverse=True)
            weights = np.bincount(where.ravel(), (weights[:, None] * probs).ravel())
            sums = total[first]
        return Finite(sums / S, weights / weights.sum())


@dataclass(frozen=True)
class Uniform(Law):
    """``h ~ U[A, B]``; closed form ``[F(1-lam*A) - F(1-lam*B)] / (lam*(B-A))`` with ``F(v) = v log|v| - v``."""

    A: float
    B: float

    mean = property(lambda self: (self.A + self.B) / 2)
    second = property(lambda self: (self.A**2 + self.A * self.B + self.B**2) / 3)
    support = property(lambda self: (self.A, self.B))
    breaks = property(lambda self: (self.A, (self.A + self.B) / 2, self.B))
    scale = property(lambda self: self.B - self.A)

    def logpdf(self, h):
        return np.full(h.shape, -np.log(self.B - self.A))

    def sample(self, rng, size):
        return rng.uniform(self.A, self.B, size)

    def _lyapunov(self, lam):
        k = np.arange(1, 30)[:, None]  # series -sum lam^k E h^k / k where the closed form cancels
        A, B = lam * self.A, lam * self.B
        small = np.maximum(np.abs(A), np.abs(B)) < 0.2
        with np.errstate(divide="ignore", invalid="ignore"):
            closed = (_antilog(1 - A) - _antilog(1 - B)) / (B - A)
            a, b = np.where(small, A, 0.0), np.where(small, B, 1.0)
            series = -np.sum((b ** (k + 1) - a ** (k + 1)) / ((k + 1) * k * (b - a)), axis=0)
        return np.where(lam == 0, 0.0, np.where(small, series, closed))


@dataclass(frozen=True)
class Gaussian(Law):
    """``h ~ N(m, s^2)``; closed form by ``2F2`` (chapter "probabilistic-stability", Gaussian exponent)."""

    m: float
    s: float

    mean = property(lambda self: self.m)
    second = property(lambda self: self.m**2 + self.s**2)
    support = property(lambda self: (-np.inf, np.inf))
    scale = property(lambda self: self.s)
    breaks = property(lambda self: (-np.inf, *(self.m + self.s * np.array([-20.0, -8, -3, 0, 3, 8, 20])), np.inf))

    def logpdf(self, h):
        return -(((h - self.m) / self.s) ** 2) / 2 - np.log(self.s * np.sqrt(2 * np.pi))

    def sample(self, rng, size):
        return rng.normal(self.m, self.s, size)

    def batch(self, S):
        """Mean of ``S`` copies: ``N(m, s^2/S)``."""
        return Gaussian(self.m, self.s / np.sqrt(whole("batch", S)))

    def _lyapunov(self, lam):
        return gaussian_log_abs(-lam * self.m, np.abs(lam) * self.s)


@dataclass(frozen=True)
class Gamma(Law):
    """``h ~ Gamma(shape, scale)`` on ``h > 0``, mean ``shape*scale``; batch means stay in the family."""

    shape: float
    scale: float

    mean = property(lambda self: self.shape * self.scale)
    second = property(lambda self: self.shape * (self.shape + 1) * self.scale**2)
    support = property(lambda self: (0.0, np.inf))

    @property
    def breaks(self) -> tuple[float, ...]:
        sd = np.sqrt(self.shape) * self.scale
        inner = self.mean + sd * np.array([-8.0, -3, 0, 3, 8, 20, 60])
        return (0.0, *inner[inner > 0], np.inf)

    def logpdf(self, h):
        from scipy.special import gammaln

        k, theta = self.shape, self.scale
        return (k - 1) * np.log(h) - h / theta - gammaln(k) - k * np.log(theta)

    def sample(self, rng, size):
        return rng.gamma(self.shape, self.scale, size)

    def batch(self, S):
        """Mean of ``S`` copies: ``Gamma(S*shape, scale/S)``."""
        return Gamma(self.shape * whole("batch", S), self.scale / S)


@dataclass(frozen=True)
class Density(Law):
    """Any density on an interval, integrated by quadrature. Made by `density`."""

    pdf: Callable[[np.ndarray], np.ndarray]
    support: tuple[float, float]
    breaks: tuple[float, ...]
    scale: float

    mean = property(lambda self: self._raw(1))
    second = property(lambda self: self._raw(2))

    def logpdf(self, h):
        return np.log(np.asarray(self.pdf(h), dtype=float))

    def _raw(self, power: int) -> float:
        edges = np.asarray(self.breaks, float)[None]
        h, weight, _ = quad.grid(edges, np.array([np.inf]), self.scale)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.nansum(weight * self.pdf(h) * h**power))

    def sample(self, rng, size):
        """Draws by inversion of the distribution function on a fine table; accurate to about 1e-4 of the scale."""
        lo, hi = (np.clip(b, self.breaks[1] - 50 * self.scale, self.breaks[-2] + 50 * self.scale) for b in self.support)
        h = np.linspace(lo, hi, 200_001)
        mid = (h[1:] + h[:-1]) / 2
        cdf = np.concatenate([[0.0], np.cumsum(self.pdf(mid))])
        return np.interp(rng.random(size), cdf / cdf[-1], h)


def two_point(values: Sequence[float], probs: Sequence[float]) -> Finite:
    """Law with finitely many values, two or more.

    Source: arXiv:2303.13093; chapter "probabilistic-stability", closed forms 1 and 2.

    Parameters
    ----------
    values : [n] curvatures (unit 1/learning rate).   probs : [n] weights >= 0 that sum to 1.

    Returns
    -------
    Finite

    Raises
    ------
    ValueError if the lengths differ, or the weights are negative or do not sum to 1.
    """
    v, q = finite_array("values", values).ravel(), finite_array("probs", probs).ravel()
    if v.size != q.size or v.size == 0:
        raise ValueError(f"values and probs must have one length of at least 1, got {v.size} and {q.size}; pair them.")
    if np.any(q < 0) or abs(q.sum() - 1) > 1e-9:
        raise ValueError(
            f"probs must be non-negative and sum to 1, they sum to {q.sum():.6g}; divide them by their sum."
        )
    return Finite(v[q > 0], q[q > 0] / q.sum())


def uniform(A: float, B: float) -> Uniform:
    """Uniform law on ``[A, B]``, ``A < B``; ValueError otherwise."""
    A, B = float(finite_array("A", A)), float(finite_array("B", B))
    if not A < B:
        raise ValueError(f"uniform needs A < B, got A={A:g} and B={B:g}; swap them.")
    return Uniform(A, B)


def gaussian(m: float, s: float) -> Gaussian:
    """Normal law with mean ``m`` and standard deviation ``s > 0``; ValueError otherwise."""
    return Gaussian(float(finite_array("m", m)), positive("s", s))


def gamma(shape: float, scale: float) -> Gamma:
    """Gamma law, density ``~ h^(shape-1) exp(-h/scale)``; both arguments > 0, ValueError otherwise."""
    return Gamma(positive("shape", shape), positive("scale", scale))


def squared_gaussian(batch: int = 1) -> Gamma:
    """Batch mean of ``x^2``, ``x ~ N(0, 1)``: ``h_S ~ Gamma(S/2, 2/S)``, the curvature of interpolating regression."""
    S = whole("batch", batch)
    return Gamma(S / 2, 2 / S)


def empirical(
    samples: Sequence[float], batch: int = 1, rng: np.random.Generator | None = None, n_draws: int = 20_000
) -> Finite:
    """Law of the mean of ``batch`` samples drawn with replacement from data.

    Parameters
    ----------
    samples : [N] measured curvatures.   batch : int >= 1.
    rng : without it the batch law is enumerated exactly; with it ``n_draws`` random batches stand for the law.

    Returns
    -------
    Finite

    Raises
    ------
    ValueError if ``samples`` is empty or not finite, or if the exact law has too many values (pass ``rng``).
    """
    v = finite_array("samples", samples).ravel()
    S = whole("batch", batch)
    if v.size == 0:
        raise ValueError("samples is empty; pass at least one measured curvature.")
    if S == 1 or rng is None:
        distinct, counts = np.unique(v, return_counts=True)
        law = Finite(distinct, counts / v.size)
        return law if S == 1 else law.batch(S)
    means = rng.choice(v, size=(whole("n_draws", n_draws), S)).mean(axis=1)
    return Finite(means, np.full(means.size, 1 / means.size))


def density(
    pdf: Callable[[np.ndarray], np.ndarray], support: tuple[float, float], breaks: Sequence[float] = ()
) -> Density:
    """Law given by any density.

    Parameters
    ----------
    pdf : vectorised, >= 0, integrates to 1 over ``support``.
    support : (low, high), either may be infinite.
    breaks : points where the density bends or around which it is concentrated; they become panel edges.

    Returns
    -------
    Density

    Raises
    ------
    ValueError if ``low >= high``, or if the quadrature finds a mass that is not 1 within 1e-6.
    """
    low, high = float(support[0]), float(support[1])
    if not low < high:
        raise ValueError(f"support must be (low, high) with low < high, got {support}; swap its ends.")
    inner = np.unique([b for b in finite_array("breaks", breaks).ravel() if low < b < high])
    if inner.size == 0:
        inner = np.array([_middle(low, high)])
    spread = np.ptp(inner)
    scale = (high - low) if np.isfinite(high - low) else (spread if spread > 0 else 1.0)
    law = Density(pdf, (low, high), (low, *map(float, inner), high), float(scale))
    mass = law._raw(0)
    if not abs(mass - 1) < 1e-6:
        raise ValueError(f"the density integrates to {mass:.6g}, not 1; normalise it, or pass breaks around its peaks.")
    return law


def _middle(low: float, high: float) -> float:
    if np.isfinite(low) and np.isfinite(high):
        return (low + high) / 2
    return low + 1.0 if np.isfinite(low) else (high - 1.0 if np.isfinite(high) else 0.0)


def _antilog(v: np.ndarray) -> np.ndarray:
    """``F(v) = v log|v| - v`` with ``F(0) = 0``."""
    return v * np.log(np.where(v == 0, 1.0, np.abs(v))) - v
