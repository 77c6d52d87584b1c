"""Weakly supervised segmentation: a small vision transformer learns which textures an image holds, and where they are.

Only the label of an image is used in training. The image's score is the largest over tokens, so that tokens keep their own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .operators import CenteredAttention

SIDE, PATCH, CLASSES = 24, 4, 5
GRID = SIDE // PATCH


def scenes(n: int, gen: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images [n, 24, 24], labels [n, 5] and masks [n, 24, 24] (0 background): one or two ellipses of textures, noise .5."""
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
    return x, label, mask


class Block(nn.Module):
    """Layer norm, attention, layer norm, ReLU layer of twice the width, each with a skip."""

    def __init__(self, d: int, heads: int, gamma: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = CenteredAttention(d, heads, batch_first=True, gamma=gamma)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h)[0]
        return x + self.down(self.up(self.norm2(x)).relu())


class Vit(nn.Module):
    """Vision transformer on patches of 4 x 4; scores of every token [n, tokens, classes]."""

    def __init__(self, d: int, layers: int, heads: int, gamma: float):
        super().__init__()
        self.embed, self.place = nn.Linear(PATCH**2, d), nn.Parameter(0.02 * torch.randn(GRID**2, d))
        self.blocks = nn.ModuleList(Block(d, heads, gamma) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, CLASSES)

    def tokens(self, x: Tensor) -> Tensor:
        """Last features [n, tokens, d]."""
        h = F.unfold(x[:, None], PATCH, stride=PATCH).mT
        h = self.embed(h) + self.place
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


def train(gamma: float, d: int, layers: int, steps: int, batch: int, images: int, seed: int, device: str = "cpu") -> Vit:
    """Train on the labels of images alone: binary cross-entropy of the largest score, AdamW, one cycle of the rate."""
    gen = torch.Generator().manual_seed(seed)
    x, y, _ = (t.to(device) for t in scenes(images, gen))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Vit(d, layers, 2, gamma).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(steps, 2))
    for _ in range(steps):
        i = torch.randint(images, (batch, ), generator=gen).to(device)
        F.binary_cross_entropy_with_logits(model(x[i]).amax(1), y[i]).backward()
        optimizer.step()
        cycle.step()
        optimizer.zero_grad()
    return model.eval()


def iou(maps: Tensor, mask: Tensor, threshold: float) -> float:
    """Mean intersection over union of background and classes: maps [n, tokens, 5] in [0, 1], masks [n, tokens]."""
    top, kind = maps.max(-1)
    said = torch.where(top > threshold, kind + 1, 0)
    values = [float(((said == c) & (mask == c)).sum() / ((said == c) | (mask == c)).sum().clamp_min(1))
              for c in range(CLASSES + 1)]
    return sum(values) / len(values)


@torch.no_grad()
def judge(model: Vit, images: int, gen: torch.Generator, device: str = "cpu") -> dict[str, float]:
    """``iou`` of class activation maps on unseen images, ``accuracy`` of image labels, ``cosine`` of last tokens.

    Maps are scaled to [0, 1] within an image and kept for the classes it holds. The threshold is chosen on one half of the
    images and judged on the other.
    """
    from .smoothing import token_cosine
    x, y, mask = (t.to(device) for t in scenes(images, gen))
    scores = torch.cat([model(part) for part in x.split(256)])
    cosine = torch.cat([token_cosine(model.tokens(part)) for part in x.split(256)]).mean()
    low, high = scores.amin(1, keepdim=True), scores.amax(1, keepdim=True)
    maps = (scores - low) / (high - low).clamp_min(1e-9) * y[:, None]
    # a token's true class is the most frequent of its pixels
    patches = F.unfold(F.one_hot(mask, CLASSES + 1).float().permute(0, 3, 1, 2), PATCH, stride=PATCH)
    truth = patches.unflatten(1, (CLASSES + 1, -1)).sum(2).argmax(1)
    half = images // 2
    chosen = max((0.1 * k for k in range(1, 10)), key=lambda t: iou(maps[:half], truth[:half], t))
    return {"iou": iou(maps[half:], truth[half:], chosen), "cosine": float(cosine),
            "accuracy": float(((scores.amax(1) > 0) == y.bool()).float().mean())}
