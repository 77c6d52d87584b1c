"""The paper's family CONV-L-H on real images: L convolutions of 2 x 2 with H channels, one gain each; a linear head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from lib import data
from lib.ensemble import seeded
from lib.papers.sparse_rademacher.bounds import PEERS, PROVED, published, sample, sparse
from lib.papers.sparse_rademacher.walk import walk

DELTA = 0.05


class ConvNet(nn.Module):
    """CONV-L-H for grey images [n, 1, side, side]: kernels 2 x 2, ``stride`` 1 (the published code) or 2 (a tree)."""

    def __init__(self, depth: int, width: int, stride: int, side: int, n_out: int):
        super().__init__()
        sides = [side]
        for _ in range(depth):
            sides.append((sides[-1] - 2) // stride + 1)
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(width if i else 1, width, 2, stride, bias=False), dim=None) for i in range(depth))
        self.head = nn.Linear(width * sides[-1] ** 2, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x).relu()
        return self.head(x.flatten(1))


def images(source: str, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images [n, 1, side, side] in [0, 1] and labels: animals, or MNIST where ``source`` is hub."""
    if source == "hub":
        x, y, x_test, y_test = data.mnist()
    else:
        a = data.animals()
        order = np.random.default_rng(0).permutation(len(a.x))
        (x, x_test), (y, y_test) = ((v[order[:8192]], v[order[8192:]]) for v in (a.x, a.y))
    pad = (side - x.shape[1]) // 2
    grow = [nn.functional.pad(torch.tensor(v)[:, None].float() / 255, [pad] * 4) for v in (x, x_test)]
    return grow[0], torch.tensor(y), grow[1], torch.tensor(y_test)


def chunks(x: Tensor, y: Tensor, size: int = 256) -> list[tuple[Tensor, Tensor]]:
    """A sample in parts that fit the cache."""
    return [(x[k:k + size], y[k:k + size]) for k in range(0, len(x), size)]


def train(net: ConvNet, x: Tensor, y: Tensor, lr: float, decay: float, steps: int, batch: int, seed: int):
    """SGD on the squared error of one-hot labels, momentum 0.9, warm-up and cosine; yields before each step its number."""
    gen = torch.Generator(x.device.type).manual_seed(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr, 0.9, weight_decay=decay)
    target = nn.functional.one_hot(y, net.head.out_features).to(x)
    for t in range(steps):
        yield t
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (t + 1) / (0.05 * steps)) * 0.5 * (1 + math.cos(math.pi * t / steps))
        i = torch.randint(len(x), (batch,), generator=gen, device=x.device)
        optimizer.zero_grad()
        (net(x[i]) - target[i]).square().sum(1).mean().backward()
        optimizer.step()
    yield steps


def family(source, depth: int, widths: Sequence[int], stride: int, side: int, decay: float, lr: float, steps: int, batch: int,
           readings: int, peers: Sequence[str], seeds: Sequence[int], device: str = "cpu") -> dict:
    """CONV-L-H of several widths: ``trace`` [seed, width, reading, 6] while they train, ``peers`` [seed, width, peer] then.

    Columns of the trace: the chapter's total bound; the published formula with, and without, the in-degree of the last layer;
    norm product; training and test error.
    """
    x, y, x_test, y_test = (v.to(device) for v in images(source, side))
    trace = np.empty((len(seeds), len(widths), readings, 6), np.float32)
    others = np.empty((len(seeds), len(widths), len(peers)))
    when = np.linspace(0, steps, readings).astype(int).tolist()
    for i, s in enumerate(seeds):
        for w, width in enumerate(widths):
            with seeded(s):
                net = ConvNet(depth, width, stride, side, 10).to(device)
            for t in train(net, x, y, lr, decay, steps, batch, int(s)):
                if t in when:
                    layers, found = walk(net, x[:1]), sample(net, chunks(x, y))
                    ours, test = sparse(layers, found, DELTA, None), sample(net, chunks(x_test, y_test))
                    trace[i, w, [k for k, v in enumerate(when) if v == t]] = (
                        ours.total, published(layers, found, DELTA, True), published(layers, found, DELTA, False),
                        math.prod(v.norm for v in layers), (found.margins <= 0).mean(), (test.margins <= 0).mean())
            others[i, w] = [PEERS[k](layers, found, DELTA, None if k in PROVED else ours.margin).total for k in peers]
    return {"trace": trace, "peers": others}
