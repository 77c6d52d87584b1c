"""Lyapunov spectra of products of random matrices, many cells at once (QR method of Benettin).

Source: arXiv:2303.13093, Theorem 3 (any dimension: the top exponent decides); chapter "probabilistic-stability", 3.4,
3.7, 3.11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._checks import whole
from .verdicts import Verdict, _label, interval


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents with intervals.

    Attributes
    ----------
    exponents, low, high : arrays [B, k], per step, from the largest down; ``low``/``high`` bound them at ``confidence``.
    increments : array [n, B, k], ``log|R_kk|`` per step of each re-orthonormalisation after the burn-in.
    """

    exponents: np.ndarray
    low: np.ndarray
    high: np.ndarray
    increments: np.ndarray
    confidence: float

    @property
    def n_positive(self) -> np.ndarray:
        """[B] number of positive exponents: the rank that the chapter predicts at a low-rank saddle."""
        return (self.exponents > 1e-12).sum(axis=1)  # above rounding

    def verdict(self, cell: int = 0) -> Verdict:
        """Verdict on the top exponent of one cell."""
        low, high = float(self.low[cell, 0]), float(self.high[cell, 0])
        return Verdict(_label(low, high), float(self.exponents[cell, 0]), low, high)


def lyapunov_spectrum(
    products: Tensor | np.ndarray | Iterable[Tensor] | Callable[[int], Tensor],
    k: int | None = None,
    every: int = 1,
    burn: float = 0.1,
    n_steps: int | None = None,
    seed: int = 0,
    confidence: float = 0.999,
) -> Spectrum:
    """Top ``k`` Lyapunov exponents of ``... A_2 A_1`` for ``B`` independent cells.

    Source: arXiv:2303.13093, Theorem 3; chapter "probabilistic-stability", 3.4 (``A Q = Q' R``, ``Lambda_k`` = mean
    ``log|R_kk|``).

    Parameters
    ----------
    products : the matrices ``A_t`` [B, d, d]: an array or tensor [T, B, d, d], an iterable, or a function of ``t``
        (give ``n_steps``).
    k : number of exponents, 1..d; all by default.
    every : steps between two QR factorisations (keep the product of ``every`` matrices far below 1e8 in condition).
    burn : share of the run dropped at the start, in [0, 1).   seed : of the random first frame.

    Returns
    -------
    Spectrum with arrays [B, k].

    Raises
    ------
    ValueError if a matrix is not [B, d, d], the run is shorter than ``every``, or a product is not finite.
    """
    if callable(products):
        if n_steps is None:
            raise ValueError("a function of t has no length; pass n_steps.")
        stream: Iterator = (products(t) for t in range(whole("n_steps", n_steps)))
    else:
        stream = iter(products)
    Q, log_R, every = None, [], whole("every", every)
    for t, A in enumerate(stream):
        if n_steps is not None and t == n_steps:
            break
        A = torch.as_tensor(A)
        if A.ndim != 3 or A.shape[1] != A.shape[2]:
            raise ValueError(
                f"each step must be a batch of square matrices [B, d, d], got {tuple(A.shape)}; add the cell axis."
            )
        Q = _frame(A.shape[0], A.shape[1], k, seed, A) if Q is None else Q
        Q = A @ Q
        if (t + 1) % every == 0:
            Q, R = torch.linalg.qr(Q)
            log_R.append(R.diagonal(dim1=1, dim2=2).abs().log())
    if not log_R:
        raise ValueError("the run has fewer steps than `every`; pass more steps or a smaller `every`.")
    return summarise(torch.stack(log_R).double().cpu().numpy() / every, burn, confidence)


def saddle_spectrum(
    C: Tensor | np.ndarray | Iterable[Tensor | np.ndarray],
    lam: float | np.ndarray | Tensor,
    k: int | None = None,
    every: int = 1,
    burn: float = 0.1,
    seed: int = 0,
    confidence: float = 0.999,
) -> Spectrum:
    """Spectrum of ``z -> (I + lam*[[0, C], [C^T, 0]]) z``, the linear dynamics at a low-rank saddle.

    Source: arXiv:2303.13093, Theorem 4 (v4); chapter "probabilistic-stability", 3.7 and 3.11. ``C = mean(e x^T)`` of a
    mini-batch.

    Parameters
    ----------
    C : [T, B, d_out, d_in] couplings, one a step and cell, or an iterable of such blocks (a long run in little memory).
    lam : number or [B], learning rates.
    k : number of exponents, 1..d_out+d_in; all by default.   every, burn, seed : as in `lyapunov_spectrum`.

    Returns
    -------
    Spectrum with arrays [B, k]. CPU input runs in a compiled kernel in float64, CUDA tensors by batched QR.

    Raises
    ------
    ValueError on other shapes or couplings that are not finite.
    """
    blocks = [C] if isinstance(C, (Tensor, np.ndarray)) else C
    Q, log_R, age = None, [], 0
    for block in blocks:
        block = torch.from_numpy(np.require(block, requirements="W")) if isinstance(block, np.ndarray) else block
        if block.ndim != 4:
            raise ValueError(f"C must be [T, B, d_out, d_in], got {tuple(block.shape)}; add the missing axes.")
        T, B, p, q = block.shape
        rate = torch.as_tensor(lam, dtype=torch.float64, device=block.device)
        if rate.shape not in ((), (B,)):
            raise ValueError(f"lam must be one number or [{B}], one a cell, got shape {tuple(rate.shape)}; reshape it.")
        rate = rate.expand(B).contiguous()
        block = block.contiguous() if block.is_cuda else block.double().contiguous()
        Q = _frame(B, p + q, k, seed, block) if Q is None else Q
        Q, part, age = (_advance_gpu if block.is_cuda else _advance_cpu)(Q, block, rate, whole("every", every), age)
        log_R.append(part)
    if not log_R or not sum(map(len, log_R)):
        raise ValueError("the run has fewer steps than `every`; pass more steps or a smaller `every`.")
    return summarise(np.concatenate(log_R) / every, burn, confidence)


def _advance_cpu(Q: Tensor, C: Tensor, rate: Tensor, every: int, age: int) -> tuple[Tensor, np.ndarray, int]:
    from . import _kernels_numba as kernels

    rows = np.ascontiguousarray(Q.mT.numpy())  # [B, k, d]: one vector a row
    out = np.empty(((age + C.shape[0]) // every, C.shape[1], rows.shape[1]))
    kernels.saddle_spectrum(rows, C.numpy(), rate.numpy(), every, age, out)
    return torch.from_numpy(rows).mT, out, (age + C.shape[0]) % every


def _advance_gpu(Q: Tensor, C: Tensor, rate: Tensor, every: int, age: int) -> tuple[Tensor, np.ndarray, int]:
    p, out = C.shape[2], []
    rate = rate.to(C.dtype)[:, None, None]
    for t in range(C.shape[0]):
        top, bottom = Q[:, :p], Q[:, p:]
        Q = torch.cat([top + rate * (C[t] @ bottom), bottom + rate * (C[t].mT @ top)], dim=1)
        age = (age + 1) % every
        if age == 0:
            Q, R = torch.linalg.qr(Q)
            out.append(R.diagonal(dim1=1, dim2=2).abs().log())
    return Q, (torch.stack(out).double().cpu().numpy() if out else np.empty((0, *Q.shape[::2]))), age


def _frame(B: int, d: int, k: int | None, seed: int, like: Tensor) -> Tensor:
    """Random orthonormal frame [B, d, k]: the first k columns of the full one, and the same on every device."""
    k = d if k is None else whole("k", k)
    if k > d:
        raise ValueError(f"there are only {d} exponents in dimension {d}; pass k of at most {d}.")
    start = torch.randn(k, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).T
    return torch.linalg.qr(start)[0].to(like).expand(B, d, k).contiguous()


def summarise(log_R: np.ndarray, burn: float, confidence: float) -> Spectrum:
    """Spectrum from increments [n, B, k] per step."""
    if not 0 <= burn < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"burn must lie in [0, 1) and confidence in (0, 1), got {burn} and {confidence}; correct them."
        )
    kept = log_R[int(burn * len(log_R)) :]
    if np.any(np.isnan(kept)) or np.any(np.isposinf(kept)):
        raise ValueError(
            "the product is not finite; check the matrices for NaN, or re-orthonormalise more often (smaller every)."
        )
    with np.errstate(invalid="ignore"):
        low, high = interval(kept, confidence)
        return Spectrum(kept.mean(axis=0), low, high, kept, confidence)
