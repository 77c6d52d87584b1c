"""GPU side of `engine`: a fused triton kernel for the two-parameter model, plain torch loops for the rest.

Source: arXiv:2303.13093; dynamics in chapter "probabilistic-stability", 3.5, 3.11, E5. The loops run on any device and
are what the CPU kernels are measured against.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

_warned = False


def two_parameter(u, w, lam, G, R, limit, diverged, fused: bool | None = None):
    """As `engine.two_parameter`, on the tensors' device. ``fused``: None chooses triton where it is installed."""
    global _warned
    if R.ndim == 3:
        R = R.permute(1, 0, 2).reshape(R.shape[1], -1)
        G = G.permute(1, 0, 2).reshape(R.shape) if torch.is_tensor(G) and G.ndim == 3 else G
    if R.ndim != 2 or u.shape != w.shape or u.shape != R.shape[1:]:
        raise ValueError(f"u, w and R must be [n], [n], [T, n], got {u.shape}, {w.shape}, {R.shape}; reshape them.")
    rate, moving = _rate(lam, u, diverged)
    G = torch.as_tensor(G, dtype=None if torch.is_tensor(G) else u.dtype, device=u.device)
    if G.ndim < 2:
        G = G.to(u.dtype).expand(1, u.numel())
    elif G.shape != R.shape:
        raise ValueError(f"G has shape {tuple(G.shape)} where {tuple(R.shape)} is needed; reshape it like R.")
    u, w = u.clone().contiguous(), w.clone().contiguous()
    if fused is None:
        fused = u.is_cuda
    if fused:
        try:
            from . import _kernel_triton
        except ImportError:
            fused = False
            if not _warned:
                warnings.warn(
                    "triton is not installed: the two-parameter engine runs as a slow torch loop.", stacklevel=3
                )
                _warned = True
    if fused:
        _kernel_triton.two_parameter(u, w, rate, G.contiguous(), R.contiguous(), limit)
    else:
        u, w, rate = _two_parameter_loop(u, w, rate, G, R, limit)
    return u, w, _diverged(moving, rate, diverged)


def _two_parameter_loop(u, w, rate, G, R, limit):
    for t in range(R.shape[0]):
        r = rate * (R[t] - u * w * G[t if G.shape[0] > 1 else 0])
        u, w = u + r * w, w + r * u
        rate = torch.where(u * u + w * w < limit**2, rate, 0 * rate)
    return u, w, rate


def matrix_factorisation(U, W, lam, x, y, limit, diverged):
    """As `engine.matrix_factorisation`, by batched matrix products on the tensors' device."""
    rate, moving = _rate(lam, U[:, 0, 0], diverged)
    S = x.shape[3]
    for t in range(x.shape[0]):
        h = W @ x[t]  # [B, d_hidden, S]
        e = (U @ h - y[t]) * (rate / S)[:, None, None]  # [B, d_out, S]
        U, W = U - e @ h.mT, W - U.mT @ e @ x[t].mT
        inside = (U.abs().amax((1, 2)) < limit) & (W.abs().amax((1, 2)) < limit)
        rate = torch.where(inside, rate, 0 * rate)
    return U, W, _diverged(moving, rate, diverged)


def tanh_net(u, w, lam, x, y, limit, diverged):
    """As `engine.tanh_net`, by elementwise operations on the tensors' device."""
    rate, moving = _rate(lam, u[:, 0], diverged)
    for t in range(x.shape[0]):
        a = torch.tanh(w * x[t, :, None])  # [n, H]
        e = (rate * ((u * a).sum(1) - y[t]))[:, None]
        u, w = u - e * a, w - e * u * (1 - a * a) * x[t, :, None]
        inside = (u.abs().amax(1) < limit) & (w.abs().amax(1) < limit)
        rate = torch.where(inside, rate, 0 * rate)
    return u, w, _diverged(moving, rate, diverged)


def _rate(lam, like: Tensor, diverged) -> tuple[Tensor, Tensor]:
    rate = torch.as_tensor(lam, dtype=like.dtype, device=like.device).expand(like.shape).clone()
    if diverged is not None:
        rate[torch.as_tensor(diverged, device=like.device)] = 0
    return rate, rate != 0


def _diverged(moving: Tensor, rate: Tensor, before) -> Tensor:
    newly = moving & (rate == 0)
    return newly if before is None else newly | torch.as_tensor(before, device=newly.device)
