"""Training many small nets of one shape at once: products, ReLU, GELU, gates, sines and Fourier features.

All members share inputs' shape and the schedule; the leading axis runs over seeds and learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lib import ensemble

KINDS = ("relu", "gelu", "product", "swiglu", "siren", "fourier")
GATED = ("product", "swiglu")
FEATURES = 32


def parameters(kind: str, d: int, width: int, layers: int, n_out: int = 1) -> int:
    """Number of parameters of a net: ``layers`` hidden layers of ``width``, then an affine map."""
    first = 2 * FEATURES if kind == "fourier" else d
    sides = 2 if kind in GATED else 1
    shapes = [first] + [width] * layers
    return sum(sides * (i + 1) * width for i in shapes[:-1]) + (width + 1) * n_out


def width_for(kind: str, d: int, layers: int, budget: int) -> int:
    """Largest width whose net has at most ``budget`` parameters."""
    width = 1
    while parameters(kind, d, width + 1, layers) <= budget:
        width += 1
    return width


class Nets:
    """S nets of one kind: weights [S, in, out] and biases [S, 1, out], a pair of each for gated kinds."""

    def __init__(self, kind: str, d: int, width: int, layers: int, seeds: Sequence[int], device: str, scale: float = 1.0):
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is not known; choose one of {', '.join(KINDS)}.")
        gens = ensemble.generators([s + 900_000 for s in seeds], device)
        self.kind, self.scale = kind, scale
        self.project = ensemble.draw(gens, (d, FEATURES)) * scale if kind == "fourier" else None
        shapes = [(2 * FEATURES if kind == "fourier" else d, width)] + [(width, width)] * (layers - 1)
        self.weights, self.last = [], []
        for k, (i, o) in enumerate(shapes):
            pair = []
            for side in range(2 if kind in GATED else 1):
                w = ensemble.draw(gens, (i, o))
                if kind == "siren":  # weights as its authors draw them: 1 / in, then sqrt(6 / in) / 30
                    w = (2 * ensemble.draw(gens, (i, o), "uniform") - 1) * (1 / i if k == 0 else math.sqrt(6 / i) / 30)
                else:
                    w = w * (math.sqrt(2 / i) if kind in ("relu", "gelu", "fourier") else math.sqrt(1 / i))
                b = torch.ones(len(seeds), 1, o, device=device) if kind == "product" and side else torch.zeros(
                    len(seeds), 1, o, device=device)
                pair.append((w, b))
            self.weights.append(pair)
        if kind not in ("siren", "fourier"):
            self._normalise(2 * ensemble.draw(gens, (256, d), "uniform") - 1)
        self.last = [ensemble.draw(gens, (width, 1)) * math.sqrt(1 / width), torch.zeros(len(seeds), 1, 1, device=device)]
        for t in self.tensors():
            t.requires_grad_()

    def _normalise(self, x: Tensor) -> None:
        """Scale each layer so that its values have mean square 1 on inputs x [S, n, d]: the same start for every kind."""
        for k, pair in enumerate(self.weights):
            for _ in range(2):  # a scaled GELU is not quite a GELU scaled
                size = self._layer(k, x).square().mean((1, 2), keepdim=True).sqrt()
                for t in pair[-1]:
                    t.div_(size)
            x = self._layer(k, x)

    def _layer(self, k: int, h: Tensor) -> Tensor:
        z = [torch.baddbmm(b, h, w) for w, b in self.weights[k]]
        if self.kind == "product":
            return z[0] * z[1]
        if self.kind == "swiglu":
            return F.silu(z[0]) * z[1]
        if self.kind == "siren":
            return (30 * self.scale * z[0] if k == 0 else 30 * z[0]).sin()
        return F.gelu(z[0]) if self.kind == "gelu" else z[0].relu()

    def tensors(self) -> list[Tensor]:
        """All parameters."""
        return [t for pair in self.weights for side in pair for t in side] + self.last

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs [S, n] on inputs [S, n, d]."""
        h = x
        if self.project is not None:
            z = 2 * math.pi * torch.bmm(x, self.project)
            h = torch.cat([z.sin(), z.cos()], -1)
        for k in range(len(self.weights)):
            h = self._layer(k, h)
        return torch.baddbmm(self.last[1], h, self.last[0])[..., 0]


def train(nets: Nets, x: Tensor, y: Tensor, lr: Tensor, steps: int, batch: int, seeds: Sequence[int]) -> None:
    """Adam with warm-up, cosine decay and clipping of each member's gradient at 3; x [S, n, d], y [S, n], lr [S]."""
    tensors = nets.tensors()
    moment = [(torch.zeros_like(t), torch.zeros_like(t)) for t in tensors]
    gens = ensemble.generators([s + 600_000 for s in seeds], str(x.device))
    member = torch.arange(len(x), device=x.device)[:, None]
    for t in range(steps):
        i = ensemble.batches(gens, x.shape[1], batch)
        loss = (nets(x[member, i]) - y[member, i]).square().mean(1).sum()
        grads = torch.autograd.grad(loss, tensors)
        norm = sum(g.square().sum((1, 2)) for g in grads).sqrt()
        rate = lr * min(1.0, (t + 1) / 50) * 0.5 * (1 + math.cos(math.pi * t / steps)) / (1 - 0.9 ** (t + 1))
        with torch.no_grad():
            clip = (3 / norm.clamp(min=3))[:, None, None]
            for p, g, (m, v) in zip(tensors, grads, moment):
                g = g * clip
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).addcmul_(g, g, value=0.001)
                p.sub_(rate[:, None, None] * m / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8))


def error(nets: Nets, x: Tensor, y: Tensor) -> Tensor:
    """Relative root mean square error [S] on x [S, n, d], y [S, n]."""
    with torch.no_grad():
        out = nets(x)
        return ((out - y).square().mean(1) / (y - y.mean(1, keepdim=True)).square().mean(1)).sqrt().nan_to_num(1e6, 1e6)


def compare(kinds: Sequence[str], layers: Sequence[int], budgets: Sequence[int], sets: tuple[Tensor, ...],
            lrs: Sequence[float], steps: int, batch: int, seeds: Sequence[int], scales: Sequence[float] = (1.0,)) -> Tensor:
    """Test error of each kind at equal parameters, learning rate (and scale) chosen on validation; [seed, kind, layer].

    ``sets`` holds x, y of training, validation and test, each with a leading axis of seeds [S, n, ...]. The budget of
    layer k is ``budgets[k]`` parameters. Every kind chooses among ``len(lrs)`` settings: all rates, or every
    ``len(scales)``-th rate at each scale for kinds with a scale.
    """
    device = str(sets[0].device)
    out = torch.empty(len(seeds), len(kinds), len(layers))
    d = sets[0].shape[2]
    for a, kind in enumerate(kinds):
        for b, depth in enumerate(layers):
            width = width_for(kind, d, depth, budgets[b])
            found = []
            scaled = kind in ("siren", "fourier")
            rates = lrs[::len(scales)] if scaled else lrs
            for scale in scales if scaled else (1.0,):
                members = [s for s in seeds for _ in rates]
                many = [v.repeat_interleave(len(rates), 0) for v in sets]
                nets = Nets(kind, d, width, depth, members, device, scale)
                train(nets, many[0], many[1], torch.tensor(rates, device=device).repeat(len(seeds)), steps, batch, members)
                found.append([error(nets, many[k], many[k + 1]).reshape(len(seeds), -1).cpu() for k in (2, 4)])
            valid, test = (torch.cat([f[k] for f in found], 1) for k in (0, 1))
            best = valid.log().mean(0).argmin()  # one choice for all seeds
            out[:, a, b] = test[:, best]
    return out
