"""A small encoder with a projector, trained by a joint-embedding objective."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.ensemble import seeded
from lib.models import ResNet
from lib.papers.ssl_clustering.views import augment


class Encoder(nn.Module):
    """Four convolutions and a fully connected layer with batch norm; features [n, 128] of images [n, channels, 24, 24].

    Batch norm uses the batch's own moments, in evaluation too, so that features belong to the set they are computed on
    and an untrained network is measured like a trained one.
    """

    width = 128

    def __init__(self, channels: int = 1, w: int = 12):
        super().__init__()
        shapes = (channels, w, 2), (w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, 4 * w, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o, track_running_stats=False), nn.ReLU())
            for i, o, s in shapes)
        self.out = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36 * w, self.width, bias=False),
                                 nn.BatchNorm1d(self.width, track_running_stats=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.out(x)

    def depths(self, x: Tensor) -> list[Tensor]:
        """Features after each of the five layers, [n, p] each; convolutions averaged over 2 x 2 positions."""
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(nn.functional.avg_pool2d(x, 2).flatten(1))
        return [*found, self.out(x)]


class Residual(nn.Module):
    """ResNet-18 of the CIFAR literature with group norm where ``w`` is 64; features [n, 8 w] of images of any size."""

    def __init__(self, channels: int = 1, w: int = 64):
        super().__init__()
        self.net, self.width = ResNet(channels, 1, (w, 2 * w, 4 * w, 8 * w)), 8 * w
        self.net.head = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def depths(self, x: Tensor) -> list[Tensor]:
        """Features after each of the four stages, averaged over 2 x 2 regions, and the last."""
        found, h = [], self.net.stem(x)
        for i, block in enumerate(self.net.stages):
            h = block(h)
            if i % 2:
                found.append(nn.functional.adaptive_avg_pool2d(h, 2).flatten(1))
        return [*found, self.net(x)]


NETS = {"small": Encoder, "resnet": Residual}


def projector(width: int, hidden: int = 256, d: int = 256) -> nn.Sequential:
    """Two layers from features [n, width] to embeddings [n, d]."""
    return nn.Sequential(nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden, track_running_stats=False), nn.ReLU(),
                         nn.Linear(hidden, d, bias=False))


Positives = Callable[[Tensor, torch.Generator], Tensor]


def train(x: Tensor, objective: Callable[[Tensor, Tensor], Tensor], steps: int, batch: int, gen: torch.Generator, seed: int,
          look: Callable[[int, nn.Module, nn.Module], None], at: tuple[int, ...] = (), d: int = 256, lr: float = 4e-3,
          constant: bool = False, partner: Positives | None = None, net: str = "small", w: int = 12) -> None:
    """Train an encoder and its projector on images x [n, channels, s, s] on their device; AdamW, decay 1e-4.

    Parameters
    ----------
    objective : loss of embeddings [batch, d] of two views.
    steps, batch : steps, and images a step, drawn without replacement.
    gen : generator on the images' device, for batches and views; ``seed`` sets the weights.
    look : called with step, encoder and projector at the steps ``at`` and after the last.
    lr, constant : rate, by one cycle with a tenth of warm-up; or constant after it.
    partner : indices of the images that give the second views, for indices of the first; the same images where absent.
    net, w : ``small`` or ``resnet``, and its width.
    """
    with seeded(seed):
        encoder = NETS[net](x.shape[1], w).to(x.device)
        head = projector(encoder.width, d=d).to(x.device)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr, weight_decay=1e-4)
    warm = max(1, steps // 10)
    cycle = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / warm)) if constant else \
        torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 20), pct_start=0.1)
    for t in range(steps):
        if t in at:
            look(t, encoder, head)
        i = torch.randperm(len(x), generator=gen, device=x.device)[:batch]
        j = i if partner is None else partner(i, gen)
        z1, z2 = head(encoder(augment(torch.cat([x[i], x[j]]), gen))).chunk(2)
        objective(z1, z2).backward()
        optimizer.step()
        cycle.step()
        optimizer.zero_grad()
    look(steps, encoder, head)
