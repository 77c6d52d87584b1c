"""Norms of a layer as the one big matrix that it is: Frobenius exactly, spectral by FFT, by Lanczos, by unrolling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .errors import BoundError
from .walk import Layer

LIMIT = 20_000


def frobenius(layer: Layer) -> float:
    """Frobenius norm of the unrolled matrix: each entry of the filter as often as it is read inside the input."""
    counts = torch.as_tensor((layer.index >= 0).sum(0), dtype=torch.float64)
    return float((layer.weight.square().sum((0, 1)) * counts).sum().sqrt())


def unrolled(layer: Layer) -> Tensor:
    """The matrix [positions * out, positions_in * in] itself; refuses more than ``LIMIT`` rows or columns."""
    P, (o, c, k) = len(layer.index), layer.weight.shape
    if max(P * o, layer.n_in * c) > LIMIT:
        raise BoundError(f"the unrolled matrix has {P * o} x {layer.n_in * c} entries; use norm or upper.")
    T = torch.zeros(P, o, layer.n_in, c, dtype=torch.float64)
    for j in range(P):
        for t in range(k):
            if layer.index[j, t] >= 0:
                T[j, :, layer.index[j, t]] += layer.weight[:, :, t]
    return T.reshape(P * o, -1)


def disjoint(layer: Layer) -> bool:
    """True where no two nodes read one position: then the matrix is block diagonal, each block the filter."""
    read = layer.index[layer.index >= 0]
    return len(np.unique(read)) == len(read)


def _apply(layer: Layer, x: Tensor, back: bool) -> Tensor:
    """The layer's linear map on [in, positions_in], or its transpose on [out, positions]."""
    index = torch.as_tensor(np.where(layer.index < 0, layer.n_in, layer.index))
    if not back:
        padded = torch.cat([x, x.new_zeros(len(x), 1)], 1)
        return torch.einsum("oct,cpt->op", layer.weight, padded[:, index])
    spread = torch.einsum("oct,op->cpt", layer.weight, x).flatten(1)
    return x.new_zeros(layer.channels, layer.n_in + 1).index_add_(1, index.flatten(), spread)[:, :-1]


def norm(layer: Layer, seed: int = 0) -> float:
    """Spectral norm of the unrolled matrix by Lanczos' method, which never forms it.

    Convolutions go through torch's own kernels; other layers through their indices.
    """
    from scipy.sparse.linalg import LinearOperator, svds
    forward, backward = _operators(layer)
    shape = (len(layer.index) * len(layer.weight), layer.n_in * layer.channels)
    if min(shape) < 3:
        return float(torch.linalg.matrix_norm(unrolled(layer), 2))

    def apply(x):
        return forward(torch.from_numpy(np.ascontiguousarray(x).reshape(layer.channels, -1))).numpy().ravel()

    def back(y):
        return backward(torch.from_numpy(np.ascontiguousarray(y).reshape(len(layer.weight), -1))).numpy().ravel()

    start = np.random.default_rng(seed).standard_normal(min(shape))
    return float(svds(LinearOperator(shape, apply, back, dtype=np.float64), 1, v0=start, return_singular_vectors=False)[0])


def _operators(layer: Layer):
    if layer.geometry is None or any(a != b for a, b in zip(layer.geometry[2], layer.geometry[3])):
        return (lambda x: _apply(layer, x, False)), (lambda y: _apply(layer, y, True))
    kernel, stride, low, _, dilation = layer.geometry
    n = len(kernel)
    conv = getattr(torch.nn.functional, f"conv{n}d")
    back = getattr(torch.nn.functional, f"conv_transpose{n}d")
    weight = layer.weight.unflatten(2, kernel)
    out = tuple((s + 2 * p - d * (k - 1) - 1) // t + 1 for s, k, t, p, d in zip(layer.shape, *layer.geometry[:3], dilation))
    rest = tuple(s - ((o - 1) * t - 2 * p + d * (k - 1) + 1)
                 for s, o, k, t, p, d in zip(layer.shape, out, kernel, stride, low, dilation))

    def forward(x: Tensor) -> Tensor:
        return conv(x.unflatten(1, layer.shape)[None], weight, None, stride, low, dilation)[0].flatten(1)

    def backward(y: Tensor) -> Tensor:
        return back(y.unflatten(1, out)[None], weight, None, stride, low, rest, 1, dilation)[0].flatten(1)

    return forward, backward


def circular(weight: Tensor, shape: tuple[int, ...]) -> float:
    """Spectral norm of the circular convolution with stride 1 on ``shape``, exactly, by the Fourier transform of the filter.

    Source: Sedghi, Gupta, Long 2019. ``weight`` is ``[out, in, *kernel]``.
    """
    if any(k > s for k, s in zip(weight.shape[2:], shape)):
        raise BoundError(f"the kernel {tuple(weight.shape[2:])} does not fit on {shape}.")
    symbol = torch.fft.rfftn(weight, s=shape, dim=tuple(range(2, weight.ndim))).movedim((0, 1), (-2, -1))
    small = symbol.mH @ symbol if weight.shape[1] <= weight.shape[0] else symbol @ symbol.mH  # [*half, c, c]
    return float(torch.linalg.eigvalsh(small)[..., -1].max().sqrt())


def upper(layer: Layer) -> float:
    """Spectral norm of the layer, or an upper bound of it.

    Exact for disjoint patches; else that of the circular convolution with stride 1 on the padded input, of which the
    layer's matrix is a part (rows and columns left out).
    """
    if disjoint(layer):
        return float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2))
    kernel, _, low, high, dilation = layer.geometry
    spread = torch.zeros(*layer.weight.shape[:2], *((k - 1) * d + 1 for k, d in zip(kernel, dilation)), dtype=torch.float64)
    spread[(..., *(slice(None, None, d) for d in dilation))] = layer.weight.unflatten(2, kernel)
    return circular(spread, tuple(s + a + b for s, a, b in zip(layer.shape, low, high)))
