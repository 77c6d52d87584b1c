"""CPU kernels of the exact nonlinear dynamics: one pass over the noise, state in the nearest cache.

Source: arXiv:2303.13093; dynamics in chapter "probabilistic-stability", 3.5 and 3.11.
No fast-math: a step is the same rounded operations as a plain NumPy loop, and chains are independent, so the result has
the same bits for every number of threads. Kernels release the interpreter lock and work in place on the chains
start..stop; `engine` splits the range over threads. A chain that has left the limit gets rate 0, which freezes it
without a branch.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

WIDE = (
    1024  # chains of the two-parameter model advanced together: a row of the noise is then 8 KB of contiguous reading
)
LANES = 64  # chains of the matrix model advanced together, stored chains-last so that the loops over chains vectorise


def _jit(function):
    """Compile without the interpreter lock; keep the result on disk, or in memory where no folder can be written."""
    try:
        return nb.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no place for its cache
        return nb.njit(nogil=True, error_model="numpy")(function)


@_jit
def _two_parameter_step(u, w, rate, G, R, bound):
    for j in range(u.size):
        a, b, lam = u[j], w[j], rate[j]
        r = lam * (R[j] - a * b * G[j])
        a2 = a + r * b
        b2 = b + r * a
        u[j] = a2
        w[j] = b2
        rate[j] = lam if a2 * a2 + b2 * b2 < bound else lam * 0


@_jit
def two_parameter(u, w, rate, G, R, limit, start, stop):
    """T steps of ``l = (u*w*x - y)^2 / 2``.   u, w, rate: [n].   G: [T, n], or [1, n] for every step.   R: [T, n]."""
    fixed = G.shape[0] == 1
    bound = limit * limit
    for lo in range(start, stop, WIDE):
        hi = min(lo + WIDE, stop)
        us, ws, ls = u[lo:hi].copy(), w[lo:hi].copy(), rate[lo:hi].copy()
        for t in range(R.shape[0]):
            _two_parameter_step(us, ws, ls, G[0 if fixed else t, lo:hi], R[t, lo:hi], bound)
        u[lo:hi], w[lo:hi], rate[lo:hi] = us, ws, ls


@_jit
def _product(out, A, a_row, a_sum, B, b_col, b_sum, rows, cols, n):
    """out[i, j] = sum_k A[i*a_row + k*a_sum] * B[j*b_col + k*b_sum], where every entry is a row of LANES chains.

    The strides express a transposed factor without a copy; four terms a pass keep the loads, not the loop, the cost.
    """
    for i in range(rows):
        for j in range(cols):
            o, a, b = i * cols + j, i * a_row, j * b_col
            for l in range(LANES):
                out[o, l] = 0.0
            for _ in range(n // 4):
                for l in range(LANES):
                    out[o, l] += (A[a, l] * B[b, l] + A[a + a_sum, l] * B[b + b_sum, l]) + (
                        A[a + 2 * a_sum, l] * B[b + 2 * b_sum, l] + A[a + 3 * a_sum, l] * B[b + 3 * b_sum, l]
                    )
                a, b = a + 4 * a_sum, b + 4 * b_sum
            if n % 4 >= 2:
                for l in range(LANES):
                    out[o, l] += A[a, l] * B[b, l] + A[a + a_sum, l] * B[b + b_sum, l]
                a, b = a + 2 * a_sum, b + 2 * b_sum
            if n % 2:
                for l in range(LANES):
                    out[o, l] += A[a, l] * B[b, l]


@_jit
def _descend(A, grad, rate, limit):
    """A -= grad; a chain with an entry outside the limit gets rate 0."""
    for i in range(A.shape[0]):
        for l in range(LANES):
            A[i, l] -= grad[i, l]
            rate[0, l] = rate[0, l] if abs(A[i, l]) < limit else rate[0, l] * 0


@_jit
def _chains_last(x, lo, m, out):
    """out[i, c] = x[lo + c, i] for the m chains of the block."""
    for i in range(out.shape[0]):
        for c in range(m):
            out[i, c] = x[lo + c, i]


@_jit
def _chains_first(x, lo, m, out):
    """out[lo + c, i] = x[i, c]: the inverse of `_chains_last`."""
    for c in range(m):
        for i in range(x.shape[0]):
            out[lo + c, i] = x[i, c]


@_jit
def matrix_factorisation(U, W, rate, x, y, n_hid, S, limit, start, stop):
    """T steps of ``f = U W x``; ``rate`` is learning rate / batch size.

    U: [B, o*k], W: [B, k*i], rate: [B, 1], x: [T, B, i*S], y: [T, B, o*S].   Inside, all arrays are chains-last.
    """
    n_out, n_in = U.shape[1] // n_hid, W.shape[1] // n_hid
    Us, Ws = np.zeros((n_out * n_hid, LANES), U.dtype), np.zeros((n_hid * n_in, LANES), U.dtype)
    dU, dW, ls = np.zeros_like(Us), np.zeros_like(Ws), np.zeros((1, LANES), U.dtype)
    xs, ys = np.zeros((n_in * S, LANES), U.dtype), np.zeros((n_out * S, LANES), U.dtype)
    h, e, g = np.zeros((n_hid * S, LANES), U.dtype), np.zeros_like(ys), np.zeros((n_hid * S, LANES), U.dtype)
    for lo in range(start, stop, LANES):
        m = min(LANES, stop - lo)
        _chains_last(U, lo, m, Us)
        _chains_last(W, lo, m, Ws)
        _chains_last(rate, lo, m, ls)
        for t in range(x.shape[0]):
            _chains_last(x[t], lo, m, xs)
            _chains_last(y[t], lo, m, ys)
            _product(h, Ws, n_in, 1, xs, 1, S, n_hid, S, n_in)  # h = W x
            _product(e, Us, n_hid, 1, h, 1, S, n_out, S, n_hid)  # e = rate * (U h - y)
            for i in range(n_out * S):
                for l in range(LANES):
                    e[i, l] = (e[i, l] - ys[i, l]) * ls[0, l]
            _product(dU, e, S, 1, h, S, 1, n_out, n_hid, S)  # e h^T
            _product(g, Us, 1, n_hid, e, 1, S, n_hid, S, n_out)  # U^T e, with the old U
            _product(dW, g, S, 1, xs, S, 1, n_hid, n_in, S)  # U^T e x^T
            _descend(Us, dU, ls, limit)
            _descend(Ws, dW, ls, limit)
        _chains_first(Us, lo, m, U)
        _chains_first(Ws, lo, m, W)
        _chains_first(ls, lo, m, rate)


@_jit
def tanh_net(u, w, rate, x, y, limit, start, stop):
    """T steps of ``f = sum_j u_j tanh(w_j x)``, scalar input, one sample a step.   u, w: [n, H], rate: [n], x, y: [T,
    n].
    """
    H = u.shape[1]
    a = np.empty(H, u.dtype)
    for lo in range(start, stop, LANES):
        hi = min(lo + LANES, stop)
        for t in range(x.shape[0]):
            for c in range(lo, hi):
                e = -y[t, c]
                for j in range(H):
                    a[j] = math.tanh(w[c, j] * x[t, c])
                    e += u[c, j] * a[j]
                e *= rate[c]
                for j in range(H):
                    step_w = e * u[c, j] * (1 - a[j] * a[j]) * x[t, c]
                    u[c, j] -= e * a[j]
                    w[c, j] -= step_w
                    if not (abs(u[c, j]) < limit and abs(w[c, j]) < limit):
                        rate[c] *= 0


@_jit
def saddle_spectrum(Q, C, rate, every, age, out):
    """Advance frames by ``I + lam [[0, C], [C^T, 0]]`` and re-orthonormalise (modified Gram-Schmidt) every few steps.

    Q: [B, k, p+q], one vector a row, in place.   C: [T, B, p, q].   rate: [B].   age: steps since the last
    re-orthonormalisation. out: [n, B, k], filled with ``log|R_kk|``.
    """
    n_vec, p, q = Q.shape[1], C.shape[2], C.shape[3]
    new = np.empty(p + q)
    for cell in range(Q.shape[0]):
        done = 0
        for t in range(C.shape[0]):
            for k in range(n_vec):
                for i in range(p + q):
                    new[i] = 0.0
                for i in range(p):
                    u, total = Q[cell, k, i], 0.0
                    for j in range(q):
                        total += C[t, cell, i, j] * Q[cell, k, p + j]
                        new[p + j] += C[t, cell, i, j] * u
                    new[i] = total
                for i in range(p + q):
                    Q[cell, k, i] += rate[cell] * new[i]
            if (age + t + 1) % every == 0:
                _gram_schmidt(Q[cell], out[done, cell])
                done += 1


@_jit
def _gram_schmidt(Q, log_R):
    for k in range(Q.shape[0]):
        square = 0.0
        for i in range(Q.shape[1]):
            square += Q[k, i] * Q[k, i]
        norm = math.sqrt(square)
        log_R[k] = math.log(norm) if norm > 0 else -np.inf
        for i in range(Q.shape[1]):
            Q[k, i] = Q[k, i] / norm if norm > 0 else 0.0
        for m in range(k + 1, Q.shape[0]):
            dot = 0.0
            for i in range(Q.shape[1]):
                dot += Q[k, i] * Q[m, i]
            for i in range(Q.shape[1]):
                Q[m, i] -= dot * Q[k, i]
