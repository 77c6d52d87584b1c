"""Deep linear nets under gradient descent with weight decay: the case in which every relation has a closed form.

Loss ``E |y - W_D ... W_1 x|^2 / 2 + decay/2 sum |W_i|^2`` with whitened inputs and ``y = A x``. Source: chapter
"canonical-representation", Theorem C.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib import ensemble
from lib.papers.canonical_representation.moments import exponent


def products(W: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """``P[i] = W_i ... W_1`` and ``B[i] = W_D ... W_(i+1)`` for i = 0..D, each [S, d, d]."""
    eye = torch.eye(W[0].shape[-1], dtype=W[0].dtype, device=W[0].device).expand_as(W[0])
    P, B = [eye], [eye]
    for w in W:
        P.append(w @ P[-1])
    for w in reversed(W):
        B.append(B[-1] @ w)
    return P, B[::-1]


def descend(A: Tensor, D: int, decay, lr: float, n_steps: int, seeds) -> list[Tensor]:
    """Weights [S, d, d] of D layers after gradient descent towards targets A [S, d, d], from near the identity.

    ``decay`` is a number or one a member [S]. A start near the identity and a positive target keep every mode alive.
    """
    gens = ensemble.generators(seeds, str(A.device))
    d = A.shape[-1]
    eye = torch.eye(d, dtype=A.dtype, device=A.device)
    W = [0.8 * eye + 0.1 * ensemble.draw(gens, (d, d), dtype=A.dtype) / d**0.5 for _ in range(D)]
    decay = torch.as_tensor(decay, dtype=A.dtype, device=A.device).expand(len(A))[:, None, None]
    for _ in range(n_steps):
        P, B = products(W)
        E = A - P[-1]
        push = [B[i + 1].mT @ E @ P[i].mT for i in range(D)]
        W = [w + lr * (p - decay * w) for w, p in zip(W, push)]
    return W


def moments(A: Tensor, W: list[Tensor], i: int) -> dict[str, np.ndarray]:
    """Ha, Hb, Ga, Gb, Za, Zb of layer i = 1..D, exact second moments [S, d, d]."""
    P, B = products(W)
    w, Q = W[i - 1], B[i].mT @ (A - P[-1])
    out = {"Ha": P[i - 1] @ P[i - 1].mT, "Hb": P[i] @ P[i].mT, "Gb": Q @ Q.mT, "Za": w.mT @ w, "Zb": w @ w.mT}
    out["Ga"] = w.mT @ out["Gb"] @ w
    return {k: v.cpu().numpy() for k, v in out.items()}


def targets(spectrum, seeds, device: str = "cpu") -> Tensor:
    """Positive targets [S, d, d] with the given eigenvalues and random eigenvectors, one set a stream."""
    a = torch.as_tensor(np.asarray(spectrum, dtype=float), device=device)
    Q = torch.linalg.qr(ensemble.draw(ensemble.generators([s + 250_000 for s in seeds], device), (len(a), len(a)),
                                      dtype=torch.float64))[0]
    return Q @ torch.diag(a) @ Q.mT


def exponents(A: Tensor, W: list[Tensor], i: int) -> np.ndarray:
    """Fitted exponents of Ha, Hb, Ga, Gb against Z at layer i, [S, 4]."""
    m = moments(A, W, i)
    return np.array([[exponent(m[x][s], m["Z" + x[1]][s], 1e-6).slope for x in ("Ha", "Hb", "Ga", "Gb")]
                     for s in range(len(A))])


def reciprocal(A: Tensor, W: list[Tensor], i: int, decay: float) -> np.ndarray:
    """Relative size of ``Hb Gb - decay^2 Zb^2`` at layer i, [S]; 0 at a stationary point."""
    m = moments(A, W, i)
    want = decay**2 * m["Zb"] @ m["Zb"]
    return np.linalg.norm(m["Hb"] @ m["Gb"] - want, axis=(1, 2)) / np.linalg.norm(want, axis=(1, 2))
