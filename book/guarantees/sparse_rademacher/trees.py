"""Trees of non-overlapping convolutions, many at once, and the tasks that they learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lib import ensemble


class Trees:
    """S trees: convolutions with kernel = stride, ReLU after each, then a linear map of the one position that is left.

    ``kernels`` are sides of square kernels whose product is the image's side; ``weights[l]`` is [S, k * k * in, out], patch
    entries in the order row, column, channel. No biases.
    """

    def __init__(self, kernels: Sequence[int], width: int, seeds: Sequence[int], side: int, device: str = "cpu",
                 scale: float = 1.0):
        if math.prod(kernels) != side:
            raise ValueError(f"kernels {tuple(kernels)} do not tile an image of side {side}; their product must be it.")
        gens = ensemble.generators(seeds, device)
        self.kernels, self.width, self.side = tuple(kernels), width, side
        fan = [k * k * (width if i else 1) for i, k in enumerate(kernels)]
        self.weights = [ensemble.draw(gens, (f, width)) * scale * math.sqrt(2 / f) for f in fan]
        self.top = ensemble.draw(gens, (width, 1)) * scale * math.sqrt(1 / width)
        for t in self.tensors():
            t.requires_grad_()

    def tensors(self) -> list[Tensor]:
        """All parameters, bottom first."""
        return [*self.weights, self.top]

    def norms(self) -> Tensor:
        """Frobenius norms [S, layers] of the filters, top last."""
        return torch.stack([t.detach().flatten(1).norm(dim=1) for t in self.tensors()], 1)

    def __call__(self, x: Tensor, unit: bool = False) -> Tensor:
        """Scores [S, n] on images [n, s, s], or on [S, n, s, s], a set a tree; ``unit`` divides filters by their norms."""
        h = x[..., None] if x.ndim == 4 else x[None, ..., None].expand(len(self.top), -1, -1, -1, -1)
        for k, w in zip(self.kernels, self.weights):
            S, n, s, _, c = h.shape
            v = h.reshape(S, n, s // k, k, s // k, k, c).transpose(3, 4).reshape(S, -1, k * k * c)
            h = torch.bmm(v, self._unit(w) if unit else w).relu().reshape(S, n, s // k, s // k, -1)
        return torch.bmm(h.flatten(2), self._unit(self.top) if unit else self.top)[..., 0]

    @staticmethod
    def _unit(w: Tensor) -> Tensor:
        return w / w.flatten(1).norm(dim=1)[:, None, None]

    def member(self, s: int) -> nn.Sequential:
        """The s-th tree as an ordinary module on [n, 1, side, side]."""
        layers: list[nn.Module] = []
        with torch.no_grad():
            for i, (k, w) in enumerate(zip(self.kernels, self.weights)):
                conv = nn.Conv2d(self.width if i else 1, self.width, k, k, bias=False)
                conv.weight.copy_(w[s].reshape(k, k, -1, self.width).permute(3, 2, 0, 1))
                layers += [conv, nn.ReLU()]
            head = nn.Linear(self.width, 1, bias=False)
            head.weight.copy_(self.top[s].T)
        return nn.Sequential(*layers, nn.Flatten(), head)


def stripes(n: int, side: int, noise: float, gen: torch.Generator, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Images [n, side, side] of horizontal (label 1) or vertical (-1) stripes one pixel wide, values -1 and 1, with noise."""
    across = torch.arange(side, device=device) % 2 * 2.0 - 1
    phase, y = (torch.randint(2, (n,), generator=gen, device=device) * 2 - 1 for _ in range(2))
    rows, columns = across[:, None].expand(side, side), across[None].expand(side, side)
    x = torch.where((y > 0)[:, None, None], rows, columns) * phase[:, None, None]
    return x + noise * torch.randn(n, side, side, generator=gen, device=device), y.to(x)


def nested(n: int, side: int, noise: float, gen: torch.Generator, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Images [n, side, side] of stripes within stripes, side a power of 2, values -1 and 1, with noise; labels 1 and -1.

    A node of sign 1 is a 2 x 2 square of horizontal stripes, of sign -1 vertical, each of a random phase; its four cells are
    the signs of the nodes below. The label is the sign of the top node.
    """
    y = torch.randint(2, (n,), generator=gen, device=device) * 2 - 1
    x = y[:, None, None]
    stripe = torch.tensor([[1, 1], [-1, -1]], device=device)
    for _ in range(side.bit_length() - 1):
        phase = torch.randint(2, x.shape, generator=gen, device=device) * 2 - 1
        cells = torch.where((x > 0)[..., None, None], stripe, stripe.T) * phase[..., None, None]
        x = cells.transpose(2, 3).reshape(n, 2 * x.shape[1], -1)
    return x + noise * torch.randn(n, side, side, generator=gen, device=device), y.to(torch.float32)


def hinge(target: float) -> Callable[[Tensor], Tensor]:
    """Squared hinge of margins below ``target``, divided by its square."""
    return lambda margins: (1 - margins / target).clamp(min=0).square()


def train(nets: Trees, x: Tensor, y: Tensor, lr: float, decay: float, steps: int, batch: int, seeds: Sequence[int],
          loss: Callable[[Tensor], Tensor], every: int = 0, watch: Callable[[], object] | None = None) -> list:
    """SGD with momentum 0.9, warm-up over a tenth and cosine decay; x [S, n, s, s], y [S, n]; ``decay`` enters the gradient.

    Returns what ``watch`` said before the first step and after each ``every`` steps.
    """
    tensors, speed = nets.tensors(), [torch.zeros_like(t) for t in nets.tensors()]
    gens = ensemble.generators([s + 600_000 for s in seeds], str(x.device))
    member = torch.arange(len(x), device=x.device)[:, None]
    said = [watch()] if watch else []
    for t in range(steps):
        i = ensemble.batches(gens, x.shape[1], batch)
        value = loss(nets(x[member, i]) * y[member, i]).mean(1).sum()
        grads = torch.autograd.grad(value, tensors)
        rate = lr * min(1.0, (t + 1) / (0.1 * steps)) * 0.5 * (1 + math.cos(math.pi * t / steps))
        with torch.no_grad():
            for p, g, v in zip(tensors, grads, speed):
                v.mul_(0.9).add_(g + decay * p)
                p.sub_(rate * v)
        if watch and every and (t + 1) % every == 0:
            said.append(watch())
    return said
