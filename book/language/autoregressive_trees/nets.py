"""Small Transformers that learn the same texts as the trees, and write by the same rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from lib.ensemble import seeded
from lib.models import Gpt


def rows(texts: Sequence[np.ndarray], words: int, length: int, device: str = "cpu") -> torch.Tensor:
    """Texts [n, length + 1] after the start token ``words``; -1 where a text is over."""
    out = torch.full((len(texts), length + 1), -1)
    for row, text in zip(out, texts, strict=True):
        row[0] = words
        row[1:len(text) + 1] = torch.tensor(text)[:length]
    return out.to(device)


def nats(model: Gpt, texts: torch.Tensor, words: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean negative log-likelihood of a token of rows, and share of tokens that are the most probable one."""
    logits, due = model(texts[:, :-1].clamp_min(0))[..., :words], texts[:, 1:]
    right = (logits.argmax(-1) == due)[due >= 0].float().mean()
    return F.cross_entropy(logits.flatten(0, 1), due.flatten(), ignore_index=-1), right


def trained(texts: torch.Tensor, words: int, width: int, rate: float, steps: int, batch: int, seed: int) -> Gpt:
    """A Transformer of two layers and four heads after so many steps of AdamW on batches of rows."""
    with seeded(seed):
        model = Gpt(words + 1, width, 2, 4).to(texts.device)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2), pct_start=0.1)
    gen = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        nats(model, texts[torch.randint(len(texts), (batch, ), generator=gen)], words)[0].backward()
        optimizer.step()
        cycle.step()
        optimizer.zero_grad()
    return model.eval()


@dataclass(frozen=True)
class Writer:
    """A trained Transformer with the interface of a tree's language model; texts of at most ``length`` words."""

    model: Gpt
    words: int
    length: int
    stop: int = -1

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def score(self, texts: Sequence[np.ndarray]) -> tuple[float, float]:
        """Mean negative log-likelihood of a word in nats, and share of words that are the most probable one."""
        loss, right = nats(self.model, rows(texts, self.words, self.length, str(self.device)), self.words)
        return float(loss), float(right)

    @torch.no_grad()
    def generate(self, count: int, limit: int, seed: int, epsilon: float) -> list[np.ndarray]:
        """Texts of at most ``limit`` words; words less probable than ``epsilon`` are never drawn, none follows ``stop``."""
        gen, device = torch.Generator().manual_seed(seed), self.device
        ids = torch.full((count, 1), self.words, device=device)
        for _ in range(limit):
            p = self.model(ids)[:, -1, :self.words].softmax(-1)
            p = torch.where(p >= p.amax(-1, keepdim=True).clamp_max(epsilon), p, 0.0)
            ids = torch.cat([ids, torch.multinomial(p.cpu(), 1, generator=gen).to(device)], 1)
            if bool((ids == self.stop).any(1).all()):
                break
        texts = []
        for row in ids[:, 1:].cpu().numpy():
            ends = np.flatnonzero(row == self.stop)
            texts.append(row[:ends[0] + 1] if len(ends) else row)
        return texts
