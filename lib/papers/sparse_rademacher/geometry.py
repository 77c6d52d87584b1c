"""Which positions a sparse layer reads: indices of patches in any number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def reads(shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], low: Sequence[int], high: Sequence[int],
          dilation: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Positions that each output position of a convolution or pooling layer reads.

    Parameters
    ----------
    shape : spatial shape of the input; all sequences have its length (1, 2 or 3).
    kernel, stride, dilation : as in torch.
    low, high : zeros added before and after.

    Returns
    -------
    index [positions, kernel volume] into the flat input, -1 where a zero of the padding is read; the output's shape.
    """
    axes, out = [], []
    for n, k, s, a, b, d in zip(shape, kernel, stride, low, high, dilation):
        m = (n + a + b - d * (k - 1) - 1) // s + 1
        i = np.arange(m)[:, None] * s - a + np.arange(k)[None] * d  # [m, k]
        axes.append(np.where((i >= 0) & (i < n), i, -1))
        out.append(m)
    strides = [int(np.prod(shape[i + 1:])) for i in range(len(shape))]
    index = np.zeros((1, 1), np.int64)
    for i, step in zip(axes, strides):
        before, grown = index[:, None, :, None], i[None, :, None, :]
        index = np.where((before < 0) | (grown < 0), -1, before + grown * step)
        index = index.reshape(index.shape[0] * index.shape[1], -1)
    return index, tuple(out)


def degrees(index: np.ndarray) -> np.ndarray:
    """In-degree of each node: positions that it reads, padding not counted."""
    return (index >= 0).sum(1)


def pull(index: np.ndarray, value: np.ndarray, n_in: int) -> np.ndarray:
    """Largest ``value`` [positions] among the nodes that read a position, [n_in]; 0 where none does."""
    out = np.zeros(n_in)
    np.maximum.at(out, np.where(index < 0, 0, index), np.where(index < 0, 0.0, value[:, None]))
    return out


def gather(index: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Sum of ``value`` [n_in] over the positions that each node reads, [positions]."""
    return np.where(index < 0, 0.0, value[index]).sum(1)
