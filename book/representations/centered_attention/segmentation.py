"""Weakly supervised segmentation: a vision transformer learns what an image holds, and is asked where it is.

Only the labels of images are used in training. The image's score is the largest over tokens, so that tokens keep their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.ensemble import seeded
from lib.papers.centered_attention.operators import CenteredAttention
from lib.papers.centered_attention.smoothing import token_cosine


@dataclass(frozen=True)
class Task:
    """Images of ``side`` pixels cut into patches; ``draw(n, gen, held)`` gives n of them, from held-out sources or not.

    It returns images [n, channels, side, side], labels [n, classes] (0 or 1) and masks [n, side, side] (0 background).
    """

    side: int
    patch: int
    channels: int
    classes: int
    draw: Callable[[int, torch.Generator, bool], tuple[Tensor, Tensor, Tensor]]

    @property
    def grid(self) -> int:
        return self.side // self.patch


class Block(nn.Module):
    """Layer norm, attention, layer norm, ReLU layer of ``widen`` times the width, each with a skip."""

    def __init__(self, d: int, heads: int, gamma: float, widen: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = CenteredAttention(d, heads, batch_first=True, gamma=gamma)
        self.up, self.down = nn.Linear(d, widen * d), nn.Linear(widen * d, d)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h)[0]
        return x + self.down(self.up(self.norm2(x)).relu())


class Vit(nn.Module):
    """Vision transformer on patches; scores of every token [n, tokens, classes]."""

    def __init__(self, task: Task, d: int, layers: int, heads: int, gamma: float, widen: int = 2):
        super().__init__()
        self.patch = task.patch
        self.embed = nn.Linear(task.channels * task.patch**2, d)
        self.place = nn.Parameter(0.02 * torch.randn(task.grid**2, d))
        self.blocks = nn.ModuleList(Block(d, heads, gamma, widen) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, task.classes)

    def tokens(self, x: Tensor) -> Tensor:
        """Last features [n, tokens, d]."""
        h = self.embed(F.unfold(x, self.patch, stride=self.patch).mT) + self.place
        for block in self.blocks:
            h = block(h)
        return self.norm(h)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tokens(x))


def strength(model: Vit, gamma: float) -> Vit:
    """Set the strength of centering of all layers of a trained model, in place."""
    for block in model.blocks:
        block.attention.gamma = gamma
    return model


def train(task: Task, x: Tensor, y: Tensor, gamma: float, d: int, layers: int, heads: int, steps: int, batch: int, lr: float,
          seed: int, widen: int = 2) -> Vit:
    """Train on images x and their labels y alone: binary cross-entropy of the largest score, AdamW, one cycle of the rate."""
    gen = torch.Generator().manual_seed(seed)
    with seeded(seed):
        model = Vit(task, d, layers, heads, gamma, widen).to(x.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2))
    for _ in range(steps):
        i = torch.randint(len(x), (batch, ), generator=gen).to(x.device)
        F.binary_cross_entropy_with_logits(model(x[i]).amax(1), y[i]).backward()
        optimizer.step()
        cycle.step()
        optimizer.zero_grad()
    return model.eval()


def iou(maps: Tensor, mask: Tensor, threshold: float) -> float:
    """Mean intersection over union of background and classes: maps [n, tokens, classes] in [0, 1], masks [n, tokens]."""
    top, kind = maps.max(-1)
    said = torch.where(top > threshold, kind + 1, 0)
    values = [float(((said == c) & (mask == c)).sum() / ((said == c) | (mask == c)).sum().clamp_min(1))
              for c in range(maps.shape[-1] + 1)]
    return sum(values) / len(values)


def heat(scores: Tensor, y: Tensor) -> Tensor:
    """Token scores [n, tokens, classes] scaled to [0, 1] within an image and class, and kept for the classes it holds."""
    low, high = scores.amin(1, keepdim=True), scores.amax(1, keepdim=True)
    return (scores - low) / (high - low).clamp_min(1e-9) * y[:, None]


@torch.no_grad()
def judge(task: Task, model: Vit, x: Tensor, y: Tensor, mask: Tensor) -> dict[str, float]:
    """``iou`` of token scores on unseen images x, ``accuracy`` and ``loss`` of labels, ``cosine`` of last tokens.

    The threshold of the maps, and the rate that a caller chooses by ``loss``, are set on one half of the images; everything
    else is measured on the other half. A token's true class is the most frequent of its pixels.
    """
    scores = torch.cat([model(part) for part in x.split(256)])
    cosine = torch.cat([token_cosine(model.tokens(part)) for part in x.split(256)]).mean()
    patches = F.unfold(F.one_hot(mask, task.classes + 1).float().permute(0, 3, 1, 2), task.patch, stride=task.patch)
    truth = patches.unflatten(1, (task.classes + 1, -1)).sum(2).argmax(1)
    maps, half, top = heat(scores, y), len(x) // 2, scores.amax(1)
    chosen = max((0.1 * k for k in range(1, 10)), key=lambda t: iou(maps[:half], truth[:half], t))
    return {"iou": iou(maps[half:], truth[half:], chosen), "cosine": float(cosine),
            "loss": float(F.binary_cross_entropy_with_logits(top[:half], y[:half])),
            "accuracy": float(((top[half:] > 0) == y[half:].bool()).float().mean())}
