"""Experiments of the chapter "few-shot-collapse"; each returns arrays whose first axis is the seed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from lib import stats
from lib.ensemble import generators
from lib.features import cdnv, moments, pairs
from lib.papers.few_shot_collapse import certificates, theorems
from lib.papers.few_shot_collapse.episodes import few_shot_error, pair_errors

from . import drawings

HEADS = ("centre", "ridge", "logistic")


def _normal(gen: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=gen, dtype=torch.float64)


def _margins(gen: torch.Generator, s_i: Tensor, s_j: Tensor, delta: Tensor, n: int, draws: int) -> Tensor:
    """Margins [draws] of a sample of class i against centres of n samples; standard deviations along axes [p]."""
    p = len(delta)
    u, a, b = _normal(gen, draws, p) * s_i, _normal(gen, draws, p) * s_i / n**0.5, _normal(gen, draws, p) * s_j / n**0.5
    return (u + delta - b).square().sum(1) - (u - a).square().sum(1)


def gaussian_pairs(count: int, draws: int, dimensions: tuple[int, ...], shots: tuple[int, ...], seeds: list[int]) -> dict:
    """Two-way errors of random Gaussian pairs beside each bound, averaged over the two orders.

    ``error`` and ``hits`` (of 2 draws) [seed, pair]; ``bounds`` [seed, pair, 5]: distance, direction, isotropic form (NaN
    where not isotropic), Gaussian Cantelli, approximation; ``facts`` [seed, pair, 3]: V, p, n.
    """
    out: dict[str, list] = {"hits": [], "bounds": [], "facts": []}
    for seed in seeds:
        gen, rows = generators([seed])[0], ([], [], [])
        for i in range(count):
            p = dimensions[int(torch.randint(len(dimensions), (1, ), generator=gen))]
            n = shots[int(torch.randint(len(shots), (1, ), generator=gen))]
            V = 10**(float(torch.rand(1, generator=gen)) * 2.8 - 2.3)
            uneven = 2**(float(torch.rand(1, generator=gen)) * 2 - 1)
            spectrum = torch.ones(p, dtype=torch.float64)
            if i % 2:
                spectrum = torch.arange(1, p + 1, dtype=torch.float64)**-1.5
            s = [(spectrum / spectrum.sum() * V * w).sqrt() for w in (uneven, 2 - uneven if uneven < 2 else 0.05)]
            direction = _normal(gen, p)
            delta = direction / direction.norm()
            hits, found = 0, []
            for a, b, sign in ((s[0], s[1], 1.0), (s[1], s[0], -1.0)):
                hits += int((_margins(gen, a, b, sign * delta, n, draws) <= 0).sum())
                va, vb = (a**2).sum(), (b**2).sum()
                along = [(q**2 * delta**2).sum() for q in (a, b)]
                aa, ab, bb = (a**4).sum(), (a**2 * b**2).sum(), (b**4).sum()
                v = theorems.signal(along[0], along[1], aa, ab, n)
                cantelli, near = theorems.gaussian(va, vb, v, aa, bb, n)
                found.append([
                    theorems.by_distance(va, vb, n),
                    theorems.by_direction(va[None], v[None], n)[0], torch.nan, cantelli, near
                ])
            both = np.mean(np.array([[float(x) for x in row] for row in found]), 0)
            mean_v = float(((s[0]**2).sum() + (s[1]**2).sum()) / 2)
            both[2] = np.nan if i % 2 else min(1.0, 16 * (1 / n + 1 / p) * mean_v)
            rows[0].append(hits)
            rows[1].append(np.minimum(both, 1.0))
            rows[2].append([mean_v, p, n])
        for key, row in zip(out, rows, strict=True):
            out[key].append(row)
    found = {k: np.array(v) for k, v in out.items()}
    return {
        "hits": found["hits"].astype(np.int32), "bounds": found["bounds"].astype(np.float32), "facts": found["facts"].astype(
            np.float32), "error": (found["hits"] / (2 * draws)).astype(np.float32)
    }


def two_point(V: tuple[float, ...], draws: int, seeds: list[int]) -> dict:
    """Error with known centres of the two-point law that attains Cantelli's bound; ``error`` [seed, V]."""
    out = []
    for seed in seeds:
        gen = generators([seed])[0]
        out.append([])
        for v in V:
            q = 4 * v / (1 + 4 * v)
            towards = torch.rand(draws, generator=gen, dtype=torch.float64) < q
            x = torch.where(towards, -0.5, 0.5 * q / (1 - q))
            out[-1].append(float(((x + 1).abs() <= x.abs()).double().mean()))
    return {"error": np.array(out)}


def from_samples(sizes: tuple[int, ...], trials: int, delta: float, p: int, seeds: list[int]) -> dict:
    """CDNV of two bounded classes, bounded from samples; ``covered`` and ``ratio`` (median bound over truth) [seed, size]."""
    side, d = 0.49 / p**0.5, 0.5
    radius, truth = side * p**0.5, p * side**2 / 3 / d**2
    shift = torch.zeros(p, dtype=torch.float64)
    shift[0] = d
    covered, ratio = [], []
    for seed in seeds:
        gen = generators([seed])[0]
        rows = [[], []]
        for m in sizes:
            x = (torch.rand(trials, 2, m, p, generator=gen, dtype=torch.float64) * 2 - 1) * side
            x[:, 1] += shift
            mean = x.mean(2)
            v = (x - mean[:, :, None]).square().sum(3).mean(2).mean(1)
            limit = sample_bound(v, (mean[:, 0] - mean[:, 1]).norm(dim=1), m, radius, delta)
            rows[0].append(float((limit >= truth).double().mean()))
            rows[1].append(float((limit / truth).median().clamp(max=1e6)))
        covered.append(rows[0])
        ratio.append(rows[1])
    return {"covered": np.array(covered), "ratio": np.array(ratio)}


def sample_bound(var: Tensor, d: Tensor, m: int, radius: float, delta: float) -> Tensor:
    """Bound on the CDNV of two classes from samples: mean variance and distance of means [...], radius of both classes."""
    L = math.log(4 / delta)
    e1, e2 = radius * (m**-0.5 + math.sqrt(2 * L / m)), radius**2 * math.sqrt(L / (2 * m))
    bound = (var + e1**2 + e2) / d**2 / (1 - 2 * e1 / d)**2
    return torch.where(d > 2 * e1, bound, torch.inf)


def from_classes(population: int, counts: tuple[int, ...], draws: int, delta: float, seeds: list[int]) -> dict:
    """Means of the clipped bound over pairs of ``counts`` random classes against the population's.

    ``spread`` [seed, count], standard deviation; ``missed`` [seed, count, 2], share of draws whose Hoeffding and whose
    relative-entropy limit lies below the truth; ``slack`` [seed, count, 2], mean limit less truth.
    """
    spread, missed, slack = [], [], []
    for seed in seeds:
        gen = generators([seed])[0]
        mean = _normal(gen, population, 8)
        var = 0.02 + 0.1 * torch.rand(population, generator=gen, dtype=torch.float64)
        V = (var[:, None] + var[None]) / 2 / torch.cdist(mean, mean).square().fill_diagonal_(torch.inf)
        g = (theorems.constant(5) * V).clamp(max=1.0)
        truth = float((g.sum() + population) / population**2)  # two independent draws may be the same class
        rows = ([], [], [])
        for count in counts:
            u = []
            for _ in range(draws):
                i = torch.randint(population, (count, ), generator=gen)
                same = i[:, None] == i[None]
                part = torch.where(same, 1.0, g[i][:, i]).fill_diagonal_(0.0)  # one class twice: never told apart
                u.append(float(part.sum() / (count * (count - 1))))
            limits = np.array([[
                certificates.hoeffding(x, count // 2, delta),
                stats.kl_inverse(x,
                                        math.log(1 / delta) / (count // 2))
            ] for x in u])
            rows[0].append(np.std(u, ddof=1))
            rows[1].append((limits < truth).mean(0))
            rows[2].append((limits - truth).mean(0))
        for out, row in zip((spread, missed, slack), rows, strict=True):
            out.append(row)
    return {"spread": np.array(spread), "missed": np.array(missed), "slack": np.array(slack)}


def split(n_target: int, n_certify: int, n_source: int, seed: int, pool: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three disjoint random sets of classes: new ones, ones to certify on, source."""
    order = pool[torch.randperm(len(pool), generator=generators([seed])[0])]
    ends = n_target, n_target + n_certify, n_target + n_certify + n_source
    return order[:ends[0]], order[ends[0]:ends[1]], order[ends[1]:ends[2]]


def mean_v(z: Tensor) -> float:
    """CDNV averaged over pairs."""
    return float(pairs(cdnv(z)).mean())


def of_pairs(z: Tensor, shots: tuple[int, ...], gen: torch.Generator, repeats: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Means over pairs [shots, 5]: error, distance and direction bounds (each at most 1), approximation, distance unclipped;
    and rank correlations [2, 2] of the error at fewest and most shots with the CDNV and with the directional one."""
    m, out, ranks = moments(z), [], []
    i, j = torch.triu_indices(len(z), len(z), 1)
    for n in shots:
        e, b = pair_errors(z, n, gen, repeats)[i, j], theorems.bounds(m, n)
        found = e, b["distance"].clamp(max=1), b["direction"], b["approximation"], b["distance"]
        out.append([float(x.mean()) for x in found])
        if n in (shots[0], shots[-1]):
            ranks.append([stats.spearman(e, b["V"]), stats.spearman(e, b["directional"])])
    return np.array(out), np.array(ranks)


def whitened(z: Tensor, source: Tensor, shrink: float = 0.1) -> Tensor:
    """Features [C, m, p] in coordinates in which the source classes' mean covariance is the identity, shrunk to its mean."""
    r = (source - source.mean(1, keepdim=True)).reshape(-1, source.shape[-1]).double()
    s = r.T @ r / len(r)
    s = (1 - shrink) * s + shrink * s.diagonal().mean() * torch.eye(len(s), dtype=s.dtype)
    values, vectors = torch.linalg.eigh(s)
    return z.double() @ vectors / values.sqrt()


def pretrained(counts: tuple[int, ...], total: int, steps: int, batch: int, at: tuple[int, ...], shots: tuple[int, ...],
               n_target: int, n_certify: int, per_class: int, certify: tuple[int, ...], episodes: int, tasks: int,
               seeds: list[int], device: str = "cpu") -> dict:
    """Pretrain on ``counts`` source classes, ``total`` images in all, and measure transfer to new letters.

    ``episodes`` measure an error, ``tasks`` episodes enter a certificate.

    Returns
    -------
    ``V`` [seed, count, checkpoint, 3], CDNV of source training images, fresh source images, new classes; ``pixels``
    [seed, 2], CDNV and 5-way 1-shot error of raw pixels; ``error`` [seed, count, checkpoint, 2], 5-way error at 1 and 5
    shots; ``heads`` [seed, count, head, 3], 5-way error at 1, 5 and 20 shots; ``white`` [seed, count], 5-way 1-shot error
    of whitened features; ``pairs`` [seed, count, shots, 5] and ``ranks`` [seed, count, 2, 2] of :func:`of_pairs`;
    ``ratio`` [seed, count], mean directional over mean CDNV; for the last count ``limits`` [seed, classes, task, 4]
    (Hoeffding, Bernstein, pairs, episodes) and ``new`` [seed, task], the error on new classes, for the tasks (ways, shots)
    (2, 1), (5, 1), (5, 5); ``scatter`` [6, pairs] of the first seed and last count: V, directional, errors and
    approximations at 1 and 5 shots; ``clouds`` [2, 6, samples, 2], three source and three new classes on two principal
    axes, before and after.
    """
    pool, out = drawings.Pool.of("glyphs", device), {
        k: []
        for k in ("V", "pixels", "error", "heads", "white", "pairs", "ranks", "ratio", "limits", "new")
    }
    extra: dict = {}
    for seed in seeds:
        gen = generators([seed])[0]
        new, held, source = split(n_target, n_certify, max(counts), seed, torch.arange(len(pool)))
        x_new = pool.draw(new, per_class, gen)
        raw = x_new.reshape(*x_new.shape[:2], -1).cpu()
        out["pixels"].append([mean_v(raw), few_shot_error(raw, ways=5, shots=1, episodes=episodes, generator=gen)])
        rows: dict = {k: [] for k in out if k not in ("pixels", "limits", "new")}
        for count in counts:
            classes = source[:count]
            x, fresh = pool.draw(classes, total // count, gen), pool.draw(classes[:50], per_class, gen)
            nets, _ = drawings.train(drawings.batches(x, batch), len(x), steps, gen, seed, at, device=device)
            curve, errors = [], []
            for net in nets.values():
                z = [drawings.features(net, part) for part in (x[:50, :per_class], fresh, x_new)]
                curve.append([mean_v(part) for part in z])
                errors.append([few_shot_error(z[2], ways=5, shots=s, episodes=episodes, generator=gen) for s in (1, 5)])
            rows["V"].append(curve)
            rows["error"].append(errors)
            rows["heads"].append(
                [[few_shot_error(z[2], ways=5, shots=s, episodes=episodes, head=h, generator=gen) for s in (1, 5, 20)]
                 for h in HEADS])
            rows["white"].append(few_shot_error(whitened(z[2], z[1]), ways=5, shots=1, episodes=episodes, generator=gen))
            found, ranks = of_pairs(z[2], shots, gen)
            m = moments(z[2])
            rows["pairs"].append(found)
            rows["ranks"].append(ranks)
            rows["ratio"].append(float(pairs(m.directional).mean() / pairs(m.V).mean()))
        for key, row in rows.items():
            out[key].append(row)
        if not extra:
            extra = _pictures(nets, x, x_new, z[2], gen)
        zc, kinds = drawings.features(net, pool.draw(held, per_class, gen)), ((2, 1), (5, 1), (5, 5))
        out["new"].append([few_shot_error(z[2], ways=w, shots=s, episodes=4 * episodes, generator=gen) for w, s in kinds])
        found = [[certificates.certificate(zc[:c], ways=w, shots=s, episodes=tasks, seed=seed) for w, s in kinds]
                 for c in certify]
        out["limits"].append([[[f.hoeffding, f.bernstein, f.pairs, f.episodes] for f in row] for row in found])
    return {k: np.array(v, np.float32) for k, v in (out | extra).items()}


def _pictures(nets: dict, x: Tensor, x_new: Tensor, z: Tensor, gen: torch.Generator) -> dict:
    """What two figures draw of one run."""
    b1, b5 = theorems.bounds(z, 1), theorems.bounds(z, 5)
    i, j = torch.triu_indices(len(z), len(z), 1)
    few = torch.randperm(len(i), generator=gen)[:400]
    rows = [
        b1["V"], b1["directional"],
        pair_errors(z, 1, gen, 8)[i, j],
        pair_errors(z, 5, gen, 8)[i, j], b1["approximation"], b5["approximation"]
    ]
    clouds, m = [], min(x.shape[1], x_new.shape[1])
    for net in (next(iter(nets.values())), list(nets.values())[-1]):
        f = drawings.features(net, torch.cat([x[:3, :m], x_new[:3, :m]]))
        flat = (f - f.mean((0, 1))).reshape(-1, f.shape[-1])
        axes = torch.linalg.svd(flat, full_matrices=False).Vh[:2]
        clouds.append((flat @ axes.T / flat.norm(dim=1).mean()).reshape(*f.shape[:2], 2).numpy())
    return {"scatter": np.stack([r[few].numpy() for r in rows]), "clouds": np.stack(clouds)}


def by_samples(sizes: tuple[int, ...], count: int, steps: int, batch: int, n_target: int, per_class: int, episodes: int,
               seeds: list[int], device: str = "cpu") -> dict:
    """The same with ``sizes`` images a class: ``V`` [seed, size, 3], 5-way 1-shot ``error`` [seed, size] on new classes."""
    pool, V, error = drawings.Pool.of("glyphs", device), [], []
    for seed in seeds:
        gen = generators([seed])[0]
        new, _, source = split(n_target, 0, count, seed, torch.arange(len(pool)))
        x_new, fresh = pool.draw(new, per_class, gen), pool.draw(source[:50], per_class, gen)
        rows = ([], [])
        for m in sizes:
            x = pool.draw(source, m, gen)
            net = drawings.train(drawings.batches(x, batch), len(x), steps, gen, seed, device=device)[0][steps]
            z = [drawings.features(net, part) for part in (x[:50, :per_class], fresh, x_new)]
            rows[0].append([mean_v(part) for part in z])
            rows[1].append(few_shot_error(z[2], ways=5, shots=1, episodes=episodes, generator=gen))
        V.append(rows[0])
        error.append(rows[1])
    return {"V": np.array(V), "error": np.array(error)}


def other_script(count: int, total: int, steps: int, batch: int, n_target: int, per_class: int, episodes: int,
                 seeds: list[int], device: str = "cpu") -> dict:
    """New letters of the largest script, pretrained on it or on others: ``V``, 20-way 1-shot ``error`` [seed, 2]."""
    pool, V, error = drawings.Pool.of("glyphs", device), [], []
    script = max(range(int(pool.parent.max()) + 1), key=lambda s: int((pool.parent == s).sum()))
    inside, outside = (pool.parent == script).nonzero()[:, 0], (pool.parent != script).nonzero()[:, 0]
    for seed in seeds:
        gen = generators([seed])[0]
        new, _, same = split(n_target, 0, count, seed, inside)
        other = split(0, 0, count, seed, outside)[2]
        x_new, rows = pool.draw(new, per_class, gen), ([], [])
        for source in (same, other):
            x = pool.draw(source, total // count, gen)
            net = drawings.train(drawings.batches(x, batch), len(x), steps, gen, seed, device=device)[0][steps]
            z = drawings.features(net, x_new)
            rows[0].append(mean_v(z))
            rows[1].append(few_shot_error(z, ways=20, shots=1, episodes=episodes, generator=gen))
        V.append(rows[0])
        error.append(rows[1])
    return {"V": np.array(V), "error": np.array(error)}
