"""The bound of the chapter on a chain of layers and a sample, with every factor, and its norm-based peers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from lib import show, stats

from . import spectral
from .errors import BoundError
from .geometry import degrees, gather, pull
from .walk import Layer, walk

OURS = "in-degrees (this chapter)"
GRID = 8  # steps of the geometric grid a factor of two


@dataclass(frozen=True)
class Sample:
    """What the bounds need of data: number ``m``, energy [positions] of the input, sum and largest of the squared norms, the
    margins [m] of the model, and its ``classes`` (1 where it has one score and labels are -1 and 1)."""

    m: int
    energy: np.ndarray
    total: float
    largest: float
    margins: np.ndarray
    classes: int

    def error(self, margin: float) -> float:
        """Share of samples with a margin below ``margin``."""
        return float((self.margins < margin).mean())


def sample(model: nn.Module, data) -> Sample:
    """Stream data through a model once.

    Parameters
    ----------
    data : a pair ``(x, y)`` of tensors, or an iterable of such pairs (a ``DataLoader``); x is ``[n, channels, *space]`` or
        [n, features]; y holds -1 and 1 where the model has one score, else class numbers.
    """
    pairs: Iterable = [data] if isinstance(data, tuple | list) and len(data) == 2 and torch.is_tensor(data[0]) else data
    m, energy, total, largest, margins, classes, shape = 0, 0.0, 0.0, 0.0, [], 1, None
    weight = next(model.parameters())
    with torch.no_grad():
        for x, y in pairs:
            out = model(x.to(weight)).cpu()
            out = out[:, None] if out.ndim == 1 else out
            if out.ndim != 2 or len(out) != len(y):
                raise BoundError(f"the model returns shape {tuple(out.shape)} on {len(y)} samples; a score or a row of class "
                                 "scores a sample is needed.")
            if not torch.isfinite(out).all():
                raise BoundError("the model returns NaN or infinity on this data; no margin exists.")
            classes = out.shape[1]
            margins.append(_margins(out, y.cpu()))
            if shape is not None and x.shape[1:] != shape:
                raise BoundError(f"samples have shapes {tuple(shape)} and {tuple(x.shape[1:])}; a bound is about one shape.")
            shape = x.shape[1:]
            flat = x.detach().cpu().double().flatten(2) if x.ndim > 2 else x.detach().cpu().double()[:, :, None]
            squares = flat.square().sum(1)  # [n, positions]
            energy, m = energy + squares.sum(0).numpy(), m + len(x)
            total, largest = total + float(squares.sum()), max(largest, float(squares.sum(1).max()))
    if m < 2:
        raise BoundError(f"a bound needs a sample; {m} data points were given.")
    return Sample(m, energy, total, largest, np.concatenate(margins), classes)


def _margins(out: Tensor, y: Tensor) -> np.ndarray:
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1:
        raise BoundError(f"labels have shape {tuple(y.shape)}; one number a sample is needed.")
    if out.shape[1] == 1:
        if not set(y.unique().tolist()) <= {-1, 1}:
            raise BoundError("a model with one score needs labels -1 and 1; convert them with 2 * y - 1.")
        return (out[:, 0] * y).numpy()
    y = y.long()
    if int(y.min()) < 0 or int(y.max()) >= out.shape[1]:
        raise BoundError(f"labels go from {int(y.min())} to {int(y.max())}, but the model has {out.shape[1]} scores.")
    own = out.gather(1, y[:, None])[:, 0]
    return (own - out.scatter(1, y[:, None], -torch.inf).max(1).values).numpy()


@dataclass(frozen=True)
class Paths:
    """Worst path of the theorem: the largest ``sqrt(product of in-degrees x energy)``, its two factors, and how many ends."""

    root: float
    degree: float
    energy: float
    ends: int
    active: int
    rho: float


def worst_path(layers: list[Layer], energy: np.ndarray, m: int) -> Paths:
    """Walk back from the output and keep, at each position, the largest product of squared factors on a path to it.

    Parameters
    ----------
    energy : sum of squares [positions] of the input over the sample, channels added.
    """
    if any(a.n_in != len(b.index) for a, b in zip(layers[1:], layers)):
        raise BoundError("the layers do not fit one another; walk the model again.")
    value, constant = np.ones(1), 0.0  # squared factors at the nodes of a layer's output; at the constant node
    biased = False
    rho, active = 1.0, 0
    for i in range(len(layers) - 1, -1, -1):
        layer = layers[i]
        if layer.kind == "mean":
            value = pull(layer.index, value, layer.n_in)
            continue
        if layer.kind == "max":
            window = 4.0 ** np.ceil(np.log2(layer.index.shape[1]))
            value = pull(layer.index, value * window, layer.n_in)
            continue
        rho *= max(layer.norm, 1.0) if biased else layer.norm  # the constant is carried down by weights of norm 1
        active += layer.active
        has_bias = layer.bias is not None
        if i == 0:
            break
        q = degrees(layer.index) + has_bias
        constant = max(constant, float((q * value).max()) if has_bias else 0.0)
        biased = biased or has_bias
        value = pull(layer.index, q * value, layer.n_in)
    first = layers[0]
    patch = gather(first.index, energy)
    ends = value * (patch + (m if first.bias is not None else 0))
    j = int(ends.argmax())
    best, degree = float(ends[j]), float(value[j])
    if constant * m > best:
        best, degree = constant * m, constant
    n_ends = int((value > 0).sum()) + (constant > 0)
    return Paths(float(np.sqrt(best)), degree, best / max(degree, 1e-300), n_ends, active, rho)


@dataclass(frozen=True)
class Bound:
    """A bound on the error outside the sample: ``total = margin_error + capacity + tail``, with its factors.

    ``certificate`` is False where a constant or a step is cited or set by others, so that the number proves nothing here.
    """

    name: str
    total: float
    margin_error: float
    capacity: float
    tail: float
    rho: float = float("nan")
    margin: float = float("nan")
    factors: dict = field(default_factory=dict)
    assumes: str = ""
    certificate: bool = True

    def _repr_mimebundle_(self, **kw) -> dict:
        rows = [[k, v if isinstance(v, str) else stats.number(v)] for k, v in
                {"total": self.total, "margin error": self.margin_error, "capacity": self.capacity, "tail": self.tail,
                 "margin": self.margin, "norm product": self.rho, **self.factors}.items()]
        return show.Table(["factor", "value"], rows, f"Bound by {self.name}")._repr_mimebundle_(**kw)


def _margin_bound(name: str, s: Sample, delta: float, margin: float | None, rho: float, unit: float, **kw) -> Bound:
    """A theorem of the form: complexity of the class of norm product ``rho`` is at most ``rho * unit``.

    ``margin`` given in advance: norms are covered by the integers. ``margin=None``: only ``rho / margin`` matters, is
    covered by a geometric grid over all of the positive numbers, and the best margin is chosen afterwards.
    """
    slope = 2.0 if s.classes == 1 else 4.0
    if margin is not None:
        if not margin > 0:
            raise BoundError(f"margin={margin} is not possible; choose a positive number, fixed before looking at the data.")
        capacity = slope * (rho + 1) / margin * unit
        tail = 3 * np.sqrt(np.log(2 * (rho + 2) ** 2 / delta) / (2 * s.m))
        error = s.error(margin)
        return Bound(name, error + capacity + tail, error, capacity, float(tail), rho, margin, **kw)
    best = None
    positive = s.margins[s.margins > 0]
    if not len(positive) or not rho > 0:
        return Bound(name, 1.0 + float("inf"), 1.0, float("inf"), 0.0, rho, **kw)
    for g in np.unique(np.quantile(positive, np.linspace(0, 1, 201))):
        k = int(np.ceil(GRID * np.log2(rho / g)))
        capacity = slope * 2 ** (k / GRID) * unit
        tail = 3 * float(np.sqrt(np.log(3 * (abs(k) + 1) * (abs(k) + 2) / delta) / (2 * s.m)))
        found = Bound(name, s.error(g) + capacity + tail, s.error(g), capacity, tail, rho, float(g), **kw)
        best = found if best is None or found.total < best.total else best
    return best


def _readable_twice(data) -> tuple:
    """Data that can be read twice, and its first inputs; an iterator is kept as a list of its batches."""
    data = list(data) if iter(data) is data else data
    return data, data[0] if torch.is_tensor(data[0] if isinstance(data, tuple | list) else None) else next(iter(data))[0]


def check_probability(delta: float) -> None:
    """Raise BoundError unless a probability of failure lies between 0 and 1."""
    if not 0 < delta < 1:
        raise BoundError(f"delta={delta} is no probability of failure; choose a number between 0 and 1, such as 0.05.")


def sparse(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """The chapter's theorem."""
    p = worst_path(layers, s.energy, s.m)
    a = p.active * np.log(2) + np.log(p.ends) + np.log(s.classes)
    unit = np.sqrt(s.classes) / s.m * (1 + np.sqrt(2 * a)) * p.root
    factors = {"in-degrees along the worst path": p.degree, "energy at its end": p.energy,
               "factor of the logarithms": 1 + np.sqrt(2 * a), "samples": s.m, "score": s.classes}
    factors |= {f"norm of {v.name}": v.norm for v in layers if v.kind == "map"}
    return _margin_bound(OURS, s, delta, margin, p.rho, float(unit), factors=factors,
                         assumes="homogeneous activations, a chain")


def _dense(layers: list[Layer]) -> list[Layer]:
    if any(v.kind != "map" or v.bias is not None for v in layers):
        raise BoundError("the peers are computed for convolutions and linear layers without bias and pooling only.")
    return layers


def golowich(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """The theorem with one node a layer: Frobenius norms of the unrolled matrices (Golowich, Rakhlin, Shamir 2018)."""
    layers = _dense(layers)
    rho = float(np.prod([spectral.frobenius(v) for v in layers]))
    a = sum(v.active for v in layers) * np.log(2) + np.log(s.classes)
    unit = np.sqrt(s.classes) / s.m * (1 + np.sqrt(2 * a)) * np.sqrt(s.total)
    return _margin_bound("Frobenius norms (Golowich et al.)", s, delta, margin, rho, float(unit),
                         assumes="as ours; proved here, one node a layer")


def neyshabur(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """Peeling without the logarithm: a factor 2 a layer (Neyshabur, Tomioka, Srebro 2015)."""
    layers = _dense(layers)
    rho = float(np.prod([spectral.frobenius(v) for v in layers]))
    unit = s.classes / s.m * 2 ** sum(v.active for v in layers) * np.sqrt(s.total)
    return _margin_bound("a factor 2 a layer (Neyshabur et al.)", s, delta, margin, rho, float(unit),
                         assumes="as ours; proved here, first moments")


def _filters(layers: list[Layer]) -> list[tuple[float, float]]:
    """Spectral norm of each filter as a matrix; the sum over outputs and kernel positions of norms over input channels."""
    out = []
    for v in layers:
        rows = v.weight.flatten(1)
        out.append((float(torch.linalg.matrix_norm(rows, 2)), float(v.weight.norm(dim=1).sum())))
    return out


def bartlett(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """Spectral complexity of the unrolled matrices (Bartlett, Foster, Telgarsky 2017); its constants as we recall them."""
    layers, g = _dense(layers), 1.0 if margin is None else margin
    norms = [(spectral.upper(v), len(v.index) * float(v.weight.flatten(1).norm(dim=1).sum())) for v in layers]
    width = max(max(v.n_in * v.channels, len(v.index) * len(v.weight)) for v in layers)
    ratio = sum((b / a) ** (2 / 3) for a, b in norms) ** 1.5
    product = float(np.prod([a for a, _ in norms]))
    c = 4 / s.m**1.5 + 36 * np.sqrt(s.total) * np.log(2 * width) * np.log(s.m) / (g * s.m) * product * ratio
    tail = 3 * np.sqrt(np.log(2 / delta) / (2 * s.m))
    return Bound("spectral complexity (Bartlett et al.)", s.error(g) + 2 * c + tail, s.error(g), 2 * float(c), float(tail),
                 product, g, assumes="constants recalled; no union over norms", certificate=False)


def graf(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """As the code published with the paper computes the bound of Graf et al. 2022."""
    layers, g = _dense(layers), 1.0 if margin is None else margin
    norms = _filters(layers)
    product, w = float(np.prod([a for a, _ in norms])), max(v.weight.numel() for v in layers)
    c = sum((4 * np.sqrt(s.largest) * product * b / a / g) ** (2 / 3) for a, b in norms) ** 1.5
    c = 8 / s.m + 24 * np.log(s.m) * np.log(2 * w) * c / np.sqrt(s.m)
    tail = 3 * np.sqrt(np.log(2 / delta) / (2 * s.m))
    return Bound("filters' spectral norms (Graf et al.)", s.error(g) + c + tail, s.error(g), float(c), float(tail), product,
                 g, assumes="the published code's formula, margin added by us", certificate=False)


def ledent(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """As the code published with the paper computes the bound of Ledent et al. 2021."""
    layers, g = _dense(layers), 1.0 if margin is None else margin
    norms, n, L = _filters(layers), s.m, len(layers)
    radius = np.sqrt(s.largest) / g
    widest = max(max(v.n_in * v.channels, len(v.index) * len(v.weight)) for v in layers)
    rest = [float(np.prod([a + 1 / L for j, (a, _) in enumerate(norms) if j != i])) for i in range(L)]
    big = max(v.n_in * v.channels * (b + 1 / L) * r for v, (_, b), r in zip(layers, norms, rest)) * (radius + 1)
    R = sum(((b + 1 / L) * r * np.sqrt(v.index.shape[1] if len(v.index) > 1 else 1)) ** (2 / 3)
            for v, (_, b), r in zip(layers, norms, rest)) ** 1.5 * (radius + 1) * L
    c = 1536 / np.sqrt(n) * R * np.sqrt(np.log2(32 * big * n**2 + 7 * widest * n)) * np.log(n) + 8 / n
    tail = 3 * np.sqrt(np.log(2 / delta) / n) + np.sqrt(np.log(2) / n)
    return Bound("covering numbers (Ledent et al.)", s.error(g) + c + tail, s.error(g), float(c), float(tail), float("nan"),
                 g, assumes="main term of the published code's formula, margin added by us", certificate=False)


def long_sedghi(layers: list[Layer], s: Sample, delta: float, margin: float | None) -> Bound:
    """As the code published with the paper computes the bound of Long and Sedghi 2020, its universal constant set to 1."""
    layers, g = _dense(layers), 1.0 if margin is None else margin
    norms = _filters(layers)
    product = float(np.prod([a for a, _ in norms]))
    c = len(layers) * product ** (1 / len(layers)) * np.sqrt(sum(v.weight.numel() for v in layers) / s.m)
    tail = np.sqrt(np.log(1 / delta) / s.m)
    return Bound("parameters (Long and Sedghi)", s.error(g) + c + tail, s.error(g), float(c), float(tail), product, g,
                 assumes="a universal constant set to 1", certificate=False)


def published(layers: list[Layer], s: Sample, delta: float, top_degree: bool) -> float:
    """The formula of the code published with the paper, margin 1, with or without the in-degree of the last layer."""
    maps = _dense(layers)
    rho, sides = float(np.prod([v.norm for v in maps])), [np.sqrt(v.index.shape[1]) for v in maps[:-1]]
    logs = len(maps) * np.log(2 * max(sides) ** 2) + np.log(s.classes)
    root = np.prod(sides) * np.sqrt(s.energy.max()) * (np.sqrt(maps[-1].index.shape[1]) if top_degree else 1)
    tail = 3 * np.sqrt(np.log(2 * (rho + 2) ** 2 / delta) / (2 * s.m))
    return float(2**1.5 * (rho + 1) / s.m * (1 + np.sqrt(2 * logs)) * root + tail)


PEERS = {"golowich": golowich, "neyshabur": neyshabur, "bartlett": bartlett, "graf": graf, "ledent": ledent,
         "long_sedghi": long_sedghi}
PROVED = ("golowich", "neyshabur")  # of the peers, those that the chapter proves, so that they choose their margin afterwards


def bound(model: nn.Module, data, delta: float = 0.05, margin: float | None = None) -> Bound:
    """Bound on the probability of error of a chain-like network, from the norms of its filters and its in-degrees.

    Source: the theorem of the chapter "sparse-rademacher", after arXiv:2301.12033, constants ours.

    Parameters
    ----------
    model : see :func:`walk`; one score with labels -1 and 1, or a row of class scores.
    data : the sample that the bound is about, ``(x, y)`` or batches of it; the network may have been trained on it.
    delta : probability that the bound fails, over the draw of the sample.
    margin : fixed before looking at the data; None lets the bound choose, at the price of a finer union.

    Returns
    -------
    Bound, with every factor; above 1 it says nothing.

    Raises
    ------
    BoundError : what the theorem does not cover, and impossible numbers.
    """
    check_probability(delta)
    data, first = _readable_twice(data)
    layers = walk(model, first)
    return sparse(layers, sample(model, data), delta, margin)


def all_bounds(model: nn.Module, data, delta: float = 0.05, margin: float | None = None,
               which: tuple[str, ...] = tuple(PEERS)) -> dict[str, Bound]:
    """The chapter's bound and its peers on one network and sample; see :func:`bound`."""
    check_probability(delta)
    data, first = _readable_twice(data)
    layers, s = walk(model, first), sample(model, data)
    return {"sparse": sparse(layers, s, delta, margin)} | {k: PEERS[k](layers, s, delta, margin) for k in which}
