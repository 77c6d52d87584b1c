"""Speed of `lib.papers.sparse_rademacher`: spectral norms of convolutions without the unrolled matrix, and all bounds of a
plain net of ResNet-18's size.

Norms of one case take turns in one run: by FFT, by Lanczos through torch's kernels, and by the singular values of the
unrolled matrix. The norm by FFT is that of the circular convolution, an upper bound. The limit is reading the filter once,
at the memory speed of the same run. ``python -m lib.book bench`` runs it.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from _race import main, race
from torch import nn

from lib.papers import sparse_rademacher as sr
from lib.papers.sparse_rademacher.bounds import PEERS, Sample, sparse


def norm_rows(cases=((8, 4), (12, 4), (16, 4), (20, 4), (16, 8))) -> list[dict]:
    """Seconds of three ways to the spectral norm of a 3 x 3 convolution by side and channels, and how they agree."""
    memory = torch.randn(10**7, dtype=torch.float64)
    speed = memory.numel() * 8 / race({"sum": memory.sum})["sum"]
    out = []
    for side, channels in cases:
        gen = torch.Generator().manual_seed(side)
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        with torch.no_grad():
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=gen))
        net = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(channels * side**2, 1))
        layer = sr.walk(net, torch.zeros(1, channels, side, side))[0]
        T = sr.unrolled(layer)
        ways = {"FFT, upper": lambda layer=layer: sr.upper(layer), "Lanczos": lambda layer=layer: sr.norm(layer),
                "unrolled": lambda T=T: torch.linalg.svdvals(T)[0]}
        exact, seconds = float(torch.linalg.svdvals(T)[0]), race(ways)
        limit = layer.weight.numel() * 8 / speed
        for name, s in seconds.items():
            value = float(ways[name]())
            out.append({"side": side, "channels": channels, "contestant": name, "ms": 1e3 * s,
                        "times unrolled": seconds["unrolled"] / s, "gap to unrolled": value / exact - 1,
                        "share of limit": limit / s})
    return out


def plain_net(widths=(64, 128, 256, 512), blocks: int = 4) -> nn.Sequential:
    """A plain net as large as ResNet-18: a stem and four stages of 3 x 3 convolutions, a mean over positions, a head."""
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.ReLU()]
    before = widths[0]
    for i, w in enumerate(widths):
        for k in range(blocks):
            layers += [nn.Conv2d(before, w, 3, 2 if i and not k else 1, 1, bias=False), nn.ReLU()]
            before = w
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * 16, 10, bias=False))


def bound_rows(images: int = 256) -> list[dict]:
    """Seconds of each bound on the plain net, and of one pass of the data through it."""
    gen = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = plain_net()
    x, y = torch.randn(images, 3, 32, 32, generator=gen), torch.randint(10, (images,), generator=gen)
    start = time.perf_counter()
    layers = sr.walk(net, x)
    walked = time.perf_counter() - start
    start = time.perf_counter()
    s: Sample = sr.sample(net, [(x[i:i + 64], y[i:i + 64]) for i in range(0, images, 64)])
    out = [{"bound": "walk", "seconds": walked, "log10 of the bound": float("nan")},
           {"bound": f"pass of {images} images", "seconds": time.perf_counter() - start, "log10 of the bound": float("nan")}]
    for name, f in {"sparse": sparse, **PEERS}.items():
        start = time.perf_counter()
        found = f(layers, s, 0.05, 1.0)
        seconds = time.perf_counter() - start
        out.append({"bound": name, "seconds": seconds, "log10 of the bound": float(np.log10(found.total))})
    return out


def measure() -> dict[str, list[dict]]:
    """Tables of norms and of bounds."""
    size = sum(p.numel() for p in plain_net().parameters())
    return {"3 x 3 convolutions": norm_rows(), f"plain net, {size:,} parameters": bound_rows()}


if __name__ == "__main__":
    main(__doc__, measure)
