"""Ensembles of fully connected nets without biases, trained together with a backward pass written by hand.

The leading axis of every array runs over members (seeds and hyper-parameters). ``W[l]`` has shape [S, out, in].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lib import ensemble

ACTIVATIONS = {  # value, and slope as a function of value
    "relu": (lambda z: z.relu(), lambda h: (h > 0).to(h.dtype)),
    "tanh": (lambda z: z.tanh(), lambda h: 1 - h * h),
    "linear": (lambda z: z, lambda h: torch.ones_like(h)),
}


def start(widths: Sequence[int], seeds: Sequence[int], device: str = "cpu", dtype: torch.dtype = torch.float32,
          gain: float = 2.0) -> list[Tensor]:
    """Weights [S, out, in] of each layer with Gaussian entries of variance ``gain / in``, member s from its own stream."""
    gens = ensemble.generators(seeds, device)
    return [ensemble.draw(gens, (o, i), dtype=dtype) * (gain / i) ** 0.5 for i, o in zip(widths, widths[1:])]


def forward(W: Sequence[Tensor], x: Tensor, act: str = "relu") -> list[Tensor]:
    """Inputs of every layer and the output: [S, n, d_0], ..., [S, n, d_L]; x is [n, d_0] or [S, n, d_0]."""
    value = ACTIVATIONS[act][0]
    h = [x.expand(W[0].shape[0], *x.shape) if x.ndim == 2 else x]
    for l, w in enumerate(W):
        z = torch.bmm(h[-1], w.mT)
        h.append(value(z) if l < len(W) - 1 else z)
    return h


def cross_entropy(f: Tensor, label: Tensor) -> Tensor:
    """Minus the gradient of the softmax cross-entropy [S, n, K] at outputs f, for labels [S, n] or [n]."""
    g = -f.softmax(-1)
    label = label.expand(f.shape[:2])
    return g.scatter_add(-1, label[..., None], torch.ones_like(g[..., :1]))


def squares(f: Tensor, target: Tensor) -> Tensor:
    """Minus the gradient of half the squared error [S, n, K]."""
    return target - f


def backward(W: Sequence[Tensor], h: Sequence[Tensor], g: Tensor, act: str = "relu") -> list[Tensor]:
    """``g_b`` of every layer [S, n, out], from ``g`` at the output; ``g_a`` of layer l is ``g_b[l] @ W[l]``."""
    slope = ACTIVATIONS[act][1]
    out = [g]
    for l in range(len(W) - 1, 0, -1):
        g = torch.bmm(g, W[l]) * slope(h[l])
        out.append(g)
    return out[::-1]


def noisy_labels(label: Tensor, share: float, n_out: int, gen: torch.Generator) -> Tensor:
    """Labels of which a share is replaced by uniform draws from 0..n_out-1."""
    wrong = torch.rand(label.shape, generator=gen, device=gen.device) < share
    return torch.where(wrong, torch.randint(n_out, label.shape, generator=gen, device=gen.device), label)


class Sgd:
    """SGD with coupled weight decay on an ensemble, one mini-batch stream a member.

    Parameters
    ----------
    W : weights from :func:`start`; changed in place.
    x : inputs [n, d] shared by all members.
    y : labels [n] or targets [n, K], shared.
    residual : ``residual(f, y)``, minus the gradient of a sample's loss at the outputs.
    lr, decay : numbers, or one a member [S].
    batch : samples a step, drawn with replacement; 0 takes all samples at every step.
    seeds : streams of the mini-batches; members with one seed see the same mini-batches.
    label_noise : share of labels that are drawn anew, uniformly, each time they are used.
    """

    def __init__(self, W, x, y, residual: Callable, lr, decay, batch: int, seeds, act: str = "relu",
                 label_noise: float = 0.0):
        S = W[0].shape[0]
        self.W, self.x, self.y, self.residual, self.batch, self.act = W, x, y, residual, batch, act
        self.label_noise = label_noise
        like = {"dtype": W[0].dtype, "device": W[0].device}
        self.lr, self.decay = (torch.as_tensor(v, **like).expand(S)[:, None, None] for v in (lr, decay))
        distinct = sorted(set(seeds))
        self.stream = torch.tensor([distinct.index(s) for s in seeds], device=x.device)
        self.gens = ensemble.generators([s + 500_000 for s in distinct], str(x.device))
        self.t = 0

    def _indices(self) -> Tensor:
        k = self.t % 256
        if k == 0:
            n, shape = len(self.x), (256, self.batch)
            self._block = torch.stack([torch.randint(n, shape, generator=g, device=g.device) for g in self.gens])
            if self.label_noise:
                self._wrong = torch.stack([noisy_labels(self.y[i], self.label_noise, self.W[-1].shape[1], g)
                                           for i, g in zip(self._block, self.gens)])
        return self._block[:, k][self.stream]

    def step(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """One step; returns the mini-batch's ``h``, ``g_b`` and mean ``g_b h_a^T`` of every layer, before the update."""
        if self.batch:
            i = self._indices()
            x, y = self.x[i], self._wrong[:, self.t % 256][self.stream] if self.label_noise else self.y[i]
        else:
            x, y = self.x, self.y
        h = forward(self.W, x, self.act)
        g = backward(self.W, h, self.residual(h[-1], y), self.act)
        push = [torch.bmm(gb.mT, ha) / ha.shape[1] for gb, ha in zip(g, h)]
        for w, p in zip(self.W, push):
            w.mul_(1 - self.lr * self.decay).add_(self.lr * p)
        self.t += 1
        return h, g, push

    def run(self, n_steps: int) -> None:
        """``n_steps`` steps."""
        for _ in range(n_steps):
            self.step()


def layer_moments(W, x: Tensor, y: Tensor, residual: Callable, layer: int, act: str = "relu",
                  normalised: bool = True) -> dict[str, np.ndarray]:
    """Ha, Hb, Ga, Gb, Za, Zb of one layer [S, d, d] in float64, on samples x [n, d], y [n, ...].

    Normalised: each vector is divided by its norm and the mean is taken off, as in the paper's measurements; otherwise
    raw second moments, as in its theory.
    """
    h = forward(W, x, act)
    g = backward(W, h, residual(h[-1], y), act)
    return moments_of(h[layer], torch.bmm(h[layer], W[layer].mT), torch.bmm(g[layer], W[layer]), g[layer], W[layer],
                      normalised)


def moments_of(ha, hb, ga, gb, W, normalised: bool) -> dict[str, np.ndarray]:
    """The six matrices from vectors [S, n, d] and weights [S, out, in]."""
    out = {}
    for name, v in (("Ha", ha), ("Hb", hb), ("Ga", ga), ("Gb", gb)):
        v = v.double()
        if normalised:
            v = v / (v.norm(dim=-1, keepdim=True) + 1e-12)
            v = v - v.mean(-2, keepdim=True)
        out[name] = (v.mT @ v / v.shape[-2]).cpu().numpy()
    W = W.double()
    return out | {"Za": (W.mT @ W).cpu().numpy(), "Zb": (W @ W.mT).cpu().numpy()}
