"""Products in ReLU networks: the sawtooth construction, and the emulation of a product network gate by gate.

Source: Yarotsky 2017 for the sawtooth; that skips make one unit a level enough, and optimal, is ours (chapter
"multiplicative-networks").
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from .builders import ONE, BuildError
from .circuits import Builder, Network, ProductLayer, combine


def _square(b: Builder, z: dict[int, float], m: int) -> dict[int, float]:
    """Form of f_m, the interpolation of z^2 at multiples of 2^-m, for a form z in [0, 1]: m units."""
    out, g = z, z
    for s in range(1, m + 1):
        g = combine((2.0, g), (-4.0, b.unit(combine((1.0, g), (-0.5, ONE)))))  # the hat of the level before
        out = combine((1.0, out), (-(4.0**-s), g))
    return out


def square_network(m: int) -> Network:
    """``f_m`` on [0, 1]: ``0 <= f_m - x^2 <= 4^-(m+1)`` by m units, each one level deeper than the last."""
    if m < 1:
        raise BuildError(f"m={m} is no number of levels; choose 1 or more.")
    b = Builder(1)
    return b.network([_square(b, {0: 1.0}, m)])


def _absolute(b: Builder, z: dict[int, float]) -> dict[int, float]:
    """|z| = 2 max(z, 0) - z: one unit."""
    return combine((2.0, b.unit(z)), (-1.0, z))


def _clamp(b: Builder, z: dict[int, float]) -> dict[int, float]:
    """z clamped to [-1, 1]: two units."""
    up, down = b.unit(combine((1.0, z), (1.0, ONE))), b.unit(combine((1.0, z), (-1.0, ONE)))
    return combine((1.0, up), (-1.0, down), (-1.0, ONE))


def _product(b: Builder, x: dict[int, float], y: dict[int, float], m: int) -> dict[int, float]:
    """x y for forms in [-1, 1] within 4^-(m+1): 2 m + 2 units, or m + 1 where both are the same."""
    if x == y:
        return _square(b, _absolute(b, x), m)
    half_sum, half_difference = combine((0.5, x), (0.5, y)), combine((0.5, x), (-0.5, y))
    return combine((1.0, _square(b, _absolute(b, half_sum), m)), (-1.0, _square(b, _absolute(b, half_difference), m)))


def relu_emulation(network: Network, m: int, domain: torch.Tensor) -> Network:
    """A ReLU network that emulates a product network: 2 m + 2 units a gate, m + 1 a square, and 2 a distinct factor.

    Factors are scaled into [-1, 1] by their largest size on ``domain`` and clamped there, once each, so that errors do not
    grow by themselves.

    Parameters
    ----------
    network : of product gates.
    m : levels of the sawtooth; a gate of scaled factors errs by at most 4^-(m+1).
    domain : samples [n, d] of the inputs that the emulation is for. Factors are clamped to what they are on these samples:
        give the corners of a box, or a grid, since inputs beyond them are not covered.

    Returns a Network of ReLU layers in double precision. Raises BuildError for m < 1, a domain of another shape, or a
    network that holds other layers.
    """
    if m < 1:
        raise BuildError(f"m={m} is no number of levels; choose 1 or more.")
    if domain.ndim != 2 or not len(domain) or not torch.isfinite(domain).all():
        raise BuildError(f"a domain of shape {tuple(domain.shape)} holds no samples, or some that are not finite; give "
                         "points [n, d].")
    network = copy.deepcopy(network).double()
    d = domain.shape[1]
    b = Builder(d)
    forms = [{i: 1.0} for i in range(d)]
    h, clamped = domain.to(network.readout.weight), {}

    def inside(form: dict[int, float]) -> dict[int, float]:
        key = tuple(sorted(form.items()))
        if key not in clamped:
            clamped[key] = _clamp(b, form)
        return clamped[key]

    with torch.no_grad():
        for layer in network.layers:
            if not isinstance(layer, ProductLayer):
                raise BuildError(f"a {type(layer).__name__} is no layer of gates; give a network of ProductLayers.")
            sides = (layer.left, layer.right)
            size = [np.maximum(s(h).abs().amax(0).cpu().numpy(), 1e-300) for s in sides]
            read = [_forms(s, forms) for s in sides]
            new = []
            for g in range(layer.left.out_features):
                scaled = [inside(combine((1 / size[k][g], read[k][g]))) for k in (0, 1)]
                new.append(combine((size[0][g] * size[1][g], _product(b, *scaled, m))))
            forms += new
            h = torch.cat([h, layer(h)], -1)
        outputs = _forms(network.readout, forms)
    return b.network(outputs)


def _forms(m: torch.nn.Linear, forms: list[dict[int, float]]) -> list[dict[int, float]]:
    """The affine maps of a layer as forms of the emulation."""
    return [combine((float(c), ONE), *((float(v), forms[i]) for i, v in enumerate(row.tolist()) if v))
            for row, c in zip(m.weight, m.bias)]
