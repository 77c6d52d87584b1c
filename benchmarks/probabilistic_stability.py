"""Speed of the engine of `lib.papers.probabilistic_stability` against the loops a user would write, side by side in one
run.

All contestants of a row read the same random numbers, drawn before, and take turns; the median of the rounds counts.
The limit is measured in the same run: reading memory for the two-parameter model (each step reads its noise once and
does about ten operations), matrix products of the library for the matrix model. The share of drawing
is that of the random numbers in drawing and stepping together. ``python -m lib.book bench`` runs it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch
from _race import main, race

from lib.papers import probabilistic_stability as ps

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def torch_loops(loop: Callable[[], object]) -> dict[str, Callable[[], object]]:
    """The same torch loop on one thread and on all (many small operations may be faster on one)."""

    def one_thread() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            loop()
        finally:
            torch.set_num_threads(before)

    return {"torch loop, 1 thread": one_thread, f"torch loop, {torch.get_num_threads()} threads": loop}


def two_parameter_loop(u, w, lam, G, R):
    """What a user writes, in NumPy or torch: no check for divergence. G: [T, n] or None for 1."""
    for t in range(len(R)):
        r = lam * (R[t] - (u * w if G is None else u * w * G[t]))
        u, w = u + r * w, w + r * u
    return u, w


def matrix_loop(U, W, lam, x, y):
    """What a user writes for ``f = U W x``: batched matrix products."""
    step = lam[:, None, None] / x.shape[3]
    for t in range(len(x)):
        h = W @ x[t]
        e = (U @ h - y[t]) * step
        U, W = U - e @ h.swapaxes(1, 2), W - U.swapaxes(1, 2) @ e @ x[t].swapaxes(1, 2)
    return U, W


def spectrum_loop(C, lam):
    """What a user writes for the saddle's spectrum: batched QR in torch."""
    T, B, p, q = C.shape
    Q, total = torch.eye(p + q, dtype=C.dtype).expand(B, -1, -1), 0
    for t in range(T):
        top, bottom = Q[:, :p], Q[:, p:]
        Q, R = torch.linalg.qr(torch.cat([top + lam * C[t] @ bottom, bottom + lam * C[t].mT @ top], 1))
        total = total + R.diagonal(dim1=1, dim2=2).abs().log()
    return total / T


def bandwidth() -> float:
    """Bytes a second that all cores read from memory together: a sum over 512 MB."""
    a = torch.ones(2**26, dtype=torch.float64)
    return a.numel() * 8 / race({"sum": a.sum})["sum"]


def product_flops(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a 1024 x 1024 matrix product on all cores."""
    a = torch.ones(1024, 1024, dtype=dtype)
    return 2 * 1024**3 / race({"mm": lambda: a @ a})["mm"]


def two_parameter_rows() -> list[dict]:
    """Chain-steps a second of the two-parameter model, by kind of noise; a short block stays in the cache."""
    rng, rows, read = np.random.default_rng(0), [], bandwidth()
    for label, dtype, n, T in [
        ("gaussian, float64", np.float64, 16384, 1000),
        ("gaussian, float32", np.float32, 16384, 1000),
        ("signs, float64", np.float64, 16384, 1000),
        ("signs, float32", np.float32, 16384, 1000),
        ("short gaussian, float64", np.float64, 6144, 64),
    ]:
        start = time.perf_counter()
        if "signs" in label:
            G = None
            R = (2 * (rng.random((T, n), dtype=np.float32) < 0.7) - 1).astype(np.int8)
        else:
            G, R = ps.draw_statistics(rng, T, n, 0.5, 8.0, 4, dtype)
        draw = time.perf_counter() - start
        u, w, lam = np.full(n, 0.1, dtype), np.full(n, 0.1, dtype), np.full(n, 0.01, dtype)
        arrays = [u, w, lam, G, R if G is not None else R.astype(dtype)]  # peers get floats, so they need not convert
        tensors = [None if a is None else torch.from_numpy(a) for a in arrays]
        g = 1.0 if G is None else G
        contestants = {
            "numpy loop": lambda a=arrays: two_parameter_loop(*a),
            **torch_loops(lambda a=tensors: two_parameter_loop(*a)),
            "engine, 1 thread": lambda a=(u, w, lam, g, R): ps.two_parameter(*a),
            f"engine, {CORES} threads": lambda a=(u, w, lam, g, R): ps.two_parameter(*a, threads=CORES),
        }
        blocks = (u, w, lam, 1.0 if G is None else ps.blocked(G), ps.blocked(R))
        contestants[f"engine, {CORES} threads, blocked"] = lambda a=blocks: ps.two_parameter(*a, threads=CORES)
        if torch.cuda.is_available():
            gpu = [
                torch.from_numpy(np.asarray(a)).cuda() for a in (u, w, lam, np.ones(n, dtype) if G is None else G, R)
            ]
            contestants["engine, GPU"] = lambda a=gpu: ps.two_parameter(*a)
        size = R.dtype.itemsize + (0 if G is None else G.dtype.itemsize)
        rows += _rows(
            "two-parameter", label, n * T, race(contestants), draw, limit=read / size, limit_is="memory reads"
        )
    return rows


def matrix_rows(B: int = 512, d: int = 6, S: int = 4, T: int = 100) -> list[dict]:
    """Chain-steps a second of the matrix factorisation."""
    rng, rows = np.random.default_rng(0), []
    V = np.diag([2, 1.5, 1, 0.75, 0.5, 0.25])
    for label, dtype in [("6x6x6, S=4, float64", np.float64), ("6x6x6, S=4, float32", np.float32)]:
        start = time.perf_counter()
        x, y = ps.draw_batches(rng, T, B, V, 4.0, S, dtype)
        draw = time.perf_counter() - start
        U, W = (0.1 * rng.standard_normal((2, B, d, d))).astype(dtype)
        arrays = [U, W, np.full(B, 0.01, dtype), x, y]
        tensors = [torch.from_numpy(a) for a in arrays]
        contestants = {
            "numpy loop": lambda a=arrays: matrix_loop(*a),
            **torch_loops(lambda a=tensors: matrix_loop(*a)),
            "engine, 1 thread": lambda a=arrays: ps.matrix_factorisation(*a),
            f"engine, {CORES} threads": lambda a=arrays: ps.matrix_factorisation(*a, threads=CORES),
        }
        if torch.cuda.is_available():
            gpu = [a.cuda() for a in tensors]
            contestants["engine, GPU"] = lambda a=gpu: ps.matrix_factorisation(*a)
        flops = 2 * 5 * d * d * S
        limit = product_flops(tensors[0].dtype) / flops
        rows += _rows("matrix factorisation", label, B * T, race(contestants), draw, limit, "large matrix products")
    return rows


def spectrum_rows(B: int = 48, d: int = 6, T: int = 100) -> list[dict]:
    """Cell-steps a second of the full spectrum at the saddle, one QR a step."""
    start = time.perf_counter()
    C = np.random.default_rng(0).standard_normal((T, B, d, d))
    draw = time.perf_counter() - start
    contestants = {
        **torch_loops(lambda: spectrum_loop(torch.from_numpy(C), 0.02)),
        "engine, 1 thread": lambda: ps.saddle_spectrum(C, 0.02),
    }
    operations = 2 * (2 * d * d * 2 * d + (2 * d) ** 3)
    limit = product_flops(torch.float64) / operations
    return _rows(
        "saddle spectrum", "12 exponents, QR a step", B * T, race(contestants), draw, limit, "large matrix products"
    )


def _rows(
    model: str, case: str, steps: int, seconds: dict[str, float], draw: float, limit: float, limit_is: str
) -> list[dict]:
    peer = min(s for name, s in seconds.items() if "loop" in name)
    return [
        {
            "model": model,
            "case": case,
            "contestant": name,
            "chain-steps/s": steps / s,
            "times the best loop": peer / s,
            "share of limit": steps / s / limit,
            "limit": limit_is,
            "share of drawing": draw / (draw + s),
        }
        for name, s in seconds.items()
    ]


def measure() -> dict[str, list[dict]]:
    """One table."""
    return {f"{CORES} cores": two_parameter_rows() + matrix_rows() + spectrum_rows()}


if __name__ == "__main__":
    main(__doc__, measure)
