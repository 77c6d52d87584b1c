"""Lyapunov exponents of SGD on a user's torch model, by Hessian-vector products.

Source: arXiv:2303.13093, Eq. (1) and Theorem 3; chapter "probabilistic-stability", 3.4 and "On your own model".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._checks import positive, whole
from ._torch_tools import draw, evaluating
from .spectrum import Spectrum, _frame, summarise
from .verdicts import Verdict

LossFn = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class ModelSpectrum:
    """Lyapunov exponents of the linearised SGD at one point of a model.

    Attributes
    ----------
    exponents, low, high : arrays [k], per step, from the largest down.
    increments : array [n, k], per step after the burn-in.
    verdict : Verdict on the top exponent.
    drift : largest mini-batch gradient norm met in the chosen directions.
    warning : sentence if the drift is too large for the linearisation, else "".
    method : "forward" or "reverse", how the Hessian-vector products were computed.
    n_directions : size of the chosen subspace.
    """

    exponents: np.ndarray
    low: np.ndarray
    high: np.ndarray
    increments: np.ndarray
    verdict: Verdict
    drift: float
    warning: str
    method: str
    n_directions: int


def model_spectrum(
    model: nn.Module,
    loss_fn: LossFn,
    batches: Sequence | Iterable,
    lr: float,
    k: int = 4,
    params: Sequence[str] | dict[str, Tensor] | None = None,
    steps: int = 200,
    seed: int = 0,
    every: int = 1,
    burn: float = 0.1,
    confidence: float = 0.999,
    drift_tol: float = 1e-3,
    method: str = "auto",
) -> ModelSpectrum:
    """Top ``k`` Lyapunov exponents of ``z -> (I - lr * H_batch) z`` at the model's current parameters.

    Source: arXiv:2303.13093, Eq. (1) and Theorem 3; chapter "probabilistic-stability". No Hessian is formed: ``k``
    products a step.

    Parameters
    ----------
    model : torch module, used in evaluation mode and left as it was; float64 resolves exponents below 1e-5.
    loss_fn : ``loss_fn(model, batch)`` -> scalar loss of one mini-batch.
    batches : list of mini-batches (drawn with replacement), or any iterable (its first ``steps`` in order).
    lr : learning rate > 0 of plain SGD.   k : number of exponents.
    params : directions that may move: None (all trainable), a list of parameter names or name prefixes, or {name: bool
        mask} (see `neuron_params`). The result is exact where the others do not feel these directions to first order.
    steps : mini-batches used, each costs about ``2k + 2`` gradients.   every : steps between re-orthonormalisations.
    burn : share dropped at the start.   drift_tol : gradient norm above which ``warning`` is set.
    method : "forward" (jvp of grad), "reverse" (double backward), or "auto" (forward where every operation supports
        it).

    Returns
    -------
    ModelSpectrum

    Raises
    ------
    ValueError if no parameter is chosen, ``k`` exceeds their number, or the loss is not a finite scalar.
    """
    lr, every = positive("lr", lr), whole("every", every)
    if method not in ("auto", "forward", "reverse"):
        raise ValueError(f"method must be 'auto', 'forward' or 'reverse', got {method!r}; choose one.")
    chosen = _Directions(model, params)
    Q = _frame(1, chosen.size, k, seed, chosen.theta)[0]  # [n, k]
    drift, log_R = torch.zeros((), device=Q.device), []
    with evaluating(model):
        for t, batch in enumerate(draw(batches, steps, seed)):
            loss = chosen.loss(model, loss_fn, batch)
            gradient, HQ, method = _products(loss, chosen.theta, Q.T, method)
            drift = torch.maximum(drift, gradient.norm())
            Q = Q - lr * HQ.T
            if (t + 1) % every == 0:
                Q, R = torch.linalg.qr(Q)
                log_R.append(R.diagonal().abs().log())
    if not log_R:
        raise ValueError("batches gave fewer steps than `every`; pass more batches or a smaller `every`.")
    series = torch.stack(log_R).double().cpu().numpy()[:, None] / every
    return _report(summarise(series, burn, confidence), float(drift), drift_tol, method, chosen.size)


def _report(spectrum: Spectrum, drift: float, tol: float, method: str, size: int) -> ModelSpectrum:
    warning = ""
    if drift > tol:
        warning = (
            f"a mini-batch gradient reaches {drift:.2g} in the chosen directions, so the point moves by itself; the "
            "exponent decides stability only where every mini-batch gradient vanishes: choose such directions."
        )
    return ModelSpectrum(
        spectrum.exponents[0],
        spectrum.low[0],
        spectrum.high[0],
        spectrum.increments[:, 0],
        spectrum.verdict(),
        drift,
        warning,
        method,
        size,
    )


def _products(loss: Callable[[Tensor], Tensor], theta: Tensor, V: Tensor, method: str) -> tuple[Tensor, Tensor, str]:
    """Gradient [n] and Hessian times the rows of V [k, n]; and the method that worked."""
    if method != "reverse":
        try:
            grad = torch.func.grad(loss)
            value, HV = torch.func.vmap(
                lambda v: torch.func.jvp(grad, (theta,), (v,)), out_dims=(None, 0), randomness="same"
            )(V)
            return value, HV, "forward"
        except (RuntimeError, NotImplementedError):
            if method == "forward":
                raise
    point = theta.clone().requires_grad_()
    with torch.enable_grad():
        (value,) = torch.autograd.grad(loss(point), point, create_graph=True)
        if not value.requires_grad:  # a loss linear in the chosen directions
            return value, torch.zeros_like(V), "reverse"
        rows = [torch.autograd.grad(value, point, v, retain_graph=True, materialize_grads=True)[0] for v in V]
    return value.detach(), torch.stack(rows), "reverse"


class _Directions:
    """The chosen entries of the parameters as one vector ``theta`` [n], and the loss as a function of it."""

    def __init__(self, model: nn.Module, params: Sequence[str] | dict[str, Tensor] | None) -> None:
        self.base = {name: p.detach() for name, p in model.named_parameters()}
        masks = self._masks(model, params)
        self.index = {name: mask.reshape(-1).nonzero()[:, 0] for name, mask in masks.items() if mask.any()}
        if not self.index:
            raise ValueError("no parameter is chosen; name trainable parameters or masks with a True entry in params.")
        self.theta = torch.cat([self.base[name].reshape(-1)[index] for name, index in self.index.items()])
        self.size = self.theta.numel()

    def _masks(self, model: nn.Module, params) -> dict[str, Tensor]:
        if isinstance(params, str):
            raise ValueError("params must be a list of names, not one string; write params=[name].")
        if isinstance(params, dict):
            for name, mask in params.items():
                if name not in self.base or mask.shape != self.base[name].shape or mask.dtype != torch.bool:
                    raise ValueError(
                        f"params[{name!r}] must be a bool mask shaped like a parameter; see neuron_params."
                    )
            return {name: mask.to(self.base[name].device) for name, mask in params.items()}
        names = [n for n, p in model.named_parameters() if p.requires_grad] if params is None else []
        for prefix in params or ():
            found = [n for n in self.base if n == prefix or n.startswith(prefix + ".")]
            if not found:
                raise ValueError(f"the model has no parameter {prefix!r}; take a name from model.named_parameters().")
            names += [n for n in found if n not in names]
        return {name: torch.ones_like(self.base[name], dtype=torch.bool) for name in names}

    def loss(self, model: nn.Module, loss_fn: LossFn, batch: Any) -> Callable[[Tensor], Tensor]:
        """``theta -> loss_fn(model at theta, batch)`` without touching the model."""

        wrapped = _Loss(model, loss_fn)
        sizes = [index.numel() for index in self.index.values()]

        def at(theta: Tensor) -> Tensor:
            values = {f"model.{n}": p for n, p in self.base.items()}
            for (name, index), part in zip(self.index.items(), theta.split(sizes)):
                old = self.base[name]
                whole_tensor = index.numel() == old.numel()
                new = part if whole_tensor else old.reshape(-1).index_put((index,), part)
                values[f"model.{name}"] = new.reshape(old.shape)
            loss = torch.func.functional_call(wrapped, values, (batch,))
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise ValueError("loss_fn(model, batch) must return one scalar tensor; take the mean over the batch.")
            return loss.reshape(())

        return at


class _Loss(nn.Module):
    """A module whose forward is the loss, so that ``functional_call`` can swap the model's parameters."""

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> Tensor:
        return self.loss_fn(self.model, batch)
