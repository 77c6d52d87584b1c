"""Networks of product gates and of ReLU units in one form, and counting them by walking the module.

A network is a chain of layers; each appends new values to those it reads, so that every gate may read inputs and all
earlier gates, and affine maps cost nothing. A *gate* is a product of two affine forms, a *unit* a ReLU of one. Source:
arXiv:2301.04605 (networks with products of neurons); the count is ours; chapter "multiplicative-networks".
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


class ProductLayer(nn.Module):
    """Gates ``(A h + a) (B h + b)``: values [..., n_in] -> products [..., n_gates].

    Starts with b = 1, so that a layer begins as an affine map plus a product.
    """

    def __init__(self, n_in: int, n_gates: int, dtype: torch.dtype | None = None):
        super().__init__()
        self.left, self.right = nn.Linear(n_in, n_gates, dtype=dtype), nn.Linear(n_in, n_gates, dtype=dtype)
        nn.init.zeros_(self.left.bias)
        nn.init.ones_(self.right.bias)

    def forward(self, h: Tensor) -> Tensor:
        return self.left(h) * self.right(h)


class ReluLayer(nn.Module):
    """Units ``max(A h + a, 0)``: values [..., n_in] -> [..., n_units]."""

    def __init__(self, n_in: int, n_units: int, dtype: torch.dtype | None = None):
        super().__init__()
        self.map = nn.Linear(n_in, n_units, dtype=dtype)

    def forward(self, h: Tensor) -> Tensor:
        return self.map(h).relu()


class Network(nn.Module):
    """Layers that append their values to what they read, and an affine readout: x [..., d] -> [..., n_out]."""

    def __init__(self, layers: list[nn.Module], readout: nn.Linear):
        super().__init__()
        self.layers, self.readout = nn.ModuleList(layers), readout

    def values(self, x: Tensor) -> Tensor:
        """All values [..., d + gates]: the inputs, then each layer's."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], -1)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.values(x))


class Builder:
    """Writes a network gate by gate; a *form* is an affine combination {value: coefficient}, with the constant under -1."""

    def __init__(self, d: int):
        self.d, self.gates, self.level = d, [], [0] * d

    def gate(self, left: dict[int, float], right: dict[int, float]) -> dict[int, float]:
        """Append ``left * right`` and return it as a form."""
        return self._append((left, right))

    def unit(self, form: dict[int, float]) -> dict[int, float]:
        """Append ``max(form, 0)`` and return it as a form."""
        return self._append((form,))

    def _append(self, forms: tuple) -> dict[int, float]:
        self.gates.append(forms)
        self.level.append(1 + max([self.level[i] for f in forms for i, c in f.items() if i >= 0 and c], default=0))
        return {self.d + len(self.gates) - 1: 1.0}

    def network(self, outputs: list[dict[int, float]], dtype: torch.dtype = torch.float64) -> Network:
        """The network of the appended gates, one layer a level, with one output a form."""
        order = sorted(range(len(self.gates)), key=lambda g: (self.level[self.d + g], g))
        place = {i: i for i in range(self.d)} | {self.d + g: self.d + k for k, g in enumerate(order)}
        layers, n = [], self.d
        for level in sorted({self.level[self.d + g] for g in order}):
            mine = [g for g in order if self.level[self.d + g] == level]
            for arity, kind in ((2, ProductLayer), (1, ReluLayer)):
                some = [g for g in mine if len(self.gates[g]) == arity]
                if some:
                    layer = kind(n, len(some), dtype)
                    for k, g in enumerate(some):
                        place[self.d + g] = n + k
                    maps = (layer.left, layer.right) if arity == 2 else (layer.map,)
                    for m, which in zip(maps, range(arity)):
                        _write(m, [self.gates[g][which] for g in some], place)
                    layers.append(layer)
                    n += len(some)
        readout = nn.Linear(n, len(outputs), dtype=dtype)
        _write(readout, outputs, place)
        return Network(layers, readout)


def _write(m: nn.Linear, forms: list[dict[int, float]], place: dict[int, int]) -> None:
    with torch.no_grad():
        m.weight.zero_()
        m.bias.zero_()
        for k, form in enumerate(forms):
            for i, c in form.items():
                if i < 0:
                    m.bias[k] += c
                else:
                    m.weight[k, place[i]] += c


def combine(*terms: tuple[float, dict[int, float]]) -> dict[int, float]:
    """Affine combination of forms: ``combine((2, f), (-1, g))`` is 2 f - g."""
    out: dict[int, float] = {}
    for c, form in terms:
        for i, v in form.items():
            out[i] = out.get(i, 0.0) + c * v
    return out


@dataclass(frozen=True)
class Count:
    """What a network holds: product gates, ReLU units, depth (longest chain of either), nonzero weights, parameters."""

    gates: int
    units: int
    depth: int
    nonzero: int
    parameters: int


def count(network: nn.Module) -> Count:
    """Count a network by walking its layers and weights.

    A value's level is one more than the highest level that its weights read; depth is the highest that the readout reads.
    Gates whose product cannot change anything are counted all the same. Plain modules (nn.Sequential of Linear, ReLU and
    ProductLayer) are read as a chain without skips.

    Raises ValueError for a module of another kind.
    """
    if isinstance(network, Network):
        level: list[int] = [0] * _width(network)
        gates = units = 0
        for layer in network.layers:
            maps = (layer.left, layer.right) if isinstance(layer, ProductLayer) else (layer.map,)
            reads = sum((m.weight != 0).int() for m in maps) > 0
            new = [1 + max((level[i] for i in row.nonzero().flatten().tolist()), default=0) for row in reads]
            gates, units = gates + len(new) * (len(maps) == 2), units + len(new) * (len(maps) == 1)
            level += new
        used = (network.readout.weight != 0).any(0).nonzero().flatten().tolist()
        depth = max((level[i] for i in used), default=0)
    elif isinstance(network, nn.Sequential):
        gates = units = depth = 0
        for k, layer in enumerate(network):
            if isinstance(layer, ProductLayer):
                gates, depth = gates + layer.left.out_features, depth + 1
            elif isinstance(layer, nn.ReLU) and k and isinstance(network[k - 1], nn.Linear):
                units, depth = units + network[k - 1].out_features, depth + 1
            elif not isinstance(layer, nn.Linear):
                raise ValueError(f"layer {k} is a {type(layer).__name__}; only Linear, ReLU after Linear and ProductLayer "
                                 "are counted.")
    else:
        raise ValueError(f"a {type(network).__name__} cannot be counted; give a Network or an nn.Sequential.")
    parameters = list(network.parameters())
    return Count(gates, units, depth, sum(int((p != 0).sum()) for p in parameters), sum(p.numel() for p in parameters))


def _width(network: Network) -> int:
    """Number of inputs."""
    first = network.layers[0] if network.layers else None
    m = network.readout if first is None else first.left if isinstance(first, ProductLayer) else first.map
    return m.in_features


def pieces(network: nn.Module, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Breakpoints of a ReLU network of one input on an interval, its ends included; one less is the number of pieces.

    Exact up to rounding in double precision: each unit is linear between breakpoints, so that a change of sign adds one.
    """
    network = copy.deepcopy(network).double()
    x = np.array([low, high])

    def activations(points: np.ndarray):
        h = torch.tensor(points[:, None], dtype=torch.float64, device=next(network.parameters()).device)
        for layer in network.layers if isinstance(network, Network) else network:
            if isinstance(layer, ReluLayer | nn.ReLU):
                z = layer.map(h) if isinstance(layer, ReluLayer) else h
                yield z.detach().cpu().numpy()
                h = torch.cat([h, z.relu()], -1) if isinstance(layer, ReluLayer) else z.relu()
            elif isinstance(layer, nn.Linear):
                h = layer(h)
            else:
                raise ValueError(f"pieces are counted in ReLU networks, and this one holds a {type(layer).__name__}.")

    with torch.no_grad():
        for k in range(sum(1 for _ in activations(x))):
            z = next(v for j, v in enumerate(activations(x)) if j == k)
            a, b = z[:-1], z[1:]
            cross = np.argwhere((a * b < 0) & (np.minimum(np.abs(a), np.abs(b)) > 1e-13))
            new = [x[i] - a[i, j] * (x[i + 1] - x[i]) / (b[i, j] - a[i, j]) for i, j in cross]
            x = np.unique(np.concatenate([x, new]))
            x = x[np.concatenate([[True], np.diff(x) > 1e-12])]
        points = torch.tensor(x[:, None], dtype=torch.float64, device=next(network.parameters()).device)
        out = network(points).cpu().numpy()[:, 0]
    slope = np.diff(out) / np.diff(x)
    bend = np.abs(np.diff(slope)) > 1e-7 * (1 + np.abs(slope).max())
    return np.concatenate([[x[0]], x[1:-1][bend], [x[-1]]])
