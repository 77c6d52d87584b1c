"""Centering in language models: small decoders trained byte by byte, and how alike the tokens of a pre-trained one are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import data
from lib.ensemble import seeded
from lib.models import Attention, Gpt, rotate
from lib.papers.centered_attention.operators import centered_attention
from lib.papers.centered_attention.smoothing import smoothing_profile

LETTERS = 128


class CenteredHeads(Attention):
    """Causal self-attention with rotary positions whose weights are centred over the visible prefix."""

    gamma = 1.0

    def forward(self, x: Tensor, code: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in self.qkv(x).chunk(3, -1))
        h = centered_attention(rotate(q, code), rotate(k, code), v, is_causal=self.causal, gamma=self.gamma)
        return self.out(h.transpose(-3, -2).flatten(-2))


def decoder(layers: int, d: int, heads: int, centred: bool, seed: int) -> Gpt:
    """A small GPT; where ``centred`` its attention is, with the same initial weights."""
    with seeded(seed):
        model = Gpt(LETTERS, d, layers, heads)
    if centred:
        for block in model.blocks:
            block.attention.__class__ = CenteredHeads
    return model


def trained(depths: Sequence[int], d: int, heads: int, steps: int, batch: int, length: int, rates: Sequence[float],
            probe: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Decoders trained on the King James Bible, plain and centred, on the same batches; each arm chooses its own rate.

    ``loss`` [seed, depth, 2], nats a byte on a held-out end of the text; ``cosine`` [seed, depth, 2] of the last layer's
    tokens; ``rate`` [depth, 2], of the smallest mean loss on another held-out piece; ``all`` [seed, depth, 2, rate], losses.
    """
    text = torch.tensor(np.minimum(np.frombuffer(data.corpus("kjv").encode(), np.uint8), LETTERS - 1).astype(np.int64))
    choice, held, text = text[-400_000:-200_000], text[-200_000:], text[:-400_000]
    windows = lambda t, n, g: t[torch.randint(len(t) - length - 1, (n, 1), generator=g) + torch.arange(length + 1)]  # noqa: E731
    nats = lambda model, ids: F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())  # noqa: E731
    shape = (len(seeds), len(depths), 2, len(rates))
    chosen, loss, cosine = np.empty(shape), np.empty(shape), np.empty(shape)
    for (s, j, c, r) in np.ndindex(shape):
        seed, lr = int(seeds[s]), rates[r]
        gen, asking = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
        model = decoder(depths[j], d, heads, bool(c), seed).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.1)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=0.1)
        for _ in range(steps):
            nats(model, windows(text, batch, gen).to(device)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            cycle.step()
            optimizer.zero_grad()
        asked = windows(held, probe, asking).to(device)
        with torch.no_grad():
            loss[s, j, c, r] = float(nats(model, asked))
            chosen[s, j, c, r] = float(nats(model, windows(choice, probe, asking).to(device)))
        cosine[s, j, c, r] = smoothing_profile(model.eval(), asked[:16, :-1], list(model.blocks)).cosine[-1]
    best = chosen.mean(0).argmin(-1)                                           # [depth, 2]
    take = lambda a: np.take_along_axis(a, best[None, ..., None], -1)[..., 0]  # noqa: E731
    return {"loss": take(loss), "cosine": take(cosine), "rate": np.array(rates)[best], "all": loss}


def pretrained(pieces: int, length: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Token ``cosine`` and effective ``rank`` by layer of SmolLM2 on pieces of the King James Bible, [seed, layer + 1].

    ``largest`` [seed, layer + 1]: share of the squared length of all tokens of a piece that its longest token has.
    """
    model, tokenizer = data.smollm()
    model, text = model.to(device), data.corpus("kjv")
    rows, largest = [], []
    for seed in seeds:
        at = np.random.default_rng(seed).integers(len(text) - 20 * length, size=pieces)
        ids = torch.tensor([tokenizer(text[i:i + 20 * length]).input_ids[1:length + 1] for i in at], device=device)
        rows.append(smoothing_profile(model, {"input_ids": ids, "use_cache": False}))
        with torch.no_grad():
            states = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
        squares = torch.stack(states).double().square().sum(-1)                # [layer + 1, piece, token]
        largest.append((squares.amax(-1) / squares.sum(-1)).mean(1).cpu().numpy())
    return {"cosine": np.stack([r.cosine for r in rows]), "rank": np.stack([r.rank for r in rows]),
            "largest": np.stack(largest)}
