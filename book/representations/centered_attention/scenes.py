"""Scenes of emoji on photographs: six things as three vendors draw them, on crops of real photographs, with exact masks.

Held-out scenes show the same drawings in other places, sizes and turns, on parts of the photographs that were not seen.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes
from torch import Tensor
from torch.nn import functional as F

from lib import data

from .segmentation import Task

THINGS = ("apple", "elephant", "penguin", "soccer", "bus", "tropical_fish")
SPRITE = 28


def sprites() -> Tensor:
    """Colours times opacity, and opacity, of each thing by each vendor: [6, 3, 4, 28, 28]."""
    d = data.emoji(SPRITE)
    x = np.stack([d.x[d.y == d.classes.index(name)] for name in THINGS])
    solid = np.stack([[binary_fill_holes(image.min(-1) < 250) for image in row] for row in x])[..., None]
    return torch.tensor(np.concatenate([x / 255.0 * solid, solid], -1), dtype=torch.float32).permute(0, 1, 4, 2, 3)


def backgrounds(n: int, side: int, gen: torch.Generator, held: bool) -> Tensor:
    """Crops [n, 3, side, side] of photographs, mirrored at random; held-out crops come from the right third."""
    photos, x = data.photographs(), torch.empty(n, 3, side, side)
    which, u = torch.randint(len(photos), (n, ), generator=gen), torch.rand(n, 3, generator=gen)
    for i, (p, (down, across, mirror)) in enumerate(zip(which.tolist(), u.tolist(), strict=True)):
        photo = photos[p]
        h, w = photo.shape[:2]
        left, right = (2 * w // 3, w - side) if held else (0, 2 * w // 3 - side)
        top, start = int(down * (h - side + 1)), left + int(across * (right - left + 1))
        crop = torch.tensor(photo[top:top + side, start:start + side]).permute(2, 0, 1) / 255
        x[i] = crop.flip(-1) if mirror < 0.5 else crop
    return x


def task(side: int, patch: int) -> Task:
    """Scenes of ``side`` pixels with one or two different things, 35 to 55 hundredths of the side wide."""
    bank, k = sprites(), len(THINGS)

    def draw(n: int, gen: torch.Generator, held: bool) -> tuple[Tensor, Tensor, Tensor]:
        x, mask = backgrounds(n, side, gen, held), torch.zeros(n, side, side, dtype=torch.long)
        first = torch.randint(k, (n, ), generator=gen)
        things = torch.stack([first, (first + 1 + torch.randint(k - 1, (n, ), generator=gen)) % k])
        for j, thing in enumerate(things):
            picked = bank[thing, torch.randint(bank.shape[1], (n, ), generator=gen)]
            u = torch.rand(n, 5, generator=gen)
            shown = (u[:, 0] < (1.0, 0.5)[j]).float()[:, None, None, None]
            scale, turn = 0.35 + 0.2 * u[:, 1], 0.5 * (u[:, 2] - 0.5)
            at = (2 * u[:, 3:] - 1) * (0.9 - scale[:, None])                     # centre; the scene is [-1, 1]^2
            cos, sin = turn.cos() / scale, turn.sin() / scale
            theta = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], 1)
            theta = torch.cat([theta, -(theta @ at[..., None])], -1)
            grid = F.affine_grid(theta, (n, 4, side, side), align_corners=False)
            placed = F.grid_sample(picked, grid, align_corners=False) * shown
            x = x * (1 - placed[:, 3:]) + placed[:, :3]
            mask = torch.where(placed[:, 3] > 0.5, thing[:, None, None] + 1, mask)
        label = torch.stack([(mask == c + 1).flatten(1).any(1) for c in range(k)], 1).float()
        return (x - 0.5) / 0.25, label, mask

    return Task(side, patch, 3, k, draw)
