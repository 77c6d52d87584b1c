"""The six relations of any torch model, streamed: hooks that sum second moments and keep no activation.

Source: arXiv:2410.03006; chapter "canonical-representation". For a layer ``h_b = W h_a`` with ``g = -dl/dh`` of one
sample's loss, the probe sums ``h h^T`` and ``g g^T`` on both sides, raw and with each vector divided by its norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .moments import PAIRS, Exponent, exponent, participation_ratio, six, six_baselines
from .report import LayerReport, Report
from .sums import Sums
from .targets import ProbeError, Target, targets_of


class _AttentionTap:
    """Sees the projections inside torch's attention, which calls a function and no module for them.

    While the attention runs, and only then, ``torch.nn.functional.linear`` is one that looks at the weight it is given.
    """

    def __init__(self, probe: Probe, module: nn.MultiheadAttention, targets: list[Target]):
        self.probe, self.module, self.targets = probe, module, targets
        self.plain, self.members = F.linear, 1

    def enter(self, module, args) -> None:
        if self.probe.enabled and torch.is_grad_enabled():
            F.linear = self.linear

    def leave(self, module, args, output) -> None:
        F.linear = self.plain

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out, d = self.plain(x, weight, bias), self.module.embed_dim
        if weight.untyped_storage().data_ptr() == self.module.in_proj_weight.untyped_storage().data_ptr():
            self.members = x.shape[1] if x.ndim == 3 else 1  # time comes first in here
            first = weight.storage_offset() // (d * d)
            for i in range(weight.shape[0] // d):
                piece = slice(i * d, (i + 1) * d)
                self.probe._see(self.targets[first + i], x, out, None if bias is None else bias[piece], 1, piece)
        elif weight is self.module.out_proj.weight:
            self.probe._see(self.targets[3], x, out, bias, 1, view=lambda t, n=self.members: t.unflatten(0, (-1, n)))
        return out


class Probe:
    """Streams the second moments of a model's linear maps; made with :func:`attach`.

    Attributes: ``enabled`` (False lets batches pass unread, for sampling every k-th training step).
    """

    def __init__(self, model: nn.Module, layers: list[str] | None, blocks: int, reduction: str, raw: bool,
                 max_rows: int | None):
        self.enabled, self.blocks, self.reduction, self.raw, self.max_rows = True, blocks, reduction, raw, max_rows
        self.model, self._handles = model, []
        named = dict(model.named_modules())
        unknown = sorted(set(layers or ()) - named.keys())
        if unknown:
            raise ProbeError(f"the model has no layer {', '.join(unknown)}; it has {', '.join(n for n in named if n)}.")
        inside = [n for n, m in named.items() if isinstance(m, nn.MultiheadAttention)]
        self.targets: list[Target] = []
        for name in layers or named:
            parent = next((a for a in inside if name.startswith(f"{a}.")), None)
            if parent is not None and layers:
                raise ProbeError(f"layer {name} is part of the attention {parent}; name that, and its projections are read.")
            if parent is not None:
                continue  # the attention module speaks for its projections
            module, found = named[name], targets_of(name, named[name])
            if layers and not found:
                raise ProbeError(f"layer {name} is a {type(module).__name__}, which is no linear map; choose Linear, Conv2d "
                                 "or attention layers.")
            if isinstance(module, nn.MultiheadAttention):
                self._tap(module, found)
            elif found:
                self._handles.append(module.register_forward_hook(self._hook(found[0]), with_kwargs=True))
            self.targets += found
        if not self.targets:
            raise ProbeError("the model has no linear map with parameters; the probe reads Linear, Conv2d, attention and "
                             "Conv1D layers.")

    def _hook(self, target: Target):
        def hook(module, args, kwargs, output):
            self._see(target, args[0] if args else next(iter(kwargs.values())), output, module.bias)
        return hook

    def _tap(self, module: nn.MultiheadAttention, targets: list[Target]) -> None:
        tap = _AttentionTap(self, module, targets)

        self._handles += [module.register_forward_pre_hook(tap.enter),
                          module.register_forward_hook(tap.leave, always_call=True)]

    def _see(self, target: Target, x: Tensor, output: Tensor, bias: Tensor | None, axis: int = 0,
             piece: slice = slice(None), view: Callable[[Tensor], Tensor] = lambda t: t) -> None:
        """Sum one call of a layer now, and its gradient when that comes; samples lie along ``axis`` of ``view(output)``."""
        if not self.enabled or not torch.is_grad_enabled():
            return
        if not output.requires_grad:
            raise ProbeError(f"no gradient reaches layer {target.name}; make its weights or its input require one.")
        with torch.no_grad():
            weight = target.weight().detach()
            dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
            weight, n = weight.to(dtype), view(output).shape[axis] if output.ndim > 1 else 1
            rows = view(output)[..., piece].numel() // len(weight)
            stride = max(1, -(-rows // self.max_rows)) if self.max_rows else 1
            keep = (slice(None),) * axis + (slice(None, None, stride),)

            def vectors(t: Tensor) -> Tensor:
                y = view(t)[..., piece] if piece != slice(None) else view(t)
                return target.columns(y[keep] if y.ndim > 1 else y[None]).to(dtype)

            x = view(x.detach())
            ha, hb = target.rows(x[keep] if x.ndim > 1 else x[None]).to(dtype), vectors(output.detach())
            if bias is not None:
                hb = hb - bias.detach().to(dtype)
            block = target.calls % self.blocks
            self._sum(target, "Ha", ha, block, self.raw)
            self._sum(target, "Hb", hb, block, False)
        target.calls += 1
        target.seen += n
        scale = -n if self.reduction == "mean" else -1

        def gradient(grad: Tensor) -> None:
            with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
                gb = vectors(grad) * scale
                if not torch.isfinite(gb).all():
                    raise ProbeError(f"layer {target.name} received a gradient that is NaN or infinite; lower the learning "
                                     "rate, or the scale of a loss scaler, before measuring.")
                self._sum(target, "Gb", gb, block, self.raw)
                self._sum(target, "Ga", gb @ weight, block, False)

        output.register_hook(gradient)

    def _sum(self, target: Target, name: str, v: Tensor, block: int, raw: bool) -> None:
        if name not in target.sums:
            target.sums[name] = Sums(self.blocks, v, raw)
        target.sums[name].add(v, block)

    def run(self, batches: Iterable, loss: Callable[[nn.Module, object], Tensor]) -> Probe:
        """Stream batches through ``loss(model, batch)``, a scalar; weights and gradients stay as they are."""
        params = list(self.model.parameters())
        kept = [p.grad for p in params]
        try:
            for batch in batches:
                for p in params:
                    p.grad = None
                loss(self.model, batch).backward()
        finally:
            for p, g in zip(params, kept):
                p.grad = g
        return self

    def detach(self) -> None:
        """Take the hooks off; what was summed can still be reported."""
        for h in self._handles:
            h.remove()
        self._handles.clear()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_) -> None:
        self.detach()

    def _target(self, name: str) -> Target:
        found = next((t for t in self.targets if t.name == name), None)
        if found is None:
            raise ProbeError(f"the probe has no layer {name}; it has {', '.join(t.name for t in self.targets)}.")
        if "Ha" not in found.sums:
            raise ProbeError(f"layer {name} was never called; stream batches through the model, or leave it out with "
                             "layers=[...].")
        if "Gb" not in found.sums:
            raise ProbeError(f"layer {name} received no gradient; call backward on a loss that depends on it.")
        if found.seen < 2:
            raise ProbeError(f"layer {name} saw {found.seen} sample, and one has no covariance; stream more samples.")
        return found

    def moments(self, name: str, normalised: bool = True, weight: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Ha, Hb, Ga, Gb, Za, Zb of a layer in float64; ``weight`` counts each block of samples (for resampling).

        Raw moments (``normalised=False``) follow from Ha and Gb by ``Hb = W Ha W^T`` and ``Ga = W^T Gb W``, exact while
        the weights stand still.
        """
        t = self._target(name)
        weight = np.ones(self.blocks) if weight is None else weight
        W = t.weight().detach().double()
        if normalised:
            out = {k: s.covariance(weight) for k, s in t.sums.items()}
        elif not self.raw:
            raise ProbeError("raw moments were not summed; attach with raw=True.")
        else:
            out = {k: t.sums[k].total("raw", weight) for k in ("Ha", "Gb")}
            out |= {"Hb": W @ out["Ha"] @ W.mT, "Ga": W.mT @ out["Gb"] @ W}
        return {k: v.cpu().numpy() for k, v in (out | {"Za": W.mT @ W, "Zb": W @ W.mT}).items()}

    def report(self, n_boot: int = 100, seed: int = 0, confidence: float = 0.95) -> Report:
        """Alignments with block-bootstrap intervals and random baselines, exponents and participation ratios by layer.

        Layers of one input or one output are named and left out.
        """
        rng = np.random.default_rng(seed)
        wide = [t.name for t in self.targets if min(t.weight().shape) > 1]
        return Report([self._layer(name, n_boot, rng, confidence) for name in wide],
                      [t.name for t in self.targets if t.name not in wide])

    def _resampled(self, name: str, m: dict[str, np.ndarray], draws: np.ndarray) -> np.ndarray:
        """The six alignments [n_boot, 6] with blocks counted ``draws`` [n_boot, blocks] times, about the means of all.

        An alignment is a ratio of quadratic forms in the counts, so that the blocks' matrices are multiplied once.
        """
        flat = {}
        for k, s in self._target(name).sums.items():
            mean = s.total("mean", np.ones(self.blocks))
            n = torch.tensor(s.n, dtype=torch.float64, device=mean.device)
            mixed = s.far["mean"][:, :, None] * mean
            block = s.far["unit"] - mixed - mixed.mT + n[:, None, None] * torch.outer(mean, mean)
            flat[k] = block.flatten(1) - block.flatten(1).mean(1, keepdim=True)
        for k in ("Za", "Zb"):
            z = torch.as_tensor(m[k], device=flat["Ha"].device).flatten()
            flat[k] = (z - z.mean()).expand(self.blocks, -1) / self.blocks

        def form(a: str, b: str) -> np.ndarray:
            return np.einsum("ik,kl,il->i", draws, (flat[a] @ flat[b].mT).cpu().numpy(), draws)

        return np.stack([form(a, b) / np.sqrt(form(a, a) * form(b, b)) for a, b in PAIRS], 1)

    def _layer(self, name: str, n_boot: int, rng: np.random.Generator, confidence: float) -> LayerReport:
        m = self.moments(name)
        full = np.flatnonzero(self._target(name).sums["Ha"].n)
        low = high = np.full(6, np.nan)
        if len(full) > 1:
            draws = np.zeros((n_boot, self.blocks))
            draws[:, full] = rng.multinomial(len(full), np.full(len(full), 1 / len(full)), n_boot)
            low, high = np.percentile(self._resampled(name, m, draws), [50 * (1 - confidence), 50 * (1 + confidence)], 0)
        return LayerReport(name, len(m["Za"]), len(m["Zb"]), self._target(name).seen, six(m), low, high,
                           six(m, diagonal=False), six_baselines(m), _exponent(m["Ha"], m["Za"]),
                           _exponent(m["Gb"], m["Zb"]), {k: float(participation_ratio(v)) for k, v in m.items()})


def _exponent(X: np.ndarray, Z: np.ndarray) -> Exponent | None:
    try:
        return exponent(X, Z)
    except ValueError:
        return None


def attach(model: nn.Module, layers: list[str] | None = None, blocks: int = 8, reduction: str = "mean",
           raw: bool = True, max_rows: int | None = None) -> Probe:
    """Attach a probe to a model: hooks on its linear maps, which stream second moments while it is used.

    Parameters
    ----------
    model : any module. Read are Linear, Conv2d (as a matrix on patches), the projections of ``nn.MultiheadAttention`` and
        the Conv1D of Hugging Face's GPT-2; other Hugging Face models use Linear.
    layers : names of modules (``model.named_modules()``); None takes every such layer.
    blocks : groups into which batches go in turn, for the bootstrap; memory is at most ``9 blocks d^2`` numbers
        of 8 bytes a layer.
    reduction : ``"mean"`` where the loss is a mean over the batch (gradients are multiplied by its size), else ``"sum"``.
        Of a mean over tokens too, gradients are those of a sample's mean over its tokens: raw moments are smaller by the
        square of their number than those of the tokens' losses. Alignments and exponents do not see the scale.
    raw : also sum raw second moments, which the theory speaks of.
    max_rows : read about so many vectors of a batch, in whole samples spread over it; None reads all. Set it to probe a
        training loop at small cost.

    Returns
    -------
    Probe : use the model as always and call ``backward``, or ``probe.run(batches, loss)``; then ``probe.report()``, and
    ``probe.detach()``, after which the model is as before. Also a context manager.

    Raises
    ------
    ProbeError : unknown layers, no linear map, no or non-finite gradients, a layer never called, too few samples.

    Notes
    -----
    A layer that is called several times in a forward counts every call: three uses on 128 samples are 384 vectors, and
    ``n_samples`` says so. Checkpointing calls a layer again in the backward, and is counted twice.

    Examples
    --------
    >>> with attach(model) as probe:
    ...     probe.run(loader, lambda m, batch: loss(m(batch[0]), batch[1]))
    >>> probe.report()
    """
    if blocks < 1 or max_rows is not None and max_rows < 1:
        raise ProbeError(f"blocks={blocks} and max_rows={max_rows} must be 1 or more (max_rows may be None).")
    if reduction not in ("mean", "sum"):
        raise ProbeError(f"reduction={reduction!r} is not known; choose \"mean\" or \"sum\".")
    return Probe(model, layers, blocks, reduction, raw, max_rows)
