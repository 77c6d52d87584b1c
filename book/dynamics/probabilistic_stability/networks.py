"""Networks on digits for the chapter "probabilistic-stability": depth, residual nets, planted neurons.

Source: arXiv:2303.13093, Figures 5 and 7 of version 4, and the chapter's own question on trained nets. Trials train all
members of an ensemble at once and return outcomes per seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lib import data, ensemble
from lib.papers.probabilistic_stability.neurons import neuron_exponent, neuron_signals
from lib.papers.probabilistic_stability.spectrum import saddle_spectrum


def tanh_net_of(depth):
    """Tanh net 64-32-...-10 without biases."""
    widths = [64] + [32] * (depth - 1)
    layers = [m_ for i, o in zip(widths, widths[1:]) for m_ in (nn.Linear(i, o, bias=False), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(32, 10, bias=False))


def half_squares(out, target):
    """Squared error summed over outputs, halved, mean over the batch."""
    return 0.5 * ((out - target) ** 2).sum(1).mean()


def digits_tensors():
    """Digits [n, 64] in [0, 1] and labels."""
    digits = data.digits()
    return torch.tensor(digits.x.reshape(-1, 64) / 16, dtype=torch.float32), torch.tensor(digits.y)


def origin_exponents(rates, shares, seeds, T):
    """Top exponent at the origin of a two-layer net on digits, batch 1, for shares of random labels; [seed, share, rate]."""
    digits = data.digits()
    x = torch.tensor(digits.x.reshape(-1, 64) / 16, dtype=torch.float64)
    out = np.empty((len(seeds), len(shares), len(rates)))
    for i, s in enumerate(seeds):
        rng = np.random.default_rng(s)
        for j, share in enumerate(shares):
            pick = rng.integers(len(x), size=T)
            label = np.where(rng.random(T) < share, rng.integers(10, size=T), digits.y[pick])
            e = torch.eye(10, dtype=torch.float64)[label] - 0.1
            blocks = (e[t:t + 200, None, :, None] * x[pick[t:t + 200], None, None, :] for t in range(0, T, 200))
            blocks = (b.expand(-1, len(rates), -1, -1) for b in blocks)
            out[i, j] = saddle_spectrum(blocks, np.array(rates), k=1, every=2).exponents[:, 0]
    return {"exponent": out}


def stuck_nets(depths, rates, seeds, T, device):
    """Mean size of the outputs before and after SGD with batch 1, and train loss after; [depth, seed, rate]."""
    x, label = digits_tensors()
    x, y = x.to(device), (torch.eye(10)[label] - 0.1).to(device)
    members = [s for s in seeds for _ in rates]
    start, size, loss = (np.empty((len(depths), len(seeds), len(rates))) for _ in range(3))
    for i, depth in enumerate(depths):
        skeleton, params = ensemble.stack(lambda depth=depth: tanh_net_of(depth), members, device)
        gens = ensemble.generators(members, device)
        start[i] = ensemble.outputs(skeleton, params, x).abs().mean((1, 2)).reshape(len(seeds), -1).cpu()
        params, _ = ensemble.sgd(skeleton, params, half_squares, x, y, T, 1,
                                 torch.tensor(rates).repeat(len(seeds)), gens)
        out = ensemble.outputs(skeleton, params, x).nan_to_num(1e6, 1e6, -1e6)
        size[i] = out.abs().mean((1, 2)).reshape(len(seeds), -1).cpu()
        loss[i] = (0.5 * ((out - y) ** 2).sum(2).mean(1)).reshape(len(seeds), -1).cpu()
    return {"start": start, "size": size, "loss": loss}


class Residual(nn.Module):
    """A small residual conv net for 8 x 8 digits: stem, two blocks, mean over positions, linear head."""

    def __init__(self, width=8):
        super().__init__()
        conv = [nn.Conv2d(1 if i == 0 else width, width, 3, padding=1, bias=False) for i in range(5)]
        self.stem, self.blocks, self.head = conv[0], nn.ModuleList(conv[1:]), nn.Linear(width, 10, bias=False)

    def forward(self, x):
        h = self.stem(x.unflatten(1, (1, 8, 8)))
        for first_, second in (self.blocks[:2], self.blocks[2:]):
            h = h + second(nn.functional.silu(first_(h)))
        return self.head(h.mean((2, 3)))


def live_weights(noises, rates, seeds, T, device):
    """Share of weights above 1e-4 of their layer's largest after SGD with random labels; [seed, noise, rate]."""
    x, label = digits_tensors()
    grid = [(noise, rate) for noise in noises for rate in rates]
    members = [s for s in seeds for _ in grid]
    noise, rate = (torch.tensor([g_[i] for g_ in grid]).repeat(len(seeds)) for i in (0, 1))
    rng = torch.Generator().manual_seed(seeds[0])
    random = torch.rand(len(members), len(x), generator=rng) < noise[:, None]
    labels = torch.where(random, torch.randint(10, random.shape, generator=rng), label)
    y = torch.eye(10)[labels].to(device)                                           # [member, n, 10]
    skeleton, params = ensemble.stack(Residual, members, device)
    params, _ = ensemble.sgd(skeleton, params, half_squares, x.expand(len(members), -1, -1).to(device), y, T, 8, rate,
                             ensemble.generators(members, device), own_data=True)
    weights = [v.flatten(1).abs() for v in params.values()]
    finite = torch.stack([torch.isfinite(v).all(1) for v in weights]).all(0)
    live = torch.cat([v > 1e-4 * v.amax(1, keepdim=True) for v in weights], 1).float().mean(1)
    return {"live": torch.where(finite, live, torch.nan).reshape(len(seeds), len(noises), len(rates)).cpu()}


class ConvNet(nn.Module):
    """Two convolutions with a Swish between them, mean over positions, linear head."""

    pair = ("first", "second")

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)
        self.head = nn.Linear(8, 10, bias=False)

    def forward(self, x):
        h = nn.functional.silu(self.second(nn.functional.silu(self.first(x.unflatten(1, (1, 8, 8))))))
        return self.head(h.mean((2, 3)))


class AttentionNet(nn.Module):
    """Rows of pixels as tokens, one attention and one feed-forward block, mean over tokens, linear head."""

    pair = ("up", "down")

    def __init__(self, width=16):
        super().__init__()
        self.embed, self.place = nn.Linear(8, width), nn.Parameter(torch.randn(8, width) * 0.1)
        self.qkv, self.mix = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 32, bias=False), nn.Linear(32, width, bias=False)
        self.head = nn.Linear(width, 10, bias=False)

    def forward(self, x):
        h = self.embed(x.unflatten(1, (8, 8))) + self.place
        q_, k_, v_ = self.qkv(h).chunk(3, -1)
        h = h + self.mix(torch.softmax(q_ @ k_.mT / 4, -1) @ v_)
        h = h + self.down(nn.functional.silu(self.up(h)))
        return self.head(h.mean(1))


def loss_on(model, batch):
    """Squared error of a model on one mini-batch, for the instrument."""
    return half_squares(model(batch[0]), batch[1])


def next_token_loss(model, ids):
    """Cross-entropy of a Hugging Face language model on token ids [batch, time], for the instrument."""
    return torch.nn.functional.cross_entropy(model(input_ids=ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def scale_unit(params, pair, unit, factor):
    """Multiply one hidden unit's incoming and outgoing weights by a number, or by one a member [S]."""
    out = {k_: v_.clone() for k_, v_ in params.items()}
    for name, index in ((f"{pair[0]}.weight", (slice(None), unit)), (f"{pair[1]}.weight", (slice(None), slice(None), unit))):
        factors = torch.as_tensor(factor, dtype=out[name].dtype, device=out[name].device)
        out[name][index] *= factors.reshape(-1, *[1] * (out[name][index].ndim - 1))
    return out


def unit_size(params, pair, unit):
    """Norm of one hidden unit's weights, of each member."""
    parts_ = [params[f"{pair[0]}.weight"][:, unit], params[f"{pair[1]}.weight"][:, :, unit]]
    return torch.cat([w_.flatten(1) for w_ in parts_], 1).norm(dim=1)


def planted(make, decays, lam, seeds, T, n, device):
    """Growth rate of a planted unit under SGD with batch 1 on n digits: predicted, its interval, measured; [seed, decay]."""
    x, label = (v[:n].to(device) for v in digits_tensors())
    y = torch.eye(10, device=device)[label]
    members = [s for s in seeds for _ in decays]
    decay = torch.tensor(decays).repeat(len(seeds))
    gens = ensemble.generators(members, device)
    skeleton, params = ensemble.stack(make, members, device)
    go = lambda p_, n_: ensemble.sgd(skeleton, p_, half_squares, x, y, n_, 1, lam, gens, decay)[0]   # noqa: E731
    params = go(scale_unit(go(params, T), make.pair, 0, 1e-4), T // 2)
    centre = {k_: torch.zeros_like(v_) for k_, v_ in params.items()}
    for _ in range(20):                                  # the mean of the weights along the way, near stationary
        params = go(params, T // 20)
        centre = {k_: v_ + params[k_] / 20 for k_, v_ in centre.items()}
    predicted, low, high = np.empty((3, len(members)))
    for i in range(len(members)):
        model = ensemble.member(make, centre, i)
        C = neuron_signals(model, make.pair, loss_on, [(x[j:j + 1].cpu(), y[j:j + 1].cpu()) for j in range(n)])
        keep = 1 - lam * float(decay[i])
        top = neuron_exponent(C, lam / keep, k=1, steps=4000, every=5)
        predicted[i], low[i], high[i] = (v[0, 0] + np.log(keep) for v in (top.exponents, top.low, top.high))
    small = 1e-5 / unit_size(params, make.pair, 0).clamp(min=1e-30)
    params = scale_unit(params, make.pair, 0, small)
    before = unit_size(params, make.pair, 0).clamp(min=1e-38)
    after = unit_size(go(params, T // 2), make.pair, 0).clamp(min=1e-38)
    measured = (after.log() - before.log()).cpu().numpy() / (T // 2)
    return [v.reshape(len(seeds), -1) for v in (predicted, low, high, measured)]


def planted_neurons(decays, lam, seeds, T, n, device):
    """Both nets; growth rates [net, seed, decay]."""
    found = [planted(make, decays, lam, seeds, T, n, device) for make in (ConvNet, AttentionNet)]
    return {k: np.stack([f[i] for f in found]) for i, k in enumerate(("predicted", "low", "high", "measured"))}
