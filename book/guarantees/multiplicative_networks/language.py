"""A small GPT with three kinds of feed-forward layer at equal parameters and products: GELU, SwiGLU, bilinear."""

from __future__ import annotations

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor, nn
from torch.nn import functional as F

from lib import data, models
from lib.ensemble import seeded

FEEDS = ("gelu", "swiglu", "bilinear")


class Block(models.TransformerBlock):
    """A transformer block whose feed-forward layer is gated by Swish, by nothing (bilinear), or a plain GELU."""

    def __init__(self, d: int, heads: int, kind: str):
        super().__init__(d, heads, True)
        self.kind = kind
        if kind == "gelu":  # two maps of three halves the width: as many parameters and products as three maps
            inner = 3 * self.up.out_features // 2
            self.gate, self.up, self.down = None, nn.Linear(d, inner, bias=False), nn.Linear(inner, d, bias=False)

    def feed(self, h: Tensor) -> Tensor:
        """The feed-forward layer on normalised inputs [..., d]."""
        if self.kind == "gelu":
            return self.down(F.gelu(self.up(h)))
        return self.down((F.silu(self.gate(h)) if self.kind == "swiglu" else self.gate(h)) * self.up(h))

    def forward(self, x: Tensor, code: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.attention(self.norm1(x), code)
        return x + self.feed(self.norm2(x))


def gpt(kind: str, vocabulary: int, d: int, layers: int, heads: int) -> models.Gpt:
    """A GPT whose blocks have one kind of feed-forward layer."""
    model = models.Gpt(vocabulary, d, 0, heads)
    model.blocks = nn.ModuleList(Block(d, heads, kind) for _ in range(layers))
    for p in model.blocks.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.02)
    return model


def degrees(feed, h: Tensor, top: int = 16) -> np.ndarray:
    """Share of energy of a feed-forward layer's outputs in Chebyshev degree 0..top along lines between inputs h [2 n, d].

    The constant is left out; the shares add to 1.
    """
    a, b = h[0::2], h[1::2]
    t = torch.cos(torch.pi * (torch.arange(top + 1) + 0.5) / (top + 1)).to(h)
    line = (a + b)[:, None] / 2 + t[:, None] * (a - b)[:, None] / 2  # [n, top + 1, d]
    with torch.no_grad():
        out = feed(line).double().cpu().numpy()
    c = np.einsum("kt,ntd->nkd", np.linalg.inv(chebyshev.chebvander(t.cpu().numpy(), top)), out)
    energy = (c[:, 1:] ** 2).sum((0, 2))
    return np.r_[0.0, energy / energy.sum()]


def feeds(corpus, kinds, lrs, steps, batch, context, d, layers, heads, seeds, device):
    """Held-out loss [seed, kind] in nats a character at the rate that validation chose, and shares of degrees in the last
    block.
    """
    text = np.frombuffer(data.corpus(corpus).encode(), np.uint8)
    symbols, ids = np.unique(text, return_inverse=True)
    ids = torch.tensor(ids.astype(np.int64))
    cut = int(0.9 * len(ids))

    def windows(low: int, high: int, n: int, gen: torch.Generator) -> Tensor:
        first = torch.randint(low, high - context - 1, (n,), generator=gen)
        return torch.stack([ids[a:a + context + 1] for a in first.tolist()]).to(device)

    def loss(model: nn.Module, w: Tensor) -> Tensor:
        return F.cross_entropy(model(w[:, :-1]).flatten(0, 1), w[:, 1:].flatten())

    valid, test = ([windows(cut, len(ids), 32, torch.Generator().manual_seed(a + k)) for k in range(8)] for a in (2000, 3000))
    held, size = np.empty((len(seeds), len(kinds), len(lrs), 2)), np.empty(len(kinds))
    shares = np.empty((len(seeds), len(kinds), len(lrs), 17))
    for i, s in enumerate(seeds):
        for j, (kind, a) in enumerate((kind, a) for kind in kinds for a in range(len(lrs))):
            j, lr = j // len(lrs), lrs[a]
            gen = torch.Generator().manual_seed(s)  # the same windows for every kind
            with seeded(s):
                model = gpt(kind, len(symbols), d, layers, heads).to(device)
            optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.1)
            for t in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = lr * min(1.0, (t + 1) / 50) * (1 - 0.9 * t / steps)
                optimizer.zero_grad()
                loss(model, windows(0, cut, batch, gen)).backward()
                optimizer.step()
            with torch.no_grad():
                held[i, j, a] = [float(np.mean([loss(model, w).item() for w in part])) for part in (valid, test)]
                x, code = model.embed(test[0][:, :-1]), models.rotary(context, d // heads, device=device)
                for block in model.blocks[:-1]:
                    x = block(x, code)
                last = model.blocks[-1]
                x = x + last.attention(last.norm1(x), code)
                shares[i, j, a] = degrees(last.feed, last.norm2(x).flatten(0, 1)[:512])
            size[j] = sum(p.numel() for p in model.parameters())
    best = held[..., 0].mean(0).argmin(1)  # one rate a kind, chosen on validation
    pick = np.arange(len(kinds))
    return {"held_out": held[:, pick, best, 1], "parameters": size, "shares": shares[:, pick, best],
            "rate": np.array(lrs)[best]}
