"""The dead-neuron saddle of a network: its coupling per mini-batch and its Lyapunov exponents.

Source: arXiv:2303.13093, Theorem 4 (v4, low-rank saddles); chapter "probabilistic-stability", 3.7: at ``u_j = 0, w_j =
0`` the step is
``(u, w) -> (I + lam [[0, C], [C^T, 0]]) (u, w)`` with ``C = mean_i e_i x_i^T``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._checks import whole
from ._torch_tools import dead_neuron, evaluating, module_pair, unit_slices
from .models import LossFn
from .spectrum import Spectrum, saddle_spectrum

_BLOCK = 2**22  # numbers of one block of drawn couplings


def neuron_signals(
    model: nn.Module,
    modules: tuple[str, str],
    loss_fn: LossFn,
    batches: Sequence | Iterable,
    units: int | Sequence[int] = 0,
) -> Tensor:
    """Coupling ``C`` of hidden units' dead-neuron saddles, one a mini-batch.

    Source: arXiv:2303.13093, Theorem 4 (v4); chapter "probabilistic-stability", 3.7. ``C = mean_i e_i x_i^T`` with ``e
    = -dL/d(output of the outgoing module)`` and ``x`` the input of the incoming module times the slope of what lies
    between, both at ``u_j = w_j = 0``. For convolutions every position is a sample; gated units (SwiGLU) have the gate
    as their slope.

    Parameters
    ----------
    model : torch module, used in evaluation mode and left as it was.
    modules : names (incoming, outgoing) of two modules of one kind, Linear (or Hugging Face Conv1D) or Conv2d, with
        only unit-by-unit operations between them.
    loss_fn : ``loss_fn(model, batch)`` -> scalar.   batches : N mini-batches.   units : hidden unit or units.

    Returns
    -------
    float64 tensor [N, n_units, p, q]; p counts a unit's outgoing weights, q its incoming ones (and its bias, last,
    where there is one).

    Raises
    ------
    ValueError if the modules do not fit, mix units, or the slope at 0 vanishes (ReLU: the saddle has no linear
    dynamics).
    """
    incoming, outgoing = module_pair(model, modules)
    units = [units] if isinstance(units, int) else list(units)
    batches = list(batches)
    if not batches or not units:
        raise ValueError("batches and units must not be empty; pass at least one of each.")
    kinds = isinstance(incoming, nn.Conv2d), isinstance(outgoing, nn.Conv2d)
    if kinds[0] != kinds[1]:
        raise ValueError(
            "the two modules must both be linear or both Conv2d; use model_spectrum with neuron_params instead."
        )
    couple = _couple_conv if kinds[0] else _couple_linear
    rows = []
    with evaluating(model):
        for unit in units:
            unit_slices(incoming, unit, True), unit_slices(outgoing, unit, False)
            with dead_neuron(model, modules, unit):
                rows.append([couple(_Probe(incoming, outgoing).run(model, loss_fn, b), unit) for b in batches])
    C = torch.stack([torch.stack(row) for row in rows], dim=1).double()
    if not C.any():
        raise ValueError(
            "all couplings are 0: the slope at 0 vanishes (ReLU?); use an activation with a slope there, like GELU."
        )
    return C


def neuron_exponent(
    C_batches: Tensor | np.ndarray,
    lr: float | Sequence[float],
    k: int | None = None,
    steps: int = 2000,
    seed: int = 0,
    every: int = 1,
    burn: float = 0.1,
    confidence: float = 0.999,
) -> Spectrum:
    """Lyapunov exponents of dead neurons whose mini-batches are drawn with replacement.

    Source: arXiv:2303.13093, Theorem 4 (v4); chapter "probabilistic-stability", 3.7.

    Parameters
    ----------
    C_batches : [N, p, q] or [N, n_units, p, q] from `neuron_signals`.   lr : learning rate, or one a unit.
    k : number of exponents; all ``p + q`` by default.   steps : draws.   seed, every, burn, confidence : as in
        `saddle_spectrum`.

    Returns
    -------
    Spectrum with arrays [n_units, k]; ``.verdict(i)`` is "stable" where unit i stays dead.
    """
    C = torch.as_tensor(C_batches)
    C = C[:, None] if C.ndim == 3 else C
    if C.ndim != 4 or C.shape[0] == 0:
        raise ValueError(
            f"C_batches must be [N, p, q] or [N, n_units, p, q], got {tuple(C.shape)}; take it from neuron_signals."
        )
    picks = torch.from_numpy(np.random.default_rng(seed).integers(C.shape[0], size=whole("steps", steps)))
    blocks = (C[part] for part in picks.split(max(1, _BLOCK // max(1, C[0].numel()))))
    return saddle_spectrum(blocks, lr, k, every, burn, seed, confidence)


class _Probe:
    """One forward pass with hooks: input x and output z of the incoming module, input a and output o of the outgoing
    one.
    """

    def __init__(self, incoming: nn.Module, outgoing: nn.Module) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self.x = self.z = self.a = self.o = None

    def run(self, model: nn.Module, loss_fn: LossFn, batch: Any) -> _Probe:
        handles = [self.incoming.register_forward_hook(self._enter), self.outgoing.register_forward_hook(self._leave)]
        try:
            with torch.enable_grad():
                loss = loss_fn(model, batch)
        finally:
            for handle in handles:
                handle.remove()
        if self.z is None or self.o is None or not (self.a.requires_grad and self.o.requires_grad):
            raise ValueError("the loss did not pass through both modules in this order; name (incoming, outgoing).")
        self.e = -torch.autograd.grad(loss, self.o, retain_graph=True, materialize_grads=True)[0]
        return self

    def slope(self, unit: int, axis: int) -> Tensor:
        """Derivative of the unit's value before the outgoing module by its value after the incoming one, position by
        position.
        """
        value = self.a.select(axis, unit)
        (gradient,) = torch.autograd.grad(value.sum(), self.z, allow_unused=True)
        if gradient is None:
            raise ValueError(
                "the outgoing module does not depend on the incoming one; name (incoming, outgoing) in order."
            )
        own = gradient.select(axis, unit)
        if own.shape != value.shape or gradient.count_nonzero() != own.count_nonzero():
            raise ValueError(
                "units or positions are mixed between the modules; use model_spectrum with neuron_params instead."
            )
        return own

    def _enter(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        if self.z is not None:
            raise ValueError(
                "the incoming module is used twice in one pass; use model_spectrum with neuron_params instead."
            )
        self.x, self.z = args[0].detach(), output.detach().requires_grad_()
        return self.z

    def _leave(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.a, self.o = args[0], output


def _couple_linear(probe: _Probe, unit: int) -> Tensor:
    """C [p, q] = sum over samples and positions of e (slope * [x, 1])^T."""
    slope = probe.slope(unit, -1)  # [...]
    x = probe.x if probe.incoming.bias is None else F.pad(probe.x, (0, 1), value=1.0)  # [..., q]
    if x.shape[:-1] != probe.e.shape[:-1]:
        raise ValueError("the modules see different positions; use model_spectrum with neuron_params instead.")
    return (probe.e.flatten(0, -2).T @ (slope[..., None] * x).flatten(0, -2)).double()


def _couple_conv(probe: _Probe, unit: int) -> Tensor:
    """C [p, q]: each incoming weight makes a map on the hidden grid; its outgoing weights meet e as in a weight
    gradient.
    """
    first, second = probe.incoming, probe.outgoing
    if isinstance(first.padding, str) or isinstance(second.padding, str):
        raise ValueError("Conv2d with padding given as a word is not supported; write the padding as numbers.")
    slope = probe.slope(unit, 1)  # [N, height, width] of the hidden grid
    maps = F.unfold(probe.x, first.kernel_size, first.dilation, first.padding, first.stride)  # [N, q, positions]
    if first.bias is not None:
        maps = F.pad(maps, (0, 0, 0, 1), value=1.0)
    maps = maps.unflatten(2, slope.shape[1:]) * slope[:, None]  # [N, q, height, width]
    shape = (second.out_channels, maps.shape[1], *second.kernel_size)
    C = nn.grad.conv2d_weight(maps, shape, probe.e, second.stride, second.padding, second.dilation)
    return C.permute(0, 2, 3, 1).flatten(0, 2).double()
