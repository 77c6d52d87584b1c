"""Images of textures: stripes in four directions and a checkerboard, in ellipses on noise."""

from __future__ import annotations

import torch
from torch import Tensor

from .segmentation import Task

SIDE, CLASSES = 24, 5


def draw(n: int, gen: torch.Generator, held: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Images [n, 1, 24, 24], labels [n, 5] and masks [n, 24, 24]: one or two ellipses of textures, noise .5.

    All are drawn anew, so that held-out images differ by their generator alone.
    """
    line = torch.arange(SIDE).float()
    yy, xx = torch.meshgrid(line, line, indexing="ij")
    wave = lambda t: torch.sign(torch.sin(torch.pi / 2 * (t + 0.5)))  # noqa: E731
    bank = torch.stack([wave(xx), wave(yy), wave(xx + yy), wave(xx - yy), wave(xx) * wave(yy)])
    x, mask = 0.5 * torch.randn(n, SIDE, SIDE, generator=gen), torch.zeros(n, SIDE, SIDE, dtype=torch.long)
    u = torch.rand(n, 2, 5, generator=gen)
    first = torch.randint(CLASSES, (n, ), generator=gen)
    second = (first + 1 + torch.randint(CLASSES - 1, (n, ), generator=gen)) % CLASSES
    shown = torch.stack([torch.ones(n, dtype=torch.bool), u[:, 1, 4] < 0.5], 1)
    for j, kind in enumerate((first, second)):
        cy, cx = 5 + u[:, j, 0] * (SIDE - 10), 5 + u[:, j, 1] * (SIDE - 10)
        ry, rx = 4 + 4 * u[:, j, 2], 4 + 4 * u[:, j, 3]
        inside = (((yy - cy[:, None, None]) / ry[:, None, None])**2 + ((xx - cx[:, None, None]) / rx[:, None, None])**2 < 1)
        inside &= shown[:, j, None, None]
        x = torch.where(inside, x + bank[kind], x)
        mask = torch.where(inside, kind[:, None, None] + 1, mask)
    label = torch.stack([(mask == c + 1).flatten(1).any(1) for c in range(CLASSES)], 1).float()
    return x[:, None], label, mask


def task() -> Task:
    """Patches of 4 x 4 pixels, 36 tokens."""
    return Task(SIDE, 4, 1, CLASSES, draw)
