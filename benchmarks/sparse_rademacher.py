"""Speed of `lib.papers.sparse_rademacher`: spectral norms of convolutions without the unrolled matrix, and all bounds of a
plain net of ResNet-18's size.

Norms of one case take turns in one run: by FFT, by Lanczos through torch's kernels, and by the singular values of the
unrolled matrix. The limit is reading the filter once, at the memory speed of the same run. Run: ``python -m
benchmarks.sparse_rademacher [--json]``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/sparse_rademacher.py`

from benchmarks._race import command, race  # noqa: E402
from lib.papers import sparse_rademacher as sr  # noqa: E402
from lib.papers.sparse_rademacher.bounds import PEERS, Sample, sparse  # noqa: E402


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
                        "times_unrolled": seconds["unrolled"] / s, "relative_gap": value / exact - 1,
                        "share_of_limit": limit / s})
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
    out = [{"bound": "walk", "seconds": walked, "log10": float("nan")},
           {"bound": f"pass of {images} images", "seconds": time.perf_counter() - start, "log10": float("nan")}]
    for name, f in {"sparse": sparse, **PEERS}.items():
        start = time.perf_counter()
        found = f(layers, s, 0.05, 1.0)
        out.append({"bound": name, "seconds": time.perf_counter() - start, "log10": float(np.log10(found.total))})
    return out


def measure() -> dict:
    """Threads, rows of norms and of bounds."""
    return {"threads": torch.get_num_threads(), "norms": norm_rows(), "bounds": bound_rows(),
            "parameters": sum(p.numel() for p in plain_net().parameters())}


def table(found: dict) -> list[str]:
    """What the command prints."""
    out = [f"torch {torch.__version__}, {found['threads']} threads",
           f"{'3 x 3 convolution':>20} {'contestant':12} {'ms':>9} {'x unrolled':>11} {'gap':>9} {'of limit':>9}"]
    out += [f"{r['side']:>9} x {r['side']:<3} H={r['channels']:<3} {r['contestant']:12} {r['ms']:9.2f} "
            f"{r['times_unrolled']:11.1f} {r['relative_gap']:9.1e} {r['share_of_limit']:9.1e}" for r in found["norms"]]
    out += [f"plain net, {found['parameters']:,} parameters", f"{'bound':>22} {'seconds':>9} {'log10 of the bound':>19}"]
    out += [f"{r['bound']:>22} {r['seconds']:9.2f} {r['log10']:19.1f}" for r in found["bounds"]]
    return [*out, "gap: relative to the unrolled matrix; the FFT's norm is that of the circular convolution, an upper bound",
            "of limit: of reading the filter once"]


if __name__ == "__main__":
    command(__doc__, measure, table)
