"""How alike the tokens of a layer are: cosine, distance from the mean token, effective rank, in any model by hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import CenteringError


def token_cosine(x: Tensor) -> Tensor:
    """Mean cosine of different tokens of [..., n, d]: 1 where all point one way. Tokens of length 0 count as orthogonal."""
    n = x.shape[-2]
    if n < 2:
        raise CenteringError("one token has no cosine with another; give two or more.")
    u = torch.nn.functional.normalize(x.double(), dim=-1)
    return (u.sum(-2).square().sum(-1) - u.square().sum((-1, -2))) / (n * (n - 1))


def residual(x: Tensor) -> Tensor:
    """Norm of tokens [..., n, d] less their mean over the norm of all: 0 where all tokens are the same."""
    x = x.double()
    return (x - x.mean(-2, keepdim=True)).flatten(-2).norm(dim=-1) / x.flatten(-2).norm(dim=-1).clamp_min(1e-300)


def effective_rank(x: Tensor) -> Tensor:
    """Exponential of the entropy of the singular values' shares of [..., n, d]: between 1 and the rank."""
    s = torch.linalg.svdvals(x.double())
    p = s / s.sum(-1, keepdim=True).clamp_min(1e-300)
    return torch.special.entr(p).sum(-1).exp()


def contraction(a: Tensor) -> Tensor:
    """Dobrushin's coefficient of rows [..., n, m] that sum to one: the largest half distance in L1 of two of them."""
    return torch.cdist(a, a, p=1.0).amax((-1, -2)) / 2


@dataclass(frozen=True)
class Profile:
    """By layer, the input first: token ``cosine``, ``residual`` and effective ``rank``, means over a batch, [layers + 1]."""

    cosine: np.ndarray
    residual: np.ndarray
    rank: np.ndarray


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The longest list of equal blocks inside a model."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len(m) > 1
             and len({type(b) for b in m}) == 1]
    if not lists:
        raise CenteringError("the model holds no list of equal blocks; name its layers yourself, layers=[...].")
    return list(max(lists, key=len))


@torch.no_grad()
def smoothing_profile(model: nn.Module, batch: Any, layers: list[nn.Module] | None = None,
                      call: Callable[[nn.Module, Any], Any] | None = None) -> Profile:
    """How alike tokens are after each layer of any torch or Hugging Face transformer.

    Parameters
    ----------
    model : the model; it is called as it is (put it to evaluation yourself).
    batch : a dictionary of arguments, or what ``call(model, batch)`` takes; default ``model(**batch)`` or ``model(batch)``.
    layers : modules whose outputs are tokens [batch, n, d] (or a tuple that begins with them; [n, batch, d] of torch's own
        attention with ``batch_first=False``); default: the longest list of equal blocks.
    """
    layers = blocks_of(model) if layers is None else layers
    sequence_first = any(isinstance(m, nn.MultiheadAttention) and not m.batch_first for b in layers for m in b.modules())
    seen: list[list[Tensor]] = [[] for _ in range(len(layers) + 1)]

    def keep(place: int, value: Any) -> None:
        x = value[0] if isinstance(value, tuple) else value
        if not isinstance(x, Tensor) or x.ndim != 3:
            raise CenteringError(f"layer {place} gives no tokens [batch, n, d]; name layers that do, layers=[...].")
        x = x.transpose(0, 1) if sequence_first else x
        if not torch.isfinite(x).all():
            raise CenteringError(f"layer {place} gives NaN or infinity; look at the model before its smoothing.")
        seen[place].append(torch.stack([f(x).mean() for f in (token_cosine, residual, effective_rank)]).cpu())

    def before(module, args, kw):
        keep(0, args[0] if args else kw["hidden_states"])

    hooks = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    hooks += [m.register_forward_hook(lambda m, a, out, i=i: keep(i, out)) for i, m in enumerate(layers, 1)]
    try:
        if call is not None:
            call(model, batch)
        elif isinstance(batch, dict):
            model(**batch)
        else:
            model(batch)
    finally:
        for h in hooks:
            h.remove()
    if not all(seen):
        raise CenteringError("some layers were not called; name the layers that this batch passes, layers=[...].")
    return Profile(*torch.stack([torch.stack(s).mean(0) for s in seen], 1).numpy())
