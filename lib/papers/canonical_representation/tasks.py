"""The small learning problems of the chapter: digits, glyphs, a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import data

from .nets import cross_entropy, squares


@dataclass(frozen=True)
class Task:
    """Training and test samples x [n, d], y [n] labels or [n, K] targets, outputs K, loss and activation of its nets."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    n_out: int
    residual: Callable
    act: str

    def widths(self, width: int, depth: int) -> list[int]:
        """Widths of a net of ``depth`` layers: input, hidden ones, output."""
        return [self.x.shape[1]] + [width] * (depth - 1) + [self.n_out]


def _images(x: np.ndarray, y: np.ndarray, n_train: int, n_test: int, device: str, dtype) -> Task:
    pick = np.random.default_rng(20).permutation(len(x))[:n_train + n_test]
    x = x[pick].reshape(len(pick), -1).astype(float)
    x = x - x[:n_train].mean(0)
    x = torch.tensor(x / np.sqrt((x[:n_train] ** 2).mean()), dtype=dtype, device=device)
    y = torch.tensor(y[pick], device=device)
    return Task(x[:n_train], y[:n_train], x[n_train:], y[n_train:], int(y.max()) + 1, cross_entropy, "relu")


def digits(device: str = "cpu", dtype: torch.dtype = torch.float32, n_train: int = 1400) -> Task:
    """Handwritten digits, 64 pixels, centred, unit mean square; 397 test samples."""
    d = data.digits()
    return _images(d.x, d.y, n_train, 397, device, dtype)


def glyphs(device: str = "cpu", dtype: torch.dtype = torch.float32, n_train: int = 4000) -> Task:
    """Letters of thirteen scripts at 12 x 12 pixels; the label is the script, and no letter is in both sets."""
    g = data.glyphs()
    small, script = g.x.reshape(len(g.x), 12, 2, 12, 2).mean((2, 4)), g.parent[g.y]
    inside, outside = glyph_split(g, n_train, 1000)
    mean, scale = small[inside].mean(0), small[inside].std()
    x = torch.tensor(((small - mean) / scale).reshape(len(small), -1), dtype=dtype, device=device)
    y = torch.tensor(script, device=device)
    return Task(x[inside], y[inside], x[outside], y[outside], int(script.max()) + 1, cross_entropy, "relu")


def glyph_split(g: data.Drawings, n_train: int, n_test: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of about ``n_train`` and ``n_test`` drawings such that no letter is in both sets."""
    rank = np.empty(len(g.classes), int)
    rank[np.random.default_rng(21).permutation(len(g.classes))] = np.arange(len(g.classes))
    by_letter = np.argsort(rank[g.y], kind="stable")[:n_train + n_test]
    inside, outside = by_letter[:n_train], by_letter[n_train:]
    return inside, outside[~np.isin(g.y[outside], g.y[inside])]


def teacher(device: str = "cpu", dtype: torch.dtype = torch.float32, n_train: int = 4000) -> Task:
    """Gaussian inputs of 32 dimensions and a tanh teacher with 16 units and 8 outputs; squared error."""
    gen = torch.Generator().manual_seed(22)
    x, first, second = (torch.randn(*shape, generator=gen, dtype=torch.float64) / shape[1] ** 0.5
                        for shape in ((n_train + 1000, 32), (16, 32), (8, 16)))
    x = x * 32**0.5
    x, y = (v.to(device, dtype) for v in (x, (2 * x @ first.T).tanh() @ second.T))
    return Task(x[:n_train], y[:n_train], x[n_train:], y[n_train:], 8, squares, "tanh")


TASKS = {"digits": digits, "glyphs": glyphs, "teacher": teacher}
