"""Letters as classes: random draws of a letter's styles, bent and made noisy, and a small conv net that learns them."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import data

FEATURES = 64


class Encoder(nn.Module):
    """Four convolutions with batch norm on images [n, 24, 24]; features [n, 64], not negative."""

    def __init__(self, width: int = 16):
        super().__init__()
        w = width
        layers: list[nn.Module] = []
        for before, after, stride in ((1, w, 2), (w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, 4 * w, 1)):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.conv = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten())
        self.out = nn.Sequential(nn.Linear(36 * w, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x[:, None]))


class Letters:
    """The glyphs on a device, drawn from by class."""

    def __init__(self, device: str = "cpu"):
        d = data.glyphs()
        order = torch.tensor(d.y).argsort(stable=True)
        self.x = torch.tensor(d.x)[order].to(device, torch.float32) / 255
        self.count = torch.tensor(d.y).bincount()
        self.first = self.count.cumsum(0) - self.count
        self.script, self.names = torch.tensor(d.parent), d.classes

    def draw(self, classes: Tensor, per_class: int, gen: torch.Generator) -> Tensor:
        """Images [C, m, 24, 24] of classes [C]: a uniform style each, then :func:`bend`."""
        u = torch.rand(len(classes), per_class, generator=gen)
        i = self.first[classes][:, None] + (u * self.count[classes][:, None]).long()
        x = self.x[i.reshape(-1).to(self.x.device)]
        return torch.cat([bend(part, gen) for part in x.split(1024)]).reshape(len(classes), per_class, 24, 24)


def bend(x: Tensor, gen: torch.Generator) -> Tensor:
    """Random rotation to 20 degrees, shear .25, scale .75 to 1.1, aspect, shift 12 %, gamma, and noise of .12."""
    n = len(x)

    def between(a: float, b: float) -> Tensor:
        return (torch.rand(n, generator=gen) * (b - a) + a).to(x.device)

    angle, shear = between(-20, 20) * math.pi / 180, between(-0.25, 0.25)
    zoom, aspect = 1 / between(0.75, 1.1), between(0.85, 1.18)
    c, s = zoom * angle.cos(), zoom * angle.sin()
    rows = torch.stack([aspect * c, shear * c - s, between(-0.12, 0.12), aspect * s, shear * s + c, between(-0.12, 0.12)], 1)
    grid = F.affine_grid(rows.reshape(n, 2, 3), [n, 1, *x.shape[1:]], align_corners=False)
    moved = F.grid_sample(x[:, None], grid, align_corners=False)[:, 0]
    gamma = between(-0.5, 0.5).exp()[:, None, None]
    return moved.clamp(1e-6, 1)**gamma + 0.12 * torch.randn(x.shape, generator=gen).to(x.device)


def train(x: Tensor, steps: int, batch: int, gen: torch.Generator, seed: int, at: tuple[int, ...] = (), lr: float = 0.1,
          weight_decay: float = 5e-4, width: int = 16) -> tuple[dict[int, Encoder], nn.Linear]:
    """Train an encoder and a linear head on images by class [C, m, 24, 24]; SGD, Nesterov .9, one cycle of the rate.

    Returns copies of the encoder at the steps ``at`` (0 is before training) and at the last one, and the head.
    """
    C, m = x.shape[:2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, head = Encoder(width).to(x.device), nn.Linear(FEATURES, C).to(x.device)
    flat, y = x.reshape(C * m, *x.shape[2:]), torch.arange(C, device=x.device).repeat_interleave(m)
    both = [*net.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(both, lr, 0.9, weight_decay=weight_decay, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=0.15)
    kept = {}
    for t in range(steps):
        if t in at:
            kept[t] = copy.deepcopy(net).eval()
        i = torch.randint(C * m, (batch, ), generator=gen).to(x.device)
        F.cross_entropy(head(net(flat[i])), y[i]).backward()
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
