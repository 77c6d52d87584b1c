"""How features cluster at each level of a hierarchy: nearest class centre, CDNV, margins, and what chance would give.

Nothing here needs all features at once: they may come in chunks, twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import stats
from lib.features import FeaturesError

Chunks = Callable[[], Iterable[Tensor]]


@dataclass(frozen=True)
class Level:
    """How features cluster by one set of labels.

    Attributes
    ----------
    accuracy : leave-one-out nearest-class-centre accuracy, with an interval whose units are the classes.
    train_accuracy : the same with every row in its own centre, biased upwards.
    cdnv : (var_i + var_j) / 2 d_ij^2, mean over pairs of classes; infinite where two centres coincide.
    margin : mean of (wrong - own) / (wrong + own), squared distances to the nearest wrong and the own centre.
    random_labels : accuracy after the labels were permuted over instances.
    random_groups : accuracy after whole groups of the next finer level were permuted, mean over up to 20 permutations (200
        over the number of classes); NaN at the finest.
    chance : one over the number of classes.
    """

    accuracy: stats.Interval
    train_accuracy: float
    cdnv: float
    margin: float
    random_labels: float
    random_groups: float
    chance: float


def _codes(labels, n: int | None, name: str) -> Tensor:
    y = labels.cpu() if isinstance(labels, Tensor) else torch.as_tensor(np.unique(labels, return_inverse=True)[1])
    if y.ndim != 1 or (n is not None and len(y) != n):
        raise FeaturesError(f"the level {name!r} has labels of shape {tuple(y.shape)}; give one label for each of {n} rows.")
    return y.unique(return_inverse=True)[1]


def _chunked(features) -> Chunks:
    if callable(features):
        return features
    z = torch.as_tensor(features)
    if z.ndim != 2:
        raise FeaturesError(f"features of shape {tuple(z.shape)} are not one row each; give [N, p], or a function that "
                            "returns chunks [n, p].")
    return lambda: z.split(4096)


class _Sums:
    """First pass: sums of rows by label, and the mean square within."""

    def __init__(self, chunks: Chunks, labels: dict[str, Tensor]):
        self.n, self.centre = 0, None
        total = len(next(iter(labels.values())))
        for z in chunks():
            z = z.detach().cpu().double()
            if not torch.isfinite(z).all():
                raise FeaturesError("features hold NaN or infinity; look at the encoder before its features.")
            if self.centre is None:
                self.centre = z.mean(0)
                self.sum = {k: z.new_zeros(int(y.max()) + 1, z.shape[1]) for k, y in labels.items()}
                self.square = {k: z.new_zeros(int(y.max()) + 1) for k, y in labels.items()}
            z, rows = z - self.centre, slice(self.n, self.n + len(z))
            for k, y in labels.items():
                if len(y[rows]) < len(z):
                    raise FeaturesError(f"there are more features than labels ({total}); give one label a row.")
                self.sum[k].index_add_(0, y[rows], z)
                self.square[k].index_add_(0, y[rows], z.square().sum(1))
            self.n += len(z)
        if self.n != total:
            raise FeaturesError(f"{self.n} features and {total} labels do not fit; give one label a row.")


def clustering(features, labels_by_level: dict, instances=None, seed: int = 0) -> dict[str, Level]:
    """How features cluster by each level of a hierarchy.

    Parameters
    ----------
    features : the output of any encoder, [N, p]; or a function without arguments that returns chunks [n, p] in the order
        of the labels, the same each time it is called (twice).
    labels_by_level : name -> labels [N], finest level first.
    instances : [N] ids; rows with one id (views of one image) leave their class's centre together when one of them is
        judged. At a level whose classes are the instances themselves, and where absent, each row leaves alone.
    seed : of the permutations.

    Returns
    -------
    Name -> :class:`Level`.

    Raises
    ------
    FeaturesError : labels and features that do not fit, a class with a single row or instance, NaN.
    """
    chunks, known = _chunked(features), list(labels_by_level)
    if not known:
        raise FeaturesError("there is no level; give {\"class\": labels}.")
    n = None if callable(features) else len(torch.as_tensor(features))
    levels = {k: _codes(v, n, k) for k, v in labels_by_level.items()}
    n = len(levels[known[0]])
    levels = {k: _codes(v, n, k) for k, v in levels.items()}
    rows = torch.arange(n)
    units = rows if instances is None else _codes(instances, n, "instances")
    gen = torch.Generator().manual_seed(seed)
    left, wanted, groups = {}, {}, {}
    for i, (name, y) in enumerate(levels.items()):
        left[name] = rows if units is rows or _within(units, y) and _within(y, units) else units
        _at_least_two(name, y, left[name])
        wanted[name] = (y, left[name])
        wanted[f"{name} random"] = (_permuted(y, left[name], gen), left[name])
        if i and _within(y, levels[known[i - 1]]) and not _within(levels[known[i - 1]], y):
            raise FeaturesError(f"the level {known[i - 1]!r} is coarser than {name!r}, which follows it; give the finest "
                                "first.")
        if i and _within(finer := levels[known[i - 1]], y):
            groups[name] = [f"{name} groups {j}" for j in range(max(1, min(20, 200 // (int(y.max()) + 1))))]
            wanted |= {key: (_permuted(y, finer, gen), left[name]) for key in groups[name]}
    sums = _Sums(chunks, {k: y for k, (y, _) in wanted.items()} | ({} if units is rows else {"units": units}))
    found = _second_pass(chunks, wanted, sums)
    out = {}
    for name, y in levels.items():
        right, in_sample, margin = found[name]
        of_groups = [float(found[key][0].double().mean()) for key in groups.get(name, [])]
        out[name] = Level(_by_class(right, y), float(in_sample.double().mean()), _cdnv(sums, name, y), float(margin.mean()),
                          float(found[f"{name} random"][0].double().mean()),
                          float(np.mean(of_groups)) if of_groups else np.nan, 1 / (int(y.max()) + 1))
    return out


def _within(units: Tensor, y: Tensor) -> bool:
    """Whether each unit has one label."""
    return torch.stack([y, units]).unique(dim=1).shape[1] == int(units.max()) + 1


def _at_least_two(name: str, y: Tensor, units: Tensor) -> None:
    count = torch.stack([y, units]).unique(dim=1)[0].bincount()
    if len(count) < 2 or int(count.min()) < 2:
        raise FeaturesError(f"the level {name!r} has " + ("one class" if len(count) < 2 else "a class with one row or "
                            "instance, which has no centre without it") + "; leave it out.")
    if not _within(units, y):
        raise FeaturesError(f"rows of one instance have several labels at the level {name!r}; mend the ids.")


def _permuted(y: Tensor, units: Tensor, gen: torch.Generator) -> Tensor:
    """Labels after a permutation over units: each unit takes the label of another's first row."""
    first = torch.full((int(units.max()) + 1, ), len(y)).scatter_reduce(0, units, torch.arange(len(y)), "amin")
    return y[first][torch.randperm(len(first), generator=gen)][units]


def _second_pass(chunks: Chunks, wanted: dict, sums: _Sums) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """For each set of labels: right without the own rows, right with them, margin; [N] each."""
    found, at = {k: ([], [], []) for k in wanted}, 0
    rows_of = {k: u.bincount().double() for k, (_, u) in wanted.items()}
    counts = {k: y.bincount().double() for k, (y, _) in wanted.items()}
    for z in chunks():
        z = z.detach().cpu().double() - sums.centre
        rows, here = torch.arange(len(z)), slice(at, at + len(z))
        for k, (y, u) in wanted.items():
            label, unit = y[here], u[here]
            many = rows_of[k][unit]
            out = z if len(rows_of[k]) == len(y) else sums.sum["units"][unit]
            own = (sums.sum[k][label] - out) / (counts[k][label] - many)[:, None]
            d = torch.cdist(z, sums.sum[k] / counts[k][:, None]).square()
            inside = d[rows, label]
            d[rows, label] = torch.inf
            wrong = d.min(1).values
            mine = (z - own).square().sum(1)
            found[k][0].append(mine < wrong)
            found[k][1].append(inside < wrong)
            found[k][2].append(torch.nan_to_num((wrong - mine) / (wrong + mine)))
        at += len(z)
    return {k: tuple(torch.cat(part) for part in v) for k, v in found.items()}


def _by_class(right: Tensor, y: Tensor, alpha: float = 0.05) -> stats.Interval:
    """Share of right rows with Student's interval over classes as clusters."""
    from scipy.stats import t
    n, hits = y.bincount().double(), torch.zeros(int(y.max()) + 1, dtype=torch.float64).index_add_(0, y, right.double())
    C, share = len(n), float(hits.sum() / n.sum())
    spread = float(((hits - share * n).square().sum() * C / (C - 1)).sqrt() / n.sum())
    half = float(t.ppf(1 - alpha / 2, C - 1)) * spread
    return stats.Interval(share, max(0.0, share - half), min(1.0, share + half), C)


def _cdnv(sums: _Sums, name: str, y: Tensor) -> float:
    n = y.bincount().double()
    mean = sums.sum[name] / n[:, None]
    var = (sums.square[name] / n - mean.square().sum(1)).clamp_min(0)
    off = ~torch.eye(len(n), dtype=torch.bool)
    d2 = torch.cdist(mean, mean, compute_mode="donot_use_mm_for_euclid_dist").square()
    v = (var[:, None] + var[None]) / (2 * d2)
    return float(torch.where(d2 > 0, v, torch.inf)[off].mean())


def shares(features: Tensor, labels: list[Tensor]) -> Tensor:
    """Analysis of variance: shares [k + 1] of the total variance between groups of nested levels, coarsest first.

    ``labels`` [N] each, from fine to coarse. The first share lies between the coarsest classes, the next between the next
    finer classes within them, and so on; the last within the finest. They add up to 1. Raises FeaturesError where a class
    is not within one class of the next level, where shares would mean nothing.
    """
    codes = [_codes(y, len(features), "shares") for y in labels]
    if not all(_within(fine, coarse) for fine, coarse in zip(codes, codes[1:])):
        raise FeaturesError("each level's classes must lie within those of the next, which is coarser; give nested "
                            "labels, the finest first.")
    z = torch.as_tensor(features).double()
    z = z - z.mean(0)
    total = z.square().sum()
    if not total > 0:
        raise FeaturesError("all features are equal, so that there is no variance to share; look at the encoder.")
    between = [torch.zeros((), dtype=z.dtype, device=z.device)]
    for y in reversed(codes):
        y = y.to(z.device)
        n = y.bincount().double()
        sums = torch.zeros(len(n), z.shape[1], dtype=z.dtype, device=z.device).index_add_(0, y, z)
        between.append((sums.square().sum(1) / n).sum())
    return torch.diff(torch.stack([*between, total])) / total


def forced_choice(features: Tensor, classes: int, styles: int) -> float:
    """How often the same class in another style is nearer than another class in the same style; 1/2 where neither counts.

    ``features`` [classes * styles, p], styles moving fastest; mean over images and over all such pairs.
    """
    z = torch.as_tensor(features).double()
    d = torch.cdist(z, z).reshape(classes, styles, classes, styles)
    same_class = torch.einsum("csct->cst", d)
    same_style = torch.einsum("csks->csk", d)
    nearer = (same_class[..., None] < same_style[:, :, None]).double()
    nearer += 0.5 * (same_class[..., None] == same_style[:, :, None])
    kept = ~torch.eye(styles, dtype=torch.bool)[None, :, :, None] & ~torch.eye(classes, dtype=torch.bool)[:, None, None, :]
    return float(nearer[kept.expand_as(nearer)].mean())
