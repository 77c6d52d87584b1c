"""Exact nonlinear dynamics of the chapter's models over pre-drawn noise, many chains at once.

Source: arXiv:2303.13093 (two-layer saddle, matrix factorisation); update rules in chapter "probabilistic-stability",
3.5, 3.11, E5. Every function takes a block of noise and returns a `State`; a long run is a loop over blocks:
``state = two_parameter(*state[:2], lam, G, R, diverged=state.diverged)``. NumPy arrays and CPU tensors run in a
compiled kernel (numba), CUDA tensors in a fused kernel (triton; two-parameter model) or a plain torch loop. The kind of
array that goes in comes out. A chain is marked diverged, and frozen there, in the first step in which it leaves
``limit``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ._checks import positive, whole

Array = Any  # numpy array or torch tensor
_WORTH_A_THREAD = 10**7  # operations, some milliseconds: a smaller share costs more to hand out than to do


class State(NamedTuple):
    """Weights after a block of steps and the mask of diverged chains.

    u, w : the two layers, in the shapes that were passed.   diverged : bool, one a chain.
    """

    u: Array
    w: Array
    diverged: Array


def two_parameter(
    u: Array,
    w: Array,
    lam: Array,
    G: Array,
    R: Array,
    *,
    limit: float = 1e3,
    threads: int = 1,
    diverged: Array | None = None,
) -> State:
    """SGD on ``l = (u*w*x - y)^2 / 2``: ``r = R - u*w*G``, ``u' = u + lam*r*w``, ``w' = w + lam*r*u``.

    Source: arXiv:2303.13093, two-layer saddle; chapter "probabilistic-stability", 3.5 (exact, not linearised).

    Parameters
    ----------
    u, w : [n] float32 or float64, weights.   lam : number or [n], learning rates >= 0.
    R : [T, n] batch means of ``x*y``, or [n // width, T, width] as `blocked` returns it (faster on large noise); any
        real dtype,
        ``int8`` serves for ``x*y = +-1``.
    G : batch means of ``x^2``, shaped like ``R``; or a number or [n], the same in every step (1 for ``x = +-1``).
    limit : chains with ``u^2 + w^2 >= limit^2`` are diverged and stay where they are.
    threads : CPU threads, at most (short blocks use fewer); the result has the same bits for every number of them.
    diverged : [n] bool, chains to leave alone (from the block before).

    Returns
    -------
    State, u and w [n], diverged [n].

    Raises
    ------
    ValueError on shapes that do not fit together.
    """
    if _on_gpu(u, R):
        from . import _cuda

        return State(*_cuda.two_parameter(u, w, lam, G, R, limit, diverged))
    back = _like(u)
    u, w = _state("u", u, 1), _state("w", w, 1)
    _same("w", w.shape, u.shape)
    n, rate, R = u.size, _rate(lam, u.size, u.dtype, diverged), _noise("R", R)
    G = np.asarray(G) if not hasattr(G, "numpy") else G.numpy()
    if R.ndim == 3:
        blocks, _, width = R.shape
        _same("R", (blocks * width,), (n,))
    else:
        _same("R", R.shape, (R.shape[0], n))
        blocks, width, R = 1, n, R[None]
    if G.ndim < 2:
        _same("G", G.shape, (n,) if G.ndim else ())
        G = np.broadcast_to(G.astype(u.dtype), (n,)).reshape(blocks, 1, width)
    else:
        G = G.reshape(-1, *G.shape[-2:])
        _same("G", G.shape, R.shape)
    G, R, bound, moving = _c(G), _c(R), u.dtype.type(positive("limit", limit)), rate != 0
    from . import _kernels_numba as kernels

    views = [a.reshape(blocks, width) for a in (u, w, rate)]

    def part(b: int, start: int, stop: int) -> None:
        kernels.two_parameter(*(v[b] for v in views), G[b], R[b], bound, start, stop)

    _split(part, blocks, width, kernels.WIDE, threads, 10 * R.size)
    return _result(back, u, w, moving & (rate == 0), diverged)


def matrix_factorisation(
    U: Array,
    W: Array,
    lam: Array,
    x: Array,
    y: Array,
    *,
    limit: float = 1e3,
    threads: int = 1,
    diverged: Array | None = None,
) -> State:
    """SGD on ``f = U W x`` with squared loss: ``e = U W x - y``, ``U -= lam e (Wx)^T / S``, ``W -= lam U^T e x^T / S``
    (old U).

    Source: arXiv:2303.13093, rank experiment; chapter "probabilistic-stability", 3.11.

    Parameters
    ----------
    U : [B, d_out, d_hidden], W : [B, d_hidden, d_in], float32 or float64; B counts cells times seeds.
    lam : number or [B], learning rates >= 0.
    x : [T, B, d_in, S] inputs, y : [T, B, d_out, S] targets, S samples a batch.
    limit : chains with an entry of U or W outside ``(-limit, limit)`` are diverged and stay where they are.
    threads, diverged : as in `two_parameter`.

    Returns
    -------
    State, u and w shaped like U and W, diverged [B].

    Raises
    ------
    ValueError on shapes that do not fit together.
    """
    if _on_gpu(U, x):
        from . import _cuda

        return State(*_cuda.matrix_factorisation(U, W, lam, x, y, limit, diverged))
    back = _like(U)
    U, W = _state("U", U, 3), _state("W", W, 3)
    (B, n_out, n_hid), n_in = U.shape, W.shape[2]
    _same("W", W.shape, (B, n_hid, n_in))
    x, y = _c(_noise("x", x)), _c(_noise("y", y))
    if x.ndim != 4:
        raise ValueError(f"x must be [T, B, d_in, S], got shape {x.shape}; add the missing axis.")
    T, S = x.shape[0], x.shape[3]
    _same("x", x.shape, (T, B, n_in, S))
    _same("y", y.shape, (T, B, n_out, S))
    rate = _rate(lam, B, U.dtype, diverged)[:, None] / U.dtype.type(S)
    moving, bound = rate[:, 0] != 0, U.dtype.type(positive("limit", limit))
    flat_U, flat_W, xs, ys = U.reshape(B, -1), W.reshape(B, -1), x.reshape(T, B, -1), y.reshape(T, B, -1)
    from . import _kernels_numba as kernels

    def part(_: int, start: int, stop: int) -> None:
        kernels.matrix_factorisation(flat_U, flat_W, rate, xs, ys, n_hid, S, bound, start, stop)

    _split(part, 1, B, kernels.LANES, threads, 4 * n_hid * (x.size + y.size))
    return _result(back, U, W, moving & (rate[:, 0] == 0), diverged)


def tanh_net(
    u: Array,
    w: Array,
    lam: Array,
    x: Array,
    y: Array,
    *,
    limit: float = 1e3,
    threads: int = 1,
    diverged: Array | None = None,
) -> State:
    """SGD on ``f = sum_j u_j tanh(w_j x)``, scalar input and output, squared loss, one sample a step.

    Source: chapter "probabilistic-stability", experiment E5.

    Parameters
    ----------
    u, w : [n, H] float32 or float64.   lam : number or [n], learning rates >= 0.   x, y : [T, n].
    limit, threads, diverged : as in `two_parameter` (limit on every entry).

    Returns
    -------
    State, u and w [n, H], diverged [n].
    """
    if _on_gpu(u, x):
        from . import _cuda

        return State(*_cuda.tanh_net(u, w, lam, x, y, limit, diverged))
    back = _like(u)
    u, w = _state("u", u, 2), _state("w", w, 2)
    _same("w", w.shape, u.shape)
    x, y, n = _c(_noise("x", x)), _c(_noise("y", y)), u.shape[0]
    _same("x", x.shape, (x.shape[0], n))
    _same("y", y.shape, x.shape)
    rate, bound = _rate(lam, n, u.dtype, diverged), u.dtype.type(positive("limit", limit))
    moving = rate != 0
    from . import _kernels_numba as kernels

    def part(_: int, start: int, stop: int) -> None:
        kernels.tanh_net(u, w, rate, x, y, bound, start, stop)

    _split(part, 1, n, 16, threads, 40 * x.size * u.shape[1])
    return _result(back, u, w, moving & (rate == 0), diverged)


def blocked(noise: Array, width: int = 1024) -> Array:
    """Rearrange noise [T, n] to [n // width, T, width], the order in which `two_parameter` reads it.

    ``n`` must be a multiple of ``width`` (else ValueError). Noise that is drawn at random may as well be drawn in this
    shape.
    """
    T, n = noise.shape
    if n % whole("width", width):
        raise ValueError(f"the number of chains {n} is no multiple of width {width}; choose a divisor.")
    parts = noise.reshape(T, n // width, width)
    return parts.permute(1, 0, 2).contiguous() if hasattr(parts, "permute") else _c(parts.transpose(1, 0, 2))


def _split(part, blocks: int, width: int, grain: int, threads: int, work: int) -> None:
    """Call ``part(block, start, stop)`` over all chains, cut into pieces of whole grains, on up to ``threads`` threads.

    ``work`` is the number of operations in all; fewer threads are used where there is little of it.
    """
    threads = max(1, min(whole("threads", threads), work // _WORTH_A_THREAD))
    pieces = max(1, min(-(-threads // blocks), -(-width // grain)))
    step = -(-width // pieces)
    step = -(-step // grain) * grain
    jobs = [(b, a, min(a + step, width)) for b in range(blocks) for a in range(0, width, step)]
    if threads == 1 or len(jobs) == 1:
        for job in jobs:
            part(*job)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: part(*job), jobs))


def _on_gpu(*arrays: Array) -> bool:
    return any(getattr(a, "is_cuda", False) for a in arrays)


def _like(a: Array):
    """Function that returns a numpy array in the kind of ``a``."""
    if hasattr(a, "numpy"):
        import torch

        return torch.from_numpy
    return np.asarray


def _c(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a)


def _noise(name: str, a: Array) -> np.ndarray:
    a = a.numpy() if hasattr(a, "numpy") else np.asarray(a)
    if a.ndim < 2 or a.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be a real array with time as its first axis, got shape {a.shape}; pass [T, n].")
    return a


def _state(name: str, a: Array, ndim: int) -> np.ndarray:
    """A private C-ordered copy of the weights."""
    a = a.detach().numpy() if hasattr(a, "numpy") else np.asarray(a)
    if a.dtype not in (np.float32, np.float64) or a.ndim != ndim:
        raise ValueError(
            f"{name} must have {ndim} axes and dtype float32 or float64, got {a.shape} of {a.dtype}; convert it."
        )
    return np.array(a, order="C")


def _rate(lam: Array, n: int, dtype: np.dtype, diverged: Array | None) -> np.ndarray:
    lam = np.asarray(lam, dtype=float)
    if lam.shape not in ((), (n,)) or not np.all(lam >= 0):
        raise ValueError(
            f"lam must be one number >= 0 or an array of them of shape ({n},), got shape {lam.shape}; reshape it."
        )
    rate = np.array(np.broadcast_to(lam, (n,)), dtype=dtype)
    if diverged is not None:
        rate[np.asarray(diverged, dtype=bool)] = 0
    return rate


def _same(name: str, got: tuple, want: tuple) -> None:
    if tuple(got) != tuple(want):
        raise ValueError(f"{name} has shape {tuple(got)} where {tuple(want)} is needed; reshape it to fit the weights.")


def _result(back, u: np.ndarray, w: np.ndarray, newly: np.ndarray, before: Array | None) -> State:
    return State(back(u), back(w), back(newly if before is None else newly | np.asarray(before, dtype=bool)))
