"""Training small causal language models with decay by policy, loss by choice, and looks at single types."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.ensemble import seeded
from lib.models import Gpt
from lib.papers.token_weight_decay.decay import RowDecay
from lib.papers.token_weight_decay.errors import LedgerError


@dataclass(frozen=True)
class Plan:
    """How long and how fast: ``steps`` of ``batch`` windows of ``length`` tokens; warm-up, then a cosine to a tenth."""

    steps: int
    batch: int
    length: int
    rate: float
    warm: int = 20

    def at(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        return min(1.0, (step + 1) / self.warm) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / self.steps)))

    @property
    def dose(self) -> float:
        """Sum of the learning rates: decay lambda multiplies an unforced weight by exp(- lambda dose)."""
        return self.rate * sum(map(self.at, range(self.steps)))


def looks(steps: int, count: int) -> list[int]:
    """Steps after which to look: ``count`` of them, evenly spread, the last the end."""
    return [steps * (i + 1) // count for i in range(count)]


def objective(kind: str, strength: float, counts: np.ndarray, device: str | torch.device = "cpu") -> Callable:
    """Loss of logits [n, V] and targets [n].

    "plain"; "adjusted": logits get ``strength`` log f_k while training (after Menon and others, 2021), which makes rare types
    more probable when they are read without it; "smoothed": label smoothing of ``strength``.
    """
    if kind == "plain":
        return F.cross_entropy
    if kind == "smoothed":
        return lambda z, y: F.cross_entropy(z, y, label_smoothing=strength)
    if kind == "adjusted":
        n = torch.as_tensor(counts, dtype=torch.float32, device=device)
        shift = strength * ((n + 1) / (n + 1).sum()).log()
        return lambda z, y: F.cross_entropy(z + shift, y)
    raise LedgerError(f"there is no loss {kind!r}; choose plain, adjusted or smoothed.")


def train(model: nn.Module, ids: Tensor, plan: Plan, gen: torch.Generator, groups: Sequence[dict],
          aim: Callable = F.cross_entropy, rows: RowDecay | None = None, at: Sequence[int] = (),
          look: Callable[[int], None] | None = None, shard: tuple[int, int] = (0, 1),
          precision: str = "float32") -> list[float]:
    """Train on random windows of ``ids`` with AdamW; returns the loss of each look, of the steps since the one before.

    Parameters
    ----------
    model : maps ids [n, T] to logits [n, T, V], or to an object with ``logits``; on its own device.
    groups : as :func:`param_groups` makes them.
    rows : decay of single rows, after each step.
    at, look : steps after which ``look(step)`` is called.
    shard : (rank, world) under ``torchrun``: this process takes its share of every batch.
    precision : "float32", or "bfloat16" for autocast.

    Raises
    ------
    LedgerError
        Where the text is shorter than a window, or a batch cannot be shared out.
    """
    rank, world = shard
    if len(ids) <= plan.length + 1:
        raise LedgerError(f"{len(ids)} tokens hold no window of {plan.length + 1}; give more text or shorter windows.")
    if plan.batch % world:
        raise LedgerError(f"a batch of {plan.batch} windows cannot be shared by {world} processes; make it a multiple.")
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(groups, plan.rate, betas=(0.9, 0.95), fused=device.type == "cuda")
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, plan.at)
    narrow = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    text, window, total, since, told = ids.to(device), torch.arange(plan.length + 1, device=device), 0.0, 0, []
    for step in range(plan.steps):
        start = torch.randint(len(ids) - plan.length, (plan.batch, 1), generator=gen)[rank::world].to(device)
        w = text[start + window]
        with narrow:
            out = model(w[:, :-1])
            loss = aim(getattr(out, "logits", out).flatten(0, 1).float(), w[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        if rows is not None:
            rows.step(rate)
        optimizer.zero_grad()
        total, since = total + loss.detach(), since + 1
        if step + 1 in at:
            told.append(float(total) / since)
            total, since = 0.0, 0
            if look is not None:
                look(step + 1)
    return told


def gpt(types: int, d: int, layers: int, heads: int, seed: int) -> Gpt:
    """The book's small GPT with weights drawn from ``seed``."""
    with seeded(seed):
        return Gpt(types, d, layers, heads)

