"""A residual net on images and a GPT on text, read by the probe while they train."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lib import data, models
from lib.ensemble import seeded
from lib.papers.canonical_representation.moments import phase, six, six_baselines
from lib.papers.canonical_representation.probe import attach
from lib.papers.canonical_representation.tasks import glyph_split

KINDS = ("normalised", "off-diagonal", "baseline")


def _read(probe, layers) -> tuple[np.ndarray, np.ndarray]:
    """Alignments [layer, kind, relation] and exponents x and y with their scatter [layer, 4] (NaN with few modes)."""
    alpha, slopes = [], np.full((len(layers), 4), np.nan, np.float32)
    for i, name in enumerate(layers):
        m = probe.moments(name)
        alpha.append([six(m), six(m, diagonal=False), six_baselines(m)])
        try:
            slopes[i] = [v for e in phase(m) for v in (e.slope, e.scatter)]
        except ValueError:
            continue
    return np.array(alpha, np.float32), slopes


def images(source: str, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images [n, channels, s, s] and labels: glyphs by script, or CIFAR-10 where ``source`` is hub."""
    if source == "hub":
        x, y, x_test, y_test = (torch.as_tensor(v) for v in data.cifar10())
    else:
        g = data.glyphs()
        small, script = g.x.reshape(len(g.x), 1, 12, 2, 12, 2).mean((3, 5)), torch.as_tensor(g.parent[g.y])
        inside, outside = glyph_split(g, len(g.x) - 1000, 1000)
        x, x_test = torch.tensor(small[inside]), torch.tensor(small[outside])
        y, y_test = script[inside], script[outside]
    x, x_test = x.float(), x_test.float()
    mean, scale = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    return tuple(v.to(device) for v in ((x - mean) / scale, y, (x_test - mean) / scale, y_test))


def resnet(source, decays, lr, steps, batch, widths, hidden, reads, seeds, device):
    """SGD with momentum on a residual net with one hidden fully connected layer before the last.

    Returns alpha [seed, decay, time, layer, kind, relation] at ``reads`` evenly spaced times (layers: last convolution,
    hidden, last), slopes [seed, decay, layer, 4] at the end, test accuracy [seed, decay], times in steps.
    """
    x, y, x_test, y_test = images(source, device)
    n_out = int(y.max()) + 1
    times = np.unique(np.linspace(0, steps, reads).astype(int))
    layers = [f"stages.{len(widths) - 1}.conv2", "hidden", "head"]
    shape = (len(seeds), len(decays))
    alpha = np.empty((*shape, len(times), 3, len(KINDS), 6), np.float32)
    slopes, right = np.empty((*shape, 3, 4), np.float32), np.empty(shape)
    loss = nn.functional.cross_entropy
    for i, s in enumerate(seeds):
        for j, decay in enumerate(decays):
            gen = torch.Generator().manual_seed(s)
            with seeded(s):
                model = models.ResNet(x.shape[1], n_out, tuple(widths), 1, hidden).to(device)
            optimizer = torch.optim.SGD(model.parameters(), lr, 0.9, weight_decay=decay)
            for t in range(steps + 1):
                if t in times:
                    with attach(model, layers, blocks=1, raw=False) as probe:
                        probe.run(((x_test[a:a + 250], y_test[a:a + 250]) for a in range(0, min(500, len(x_test)), 250)),
                                  lambda m, b: loss(m(b[0]), b[1]))
                        alpha[i, j, list(times).index(t)], slopes[i, j] = _read(probe, layers)
                if t < steps:
                    pick = torch.randint(len(x), (batch,), generator=gen).to(device)
                    optimizer.zero_grad()
                    loss(model(x[pick]), y[pick]).backward()
                    optimizer.step()
            with torch.no_grad():
                right[i, j] = torch.cat([model(x_test[a:a + 500]).argmax(1) == y_test[a:a + 500]
                                         for a in range(0, len(x_test), 500)]).double().mean().item()
    return {"alpha": alpha, "slopes": slopes, "accuracy": right, "times": times}


def gpt(corpus, decay, lr, steps, batch, context, d, n_layers, heads, seeds, device):
    """A character-level GPT under AdamW, its maps in and out of the feed-forward layers and out of attention.

    Returns alpha [seed, 2, layer, kind, relation] and slopes [seed, 2, layer, 4] before and after training, names of the
    layers, and the held-out loss in nats a character [seed].
    """
    text = np.frombuffer(data.corpus(corpus).encode(), np.uint8)
    symbols, ids = np.unique(text, return_inverse=True)
    ids = torch.tensor(ids.astype(np.int64))
    cut = int(0.9 * len(ids))
    names = [f"blocks.{b}.{m}" for b in range(n_layers) for m in ("attention.out", "up", "down")]
    alpha = np.empty((len(seeds), 2, len(names), len(KINDS), 6), np.float32)
    slopes, held = np.empty((len(seeds), 2, len(names), 4), np.float32), np.empty(len(seeds))

    def windows(low: int, high: int, n: int, gen: torch.Generator) -> Tensor:
        first = torch.randint(low, high - context - 1, (n,), generator=gen)
        return torch.stack([ids[a:a + context + 1] for a in first.tolist()]).to(device)

    def loss(model: nn.Module, w: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(w[:, :-1]).flatten(0, 1), w[:, 1:].flatten())

    for i, s in enumerate(seeds):
        gen = torch.Generator().manual_seed(s)
        test = [windows(cut, len(ids), 16, torch.Generator().manual_seed(1000 + k)) for k in range(8)]
        with seeded(s):
            model = models.Gpt(len(symbols), d, n_layers, heads).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=decay)
        for when in (0, 1):
            if when:
                for _ in range(steps):
                    optimizer.zero_grad()
                    loss(model, windows(0, cut, batch, gen)).backward()
                    optimizer.step()
            with attach(model, names, blocks=1, raw=False) as probe:
                alpha[i, when], slopes[i, when] = _read(probe.run(test, loss), names)
        with torch.no_grad():
            held[i] = float(np.mean([loss(model, w).item() for w in test]))
    return {"alpha": alpha, "slopes": slopes, "layers": np.array(names), "held_out": held}
