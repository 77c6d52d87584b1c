"""Speed of the training step and of the ledger, beside a plain loop in the manner of nanoGPT.

``python -m lib.book bench`` runs it. The step: our GPT (SDPA, on a GPU compiled, in bfloat16) against one whose attention
builds its matrix, eager, at the same width, depth and precision. The ledger: a step that also sums the loss of each type
against one that does not, and an evaluation by type against a loop over types. On a GPU at 124 million weights, else small.
"""

from __future__ import annotations

import copy
import math

import torch
from _race import DEVICE, compared, main, race
from torch import Tensor, nn
from torch.nn import functional as F

from book.language.token_weight_decay import training
from lib.models import Attention, rotate
from lib.papers import token_weight_decay as twd

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # bfloat16, dense, by the data sheets


class Explicit(Attention):
    """Attention that builds its matrix."""

    def forward(self, x: Tensor, code: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in self.qkv(x).chunk(3, -1))
        a = rotate(q, code) @ rotate(k, code).mT / math.sqrt(q.shape[-1])
        hidden = torch.ones(a.shape[-2:], dtype=torch.bool, device=a.device).triu(1)
        return self.out((a.masked_fill(hidden, -torch.inf).softmax(-1).to(v.dtype) @ v).transpose(-3, -2).flatten(-2))


def stepper(model: nn.Module, ids: Tensor, ledger: twd.TokenLedger | None = None):
    """One training step on a batch of ids [n, T + 1]."""
    optimizer = torch.optim.AdamW(twd.param_groups(model, 0.1), 1e-4, fused=ids.is_cuda)
    quick = torch.compile(model) if ids.is_cuda and not isinstance(model.blocks[0].attention, Explicit) else model

    def step() -> None:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
            logits = quick(ids[:, :-1])
        F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        if ledger is not None:
            ledger.update(logits.detach(), ids[:, 1:])
    return step


def measure() -> dict[str, list[dict]]:
    """Tables of two races; a step's rate in model FLOPs, and as a share of the GPU's peak where that is known."""
    big = DEVICE == "cuda"
    d, layers, heads, types, batch, length = (768, 12, 12, 32_768, 32, 1024) if big else (128, 4, 4, 4096, 8, 128)
    model = training.gpt(types, d, layers, heads, 0).to(DEVICE)
    plain = copy.deepcopy(model)
    for block in plain.blocks:
        block.attention.__class__ = Explicit
    ids = torch.randint(types, (batch, length + 1), device=DEVICE)
    watched = copy.deepcopy(model)
    steps = race({"ours": stepper(model, ids), "ours with a ledger": stepper(
        watched, ids, twd.TokenLedger(types, device=DEVICE)), "plain eager loop": stepper(plain, ids)}, 20.0)

    logits, y = torch.randn(4096, 1024, device=DEVICE), torch.randint(1024, (4096,), device=DEVICE)

    def by_loop() -> None:
        ce = F.cross_entropy(logits, y, reduction="none")
        [float(ce[y == k].mean()) for k in range(1024)]

    def by_ledger() -> None:
        ledger = twd.TokenLedger(1024, device=DEVICE)
        ledger.update(logits, y)
        ledger.report()

    evaluations = race({"ours": by_ledger, "mean of all tokens alone": lambda: float(F.cross_entropy(logits, y)),
                                "loop over types": by_loop})
    weights = sum(p.numel() for p in model.parameters()) - model.embed.weight.numel()
    flops = batch * length * (6 * weights + 6 * layers * d * length)           # causal: half of 12 L d T
    name = torch.cuda.get_device_name() if big else "CPU"
    peak = next((v for k, v in PEAK.items() if k in name), None)
    rows = compared(steps, "tokens", batch * length)
    for row, seconds in zip(rows, steps.values()):
        row["model FLOP/s"] = flops / seconds
        if peak:
            row["share of peak"] = flops / seconds / peak
    return {f"step on {name}": rows, "evaluation": compared(evaluations)}


if __name__ == "__main__":
    main(__doc__, measure)
