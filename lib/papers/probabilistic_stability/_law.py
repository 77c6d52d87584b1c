"""Base of the laws of the curvature: exponent and moments by quadrature for everything without a closed form.

Source: arXiv:2303.13093, Theorem 1 (rank-one dynamics); chapter "probabilistic-stability".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import _quadrature as quad
from ._checks import finite_array

_CHUNK = 1000  # learning rates evaluated together: 1000 x about 1000 nodes


class Law:
    """Base of the laws: quadrature for everything that has no closed form.

    A subclass sets ``mean``, ``second``, ``support``, ``breaks`` and ``scale``, and defines ``logpdf`` and ``sample``.
    """

    has_density = True

    def lyapunov(self, lam: float | np.ndarray) -> float | np.ndarray:
        """Exponent ``E log|1 - lam*h|`` per step; same shape as ``lam`` (any sign); ``-inf`` if ``lam*h = 1`` has
        mass.
        """
        return self._over_rates(lam, self._lyapunov)

    def moment(self, p: float | np.ndarray, lam: float | np.ndarray) -> float | np.ndarray:
        """Moment function ``phi(p) = log E|1 - lam*h|^p``, broadcast over ``p`` and ``lam``; convex in ``p``, 0 at ``p
        = 0``.

        Raises ValueError for ``p <= -1`` where ``h`` has a density (the moment is infinite).
        """
        p, lam = np.broadcast_arrays(finite_array("p", p), finite_array("lam", lam))
        if np.any(p <= -1) and self.has_density:
            raise ValueError("moment needs p > -1, because a density makes E|1 - lam*h|^p infinite below; raise p.")
        flat_p, flat_lam = p.ravel(), lam.ravel()
        out = np.empty(flat_p.size)
        for i in range(0, out.size, _CHUNK):
            out[i : i + _CHUNK] = self._moment(flat_p[i : i + _CHUNK], flat_lam[i : i + _CHUNK])
        return out.reshape(p.shape)[()]

    def batch(self, S: int) -> Law:
        """Law of the mean of ``S`` independent copies, where it has a closed form; otherwise raises ValueError."""
        raise ValueError(
            f"{type(self).__name__} has no closed form for a batch mean; "
            f"use empirical(law.sample(rng, n), batch={S}, rng=rng)."
        )

    def logpdf(self, h: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _nodes(self, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return quad.weighted_nodes(self.logpdf, np.asarray(self.breaks, float), lam, self.scale)

    def _lyapunov(self, lam: np.ndarray) -> np.ndarray:
        return np.where(lam == 0, 0.0, quad.mean_log(*self._nodes(lam)))

    def _moment(self, p: np.ndarray, lam: np.ndarray) -> np.ndarray:
        logq, logr = self._nodes(lam)
        with np.errstate(invalid="ignore"):
            power = np.where(p[:, None] == 0, 0.0, p[:, None] * logr)
        return np.where(lam == 0, 0.0, quad.logsumexp(np.where(np.isneginf(logq), -np.inf, logq + power)))

    @staticmethod
    def _over_rates(lam, function: Callable[[np.ndarray], np.ndarray]):
        lam = finite_array("lam", lam)
        flat = lam.ravel()
        out = np.empty(flat.size)
        for i in range(0, out.size, _CHUNK):
            out[i : i + _CHUNK] = function(flat[i : i + _CHUNK])
        return out.reshape(lam.shape)[()]
