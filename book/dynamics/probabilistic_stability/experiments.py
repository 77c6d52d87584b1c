"""Trials of the chapter "probabilistic-stability" whose loops are not the point of the page.

Source: arXiv:2303.13093; each docstring names the chapter's experiment. Every trial returns outcomes per seed and draws
from one generator a seed.
"""

from __future__ import annotations

import numpy as np
import torch

from lib import data, ensemble
from lib.papers.probabilistic_stability.engine import matrix_factorisation, tanh_net
from lib.papers.probabilistic_stability.exponents import phases, stable_intervals
from lib.papers.probabilistic_stability.laws import empirical
from lib.papers.probabilistic_stability.regression import regression_signal
from lib.papers.probabilistic_stability.spectrum import saddle_spectrum


def pure_noise(dims, seeds, n_steps, lam, device):
    """Top exponent over lam^2 of z -> (I + lam [[0, C], [C^T, 0]]) z with standard normal C; [seed, dimension]."""
    gens = ensemble.generators(seeds, device)
    out = np.empty((len(seeds), len(dims)))
    for j, d in enumerate(dims):
        blocks = (ensemble.draw(gens, (2000, d, d)).transpose(0, 1) for _ in range(n_steps * 4 // d**2 // 2000 + 1))
        out[:, j] = saddle_spectrum(blocks, lam, k=1, every=5).exponents[:, 0] / lam**2
    return {"exponent": out}


def batches_of(gens, T, sigma, V, B):
    """x, y [T, seed * cell, d, B] of y = V x + sigma eps; sigma has one entry a cell."""
    shape = (T, len(sigma), len(V), B)
    x, eps = (ensemble.draw(gens, shape).transpose(0, 1).flatten(1, 2) for _ in range(2))
    return x, V @ x + sigma.repeat(len(gens))[:, None, None] * eps


def digits_rank(batches, noises, lam, seeds, T):
    """Final rank of U W on digits, 6-12-6, for each batch and noise; [seed, batch, noise], -1 diverged."""
    pixels = torch.tensor(data.digits().x.reshape(-1, 64), dtype=torch.float32)
    left, _, _ = torch.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    inputs = left[:, :6] * len(pixels) ** 0.5                                       # whitened, [n, 6]
    V = torch.diag(torch.tensor([2.0, 1.5, 1.0, 0.75, 0.5, 0.25]))
    sigma = torch.tensor(noises)
    out = np.empty((len(seeds), len(batches), len(noises)), np.int8)
    for j, B in enumerate(batches):
        gens = ensemble.generators(seeds)
        start = ensemble.draw(gens, (2, len(sigma), 72)).transpose(0, 1).flatten(1, 2) * 0.1
        U, W, diverged = start[0].view(-1, 6, 12), start[1].view(-1, 12, 6), None
        for _ in range(0, T, 50):
            i = torch.stack([torch.randint(len(inputs), (50, len(sigma), B), generator=g) for g in gens], 1)
            x = inputs[i].flatten(1, 2).mT.contiguous()                             # [t, seed * noise, 6, B]
            eps = ensemble.draw(gens, (50, len(sigma), 6, B)).transpose(0, 1).flatten(1, 2)
            y = V @ x + sigma.repeat(len(seeds))[:, None, None] * eps
            U, W, diverged = matrix_factorisation(U, W, lam, x, y, diverged=diverged)
        rank = (torch.linalg.svdvals(U @ W) > 1e-3).sum(1)
        out[:, j] = torch.where(diverged, -1, rank).reshape(len(seeds), -1)
    return {"rank": out}


def tanh_collapse(rates, noises, seeds, T, H, device):
    """Collapsed runs of f = sum_j u_j tanh(w_j x) on y = x + sigma eps, batch 1; [seed, rate, noise]."""
    gens, n = ensemble.generators(seeds, device), len(seeds)
    lam, sigma = (torch.tensor(g, dtype=torch.float32, device=device).flatten()
                  for g in np.meshgrid(rates, noises, indexing="ij"))
    start = ensemble.draw(gens, (2, len(lam), H)).transpose(0, 1).flatten(1, 2) * 0.05
    (u, w), diverged = start, None
    for _ in range(0, T, 250):
        x, eps = ensemble.draw(gens, (2, 250, len(lam))).permute(1, 2, 0, 3).flatten(2, 3)    # [250, seed * cell]
        u, w, diverged = tanh_net(u, w, lam.repeat(n), x, x + sigma.repeat(n) * eps, diverged=diverged)
    dead = ((u * w).abs().sum(1) < 1e-3) & ~diverged
    return {"dead": dead.reshape(n, len(rates), len(noises)).cpu()}


def swish_jump(rates, seeds, T, m, sigma, device):
    """Which runs of f = u swish(w x), y = m x + sigma eps, batch 1, from the minimum, end at the origin; [seed, rate]."""
    gens, n = ensemble.generators(seeds, device), len(seeds)
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    weight = torch.exp(-x**2 / 2) / torch.exp(-x**2 / 2).sum()
    point = torch.tensor([1.0, 1.0], dtype=torch.float64)
    for _ in range(4000):                                                 # descent on the mean loss: the minimum
        u, w = point
        sig = torch.sigmoid(w * x)
        e = u * w * x * sig - m * x
        point = point - 0.2 * torch.stack([(weight * e * w * x * sig).sum(),
                                           (weight * e * u * x * sig * (1 + w * x * (1 - sig))).sum()])
    lam = torch.tensor(rates, device=device).repeat(n)
    u, w = (torch.full_like(lam, float(v)) for v in point)
    for _ in range(T):
        x_, eps = ensemble.draw(gens, (2, len(rates))).transpose(0, 1).flatten(1, 2)
        sig = torch.sigmoid(w * x_)
        e = (u * w * x_ * sig - m * x_ - sigma * eps).clamp(-1e6, 1e6)
        u, w = u - lam * e * w * x_ * sig, w - lam * e * u * x_ * sig * (1 + w * x_ * (1 - sig))
        u, w = u.clamp(-1e3, 1e3), w.clamp(-1e3, 1e3)
    at = ((u.abs() < 1e-3) & (w.abs() < 1e-3)).reshape(n, -1)
    return {"at_saddle": at.cpu(), "minimum": point, "lost": ((u.abs() >= 1e3) | (w.abs() >= 1e3)).reshape(n, -1).cpu()}


def finite_data(sizes, grid, n_sets, seeds, edge):
    """Stable intervals at N = 8, and the measure of rates judged otherwise than in the limit; [seed, size]."""
    wrong = np.empty((len(seeds), len(sizes)))
    broken = np.empty(len(seeds), bool)
    for i, s in enumerate(seeds):
        rng = np.random.default_rng(s)
        broken[i] = len(stable_intervals(empirical(rng.standard_normal(8) ** 2))) > 1
        for j, N in enumerate(sizes):
            errors = [np.mean((np.log(np.abs(1 - grid[:, None] * rng.standard_normal(N) ** 2)).mean(1) < 0)
                              != (grid < edge)) for _ in range(n_sets)]
            wrong[i, j] = np.mean(errors) * (grid[-1] - grid[0])
    return {"broken": broken, "wrong": wrong}


def phase_table(batches, ratios, products):
    """Phase of y = m x + sigma eps at each sigma / m and lambda m: index in Ib, Ia, II, III, IV; [batch, ratio, product]."""
    names = np.array(["Ib", "Ia", "II", "III", "IV"])
    out = [[np.argmax(phases(regression_signal(1.0, float(q), B), products)[:, None] == names, 1) for q in ratios]
           for B in batches]
    return {"phase": np.array(out, np.int8)}


def wide_tanh(noises, lam, B, seeds, T, d, H, device):
    """Rank of U W for f = U tanh(W x) (-1 diverged) and positive exponents at the origin; [seed, noise]."""
    gens = ensemble.generators(seeds, device)
    sigma = torch.tensor(noises, device=device)
    V = torch.diag(torch.tensor(np.geomspace(2, 0.25, d), dtype=torch.float32, device=device))
    start = ensemble.draw(gens, (2, len(sigma), d * H)).transpose(0, 1).flatten(1, 2) * 0.1
    U, W = start[0].view(-1, d, H), start[1].view(-1, H, d)
    for _ in range(0, T, 100):
        x, y = batches_of(gens, 100, sigma, V, B)
        for xt, yt in zip(x, y):
            a = torch.tanh(W @ xt)
            e = (U @ a - yt).clamp(-1e4, 1e4)
            U, W = U - lam / B * e @ a.mT, W - lam / B * (U.mT @ e * (1 - a**2)) @ xt.mT
    lost = (U.abs().amax((1, 2)) > 1e3) | ~torch.isfinite(U).all(2).all(1)
    rank = (torch.linalg.svdvals(torch.where(lost[:, None, None], 0, U @ W)) > 1e-3).sum(1)
    coupling = ((y @ x.mT / B for x, y in [batches_of(gens, 50, sigma, V, B)]) for _ in range(T // 50))
    positive = saddle_spectrum((c for block in coupling for c in block), lam, every=5).n_positive   # as a linear net's
    return {"rank": torch.where(lost, -1, rank).reshape(len(seeds), -1).to(torch.int8).cpu(),
            "positive": positive.reshape(len(seeds), -1).astype(np.int8)}
