"""Small helpers around a user's torch model: evaluation mode, mini-batches, one neuron's weights.

Source: chapter "probabilistic-stability", 3.7 (a hidden unit with its incoming and outgoing weights) and "On your own
model".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._checks import whole


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout, frozen batch statistics) and attention that can be differentiated twice; then as
    before.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def draw(batches: Sequence | Iterable, steps: int, seed: int) -> Iterator[Any]:
    """Mini-batches of a run: independent draws from a sequence, or the first ``steps`` of any other iterable in
    order.
    """
    steps = whole("steps", steps)
    if isinstance(batches, Sequence):
        if len(batches) == 0:
            raise ValueError("batches is empty; pass at least one mini-batch.")
        picks = np.random.default_rng(seed).integers(len(batches), size=steps)
        return (batches[i] for i in picks)
    return islice(batches, steps)


def module_pair(model: nn.Module, modules: tuple[str, str]) -> tuple[nn.Module, nn.Module]:
    """The two named modules; ValueError if a name is wrong."""
    if isinstance(modules, str) or len(modules) != 2:
        raise ValueError("name two modules, (incoming, outgoing), for instance ('fc1', 'fc2').")
    known = dict(model.named_modules())
    for name in modules:
        if name not in known:
            raise ValueError(f"the model has no module {name!r}; take a name from model.named_modules().")
    return known[modules[0]], known[modules[1]]


def unit_slices(module: nn.Module, unit: int, incoming: bool) -> dict[str, tuple]:
    """Index of one hidden unit in the parameters of its incoming or outgoing module: {"weight": index, "bias":
    index}.
    """
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        axis = 0 if incoming else 1
    elif _is_transposed_linear(module):
        axis = 1 if incoming else 0
    else:
        raise ValueError(
            f"{type(module).__name__} is neither Linear nor Conv2d; use model_spectrum with params= instead."
        )
    if isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros"):
        raise ValueError(
            "Conv2d with groups or non-zero padding is not supported; use model_spectrum with params= instead."
        )
    size = module.weight.shape[axis]
    if not 0 <= unit < size:
        raise ValueError(f"unit {unit} does not exist among {size} hidden units; pass 0..{size - 1}.")
    where = {"weight": (unit,) if axis == 0 else (slice(None), unit)}
    if incoming and module.bias is not None:
        where["bias"] = (unit,)
    return where


def neuron_params(model: nn.Module, modules: tuple[str, str], unit: int) -> dict[str, Tensor]:
    """Masks of one hidden unit's incoming and outgoing weights, for ``model_spectrum(params=...)``.

    Source: chapter "probabilistic-stability", 3.7 (the block ``(u_j, w_j)`` of a two-layer model).

    Parameters
    ----------
    model : torch module.   modules : names (incoming, outgoing) of two consecutive Linear or Conv2d modules.   unit :
        hidden unit.

    Returns
    -------
    {parameter name: bool mask of the parameter's shape}; a bias of the incoming module belongs to the unit.

    Raises
    ------
    ValueError if a name or the unit does not exist, or the modules are of another kind.
    """
    masks = {}
    for name, module, incoming in zip(modules, module_pair(model, modules), (True, False)):
        for leaf, index in unit_slices(module, unit, incoming).items():
            mask = torch.zeros_like(getattr(module, leaf), dtype=torch.bool)
            mask[index] = True
            masks[f"{name}.{leaf}"] = mask
    return masks


@contextlib.contextmanager
def dead_neuron(model: nn.Module, modules: tuple[str, str], unit: int) -> Iterator[nn.Module]:
    """Context in which one hidden unit's incoming and outgoing weights are zero (the saddle); restored afterwards."""
    saved = []
    with torch.no_grad():
        for name, mask in neuron_params(model, modules, unit).items():
            parameter = model.get_parameter(name)
            saved.append((parameter, parameter.clone()))
            parameter.masked_fill_(mask, 0.0)
    try:
        yield model
    finally:
        with torch.no_grad():
            for parameter, value in saved:
                parameter.copy_(value)


def _is_transposed_linear(module: nn.Module) -> bool:
    """Conv1D of Hugging Face transformers: a linear layer with weight [in, out]."""
    return type(module).__name__ == "Conv1D" and getattr(module, "weight", torch.empty(0)).ndim == 2
