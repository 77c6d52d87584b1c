"""From a torch model to the layers that the theorem speaks of: norms, in-degrees, activations, in the order of a chain."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .errors import BoundError
from .geometry import reads

CONVS, POOLS = (nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAXES, NORMS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
SPATIAL = {t: d + 1 for group in (CONVS, POOLS, MAXES, MEANS) for d, t in enumerate(group)}
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
SMOOTH = (nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.Softplus, nn.Mish, nn.Softmax, nn.Hardtanh, nn.ReLU6)
FUNCTIONS = {F.max_pool1d: nn.MaxPool1d, F.max_pool2d: nn.MaxPool2d, F.max_pool3d: nn.MaxPool3d, F.avg_pool1d: nn.AvgPool1d,
             F.avg_pool2d: nn.AvgPool2d, F.avg_pool3d: nn.AvgPool3d, F.leaky_relu: nn.LeakyReLU}
RELUS = {F.relu, torch.relu, torch.relu_, "relu", "relu_"}
VIEWS = {torch.flatten, "flatten", "view", "reshape", torch.reshape, "squeeze", torch.squeeze}
SKIPS = {operator.add, operator.iadd, torch.add, "add", "add_", torch.cat, operator.mul, torch.mul, "mul"}


@dataclass(frozen=True)
class Layer:
    """One layer of the chain.

    ``kind`` is ``map`` (weights), ``mean`` or ``max`` (pooling); ``weight`` [out, in, k] and ``bias`` [out] in float64 for
    maps; ``index`` [positions, k] says what each node reads, -1 for padding; ``shape`` is the spatial shape of the input,
    ``channels`` its channels; ``active`` is True where an activation follows.
    """

    kind: str
    name: str
    index: np.ndarray
    shape: tuple[int, ...]
    channels: int
    weight: Tensor | None = None
    bias: Tensor | None = None
    active: bool = False
    geometry: tuple | None = None

    @property
    def n_in(self) -> int:
        """Positions of the input."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def norm(self) -> float:
        """Frobenius norm of the filter, its bias a column."""
        total = self.weight.square().sum() + (0 if self.bias is None else self.bias.square().sum())
        return float(total.sqrt())


def _tuple(v, n: int) -> tuple[int, ...]:
    return (v,) * n if isinstance(v, int) else tuple(v)


def _pads(module, kernel, dilation, n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if module.padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    low = (0,) * n if module.padding == "valid" else _tuple(module.padding, n)
    return low, low


def _conv(name: str, m, x: Tensor) -> Layer:
    if m.padding_mode != "zeros":
        raise BoundError(f"{name} pads with {m.padding_mode} values, which gives a node several copies of one position; use "
                         "zeros.")
    n = len(m.kernel_size)
    low, high = _pads(m, m.kernel_size, m.dilation, n)
    geometry = (m.kernel_size, m.stride, low, high, m.dilation)
    index, _ = reads(x.shape[2:], *geometry)
    dense = torch.zeros(m.out_channels, m.in_channels, index.shape[1], dtype=torch.float64)
    per_in, per_out = m.in_channels // m.groups, m.out_channels // m.groups
    for g in range(m.groups):
        rows = slice(g * per_out, (g + 1) * per_out)
        dense[rows, g * per_in:(g + 1) * per_in] = m.weight[rows].detach().double().flatten(2)
    bias = None if m.bias is None else m.bias.detach().double().cpu()
    return Layer("map", name, index, tuple(x.shape[2:]), x.shape[1], dense, bias, geometry=geometry)


def _pool(name: str, m, x: Tensor, kind: str) -> Layer:
    n = x.ndim - 2
    kernel = _tuple(m.kernel_size, n)
    stride = _tuple(m.stride if m.stride is not None else m.kernel_size, n)
    pads = _tuple(m.padding, n)
    if getattr(m, "ceil_mode", False):
        raise BoundError(f"{name} rounds its output's size up; use ceil_mode=False.")
    if getattr(m, "divisor_override", None) is not None:
        raise BoundError(f"{name} divides by {m.divisor_override}, so that it is no mean; leave divisor_override out.")
    index, _ = reads(x.shape[2:], kernel, stride, pads, pads, _tuple(getattr(m, "dilation", 1), n))
    return Layer(kind, name, index, tuple(x.shape[2:]), x.shape[1])


def _linear(name: str, m: nn.Linear, grid: tuple[int, tuple[int, ...]], x: Tensor) -> Layer:
    if x.ndim != 2:
        raise BoundError(f"{name} is a linear layer on a tensor with {x.ndim} axes; the theorem covers one after a flatten "
                         "or a mean over positions.")
    channels, shape = grid
    positions = int(np.prod(shape, dtype=int))
    weight = m.weight.detach().double().cpu().reshape(m.out_features, channels, positions)
    bias = None if m.bias is None else m.bias.detach().double().cpu()
    return Layer("map", name, np.arange(positions)[None], shape, channels, weight, bias)


def _fold(layer: Layer, m) -> Layer:
    """A batch norm at evaluation, folded into the map before it."""
    scale = (m.running_var + m.eps).rsqrt().double().cpu()
    shift = -m.running_mean.double().cpu() * scale
    if m.affine:
        scale, shift = scale * m.weight.detach().double().cpu(), shift * m.weight.detach().double().cpu()
        shift = shift + m.bias.detach().double().cpu()
    bias = shift if layer.bias is None else shift + layer.bias * scale
    return replace(layer, weight=layer.weight * scale[:, None, None], bias=bias)


def _trace(model: nn.Module) -> fx.GraphModule:
    for name, m in model.named_modules():
        if m._forward_hooks or m._forward_pre_hooks:
            raise BoundError(f"{name or 'the model'} has forward hooks, which may change what it computes; remove them.")
        if isinstance(m, nn.MultiheadAttention) or "Attention" in type(m).__name__:
            raise BoundError(f"the model attends ({name or type(m).__name__}): a product of two functions of the input is no "
                             "layer of the theorem.")
        if isinstance(m, SMOOTH):
            raise BoundError(f"{name} is a {type(m).__name__}, which is not positively homogeneous, and the proof rescales "
                             "layers; use ReLU or LeakyReLU.")
    try:
        return fx.symbolic_trace(model)
    except Exception as e:  # torch raises many kinds
        raise BoundError(f"the model's forward cannot be traced as a chain of layers ({str(e).splitlines()[0][:80]}); build "
                         "it as torch.nn.Sequential.") from e


def walk(model: nn.Module, x: Tensor) -> list[Layer]:
    """The layers of a chain-like model, bottom first, pooling included.

    Parameters
    ----------
    model : convolutions in 1 to 3 dimensions, linear layers, ReLU or LeakyReLU, average and max pooling, batch norm at
        evaluation, flatten and mean over positions, as modules or functions, in any ``forward`` that ``torch.fx`` can trace.
    x : one sample or more, ``[n, channels, *space]`` or [n, features]; only its shape is used, on the model's device.

    Raises
    ------
    BoundError : skip connections, attention, activations that are not positively homogeneous, batch norm in training
        mode, padding other than zeros, and whatever else the theorem does not cover; the message says why.
    """
    graph, layers, grid = _trace(nn.Sequential(model)), [], None
    if any(isinstance(m, NORMS) and (m.training or not m.track_running_stats) for m in model.modules()):
        raise BoundError("batch norm by the batch's own statistics mixes samples, so that the network is no function of one "
                         "input; track running statistics and call model.eval().")
    if any(isinstance(m, DROPOUTS) and m.training and m.p > 0 for m in model.modules()):
        raise BoundError("dropout draws a random network at each call; call model.eval().")
    modules = dict(graph.named_modules())
    env: dict = {}
    x = torch.zeros_like(x[:1]).to(next(model.parameters(), x))  # in-place layers must not reach the caller's data

    with torch.no_grad():
        for node in graph.graph.nodes:
            if len(node.users) > 1:
                raise BoundError(f"the output of {node.name} is read twice: a skip connection or a branch, which is no chain "
                                 "of layers; the theorem does not cover it.")
            if node.op == "placeholder":
                env[node] = x
                grid = (x.shape[1], tuple(x.shape[2:]))
                continue
            if node.op == "output":
                break
            before = env.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
            what = modules[node.target] if node.op == "call_module" else node.target
            if before is None or any(isinstance(a, fx.Node) for a in node.args[1:]) or _in(what, SKIPS):
                raise BoundError(f"{node.name} combines or makes values ({what}); the theorem covers chains of layers only.")
            after = what(before) if node.op == "call_module" else \
                getattr(before, what)(*node.args[1:], **node.kwargs) if node.op == "call_method" else \
                what(before, *node.args[1:], **node.kwargs)
            grid = _step(node, _as_module(node, what, before, after), before, after, grid, layers)
            env[node] = after
    maps = [v for v in layers if v.kind == "map"]
    if not maps or layers[-1].kind != "map" or layers[-1].active or len(layers[-1].index) != 1:
        raise BoundError("the network must end in a linear map at one position, without activation; add a Linear head.")
    if layers[0].kind != "map":
        raise BoundError("the first layer pools the input; pool the data instead, and bound the rest.")
    return layers


def _in(what, group: set) -> bool:
    return isinstance(what, str | Callable) and not isinstance(what, nn.Module) and what in group


def _as_module(node: fx.Node, what, before: Tensor, after: Tensor):
    """The module that does what a function does; the identity for an adaptive pooling that changes no size."""
    module = FUNCTIONS.get(what) if isinstance(what, Callable) and len(node.args) < 6 else None
    idle = isinstance(what, MEANS) and after.shape == before.shape and before.shape[2:].numel() > 1
    return nn.Identity() if idle else module(*node.args[1:], **node.kwargs) if module else what


def _step(node, what, before: Tensor, after: Tensor, grid, layers: list[Layer]) -> tuple[int, tuple[int, ...]]:
    """Append what one node of the graph does to ``layers``; returns channels and positions of its output."""
    name, spatial = str(node.target), list(range(2, before.ndim))
    wants = next((d for t, d in SPATIAL.items() if isinstance(what, t)), len(spatial))
    if wants != len(spatial):
        raise BoundError(
            f"{name} works on {wants} spatial axes and gets a tensor with {len(spatial)}; torch reads it as another "
            "shape than it has.")
    if isinstance(what, CONVS):
        layers.append(_conv(name, what, before))
    elif isinstance(what, nn.Linear):
        layers.append(_linear(name, what, grid, before))
        return what.out_features, ()
    elif isinstance(what, POOLS):
        layers.append(_pool(name, what, before, "mean"))
    elif isinstance(what, MAXES):
        layers.append(_pool(name, what, before, "max"))
        _activate(layers)
    elif isinstance(what, MEANS) or what in ("mean", torch.mean):
        if after.shape[1:].numel() != before.shape[1] or not isinstance(what, MEANS) and _axes(node, before.ndim) != spatial:
            raise BoundError(f"{name} is not a mean over all positions of each channel; use AvgPool with a fixed kernel.")
        index = np.arange(int(np.prod(grid[1], dtype=int)))[None]
        layers.append(Layer("mean", name, index, grid[1], grid[0]))
        return grid[0], (1,) * (after.ndim - 2)
    elif isinstance(what, NORMS):
        if not layers or layers[-1].kind != "map" or layers[-1].active:
            raise BoundError(f"{name} is a batch norm that follows no convolution or linear layer; it cannot be folded.")
        layers[-1] = _fold(layers[-1], what)
        return grid
    elif isinstance(what, nn.LeakyReLU | nn.ReLU) or _in(what, RELUS):
        if abs(getattr(what, "negative_slope", 0.0)) > 1:
            raise BoundError(f"{name} has a slope above 1, so that it is not 1-Lipschitz; rescale it.")
        _activate(layers)
        return grid
    elif isinstance(what, nn.PReLU):
        raise BoundError(f"{name} trains its slope, and the theorem is about a fixed activation; use LeakyReLU.")
    elif isinstance(what, nn.Flatten) or _in(what, VIEWS):
        if after.ndim not in (1, 2) or after.numel() != before.numel() or len(after) != len(before):
            raise BoundError(f"{name} reshapes to {tuple(after.shape)}; only a flatten to [n, features] keeps positions "
                             "apart.")
        return grid
    elif not isinstance(what, (nn.Identity, *DROPOUTS)):
        raise BoundError(f"{name} ({type(what).__name__}) is no layer of the theorem; it covers convolutions, linear layers, "
                         "pooling, ReLU-type activations, batch norm and flatten.")
    else:
        return grid
    return after.shape[1], tuple(after.shape[2:])


def _axes(node: fx.Node, ndim: int) -> list[int]:
    """Axes over which a call of ``mean`` goes."""
    axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else tuple(range(ndim)))
    return sorted(a % ndim for a in (axes if isinstance(axes, tuple | list) else (axes,)))


def _activate(layers: list[Layer]) -> None:
    """Mark the last map: one factor 2 pays for the activations and maxima up to the next map, whatever their order."""
    i = max((k for k, v in enumerate(layers) if v.kind == "map"), default=None)
    if i is None:
        raise BoundError(
            "an activation or a pooling stands where no convolution or linear layer precedes it; apply it to the "
            "data instead.")
    layers[i] = replace(layers[i], active=True)
