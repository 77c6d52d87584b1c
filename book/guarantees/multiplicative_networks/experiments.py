"""Experiments of the chapter: networks that are built and counted, and networks that are trained."""

from __future__ import annotations

import numpy as np
import torch
from numpy.polynomial import chebyshev
from scipy.optimize import linprog

from lib import data
from lib.papers.multiplicative_networks import builders, emulate
from lib.papers.multiplicative_networks.circuits import count, pieces

from . import training


def built(degrees, sets, seeds):
    """Counts and errors of built networks: all T_k, one T_n, random polynomials, products over index sets.

    Returns gates, depth and error of each [degree] or [set]; for random polynomials the error is [seed, degree].
    """
    x = torch.linspace(-1, 1, 1001, dtype=torch.float64)[:, None]
    out = {k: [] for k in ("all_gates", "all_depth", "all_error", "one_gates", "one_depth", "poly_gates", "poly_depth")}
    poly = np.empty((len(seeds), len(degrees)))
    with torch.no_grad():
        for j, n in enumerate(degrees):
            every, one = builders.chebyshev_network(n), builders.chebyshev_network(n, one=True)
            exact = np.cos(np.arange(n + 1) * np.arccos(x.numpy()))
            out["all_error"].append(np.abs(every(x).numpy() - exact).max())
            for name, net in (("all", every), ("one", one)):
                c = count(net)
                out[f"{name}_gates"].append(c.gates)
                out[f"{name}_depth"].append(c.depth)
            for i, s in enumerate(seeds):
                c = np.random.default_rng(s).standard_normal(n + 1)
                net = builders.polynomial_network(c)
                want = chebyshev.chebval(x.numpy()[:, 0], c)
                poly[i, j] = np.abs(net(x).numpy()[:, 0] - want).max() / np.abs(want).max()
            c = count(net)
            out["poly_gates"].append(c.gates)
            out["poly_depth"].append(c.depth)
        rows = []
        for d, m, kind in sets:
            indices = getattr(builders, kind)(d, m)
            c = count(builders.sobolev_network(indices))
            bound = int(np.ceil(np.log2(m))) + int(np.ceil(np.log2(d)))
            rows.append((c.gates, len(indices) - 1 - d, c.depth, bound))
    return {k: np.array(v) for k, v in out.items()} | {"poly_error": poly, "sets": np.array(rows)}


def depth_certificate(degrees, points):
    """Least supremum error on [-1, 1] of polynomials of degree below n, and of degree n, against T_n; linear programmes."""
    grid = np.cos(np.linspace(0, np.pi, points))
    out = np.empty((len(degrees), 2))
    for j, n in enumerate(degrees):
        target = np.cos(n * np.arccos(grid))
        for k, top in enumerate((n - 1, n)):
            V = chebyshev.chebvander(grid, top)
            A = np.block([[V, -np.ones((points, 1))], [-V, -np.ones((points, 1))]])
            found = linprog(np.r_[np.zeros(top + 1), 1.0], A, np.r_[target, -target],
                            bounds=[(None, None)] * (top + 1) + [(0, None)])
            out[j, k] = found.fun
    return {"error": out}


def sawtooth(levels):
    """Error, units, depth and pieces of f_m, and its distance from the interpolation at multiples of 2^-m."""
    rows = []
    with torch.no_grad():
        for m in levels:
            net = emulate.square_network(m)
            x = torch.linspace(0, 1, 2 ** (m + 3) + 1, dtype=torch.float64)[:, None]
            gap = (net(x) - x**2)[:, 0]
            c = count(net)
            rows.append((float(gap.max()), float(gap.min()), c.units, c.depth, len(pieces(net)) - 1,
                         float(gap[::8].abs().max())))
    return {"rows": np.array(rows)}


def trained_squares(units, steps, seeds):
    """Supremum error and number of pieces of trained ReLU nets of one hidden layer on x^2; [seed, width, 2]."""
    out = np.empty((len(seeds), len(units), 2))
    x = torch.linspace(0, 1, 513)[None, :, None].expand(len(seeds), -1, -1)
    for j, width in enumerate(units):
        nets = training.Nets("relu", 1, width, 1, seeds, "cpu")
        with torch.no_grad():  # bends spread over the interval
            nets.weights[0][0][1].copy_(-nets.weights[0][0][0] * torch.linspace(0, 1, width + 1)[:-1])
        training.train(nets, x, x[..., 0] ** 2, torch.full((len(seeds),), 0.01), steps, 128, seeds)
        (w, b), last = nets.weights[0][0], nets.last
        for i in range(len(seeds)):
            layers = [torch.nn.Linear(1, width), torch.nn.ReLU(), torch.nn.Linear(width, 1)]
            with torch.no_grad():
                layers[0].weight.copy_(w[i].T)
                layers[0].bias.copy_(b[i, 0])
                layers[2].weight.copy_(last[0][i].T)
                layers[2].bias.copy_(last[1][i, 0])
            net = torch.nn.Sequential(*layers).double()
            fine = torch.linspace(0, 1, 4097, dtype=torch.float64)[:, None]
            with torch.no_grad():
                out[i, j] = float((net(fine) - fine**2).abs().max()), len(pieces(net)) - 1
    return {"found": out}


def emulated(frequencies, accuracies):
    """cos(R t) within eps: gates and depth of the product network, units and depth of its ReLU emulation.

    The least degree and the least number of levels that reach eps on a grid are searched; [frequency, accuracy, 6] holds
    degree, gates, depth, levels, units, depth; errors [frequency, accuracy, 2].
    """
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    out, err = np.empty((len(frequencies), len(accuracies), 6)), np.empty((len(frequencies), len(accuracies), 2))
    with torch.no_grad():
        for i, R in enumerate(frequencies):
            want = torch.cos(R * x[:, 0])
            for j, eps in enumerate(accuracies):
                n = 1
                t, goal = x.numpy()[:, 0], want.numpy()
                while np.abs(chebyshev.chebval(t, builders.ridge_coefficients(R, 0.0, n)) - goal).max() > eps / 2:
                    n += 1
                net = builders.polynomial_network(builders.ridge_coefficients(R, 0.0, n), p=n + 1)
                m = 1
                while (gap := float((emulate.relu_emulation(net, m, x)(x)[:, 0] - want).abs().max())) > eps:
                    m += 1
                c, r = count(net), count(emulate.relu_emulation(net, m, x))
                out[i, j] = n, c.gates, c.depth, m, r.units, r.depth
                err[i, j] = float((net(x)[:, 0] - want).abs().max()), gap
    return {"counts": out, "error": err}


def sampled_ridges(dimensions, sizes, draws, n_atoms, n_points, M, seeds):
    """L2 error of random means of N ridges against that of many; root mean square over draws [seed, dimension, N]."""
    out, spread = np.empty((len(seeds), len(dimensions), len(sizes))), np.empty((len(seeds), len(dimensions)))
    for i, s in enumerate(seeds):
        for j, d in enumerate(dimensions):
            rng = np.random.default_rng([s, d])
            w, phase = rng.uniform(-M, M, (n_atoms, d)), rng.uniform(0, 2 * np.pi, n_atoms)
            ridges = np.cos(rng.random((n_points, d)) @ w.T + phase)
            f = ridges.mean(1)
            spread[i, j] = np.sqrt(np.mean(ridges**2) - np.mean(f**2))
            for k, N in enumerate(sizes):
                gaps = [np.mean((ridges[:, rng.integers(n_atoms, size=N)].mean(1) - f) ** 2) for _ in range(draws)]
                out[i, j, k] = np.sqrt(np.mean(gaps))
    return {"error": out, "spread": spread}


def bandlimited(settings, accuracies, n_atoms, n_points, seeds):
    """Bandlimited functions end to end: L2 error over eps of the built network [seed, setting, eps], and of no network.

    counts [setting, eps, 4]: ridges, gates, depth, and the bound on depth.
    """
    ratio, nothing = np.empty((2, len(seeds), len(settings), len(accuracies)))
    counts = np.empty((len(settings), len(accuracies), 4))
    for i, s in enumerate(seeds):
        for j, (d, M) in enumerate(settings):
            rng = np.random.default_rng([s, d])
            w, x = rng.uniform(-M, M, (n_atoms, d)), rng.random((n_points, d))
            ridges = np.cos(x @ w.T)  # no phase, so that they do not cancel
            f = ridges.mean(1)
            for k, eps in enumerate(accuracies):
                N = int(np.ceil(4 / eps**2))
                pick = min((rng.integers(n_atoms, size=N) for _ in range(8)),  # the theorem says that one is good
                           key=lambda p, r=ridges, f=f: np.mean((r[:, p].mean(1) - f) ** 2))
                out = np.zeros(n_points)
                for a in range(0, N, 100):
                    some = pick[a:a + 100]
                    net = builders.bandlimited_network(w[some], np.full(len(some), 1 / N), 0 * some,
                                                       eps / 4 * len(some) / N, M)
                    with torch.no_grad():
                        out += net(torch.tensor(x)).numpy()[:, 0]
                c = count(net)
                n = builders.ridge_degree(d * M, eps / 4)
                p = builders.block_size(n)
                bound = np.ceil(np.log2(p)) + np.ceil(np.log2(-(-(n + 1) // p))) + 1
                counts[j, k] = N, c.gates / len(some) * N, c.depth, bound
                ratio[i, j, k] = np.sqrt(np.mean((out - f) ** 2)) / eps
                nothing[i, j, k] = np.sqrt(np.mean(f**2)) / eps
    return {"ratio": ratio, "counts": counts, "nothing": nothing}


def emulation_errors(pairs):
    """Largest error of the ReLU emulation of T_0..T_n at m levels over its bound (n^2 - 1) 4^-(m+1); [pair]."""
    x = torch.linspace(-1, 1, 4001, dtype=torch.float64)[:, None]
    out = []
    with torch.no_grad():
        for n, m in pairs:
            net = builders.chebyshev_network(n)
            gap = (emulate.relu_emulation(net, m, x)(x) - net(x)).abs().max()
            out.append(float(gap) / ((n * n - 1) * 4.0 ** -(m + 1)))
    return {"over": np.array(out)}


def sobolev_rates(dimensions, smoothness, top, seeds):
    """Error against gates for functions of the ball with equal energy in dyadic shells; slope over theory [seed, d, r].

    Also the largest error over the bound ``(1 + m^2)^(-r/2)``.
    """
    slope, worst = (np.empty((len(seeds), len(dimensions), len(smoothness))) for _ in range(2))
    for j, d in enumerate(dimensions):
        m_top = top[j]
        k = np.stack(np.meshgrid(*[np.arange(m_top + 1)] * d, indexing="ij"), -1).reshape(-1, d)
        size = np.sqrt((k**2).sum(1))
        k, size = k[size <= m_top], size[size <= m_top]
        shell = np.floor(np.log2(np.maximum(size, 1))).astype(int)
        for i, s in enumerate(seeds):
            draw = np.random.default_rng([s, d]).standard_normal(len(k)) ** 2
            energy = draw / np.bincount(shell, draw)[shell] / (shell.max() + 1)  # of the weighted coefficients
            for r_, r in enumerate(smoothness):
                square = energy / (1 + size**2) ** r  # a_k^2 |T_k|^2
                ms = [m for m in (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128) if 4 * m <= m_top]
                error = np.array([np.sqrt(square[size > m].sum()) for m in ms])
                gates = np.array([(size <= m).sum() - 1 - d for m in ms])
                slope[i, j, r_] = np.polyfit(np.log(gates), np.log(error), 1)[0] / (-r / d)
                worst[i, j, r_] = (error / (1.0 + np.array(ms) ** 2) ** (-r / 2)).max()
    return {"slope": slope, "worst": worst}


def rounding(levels, seeds):
    """Largest error of T_(2^L) by L doublings at random points, in three precisions; [seed, dtype, level]."""
    dtypes = (torch.float64, torch.float32, torch.float16)
    out = np.empty((len(seeds), len(dtypes), len(levels)))
    for i, s in enumerate(seeds):
        x = torch.rand(20000, generator=torch.Generator().manual_seed(s), dtype=torch.float64) * 2 - 1
        for j, dtype in enumerate(dtypes):
            t, exact = x.to(dtype), x.to(dtype).double()
            for L in range(1, max(levels) + 1):
                t, exact = 2 * t * t - 1, 2 * exact * exact - 1
                if L in levels and dtype is not torch.float64:
                    out[i, j, levels.index(L)] = float((t.double() - exact).abs().max())
            if dtype is torch.float64:
                for k, L in enumerate(levels):
                    t = x.clone()
                    for _ in range(L):
                        t = 2 * t * t - 1
                    out[i, j, k] = float((t - torch.cos(2**L * torch.acos(x))).abs().max())
    return {"error": out}


def targets(kind: str, d: int, n: tuple[int, int, int], seeds, device: str) -> tuple[torch.Tensor, ...]:
    """x, y of training, validation and test for random smooth targets, or for ``|x_1| + max(x_2, 0)`` turned at random."""
    xs, ys = [], []
    for s in seeds:
        gen = torch.Generator().manual_seed(s)
        x = torch.rand(sum(n), d, generator=gen) * 2 - 1
        if kind == "smooth":
            w = torch.randn(12, d, generator=gen)
            w = 3 * w / w.norm(dim=1, keepdim=True)
            a, b = torch.randn(12, generator=gen) / 12**0.5, 2 * torch.pi * torch.rand(12, generator=gen)
            y = torch.cos(x @ w.T + b) @ a
        else:
            q = torch.linalg.qr(torch.randn(d, d, generator=gen))[0]
            z = x @ q
            y = z[:, 0].abs() + (z[:, 1] if d > 1 else z[:, 0]).clamp(min=0)
        xs.append(x)
        ys.append(y)
    x, y = torch.stack(xs).to(device), torch.stack(ys).to(device)
    cuts = np.cumsum((0, *n))
    return tuple(v[:, a:b] for a, b in zip(cuts, cuts[1:]) for v in (x, y))


def trained(target, kinds, dimensions, layers, width, n, lrs, steps, batch, seeds, device):
    """Relative test error of nets at equal parameters [seed, dimension, kind, layers]; the budget is that of a ReLU net."""
    out = np.empty((len(seeds), len(dimensions), len(kinds), len(layers)), np.float32)
    for j, d in enumerate(dimensions):
        sets = targets(target, d, n, seeds, device)
        budgets = [training.parameters("relu", d, width, L) for L in layers]
        out[:, j] = training.compare(kinds, layers, budgets, sets, lrs, steps, batch, seeds).numpy()
    return {"error": out}


def signals(names, kinds, layers, budget, lrs, scales, steps, batch, seeds, device):
    """Relative test error of coordinate nets on real signals and photographs [seed, signal, kind].

    Every second sample (checkerboard of a photograph) is for training, the rest for validation and test. ``scales``
    multiply the first frequencies of sines and Fourier features; they are chosen on validation like the rate.
    """
    out = np.empty((len(seeds), len(names), len(kinds)), np.float32)
    for j, name in enumerate(names):
        y = data.signal(name).astype(float)
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in y.shape], indexing="ij"), -1)
        parity = np.indices(y.shape).sum(0) % 4
        x, z, part = grid.reshape(-1, y.ndim), ((y - y.mean()) / y.std()).ravel(), parity.ravel()
        cut = [(part % 2 == 0), part == 1, part == 3]
        sets = []
        for keep in cut:
            for v in (x[keep], z[keep]):
                sets.append(torch.tensor(v, dtype=torch.float32, device=device).expand(len(seeds), *v.shape))
        out[:, j] = training.compare(kinds, (layers,), (budget,), sets, lrs, steps, batch, seeds, scales)[..., 0].numpy()
    return {"error": out}
