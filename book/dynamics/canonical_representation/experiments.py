"""Experiments of the chapter: each trains an ensemble at once and returns outcomes per seed."""

from __future__ import annotations

import numpy as np
import torch

from lib.papers.canonical_representation import nets
from lib.papers.canonical_representation.moments import (
    alignment,
    exponent,
    modes,
    participation_ratio,
    six,
    six_baselines,
)
from lib.papers.canonical_representation.tasks import TASKS, Task

KINDS = ("normalised", "off-diagonal", "raw", "baseline")


def members(seeds, values) -> tuple[list[int], torch.Tensor]:
    """Streams and values of the members of an ensemble, seed by seed: reshape to [len(seeds), len(values)]."""
    return [s for s in seeds for _ in values], torch.tensor([v for _ in seeds for v in values], dtype=torch.float64)


def readings(W, task: Task, layer: int) -> np.ndarray:
    """The six alignments of a layer on the test samples in four kinds (``KINDS``), [S, 4, 6]."""
    arguments = (W, task.x_test, task.y_test, task.residual, layer, task.act)
    m, raw = nets.layer_moments(*arguments), nets.layer_moments(*arguments, normalised=False)
    return np.stack([six(m), six(m, diagonal=False), six(raw), six_baselines(m)], 1)


def accuracy(W, task: Task) -> np.ndarray:
    """Share of test labels that are right [S]; for a regression the share of variance that is explained."""
    f = nets.forward(W, task.x_test, task.act)[-1]
    if task.y_test.ndim == 1:
        return (f.argmax(-1) == task.y_test).double().mean(1).cpu().numpy()
    return (1 - (f - task.y_test).square().mean((1, 2)) / task.y_test.var()).cpu().numpy()


def trajectories(task, decays, times, lr, batch, width, depth, seeds, device):
    """Alignments along training, for every decay: kind x relation by layer and time.

    Returns alpha [seed, decay, time, layer, 4, 6], participation ratio of Zb [seed, decay, time, layer], accuracy
    [seed, decay], and for the first seed the modes of hidden layer 2 (eigenvalues of Zb, what Hb and Gb have along them).
    """
    data = TASKS[task](device)
    streams, gamma = members(seeds, decays)
    W = nets.start(data.widths(width, depth), streams, device)
    sgd = nets.Sgd(W, data.x, data.y, data.residual, lr, gamma, batch, streams, data.act)
    shape = (len(seeds), len(decays))
    alpha = np.empty((*shape, len(times), depth, len(KINDS), 6), np.float32)
    ratio = np.empty((*shape, len(times), depth), np.float32)
    spectra = np.full((len(decays), len(times), 3, width), np.nan, np.float32)
    for k, t in enumerate(times):
        sgd.run(t - sgd.t)
        for l in range(depth):
            alpha[:, :, k, l] = readings(W, data, l).reshape(*shape, len(KINDS), 6)
            ratio[:, :, k, l] = participation_ratio((W[l] @ W[l].mT).double().cpu().numpy()).reshape(shape)
        m = nets.layer_moments([w[:len(decays)] for w in W], data.x_test, data.y_test, data.residual, 1, data.act)
        for j in range(len(decays)):
            (z, h), (_, g) = modes(m["Hb"][j], m["Zb"][j], 1e-4), modes(m["Gb"][j], m["Zb"][j], 1e-4)
            spectra[j, k, :, width - len(z):] = z, h, g
    return {"alpha": alpha, "ratio": ratio, "accuracy": accuracy(W, data).reshape(shape), "spectra": spectra}


def equal_relaxation(task, decays, horizon, lr, batch, width, depth, seeds, device):
    """Alignments of nets with different decays at one training time and at one relaxation ``lr * decay * steps``.

    The common time is that at which the largest decay reaches the horizon. Returns alpha
    [seed, decay, 2 (equal time, equal relaxation), layer, kind, relation].
    """
    data = TASKS[task](device)
    out = np.empty((len(seeds), len(decays), 2, depth, len(KINDS), 6), np.float32)
    for j, gamma in enumerate(decays):
        W = nets.start(data.widths(width, depth), seeds, device)
        sgd = nets.Sgd(W, data.x, data.y, data.residual, lr, gamma, batch, seeds, data.act)
        for k, rate in enumerate((max(decays), gamma)):
            sgd.run(round(horizon / (lr * rate)) - sgd.t)
            for l in range(depth):
                out[:, j, k, l] = readings(W, data, l)
    return {"alpha": out}


def balance(decays, T, last, lr, batch, width, depth, seeds, device):
    """The account of Zb over the last steps of SGD on digits, in float64.

    Returns traces [seed, decay, layer, 4] of signal, noise, decay and drift, which add to zero; the relative size of
    what is missing in the matrix identity [seed, decay, layer]; alignments without diagonals of cross term and noise with
    Zb.
    """
    data = TASKS["digits"](device, torch.float64)
    streams, gamma = members(seeds, decays)
    W = nets.start(data.widths(width, depth), streams, device, torch.float64)
    sgd = nets.Sgd(W, data.x, data.y, data.residual, lr, gamma, batch, streams, data.act)
    sgd.run(T - last)
    first = [w @ w.mT for w in W]
    signal, noise, gram = ([torch.zeros_like(z) for z in first] for _ in range(3))
    for _ in range(last):
        before = [w.clone() for w in W]
        _, _, push = sgd.step()
        for l, (w, p) in enumerate(zip(before, push)):
            c = p @ w.mT
            signal[l] += (c + c.mT) / last
            noise[l] += p @ p.mT / last
            gram[l] += w @ w.mT / last
    shape = (len(seeds), len(decays))
    trace = np.empty((*shape, depth, 4))
    miss, cross, aligned = (np.empty((*shape, depth)) for _ in range(3))
    rate = gamma.to(device)[:, None, None]
    for l in range(depth):
        drift = (W[l] @ W[l].mT - first[l]) / (lr * last)
        terms = [(1 - lr * rate) * signal[l], lr * noise[l], -(2 * rate - lr * rate**2) * gram[l], -drift]
        trace[:, :, l] = torch.stack([t.diagonal(dim1=1, dim2=2).sum(1) for t in terms], 1).reshape(*shape, 4).cpu()
        size = (2 * rate * gram[l]).flatten(1).norm(dim=1)
        miss[:, :, l] = (sum(terms).flatten(1).norm(dim=1) / size).reshape(shape).cpu()
        z = gram[l].cpu().numpy()
        cross[:, :, l] = alignment(signal[l].cpu().numpy(), z, diagonal=False).reshape(shape)
        aligned[:, :, l] = alignment(noise[l].cpu().numpy(), z, diagonal=False).reshape(shape)
    return {"trace": trace, "miss": miss, "cross": cross, "noise": aligned}


def descent(decay, lr, T, width, n, seeds, device):
    """Full-batch descent (momentum 0.97) of a tanh net on n digits to a stationary point, in float64: no noise at all.

    Returns by layer [seed, layer] the relative error of ``E g_b h_b^T = decay Zb``, the least eigenvalue of
    ``Gb - decay^2 Zb Hb^+ Zb`` over the trace of Gb, the saturation ``tr(bound) / tr(Gb)``, and alignments before and
    after [seed, 2, layer, kind, relation].
    """
    data = TASKS["digits"](device, torch.float64, n)
    data = Task(data.x, data.y, data.x, data.y, data.n_out, data.residual, "tanh")
    W = nets.start(data.widths(width, 4), seeds, device, torch.float64, gain=1.0)
    alpha = np.empty((len(seeds), 2, 4, len(KINDS), 6))
    alpha[:, 0] = np.stack([readings(W, data, l) for l in range(4)], 1)
    speed = [torch.zeros_like(w) for w in W]
    for _ in range(T):
        h = nets.forward(W, data.x, "tanh")
        g = nets.backward(W, h, data.residual(h[-1], data.y), "tanh")
        for w, v, gb, ha in zip(W, speed, g, h):
            w.add_(v.mul_(0.97).add_(lr * (gb.mT @ ha / n - decay * w)))
    alpha[:, 1] = np.stack([readings(W, data, l) for l in range(4)], 1)
    h = nets.forward(W, data.x, "tanh")
    g = nets.backward(W, h, data.residual(h[-1], data.y), "tanh")
    cross, least, full = (np.empty((len(seeds), 4)) for _ in range(3))
    for l in range(4):
        hb, Z = h[l] @ W[l].mT, W[l] @ W[l].mT
        C, H, G = (a.mT @ b / n for a, b in ((g[l], hb), (hb, hb), (g[l], g[l])))
        bound = decay**2 * Z @ torch.linalg.pinv(H, hermitian=True, rtol=1e-11) @ Z
        trace = G.diagonal(dim1=1, dim2=2).sum(1)
        cross[:, l] = ((C - decay * Z).flatten(1).norm(dim=1) / (decay * Z).flatten(1).norm(dim=1)).cpu()
        least[:, l] = (torch.linalg.eigvalsh(G - bound)[:, 0] / trace).cpu()
        full[:, l] = (bound.diagonal(dim1=1, dim2=2).sum(1) / trace).cpu()
    return {"cross": cross, "least": least, "saturation": full, "alpha": alpha}


def flow(decays, times, share, lr, batch, width, depth, seeds, device):
    """Exponents (x, y) of each layer along SGD on digits in which a share of labels is drawn anew at each use.

    Returns x and y, their scatter about the power law, and the number of live modes, [seed, decay, time, layer].
    """
    data = TASKS["digits"](device)
    streams, gamma = members(seeds, decays)
    W = nets.start(data.widths(width, depth), streams, device)
    sgd = nets.Sgd(W, data.x, data.y, data.residual, lr, gamma, batch, streams, data.act, share)
    y_test = nets.noisy_labels(data.y_test, share, data.n_out, torch.Generator(device).manual_seed(23))
    shape = (len(seeds), len(decays))
    out = {k: np.full((*shape, len(times), depth), np.nan, np.float32) for k in ("x", "y", "scatter_x", "scatter_y", "modes")}
    for k, t in enumerate(times):
        sgd.run(t - sgd.t)
        for l in range(depth):
            m = nets.layer_moments(W, data.x_test, y_test, data.residual, l, data.act)
            for i in range(len(streams)):
                at = (*np.unravel_index(i, shape[:2]), k, l)
                try:
                    ex, ey = (exponent(m[p][i], m[q][i]) for p, q in (("Ha", "Za"), ("Gb", "Zb")))
                except ValueError:
                    continue  # fewer than three live modes: no exponent
                for k_, v_ in zip(out, (ex.slope, ey.slope, ex.scatter, ey.scatter, ey.n_modes)):
                    out[k_][at] = v_
    return out


def collapse(decays, T, lr, batch, width, depth, seeds, device):
    """Neural collapse at the last layer and the neural feature ansatz at every layer, before and after training on digits.

    Returns, [seed, decay, before or after]: NC1 (trace of within- over between-class scatter) and the self-duality, the
    mean cosine of centred class means with centred rows of W; and by layer, without diagonals, the alignment of Za with
    the average gradient outer product and with its root.
    """
    data = TASKS["digits"](device)
    streams, gamma = members(seeds, decays)
    W = nets.start(data.widths(width, depth), streams, device)
    sgd = nets.Sgd(W, data.x, data.y, data.residual, lr, gamma, batch, streams, data.act)
    shape = (len(seeds), len(decays))
    out = {k: np.empty((*shape, 2)) for k in ("scatter", "dual")}
    out |= {k: np.empty((*shape, 2, depth)) for k in ("agop", "root")}
    for k, t in enumerate((0, T)):
        sgd.run(t - sgd.t)
        h = nets.forward(W, data.x_test, data.act)
        out["scatter"][:, :, k], out["dual"][:, :, k] = (v.reshape(shape) for v in _class_geometry(h[-2], W[-1], data))
        eye = torch.eye(data.n_out, dtype=h[-1].dtype, device=device)
        jacobian = [nets.backward(W, h, e.expand_as(h[-1]).contiguous(), data.act) for e in eye]  # [output][layer]
        for l in range(depth):
            J = [(j[l] @ W[l]).double() for j in jacobian]
            M = sum(j.mT @ j for j in J) / J[0].shape[1]
            value, vector = torch.linalg.eigh(M)
            half = vector @ torch.diag_embed(value.clamp(min=0).sqrt()) @ vector.mT
            Z = (W[l].mT @ W[l]).double().cpu().numpy()
            for name, matrix in (("agop", M), ("root", half)):
                out[name][:, :, k, l] = alignment(Z, matrix.cpu().numpy(), diagonal=False).reshape(shape)
    return out


def _class_geometry(h: torch.Tensor, last: torch.Tensor, data: Task) -> tuple[np.ndarray, np.ndarray]:
    """Scatter within over between classes of features h [S, n, d], and cosine of class means with the last weights."""
    h, last = h.double(), last.double()
    mean = torch.stack([h[:, data.y_test == c].mean(1) for c in range(data.n_out)], 1)
    within = sum((h[:, data.y_test == c] - mean[:, c:c + 1]).square().sum((1, 2)) for c in range(data.n_out))
    centred = mean - mean.mean(1, keepdim=True)
    between = sum((data.y_test == c).sum() * centred[:, c].square().sum(1) for c in range(data.n_out))
    dual = torch.cosine_similarity(last - last.mean(1, keepdim=True), centred, dim=2).mean(1)
    return (within / between).cpu().numpy(), dual.cpu().numpy()
