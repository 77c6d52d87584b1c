"""Explicit networks of product gates: Chebyshev polynomials, any polynomial, bandlimited functions, Sobolev-type balls.

Source: arXiv:2301.04605 for the classes of functions; the constructions and their counts are ours, chapter
"multiplicative-networks". Inputs lie in [-1, 1] unless a docstring says otherwise.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy.special import jv

from .circuits import Builder, Network, combine

ONE = {-1: 1.0}
LIMIT = 4e8  # entries of the largest weight matrix that is built, 3 GB


class BuildError(ValueError):
    """A network that cannot be built as asked."""


class Chebyshev:
    """Forms of T_k of a given form, each made once from its halves: ``T_k = 2 T_ceil(k/2) T_floor(k/2) - T_(k mod 2)``."""

    def __init__(self, builder: Builder, x: dict[int, float]):
        self.builder, self.made = builder, {0: ONE, 1: x}

    def __getitem__(self, k: int) -> dict[int, float]:
        if k not in self.made:
            product = self.builder.gate(self[(k + 1) // 2], self[k // 2])
            self.made[k] = combine((2.0, product), (-1.0, self[k % 2]))
        return self.made[k]


def chebyshev_network(n: int, one: bool = False) -> Network:
    """T_0, ..., T_n of one input: n - 1 gates, depth ceil(log2 n); ``one``: T_n alone, at most 2 log2 n gates.

    Returns a Network [..., 1] -> [..., n + 1] (or [..., 1]). Raises BuildError for n < 1.
    """
    if n < 1:
        raise BuildError(f"n={n} is no degree to build; choose 1 or more.")
    b = Builder(1)
    T = Chebyshev(b, {0: 1.0})
    if one:
        return b.network([T[n]])
    return b.network([T[k] for k in range(n + 1)])


def split_coefficients(c: np.ndarray, p: int) -> np.ndarray:
    """Coefficients A [q, p] with ``sum_k c_k T_k = sum_j (sum_i A_ji T_i) T_jp``, by ``2 T_i T_jp = T_(jp+i) + T_(jp-i)``."""
    q = -(-len(c) // p)
    r = np.zeros(q * p)
    r[:len(c)] = c
    A = np.zeros((q, p))
    for j in range(q - 1, 0, -1):
        A[j, 0] = r[j * p]
        for i in range(p - 1, 0, -1):
            A[j, i] = 2 * r[j * p + i]
            r[j * p - i] -= r[j * p + i]
    A[0] = r[:p]
    return A


def block_size(n: int) -> int:
    """The p that makes ``p + 2 q - 4`` gates fewest for degree n, with p q >= n + 1."""
    return min(range(2, max(n, 1) + 2), key=lambda p: (_gates(n, p), p))


def _gates(n: int, p: int) -> int:
    q = -(-(n + 1) // p)
    if p == 1:
        return max(q - 2, 0)
    return (p - 1 if q > 1 else p - 2) + max(q - 2, 0) + max(q - 1, 0)


def _polynomial(b: Builder, x: dict[int, float], c: np.ndarray, p: int) -> dict[int, float]:
    """Form of ``sum_k c_k T_k`` of a form, by baby steps T_2..T_p and giant steps T_2p, T_3p, ..."""
    T = Chebyshev(b, x)
    A = split_coefficients(c, p)
    out = combine(*((A[0, i], T[i]) for i in range(p) if A[0, i] or i == 0))
    for j in range(1, len(A)):
        giant = T[p] if j == 1 else _giant(b, T, j, p)
        inner = combine(*((A[j, i], T[i]) for i in range(p) if A[j, i] or i == 0))
        out = combine((1.0, out), (1.0, b.gate(inner, giant) if p > 1 else combine((A[j, 0], giant))))
    return out


def _giant(b: Builder, T: Chebyshev, j: int, p: int) -> dict[int, float]:
    """T_(jp) from giant steps alone."""
    if j * p not in T.made:
        up, down = (j + 1) // 2, j // 2
        factors = [T[p] if h == 1 else _giant(b, T, h, p) for h in (up, down)]
        T.made[j * p] = combine((2.0, b.gate(*factors)), (-1.0, T[p] if j % 2 else ONE))
    return T.made[j * p]


def polynomial_network(c, p: int | None = None) -> Network:
    """``sum_k c_k T_k(x)`` of one input by about ``2 sqrt(2 (n + 1)) - 4`` gates (baby steps and giant steps).

    Parameters
    ----------
    c : coefficients [n + 1] in the Chebyshev basis, finite.
    p : number of baby steps; the best by default. ``p > n`` gives the plain network of n - 1 gates.

    Returns a PolynomialNetwork [..., 1] -> [..., 1]; its ``evaluate`` runs the same scheme fast on many points.
    """
    c = np.asarray(c, dtype=float)
    if c.ndim != 1 or not len(c) or not np.isfinite(c).all():
        raise BuildError("coefficients must be a vector of finite numbers, from degree 0 up.")
    p = block_size(len(c) - 1) if p is None else p
    if not 1 <= p <= len(c) + 1:
        raise BuildError(f"p={p} baby steps are not possible; choose 1 to {len(c) + 1}.")
    b = Builder(1)
    plain = b.network([_polynomial(b, {0: 1.0}, c, min(p, len(c)))])
    return PolynomialNetwork(plain, split_coefficients(c, min(p, len(c))))


class PolynomialNetwork(Network):
    """A polynomial as gates, with its scheme ``A`` [q, p]: ``sum_j (sum_i A_ji T_i(x)) T_j(T_p(x))``."""

    def __init__(self, network: Network, A: np.ndarray):
        super().__init__(list(network.layers), network.readout)
        self.register_buffer("A", torch.tensor(A))
        self.built = self._print()

    def _print(self) -> tuple[float, float]:
        """A fingerprint of the weights, and its scale."""
        wide = [p.detach().double().flatten() for p in self.parameters()]
        return (sum(float(w @ torch.arange(1.0, len(w) + 1, device=w.device).double().cos()) for w in wide),
                sum(float(w.abs().sum()) for w in wide))

    def evaluate(self, x: torch.Tensor, block: int = 131072) -> torch.Tensor:
        """Values [n] at points x [n] in [-1, 1] without gradients: baby steps, one matrix product, giant steps by Clenshaw.

        Works block by block in the cache. The same polynomial and the same products as the network, whose inner sums the
        matrix product takes together. Raises BuildError where the weights have changed since the network was built.
        """
        if x.ndim != 1:
            raise BuildError(f"points of shape {tuple(x.shape)} are no list of numbers; give x [n], or call the "
                             "network itself.")
        x = x if x.is_floating_point() else x.to(self.A)
        rounding = max(1e-6, 10 * torch.finfo(self.readout.weight.dtype).eps)
        if abs(self._print()[0] - self.built[0]) > rounding * self.built[1]:
            raise BuildError("the weights are no longer those of the polynomial that was built, which evaluate runs; call "
                             "the network itself.")
        with torch.no_grad():
            q, p = self.A.shape
            A, out = self.A.to(x), torch.empty_like(x)
            size = min(block, len(x)) or 1
            T = x.new_empty(p + 1, size)
            T[0] = 1
            for a in range(0, len(x), size):
                t = x[a:a + size]
                n = len(t)
                T[1, :n] = t
                for k in range(2, p + 1):
                    torch.mul(T[k - 1, :n], t, out=T[k, :n]).mul_(2).sub_(T[k - 2, :n])
                inner = A @ T[:p, :n]
                if q == 1:
                    out[a:a + n] = inner[0]
                    continue
                y2 = 2 * T[p, :n]
                first, second = inner[q - 1], None  # Clenshaw in T_p
                for j in range(q - 2, 0, -1):
                    step = torch.addcmul(inner[j], y2, first)
                    first, second = (step if second is None else step.sub_(second)), first
                last = torch.addcmul(inner[0], T[p, :n], first)
                out[a:a + n] = last if second is None else last.sub_(second)
            return out


def ridge_degree(R: float, eps: float) -> int:
    """Degree from which the Chebyshev series of ``cos(R t + phi)`` is within eps of it on [-1, 1], by the bound of the page.

    ``max(ceil(e R), ceil(log2(2 / eps)))``: beyond e R the coefficients fall below ``2^(1-k)``.
    """
    if R < 0 or not 1e-14 <= eps:
        raise BuildError(f"accuracy {eps:g} at frequency {R:g} is below rounding in double precision or not positive; "
                         "choose eps of 1e-14 or more and R of 0 or more.")
    return max(1, math.ceil(math.e * R), math.ceil(math.log2(2 / eps)))


def ridge_coefficients(R: float, phase: float, n: int) -> np.ndarray:
    """Chebyshev coefficients [n + 1] of ``cos(R t + phase)`` on [-1, 1] (Jacobi and Anger)."""
    k = np.arange(n + 1)
    c = 2 * jv(k, R) * np.cos(k * np.pi / 2 + phase)
    c[0] /= 2
    return c


def bandlimited_network(w, amplitude, phase, eps: float, M: float | None = None, share: bool = True) -> Network:
    """``sum_j amplitude_j cos(w_j . x + phase_j)`` on [0, 1]^d within eps in the supremum norm.

    Parameters
    ----------
    w : frequencies [N, d].   amplitude, phase : [N].
    eps : accuracy, positive.
    M : bound on the frequencies' entries; the largest by default. Each ridge is scaled by R = d M.
    share : baby and giant steps within a ridge (True), or the plain n - 1 gates.

    Returns a Network [..., d] -> [..., 1]. Raises BuildError where accuracy or size cannot be had.
    """
    w, amplitude, phase = (np.asarray(v, dtype=float) for v in (w, amplitude, phase))
    if w.ndim != 2 or amplitude.shape != (len(w),) or phase.shape != (len(w),):
        raise BuildError(f"frequencies {w.shape}, amplitudes {amplitude.shape} and phases {phase.shape} do not fit; give "
                         "[N, d], [N], [N].")
    top = float(np.abs(w).max())
    if not all(np.isfinite(v).all() for v in (w, amplitude, phase)) or M is not None and M < top:
        raise BuildError(f"M={M} does not bound frequencies up to {top:g}, or a number is not finite; leave M out, and give "
                         "finite frequencies, amplitudes and phases.")
    R = w.shape[1] * (top if M is None else M)
    total = float(np.abs(amplitude).sum())
    n = ridge_degree(R, eps / max(total, 1e-300))
    p = block_size(n) if share else n + 1
    if (len(w) * _gates(n, p)) ** 2 > LIMIT:
        raise BuildError(f"{len(w)} ridges of degree {n} need more than the memory that is allowed; take fewer ridges, or "
                         "build them one by one.")
    b = Builder(w.shape[1])
    out = {-1: 0.0}
    for wj, aj, fj in zip(w, amplitude, phase):
        t = combine(*((v / R, {i: 1.0}) for i, v in enumerate(wj) if v)) or {-1: 0.0}
        out = combine((1.0, out), (1.0, _polynomial(b, t, aj * ridge_coefficients(R, fj, n), p)))
    return b.network([out])


def euclid(d: int, m: int) -> list[tuple[int, ...]]:
    """Multi-indices with ``|k|_2 <= m``."""
    return [k for k in itertools.product(range(m + 1), repeat=d) if sum(v * v for v in k) <= m * m]


def total_degree(d: int, m: int) -> list[tuple[int, ...]]:
    """Multi-indices with ``|k|_1 <= m``."""
    return [k for k in itertools.product(range(m + 1), repeat=d) if sum(k) <= m]


def cross(d: int, m: int) -> list[tuple[int, ...]]:
    """Hyperbolic cross: multi-indices with ``prod max(1, k_j) <= m``."""
    return [k for k in itertools.product(range(m + 1), repeat=d) if math.prod(max(1, v) for v in k) <= m]


def sobolev_network(indices, coefficients=None) -> Network:
    """Products ``T_k(x) = prod_j T_(k_j)(x_j)`` for k in a downward closed set, or their combination.

    Exactly ``len(indices) - 1 - d`` gates: one a function beyond the constant and the coordinates.

    Parameters
    ----------
    indices : multi-indices, tuples of length d; with every index all smaller ones (``euclid``, ``total_degree``, ``cross``).
    coefficients : [len(indices)], or None for all functions as outputs.

    Raises BuildError for no index, indices of several lengths, a set that is not downward closed, or other coefficients.
    """
    indices = [tuple(int(v) for v in k) for k in indices]
    if len({len(k) for k in indices}) != 1:
        raise BuildError("the set holds no multi-index, or some of several lengths; give tuples of one length d.")
    if coefficients is not None and (len(coefficients) != len(indices) or not np.isfinite(np.asarray(coefficients)).all()):
        raise BuildError(f"{len(coefficients)} coefficients do not go with {len(indices)} multi-indices; give a finite one "
                         "for each.")
    known = set(indices)
    d = len(indices[0]) if indices else 0
    for k in indices:
        if any(v and tuple(u - (i == j) for j, u in enumerate(k)) not in known for i, v in enumerate(k)):
            raise BuildError(f"the set holds {k} without all smaller indices; make it downward closed.")
    if len(indices) ** 2 > LIMIT:
        raise BuildError(f"{len(indices)} functions need more than the memory that is allowed; take a smaller set.")
    b = Builder(d)
    axes = [Chebyshev(b, {i: 1.0}) for i in range(d)]
    made: dict[tuple, dict] = {}

    def form(k: tuple[int, ...]) -> dict[int, float]:
        if k not in made:
            support = [i for i, v in enumerate(k) if v]
            if len(support) <= 1:
                made[k] = axes[support[0]][k[support[0]]] if support else ONE
            else:
                half = set(support[:(len(support) + 1) // 2])
                made[k] = b.gate(form(tuple(v if i in half else 0 for i, v in enumerate(k))),
                                 form(tuple(0 if i in half else v for i, v in enumerate(k))))
        return made[k]

    forms = [form(k) for k in sorted(indices, key=sum)]
    order = {k: f for k, f in zip(sorted(indices, key=sum), forms)}
    if coefficients is None:
        return b.network([order[k] for k in indices])
    return b.network([combine(*((float(c), order[k]) for c, k in zip(coefficients, indices)))])
