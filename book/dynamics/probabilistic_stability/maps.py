"""Experiments of the chapter "probabilistic-stability" that draw its maps: a minimum, a saddle, batches, ranks.

Source: arXiv:2303.13093. Every experiment returns outcomes per seed and draws from one generator a seed.
"""

from __future__ import annotations

import numpy as np
import torch

from lib import ensemble, stats
from lib.papers.probabilistic_stability.engine import matrix_factorisation, two_parameter
from lib.papers.probabilistic_stability.spectrum import saddle_spectrum

from .experiments import batches_of


def sharp_minimum(rates, seeds, n_chains, T):
    """log|theta_T| of SGD on x^2 theta^2 / 2, batch 1, from theta_0 = 1: one sum a chain, no loop over time."""
    slope = np.empty((len(seeds), len(rates)))
    near = np.empty((len(seeds), len(rates)), np.float32)
    second = np.empty((len(seeds), len(rates)))
    for i, s in enumerate(seeds):
        h = np.random.default_rng(s).standard_normal((T, n_chains)) ** 2
        for j, lam in enumerate(rates):
            steps_ = np.log(np.abs(1 - lam * h))
            end = steps_.sum(0)
            slope[i, j], near[i, j] = end.mean() / T, (end < np.log(1e-3)).mean()
            second[i, j] = np.exp(2 * steps_[:20].sum(0)).mean()
    return {"slope": slope, "near": near, "second": second}


def linear_map(rates, ps_, seeds, T):
    """Sign of log|u+w| after T steps of the linear model with chi = +-1; [seed, rate, p]."""
    lam, p = np.meshgrid(rates, ps_, indexing="ij")
    out = np.empty((len(seeds), *lam.shape), np.int8)
    for i, s in enumerate(seeds):
        ups = np.random.default_rng(s).binomial(T, p)
        out[i] = np.sign(ups * np.log(1 + lam) + (T - ups) * np.log(np.abs(1 - lam)))
    return {"sign": out}


def drift(rates, ps_):
    """Mean and standard deviation [rate, p] of one step of log|u+w| for chi = +-1."""
    lam, p = np.meshgrid(rates, ps_, indexing="ij")
    up, down = np.log(1 + lam), np.log(np.abs(1 - lam))
    return p * up + (1 - p) * down, np.sqrt(p * (1 - p)) * np.abs(up - down)


def nonlinear_map(rates, ps_, seeds, T, device):
    """End of SGD on (u w x - y)^2 / 2 with x = 1, y = chi = +-1: 1 for u ~ w, -1 for u ~ -w, 0 collapsed, 2 diverged."""
    lam, p = (torch.tensor(g, dtype=torch.float64, device=device).flatten()
              for g in np.meshgrid(rates, ps_, indexing="ij"))
    gens, n = ensemble.generators(seeds, device), len(seeds)
    start = ensemble.draw(gens, (2, len(lam)), dtype=torch.float64) * 0.1
    u, w = start[:, 0].flatten(), start[:, 1].flatten()
    rate, chance, diverged = lam.repeat(n), p.float().repeat(n), None
    for t in range(0, T, 100):
        draws = torch.cat(list(ensemble.draw(gens, (min(100, T - t), len(lam)), "uniform")), 1)   # [t, seed * cell]
        chi = (draws < chance).to(torch.int8) * 2 - 1
        u, w, diverged = two_parameter(u, w, rate, 1.0, chi, diverged=diverged)                # the loop over time
    s, d = (u + w).abs(), (u - w).abs()
    end = torch.where(s > d, 1, -1) * (torch.maximum(s, d) > 1e-3)
    end[diverged] = 2
    return {"end": end.reshape(n, len(rates), len(ps_)).to(torch.int8).cpu()}


def nonlinear_theory(rates, ps_, T):
    """What the linear exponents say of :func:`nonlinear_map`, and where T steps decide it; all [rate, p].

    Returns the expected end (1, -1, or 0 for collapse), the decided cells, and the means of a step of log|u+w| and log|u-w|.
    A cell is decided where it has time to collapse, with four standard deviations to spare, or where the stationary density
    near 0, |s|^(2 Lambda / sigma^2 - 1), is bounded.
    """
    (mean_s, deviation), (mean_d, _) = drift(rates, ps_), drift(rates, 1 - np.asarray(ps_))
    top = np.maximum(mean_s, mean_d)
    expected = np.where(top < 0, 0, np.where(mean_s > mean_d, 1, -1))
    shrinks = -top * T - 4 * deviation * np.sqrt(T) > np.log(1e3)
    return expected, shrinks | (2 * top / deviation**2 > 1), mean_s, mean_d


def batch_law(batches, rates, seeds, T, m, sigma, device):
    """Which runs on y = m x + sigma eps collapse; [seed, batch, rate], 1 collapsed, 0 not, -1 diverged."""
    gens, n = ensemble.generators(seeds, device), len(seeds)
    lam = torch.tensor(rates, dtype=torch.float64, device=device).repeat(n)
    out = np.empty((n, len(batches), len(rates)), np.int8)
    for j, B in enumerate(batches):
        u = w = torch.full_like(lam, 0.1)
        diverged = None
        for t in range(0, T, 1000):
            shape = (min(1000, T - t), len(rates))
            x2 = sum(ensemble.draw(gens, shape, dtype=torch.float64) ** 2 for _ in range(B)) / B     # mean of x^2
            xe = ensemble.draw(gens, shape, dtype=torch.float64) * (x2 / B).sqrt()                   # mean of x eps
            G, R = (torch.cat(list(v), 1) for v in (x2, m * x2 + sigma * xe))
            u, w, diverged = two_parameter(u, w, lam, G, R, diverged=diverged)
        end = torch.where(diverged, -1, ((u.abs() < 5e-5) & (w.abs() < 5e-5)).int())
        out[:, j] = end.reshape(n, -1).cpu()
    return {"end": out}


def rank_map(rates, noises, batch, seeds, T, d, device):
    """Final rank of U W (-1: diverged) and positive exponents at the origin; both [seed, rate, noise]."""
    gens, n = ensemble.generators(seeds, device), len(seeds)
    lam, sigma = (torch.tensor(g, dtype=torch.float32, device=device).flatten()
                  for g in np.meshgrid(rates, noises, indexing="ij"))
    V = torch.diag(torch.tensor(np.geomspace(2, 0.25, d), dtype=torch.float32, device=device))
    start = ensemble.draw(gens, (2, len(lam), d, d)).transpose(0, 1).flatten(1, 2) * 0.1
    (U, W), diverged = start, None
    for _ in range(0, T, 50):
        U, W, diverged = matrix_factorisation(U, W, lam.repeat(n), *batches_of(gens, 50, sigma, V, batch),
                                                 diverged=diverged)
    values = torch.linalg.svdvals(torch.where(diverged[:, None, None], 0, U) @ W.nan_to_num())
    rank = torch.where(diverged, -1, (values > 1e-3).sum(1))
    coupling = ((y @ x.mT / batch for x, y in [batches_of(gens, 50, sigma, V, batch)]) for _ in range(T // 100))
    positive = saddle_spectrum((c for block in coupling for c in block), lam.repeat(n), every=5).n_positive
    shape = (n, len(rates), len(noises))
    return {"rank": rank.reshape(shape).to(torch.int8).cpu(), "positive": positive.reshape(shape).astype(np.int8)}


def rank_batch(batches, rates, sigma, seeds, T, d, device):
    """Final rank of U W for several batch sizes; [batch, seed, rate]."""
    return {"rank": np.stack([rank_map(rates, (sigma,), B, seeds, T, d, device)["rank"].numpy()[:, :, 0]
                              for B in batches])}


def along(values, ranks):
    """Rank correlation over the runs that did not diverge; 0 where the rank does not vary or too few are left."""
    keep = ranks >= 0
    return stats.spearman(np.asarray(values)[keep], ranks[keep]) if keep.sum() > 2 and np.ptp(ranks[keep]) else 0.0
