"""Experiments of the chapter: complexities by enumeration and ascent, trained trees and conv nets, and what is certified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib import data
from lib.ensemble import seeded
from lib.papers.sparse_rademacher import certificates
from lib.papers.sparse_rademacher.bounds import PEERS, PROVED, Sample, golowich, sparse
from lib.papers.sparse_rademacher.walk import Layer, walk

from . import complexity, convs, trees
from .trees import Trees

DELTA = 0.05
CAP = 1e9  # what an infinite bound counts as, where a net has collapsed


def proof_steps(m: int, size: int, seeds: Sequence[int]) -> dict:
    """Left over right sides of contraction (two forms), pooling, peeling, concentration: [seed, 5], at most 1, 2, 1, 1, 1."""
    a = complexity.contraction(m, size, 0.7, 2, seeds)["ratio"]
    b = complexity.peeling(m, 3, 0.7, 360, seeds)["ratio"]
    return {"ratio": np.concatenate([a, b], 1).astype(np.float32)}


def shuffled_digits() -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits [n, 8, 8] in [0, 1] and labels, in a fixed random order."""
    d = data.digits()
    order = np.random.default_rng(0).permutation(len(d.x))
    return d.x[order].astype(np.float32) / d.x.max(), d.y[order]


def unit(layers: list[Layer], energy: np.ndarray, m: int, total: float) -> tuple[float, float]:
    """Proved complexities of the class of norm product 1: the chapter's, and with one node a layer."""
    s = Sample(m, energy, total, 1.0, np.ones(m), 1)
    one = [Layer(v.kind, v.name, v.index, v.shape, v.channels, v.weight / v.norm, None, v.active, v.geometry) for v in layers]
    ours, theirs = sparse(one, s, DELTA, 1.0), golowich(one, s, DELTA, 1.0)
    return ours.capacity / 4, theirs.capacity / (2 * (theirs.rho + 1)) * theirs.rho


def two_layers(geometries, ms, restarts: int, steps: int, seeds: Sequence[int]) -> dict:
    """Complexity of two-layer classes on digits, and the proved bound.

    Returns ``found`` [seed, geometry, m, 2] (filters shared, and not), ``proved`` and ``one_node`` [geometry, m].
    """
    x, _ = shuffled_digits()
    proved = np.empty((2, len(geometries), len(ms)))
    for i, (kernel, stride) in enumerate(geometries):
        side = (8 - kernel) // stride + 1
        with seeded(0):  # their norms are divided out, but not their rounding
            net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, kernel, stride, bias=False), torch.nn.ReLU(), torch.nn.Flatten(),
                                      torch.nn.Linear(3 * side * side, 1, bias=False))
        for j, m in enumerate(ms):
            squares = (x[:m].reshape(m, -1).astype(float) ** 2).sum(0)
            proved[:, i, j] = unit(walk(net, torch.tensor(x[:1, None])), squares, m, squares.sum())
    return {"found": complexity.two_layers(x, geometries, ms, seeds, restarts, steps), "proved": proved[0],
            "one_node": proved[1]}


def deeper(task: str, kernels, ms, width: int, steps: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Complexity of trees on digits, or on animals padded to 32 pixels, from below: ``found`` [seed, tree, m] by ascent, and
    what is proved, ``proved`` and ``one_node`` [tree, m]."""
    x = convs.images("packages", 32)[0][:max(ms), 0].numpy() if task == "animals" else shuffled_digits()[0]
    side = x.shape[1]
    found = np.empty((len(seeds), len(kernels), len(ms)), np.float32)
    proved = np.empty((2, len(kernels), len(ms)))
    for i, k in enumerate(kernels):
        layers = walk(Trees(k, width, [0], side).member(0), torch.tensor(x[:1, None]))
        for j, m in enumerate(ms):
            found[:, i, j] = complexity.ascend(torch.tensor(x[:m]).to(device), k, width, steps, 0.05, seeds)
            squares = (x[:m].reshape(m, -1).astype(float) ** 2).sum(0)
            proved[:, i, j] = unit(layers, squares, m, squares.sum())
    return {"found": found, "proved": proved[0], "one_node": proved[1]}


def margins(nets: Trees, x: Tensor, y: Tensor, chunk: int = 2000) -> Tensor:
    """Margins [S, n] of trees on x [S, n, s, s]."""
    with torch.no_grad():
        return torch.cat([nets(x[:, i:i + chunk]) for i in range(0, x.shape[1], chunk)], 1) * y


def energies(x: Tensor) -> np.ndarray:
    """Sum of squares [S, positions] over the samples of x [S, n, s, s], and the largest squared norm [S, 1] beside it."""
    parts = [x[i].flatten(1).square() for i in range(len(x))]
    return np.stack([np.append(p.sum(0, dtype=torch.float64).cpu().numpy(), float(p.sum(1).max())) for p in parts])


def judged(nets: Trees, x: Tensor, y: Tensor, energy: np.ndarray, which: Sequence[str] = ()) -> np.ndarray:
    """Bounds [S, 3 + peers] of trained trees on their samples: ours (total, margin error, norm product), peers' totals."""
    values, rows = margins(nets, x, y).cpu().numpy(), []
    for i in range(len(x)):
        layers = walk(nets.member(i).cpu(), x[i, :1, None].cpu())
        s = Sample(x.shape[1], energy[i, :-1], float(energy[i, :-1].sum()), float(energy[i, -1]), values[i], 1)
        b = sparse(layers, s, DELTA, None)
        rows.append([b.total, b.margin_error, b.rho] + [PEERS[k](layers, s, DELTA, None if k in PROVED else b.margin).total
                                                        for k in which])
    return np.array(rows)


def generators(seeds: Sequence[int], device: str, offset: int) -> list[torch.Generator]:
    """One generator a seed."""
    return [torch.Generator(device).manual_seed(int(s) + offset) for s in seeds]


def drawn(task: str, n: int, side: int, noise: float, gens: Sequence[torch.Generator], device: str) -> tuple[Tensor, Tensor]:
    """A sample of stripes, or of nested stripes, a generator: x [S, n, side, side], y [S, n]."""
    pairs = [trees.nested(n, side, noise, g, device) if task == "nested" else trees.stripes(n, side, noise, g, device)
             for g in gens]
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])


def striped(n: int, side: int, noise: float, seeds: Sequence[int], device: str, offset: int) -> tuple[Tensor, Tensor]:
    """A sample of stripes a seed: x [S, n, side, side], y [S, n]."""
    return drawn("stripes", n, side, noise, generators(seeds, device, offset), device)


def stripes(kernels, widths, m: int, n_test: int, steps: int, every: int, decay: float, lr: float, noise: float,
            seeds: Sequence[int], device: str = "cpu") -> dict:
    """Trees of several widths on stripes, watched while they train.

    Returns ``trace`` [seed, width, reading, 3] (total bound, margin error, norm product), ``test`` error [seed, width] and
    ``peers`` [seed, width, peer] at the end.
    """
    x, y = striped(m, 8, noise, seeds, device, 0)
    x_test, y_test = striped(n_test, 8, noise, seeds, device, 300_000)
    trace, test, peers, energy = [], [], [], energies(x)
    for width in widths:
        nets = Trees(kernels, width, seeds, 8, device)
        said = trees.train(nets, x, y, lr, decay, steps, 128, seeds, trees.hinge(6.0), every,
                           lambda nets=nets: judged(nets, x, y, energy))
        trace.append(np.stack(said, 1))
        test.append((margins(nets, x_test, y_test) <= 0).float().mean(1).cpu().numpy())
        peers.append(judged(nets, x, y, energy, tuple(PEERS))[:, 3:])
    return {"trace": np.stack(trace, 1).astype(np.float32), "test": np.stack(test, 1), "peers": np.stack(peers, 1)}


def scaling(kernels, width: int, ms, steps: int, decay: float, lr: float, noise: float, seeds: Sequence[int],
            device: str = "cpu") -> dict:
    """Bounds of trees trained on samples of several sizes, [seed, m, 3]: total, margin error, norm product."""
    out = []
    for m in ms:
        x, y = striped(m, 8, noise, seeds, device, 0)
        nets = Trees(kernels, width, seeds, 8, device)
        trees.train(nets, x, y, lr, decay, steps, 128, seeds, trees.hinge(6.0))
        out.append(judged(nets, x, y, energies(x)))
    return {"bounds": np.stack(out, 1).astype(np.float32)}


def digits(nets, steps: int, lr: float, n_train: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Trees that tell even from odd digits: ``bounds`` [seed, net, 3 + peers] and ``test`` error [seed, net].

    ``nets`` are triples of kernels, width and weight decay; each seed has a split of its own.
    """
    x, y = shuffled_digits()
    x, y = torch.tensor(x), torch.tensor(1.0 - 2.0 * (y % 2))
    splits = [torch.randperm(len(x), generator=torch.Generator().manual_seed(int(s))) for s in seeds]
    ends = (0, n_train), (n_train, len(x))
    part = [[torch.stack([v[p[a:b]] for p in splits]).to(device) for v in (x, y)] for a, b in ends]
    bounds, test = [], []
    for kernels, width, decay in nets:
        trained = Trees(kernels, width, seeds, 8, device)
        trees.train(trained, *part[0], lr, decay, steps, 128, seeds, trees.hinge(1.5))
        bounds.append(judged(trained, *part[0], energies(part[0][0]), tuple(PEERS)))
        test.append((margins(trained, *part[1]) <= 0).float().mean(1).cpu().numpy())
    return {"bounds": np.stack(bounds, 1), "test": np.stack(test, 1)}


def wrong(net: torch.nn.Module, x: Tensor, y: Tensor, chunk: int = 250) -> int:
    """Errors of a network on images [n, s, s]; small chunks stay in the cache."""
    with torch.no_grad():
        return sum(int((net(x[i:i + chunk, None])[:, 0] * y[i:i + chunk] <= 0).sum()) for i in range(0, len(x), chunk))


def certified(kernels, width: int, decay: float, m: int, n_held: int, steps: int, lr: float, noise: float, draws: int,
              seeds: Sequence[int], device: str = "cpu") -> dict:
    """Three certificates of trees on stripes and on digits: [seed, task, 4], by norms, PAC-Bayes, hold-out, and test error.

    The hold-out sample is as large as the test sample of that task (``n_held``, or what is left of the digits) and is
    separate from training; the test error on stripes is measured on a sample of its own.
    """
    out = np.empty((len(seeds), 2, 4))
    x, y = shuffled_digits()
    for i, s in enumerate(seeds):
        gen = torch.Generator().manual_seed(int(s) + 900_000)  # not the stream of the initial weights, where the prior sits
        order = torch.randperm(len(x), generator=gen)
        digit = torch.tensor(x)[order], torch.tensor(1.0 - 2.0 * (y % 2))[order]
        tasks = [(*(trees.stripes(n, 8, noise, gen) for n in (m, n_held, 20_000)), 6.0),
                 (*(tuple(v[a:b] for v in digit) for a, b in ((0, 1200), (1200, 1500), (1500, len(x)))), 1.5)]
        for t, (train, held, test, target) in enumerate(tasks):
            nets = Trees(kernels, width, [s], 8, device)
            start = [p.detach().clone() for p in nets.member(0).parameters()]
            a, b = (v[None].to(device) for v in train)
            trees.train(nets, a, b, lr, decay, steps, 128, [s], trees.hinge(target))
            net = nets.member(0).cpu()

            def errors(f, pair=train, gen=gen):
                some = torch.randint(len(pair[0]), (1000,), generator=gen)  # unbiased, and independent from draw to draw
                return wrong(f, pair[0][some], pair[1][some]) / 1000

            out[i, t] = (judged(nets, a, b, energies(a))[0, 0],
                         certificates.pac_bayes(net, start, errors, len(train[0]), DELTA, draws=draws, seed=int(s)).total,
                         certificates.hold_out(wrong(net, *held), len(held[0]), DELTA).total,
                         wrong(net, *test) / len(test[0]))
    return {"certificates": out}


def streamed(task: str, nets_of, m_train: int, ms, steps: int, decay: float, lr: float, noise: float, target: float,
             seeds: Sequence[int], device: str = "cpu", chunk: int = 50_000) -> dict:
    """Certificates on growing samples, larger than what training saw, ``total`` [seed, net, m].

    The bound holds for every weight at once, so that weights may come from a part of the sample; the rest is streamed past
    them, and the share of it that they get wrong is ``error`` [seed, net]. ``nets_of`` are pairs of kernels and width.
    """
    out = np.empty((len(seeds), len(nets_of), len(ms)))
    x, y = drawn(task, m_train, 8, noise, generators(seeds, device, 0), device)
    trained = [Trees(kernels, width, seeds, 8, device) for kernels, width in nets_of]
    for nets in trained:
        trees.train(nets, x, y, lr, decay, steps, 128, seeds, trees.hinge(target))
    gens, have = generators(seeds, device, 800_000), m_train
    energy, kept = energies(x)[:, :-1], [[margins(nets, x, y).cpu().numpy()] for nets in trained]
    for j, m in enumerate(ms):
        while have < m:
            n = min(chunk, m - have)
            a, b = drawn(task, n, 8, noise, gens, device)
            energy += energies(a)[:, :-1]
            for seen, nets in zip(kept, trained):
                seen.append(margins(nets, a, b).cpu().numpy())
            have += n
        for t, (seen, nets) in enumerate(zip(kept, trained)):
            every = np.concatenate(seen, 1)
            for i in range(len(seeds)):
                s = Sample(have, energy[i], float(energy[i].sum()), 1.0, every[i], 1)
                out[i, t, j] = sparse(walk(nets.member(i).cpu(), x[i, :1, None].cpu()), s, DELTA, None).total
    error = np.stack([(np.concatenate(seen[1:], 1) <= 0).mean(1) for seen in kept], 1)
    return {"total": out, "error": error}


def sweep(sets, widths, m: int, steps: int, decays, lr: float, noise: float, seeds: Sequence[int],
          device: str = "cpu") -> dict:
    """Bounds on stripes over trees and widths, the decay chosen on a separate seed-sized sample: [seed, tree, width].

    ``sets`` are pairs of side and kernels.
    """
    out = np.empty((len(seeds), len(sets), len(widths)))
    for t, (side, kernels) in enumerate(sets):
        x, y = striped(m, side, noise, seeds, device, 0)
        choice = striped(m, side, noise, seeds, device, 700_000)
        for w, width in enumerate(widths):
            found = []
            for decay in decays:
                nets = Trees(kernels, width, seeds, side, device)
                trees.train(nets, x, y, lr, decay, steps, 128, seeds, trees.hinge(6.0))
                found.append((judged(nets, *choice, energies(choice[0]))[:, 0].mean(), judged(nets, x, y, energies(x))[:, 0]))
            out[:, t, w] = min(found, key=lambda f: f[0])[1]
    return {"total": out}


def widening(trace: np.ndarray) -> np.ndarray:
    """log2 of the bound at the end of the widest net over the narrowest, [seed], of traces [seed, width, reading, 6]; where
    one of them has collapsed, log2 of the cap."""
    ends = np.minimum(np.asarray(trace, float)[:, [0, -1], -1, 0], CAP)
    return np.log2(np.where((ends < CAP).all(1), ends[:, 1] / ends[:, 0], CAP))


def closed_form(layers: int, side: int) -> dict[str, float]:
    """The constant image on convolutions of 2 x 2 with stride 1, everything 1/2 and 1/positions: forward value and bounds.

    All per root of the sample's size, at norm product 1: the complexity that this one network already has, the proved
    bound, and the bound with and without the in-degree of the last layer in the published form.
    """
    places = side - layers
    reached = 2**layers * places
    log = 1 + np.sqrt(2 * (layers + 1) * np.log(8))
    ends = (side - 1) ** 2
    proved = (1 + np.sqrt(2 * (layers * np.log(2) + np.log(ends)))) * 2**layers * places
    return {"value": float(reached), "complexity": float(reached * np.sqrt(2 / np.pi)), "without": float(2**layers * log),
            "with": float(2**layers * log * places), "proved": float(proved)}
