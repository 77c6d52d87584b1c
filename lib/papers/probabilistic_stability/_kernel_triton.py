"""Fused GPU kernel of the two-parameter model: one program a block of chains, the time loop inside, state in registers.

Source: arXiv:2303.13093; dynamics in chapter "probabilistic-stability", 3.5. The noise [T, n] is read once,
contiguously.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128


@triton.jit
def _kernel(u_ptr, w_ptr, rate_ptr, G_ptr, R_ptr, n, T, bound, G_stride, BLOCK: tl.constexpr):
    chain = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = chain < n
    u = tl.load(u_ptr + chain, mask=inside, other=0.0)
    w = tl.load(w_ptr + chain, mask=inside, other=0.0)
    rate = tl.load(rate_ptr + chain, mask=inside, other=0.0)
    G_row = G_ptr + chain
    R_row = R_ptr + chain
    for _ in range(T):
        G = tl.load(G_row, mask=inside, other=0).to(u.dtype)
        R = tl.load(R_row, mask=inside, other=0).to(u.dtype)
        r = rate * (R - u * w * G)
        u_next = u + r * w
        w = w + r * u
        u = u_next
        rate = tl.where(u * u + w * w < bound, rate, rate * 0)
        G_row += G_stride
        R_row += n
    tl.store(u_ptr + chain, u, mask=inside)
    tl.store(w_ptr + chain, w, mask=inside)
    tl.store(rate_ptr + chain, rate, mask=inside)


def two_parameter(u: Tensor, w: Tensor, rate: Tensor, G: Tensor, R: Tensor, limit: float) -> None:
    """Advance u, w, rate [n] in place through R [T, n]; G is [T, n], or [1, n] for every step."""
    T, n = R.shape
    stride = n if G.shape[0] > 1 else 0
    launch = _kernel[(triton.cdiv(n, BLOCK),)]
    # without fused multiply-add: the same rounded operations as on the CPU
    launch(u, w, rate, G, R, n, T, float(limit) ** 2, stride, BLOCK=BLOCK, enable_fp_fusion=False)
