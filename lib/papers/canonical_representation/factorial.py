"""What drives alignment: two-level factorial experiments on three architectures.

Factors: weight decay, mini-batch (gradient noise), relaxation ``lr * decay * steps``, width. The outcome is the mean
of the six alignments without diagonal, whose value for unrelated matrices is 0, on hidden layers and unseen samples.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lib import ensemble, models

from . import nets
from .moments import six
from .probe import attach
from .tasks import TASKS

FACTORS = ("weight decay", "batch size", "relaxation", "width")


def mlp(decays, batches, relaxations, widths, lr, task, seeds, device):
    """Mean alignment of hidden layers 2 and 3 of fully connected nets [seed, decay, batch, relaxation, width]."""
    data = TASKS[task](device)
    out = np.empty((len(seeds), len(decays), len(batches), len(relaxations), len(widths)), np.float32)
    for (i, gamma), (j, batch), (k, width) in itertools.product(*map(enumerate, (decays, batches, widths))):
        W = nets.start(data.widths(width, 4), seeds, device)
        sgd = nets.Sgd(W, data.x, data.y, data.residual, lr, gamma, batch, seeds, data.act)
        for r, horizon in enumerate(relaxations):
            sgd.run(round(horizon / (lr * gamma)) - sgd.t)
            moments = [nets.layer_moments(W, data.x_test, data.y_test, data.residual, l, data.act) for l in (1, 2)]
            out[:, i, j, r, k] = np.mean([six(m, diagonal=False).mean(-1) for m in moments], 0)
    return {"alpha": out}


ARCHITECTURES = {  # maker from width, input shape of the digits, layers that are read
    "conv": (lambda w: models.ResNet(1, 10, (w // 2, w), 1, hidden=w), (1, 8, 8),
             ["stages.0.conv2", "stages.1.conv2", "hidden"]),
    "attention": (lambda w: models.RowTransformer(8, 8, 10, d=w), (64,),
                  ["blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down"]),
}


def network(arch, decays, batches, relaxations, widths, lr, seeds, device):
    """Mean alignment and test accuracy of a residual conv net or a transformer on digits.

    Both are [seed, decay, batch, relaxation, width].
    """
    data, (make, shape, layers) = TASKS["digits"](device), ARCHITECTURES[arch]
    x, x_test = (v.unflatten(1, shape) for v in (data.x, data.x_test))
    out, right = np.empty((2, len(seeds), len(decays), len(batches), len(relaxations), len(widths)), np.float32)
    for (i, gamma), (j, batch), (k, width) in itertools.product(*map(enumerate, (decays, batches, widths))):
        skeleton, params = ensemble.stack(lambda w=width: make(w), seeds, device)
        gens, done = ensemble.generators([s + 500_000 for s in seeds], device), 0
        for r, horizon in enumerate(relaxations):
            steps = round(horizon / (lr * gamma)) - done
            with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no batching rule
                params, _ = ensemble.sgd(skeleton, params, nn.functional.cross_entropy, x, data.y, steps, batch, lr, gens,
                                         gamma)
            done += steps
            for s in range(len(seeds)):
                model = ensemble.member(lambda w=width: make(w), params, s).to(device)
                out[s, i, j, r, k] = mean_alignment(model, layers, x_test, data.y_test)
                with torch.no_grad():
                    right[s, i, j, r, k] = (model(x_test).argmax(1) == data.y_test).double().mean().item()
    return {"alpha": out, "accuracy": right}


def mean_alignment(model: nn.Module, layers: list[str], x: torch.Tensor, y: torch.Tensor) -> float:
    """Mean of the six alignments without diagonal over the named layers of a classifier, by the probe."""
    with attach(model, layers, blocks=1, raw=False) as probe:
        probe.run([(x, y)], lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]))
    return float(np.mean([six(probe.moments(n), diagonal=False) for n in layers]))


def effects(y: np.ndarray, factors=FACTORS) -> dict[str, np.ndarray]:
    """Main effects and two-factor interactions of a two-level design y [seed, 2, 2, ...], each [seed].

    An effect is the mean at the high level less the mean at the low one; an interaction is half the difference of an
    effect between the levels of another factor.
    """
    y = np.asarray(y, dtype=float)
    if y.shape[1:] != (2,) * len(factors):
        raise ValueError(f"a design of {len(factors)} factors at two levels has shape [seed{', 2' * len(factors)}], "
                         f"not {y.shape}.")
    sign = np.array([-1.0, 1.0])

    def contrast(*which: int) -> np.ndarray:
        out = y
        for axis in reversed(range(len(factors))):  # contracts the last axis each time
            out = (out * sign).sum(-1) if axis in which else out.mean(-1)
        return out / 2 ** (len(which) - 1)

    main = {name: contrast(i) for i, name in enumerate(factors)}
    pairs = {f"{factors[i]} x {factors[j]}": contrast(i, j) for i, j in itertools.combinations(range(len(factors)), 2)}
    return main | pairs
