"""Drawings as classes: random draws of a class's styles, bent and made noisy, and small nets that learn them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import data
from lib.ensemble import seeded
from lib.models import ResNet


class Encoder(nn.Module):
    """Four convolutions with batch norm on images [n, 24, 24]; features [n, 64], not negative."""

    width = 64

    def __init__(self):
        super().__init__()
        w = 16
        layers: list[nn.Module] = []
        for before, after, stride in ((1, w, 2), (w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, 4 * w, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.conv = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten())
        self.out = nn.Sequential(nn.Linear(36 * w, self.width, bias=False), nn.BatchNorm1d(self.width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x[:, None]))


class Residual(nn.Module):
    """Wide residual net with group norm on images [n, channels, s, s], [n, s, s]; features [n, widths[-1]], not negative."""

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (64, 128, 256), blocks: int = 4):
        super().__init__()
        self.net, self.width = ResNet(channels, 1, widths, blocks), widths[-1]
        self.net.head = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x if x.ndim == 4 else x[:, None])


class Pool:
    """Images [N, ..., s, s] between 0 and 1 with classes [N] on a device, drawn from by class."""

    def __init__(self, x: np.ndarray, y: np.ndarray, device: str = "cpu", parent: np.ndarray | None = None):
        order = torch.tensor(y).argsort(stable=True)
        self.x = torch.tensor(x)[order].to(device, torch.float32) / 255
        self.count = torch.tensor(y).bincount()
        self.first = self.count.cumsum(0) - self.count
        self.parent = None if parent is None else torch.tensor(parent)

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def of(cls, name: str, device: str = "cpu", styles: tuple[int, ...] | None = None) -> Pool:
        """``glyphs``, ``kanji`` or ``emoji``, grey [N, 24, 24] with bright ink, or ``cifar100`` [N, 3, 32, 32].

        ``styles`` keeps some typefaces, hands or vendors only.
        """
        if name == "cifar100":
            x, y, *_ = data.cifar100()
            return cls(x, y, device)
        if name == "emoji":
            d = data.emoji(24)
            x = 255 - d.x.mean(3).round().astype(np.uint8)
        else:
            d = data.glyphs() if name == "glyphs" else data.kanji()
            x = d.x
        kept = slice(None) if styles is None else np.isin(d.style, styles)
        return cls(x[kept], d.y[kept], device, d.parent)

    def draw(self, classes: Tensor, per_class: int, gen: torch.Generator) -> Tensor:
        """Images [C, m, ...] of classes [C]: a uniform style each, then :func:`bend`."""
        x = self.pick(classes.repeat_interleave(per_class), gen)
        return x.reshape(len(classes), per_class, *x.shape[1:])

    def pick(self, classes: Tensor, gen: torch.Generator) -> Tensor:
        """One image [n, ...] of each of the classes [n], likewise."""
        i = self.first[classes] + (torch.rand(len(classes), generator=gen) * self.count[classes]).long()
        return torch.cat([bend(part, gen) for part in self.x[i.to(self.x.device)].split(1024)])


def bend(x: Tensor, gen: torch.Generator) -> Tensor:
    """Random rotation to 20 degrees, shear .25, scale .75 to 1.1, aspect, shift 12 %, gamma, and noise of .12.

    ``x`` [n, s, s], or [n, channels, s, s].
    """
    n, image = len(x), x if x.ndim == 4 else x[:, None]

    def between(a: float, b: float) -> Tensor:
        return (torch.rand(n, generator=gen) * (b - a) + a).to(x.device)

    angle, shear = between(-20, 20) * math.pi / 180, between(-0.25, 0.25)
    zoom, aspect = 1 / between(0.75, 1.1), between(0.85, 1.18)
    c, s = zoom * angle.cos(), zoom * angle.sin()
    rows = torch.stack([aspect * c, shear * c - s, between(-0.12, 0.12), aspect * s, shear * s + c, between(-0.12, 0.12)], 1)
    grid = F.affine_grid(rows.reshape(n, 2, 3), list(image.shape), align_corners=False)
    moved = F.grid_sample(image, grid, align_corners=False)
    bent = moved.clamp(1e-6, 1)**between(-0.5, 0.5).exp()[:, None, None, None]
    return bent.reshape(x.shape) + 0.12 * torch.randn(x.shape, generator=gen).to(x.device)


Batches = Callable[[torch.Generator], tuple[Tensor, Tensor]]


def batches(x: Tensor, batch: int) -> Batches:
    """Random batches of fixed images by class [C, m, ...]: images and labels."""
    C, m = x.shape[:2]
    flat, y = x.reshape(C * m, *x.shape[2:]), torch.arange(C, device=x.device).repeat_interleave(m)

    def next_batch(gen: torch.Generator) -> tuple[Tensor, Tensor]:
        i = torch.randint(C * m, (batch, ), generator=gen).to(x.device)
        return flat[i], y[i]

    return next_batch


def fresh(pool: Pool, classes: Tensor, batch: int) -> Batches:
    """Batches of images that are drawn anew at every step."""
    def next_batch(gen: torch.Generator) -> tuple[Tensor, Tensor]:
        i = torch.randint(len(classes), (batch, ), generator=gen)
        return pool.pick(classes[i], gen), i.to(pool.x.device)

    return next_batch


def train(next_batch: Batches, classes: int, steps: int, gen: torch.Generator, seed: int, at: tuple[int, ...] = (),
          make: Callable[[], nn.Module] = Encoder, lr: float = 0.1, weight_decay: float = 5e-4,
          device: str = "cpu") -> tuple[dict[int, nn.Module], nn.Linear]:
    """Train the encoder that ``make`` returns, and a linear head; SGD, Nesterov .9, one cycle of the rate.

    Returns copies of the encoder at the steps ``at`` (0 is before training) and at the last one, and the head.
    """
    with seeded(seed):
        net = make().to(device)
        head = nn.Linear(net.width, classes).to(device)
    both = [*net.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(both, lr, 0.9, weight_decay=weight_decay, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=0.15)
    kept = {}
    for t in range(steps):
        if t in at:
            kept[t] = copy.deepcopy(net).eval()
        x, y = next_batch(gen)
        F.cross_entropy(head(net(x)), y).backward()
        optimizer.step()
        cycle.step()
        optimizer.zero_grad()
    return kept | {steps: net.eval()}, head


@torch.no_grad()
def features(net: nn.Module, x: Tensor) -> Tensor:
    """Features [C, m, p] of images by class [C, m, ...], on the CPU."""
    flat = x.reshape(-1, *x.shape[2:])
    return torch.cat([net(part).cpu() for part in flat.split(256 if x.device.type == "cpu" else 8192)]).reshape(
        *x.shape[:2], -1)
