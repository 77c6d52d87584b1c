"""Sums of outer products over streamed vectors, in blocks of batches for the bootstrap."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FLUSH = 32


class Sums:
    """Sums over the vectors [n, d] of one side of a layer, one row of sums a block of batches.

    Products are added in the vectors' own precision for at most FLUSH batches, then in float64.
    """

    def __init__(self, blocks: int, v: Tensor, raw: bool):
        d = v.shape[1]
        self.n, self.rows, self.waiting = [0] * blocks, [0] * blocks, [0] * blocks
        self.names = ("unit", "mean", "raw") if raw else ("unit", "mean")
        shapes = {"unit": (d, d), "mean": (d,), "raw": (d, d)}
        self.near = {k: torch.zeros(blocks, *shapes[k], dtype=v.dtype, device=v.device) for k in self.names}
        self.far = {k: torch.zeros(blocks, *shapes[k], dtype=torch.float64, device=v.device) for k in self.names}

    def add(self, v: Tensor, block: int) -> None:
        """Add vectors [n, d] to a block; zero vectors (padding, masked tokens) have no direction and are left out."""
        norm = v.norm(dim=1, keepdim=True)
        unit = v / norm.clamp(min=torch.finfo(v.dtype).tiny)
        self.near["unit"][block].addmm_(unit.mT, unit)
        self.near["mean"][block].add_(unit.sum(0))
        if "raw" in self.near:
            self.near["raw"][block].addmm_(v.mT, v)
        self.n[block] += int((norm > 0).sum())
        self.rows[block] += len(v)
        self.waiting[block] += 1
        if self.waiting[block] == FLUSH:
            self._flush(block)

    def _flush(self, block: int) -> None:
        if self.waiting[block]:
            for k in self.names:
                self.far[k][block] += self.near[k][block]
                self.near[k][block].zero_()
            self.waiting[block] = 0

    def total(self, name: str, weight: np.ndarray) -> Tensor:
        """Weighted mean over the vectors, each block counted ``weight`` [blocks] times, in float64; raw over all rows."""
        for block in range(len(self.n)):
            self._flush(block)
        w = torch.as_tensor(weight, dtype=torch.float64, device=self.far[name].device)
        return torch.tensordot(w, self.far[name], 1) / float(np.dot(weight, self.rows if name == "raw" else self.n))

    def covariance(self, weight: np.ndarray) -> Tensor:
        """Covariance of the normalised vectors."""
        mean = self.total("mean", weight)
        return self.total("unit", weight) - torch.outer(mean, mean)
