"""Experiments of the chapter "centered-attention"; each returns arrays whose first axis is the seed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib import data
from lib.ensemble import draw, generators
from lib.papers.centered_attention import graphs
from lib.papers.centered_attention.operators import center, centered_attention
from lib.papers.centered_attention.smoothing import contraction, effective_rank, residual, token_cosine

from . import nodes, scenes, segmentation, textures

STACKS = ("attention", "skip", "norm", "norm and layers")


def identities(n: int, d: int, depth: int, seeds: Sequence[int]) -> dict:
    """What holds of any softmax weights, measured in float64; [seed].

    ``fused``: largest gap of the fused forms from the dense one, full, causal and masked; ``spectrum``: of the other
    eigenvalues after centering, and of the top one from 1 - gamma; ``over``: largest log of diameter over Dobrushin's bound
    after ``depth`` layers.
    """
    out: dict[str, list] = {"fused": [], "spectrum": [], "over": []}
    for gen in generators(seeds):
        q, k, v = (torch.randn(2, 3, n, d, generator=gen, dtype=torch.float64) for _ in range(3))
        logits = q @ k.mT / d**0.5
        masks = {"full": torch.ones(n, n, dtype=torch.bool), "causal": torch.ones(n, n, dtype=torch.bool).tril(),
                 "some": torch.rand(n, n, generator=gen) < 0.5}
        masks["some"] |= torch.eye(n, dtype=torch.bool)
        gap = 0.0
        for name, seen in masks.items():
            dense = center(logits.masked_fill(~seen, -torch.inf).softmax(-1), 0.7) @ v
            fused = centered_attention(q, k, v, seen if name == "some" else None, is_causal=name == "causal", gamma=0.7)
            gap = max(gap, float((dense - fused).abs().max()))
        a = logits[0, 0].softmax(-1)
        before = torch.linalg.eigvals(a)
        after = torch.linalg.eigvals(center(a, 0.7))
        rest = before[(before - 1).abs().argsort()[1:]]
        want = torch.cat([rest, torch.tensor([0.3 + 0j], dtype=rest.dtype)])
        out["spectrum"].append(float((after[:, None] - want[None]).abs().min(1).values.max()))
        out["fused"].append(gap)
        x, bound, over = torch.randn(n, d, generator=gen, dtype=torch.float64), 0.0, -np.inf
        start = float(torch.cdist(x, x).max())
        for _ in range(depth):
            a = (torch.randn(n, d, generator=gen, dtype=torch.float64) @ k[0, 0].T / d**0.5).softmax(-1)
            x = a @ x
            bound += float(contraction(a).clamp_min(1e-300).log())
            width = float(torch.cdist(x, x).max())
            over = max(over, np.log(width / start) - bound)
        out["over"].append(over)
    return {k: np.array(v) for k, v in out.items()}


def stacks(n: int, d: int, depth: int, batch: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Random stacks of attention, plain and centred: ``cosine``, ``residual``, ``rank`` [seed, stack, 2, layer + 1].

    Weights are Gaussian, values orthogonal; kinds: attention alone and with a skip (tokens then scaled to unit mean square),
    with layer norm before it and a skip, and with ReLU layers besides.
    """
    found: dict[str, list] = {"cosine": [], "residual": [], "rank": []}
    for gen in generators(seeds):
        x0 = torch.randn(batch, n, d, generator=gen).to(device)
        weights = torch.randn(depth, 5, d, d, generator=gen).to(device) / d**0.5
        turn = torch.linalg.qr(weights[:, 2]).Q
        rows: dict[str, list] = {k: [] for k in found}
        for kind in STACKS:
            for gamma in (0.0, 1.0):
                x, curve = x0, {k: [] for k in found}
                for layer in range(depth + 1):
                    for key, f in (("cosine", token_cosine), ("residual", residual), ("rank", effective_rank)):
                        curve[key].append(float(f(x).mean()))
                    if layer < depth:
                        h = F.layer_norm(x, (d, )) if "norm" in kind else x
                        y = centered_attention(h @ weights[layer, 0], h @ weights[layer, 1], h @ turn[layer], gamma=gamma)
                        x = y if kind == "attention" else x + y
                        if "norm" not in kind:                       # a common scale, so that logits keep theirs
                            x = x / x.square().mean((1, 2), keepdim=True).sqrt()
                        if kind == "norm and layers":
                            x = x + (F.layer_norm(x, (d, )) @ weights[layer, 3] * 2**0.5).relu() @ weights[layer, 4]
                for key in found:
                    rows[key].append(curve[key])
        for key in found:
            found[key].append(np.array(rows[key]).reshape(len(STACKS), 2, depth + 1))
    return {k: np.array(v, np.float32) for k, v in found.items()}


def balanced(n: int, gen: torch.Generator) -> Tensor:
    """A random symmetric matrix [n, n] of weights with rows and columns that sum to one."""
    a = torch.randn(n, n, generator=gen, dtype=torch.float64)
    a = (a + a.T).exp()
    for _ in range(2000):
        r = a.sum(1).rsqrt()
        a = a * r[:, None] * r[None]
    return a


def threshold(n: int, depth: int, step: float, seeds: Sequence[int]) -> dict:
    """Where the fate of X -> (I + A - gamma P) X turns: ``predicted`` 1 - lambda_2 and ``measured`` [seed]; ``curve``."""
    grid, out = np.arange(0, 1 + step / 2, step), {"predicted": [], "measured": [], "curve": []}
    for gen in generators(seeds):
        a = balanced(n, gen)
        x0 = torch.randn(n, 4, generator=gen, dtype=torch.float64) + 1
        x, gamma = x0.expand(len(grid), n, 4), torch.tensor(grid)[:, None, None]
        for _ in range(depth):
            x = x + a @ x - gamma * x.mean(1, keepdim=True)
            x = x / x.flatten(1).norm(dim=1)[:, None, None]
        ends = residual(x).numpy()
        out["curve"].append(ends)
        out["measured"].append(grid[int(np.argmax(ends > 0.5**0.5))])
        out["predicted"].append(1 - float(torch.linalg.eigvalsh(a)[-2]))
    return {k: np.array(v) for k, v in out.items()} | {"grid": grid}


def karate(depth: int, seeds: Sequence[int]) -> dict:
    """Communities read off the leading direction of repeated aggregation, plain and centred: ``agreement`` [seed, 2].

    ``scores`` [2, depths, nodes] of the first seed, at depths 1, 4, 16 and the last.
    """
    adjacency, split = graphs.known("karate")
    a, out, scores = graphs.random_walk(torch.tensor(adjacency)), [], []
    for gen in generators(seeds):
        x0, row = torch.randn(len(a), 8, generator=gen, dtype=torch.float64) + 1, []
        for gamma in (0.0, 1.0):
            x, kept = x0, []
            for layer in range(1, depth + 1):
                x = a @ x - gamma * x.mean(0)
                x = x / x.norm()
                if layer in (1, 4, 16, depth):
                    lead = torch.linalg.svd(x).U[:, 0]
                    kept.append((lead * lead.sum().sign()).numpy())
            said = kept[-1] > 0
            row.append(max((said == split).mean(), (said != split).mean()))
            if not out:
                scores.append(kept)
        out.append(row)
    return {"agreement": np.array(out), "scores": np.array(scores)}


def graph_nets(kind: str, methods: Sequence[str], depths: Sequence[int], n: int, hidden: int, steps: int,
               rates: Sequence[float], settings: Sequence[tuple[float, bool]], seeds: Sequence[int], device: str = "cpu",
               source: str = "packages") -> dict:
    """Deep graph networks: ``test`` accuracy and node ``cosine`` [seed, setting, method, depth].

    ``settings``: scale of the branch beside a skip, and whether gradients are clipped.

    ``kind``: ``homophilous`` or ``heterophilous`` block models of four classes with ``n`` nodes, the neighbours of ``n``
    ``digits``, or ``words``: WordNet's graph of parts, or Cora where ``source`` is hub. Every method chooses its rate on the
    same labelled nodes, apart from those of training and test.
    """
    makers = {"homophilous": lambda: nodes.block_model(n, 4, 16 / n, 4 / n, 20, seeds, device),
              "heterophilous": lambda: nodes.block_model(n, 4, 4 / n, 12 / n, 20, seeds, device),
              "digits": lambda: nodes.digit_graph(n, 8, 0.5, 4, seeds, device),
              "words": lambda: nodes.known_graph(data.planetoid("Cora") if source == "hub" else data.wordnet_graph(), 20, 128,
                                                 seeds, device)}
    problem = makers[kind]()
    shape = (len(seeds), len(settings), len(methods), len(depths))
    test, cosine = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for i, (alpha, clip) in enumerate(settings):
        for j, method in enumerate(methods):
            for k, depth in enumerate(depths):
                found = nodes.best(problem, method, depth, hidden, steps, rates, seeds, alpha, clip)
                test[:, i, j, k], cosine[:, i, j, k] = found["test"].cpu(), found["cosine"].cpu()
    return {"test": test, "cosine": cosine}


def weak_labels(kind: str, gammas: Sequence[float], d: int, layers: int, heads: int, steps: int, batch: int, images: int,
                rates: Sequence[float], seeds: Sequence[int], device: str = "cpu", side: int = 48, widen: int = 2) -> dict:
    """Vision transformers on ``textures``, or ``scenes`` of ``side`` pixels: ``iou``, ``accuracy``, ``cosine`` [seed, gamma].

    Each strength chooses the rate of the smallest mean loss on labels of other images; ``rate`` [gamma]. ``switched``
    [seed, 2]: accuracy of the first net with the last strength, and the other way round, without training. Of the first seed
    ``images`` [6, s, s, channels], ``masks`` [6, s, s] and ``maps`` [gamma, 6, g, g], the largest score of a token.
    """
    task = textures.task() if kind == "textures" else scenes.task(side, 8)
    keys, shape = ("iou", "accuracy", "cosine", "loss", "switched"), (len(seeds), len(gammas), len(rates))
    found, maps, seen = {k: np.empty(shape) for k in keys}, {}, ()
    for s, seed in enumerate(map(int, seeds)):
        x, y, _ = (t.to(device) for t in task.draw(images, torch.Generator().manual_seed(seed), False))
        unseen = tuple(t.to(device) for t in task.draw(600, torch.Generator().manual_seed(seed + 1), True))
        seen = seen or tuple(t[:6] for t in unseen)
        for g, r in np.ndindex(shape[1:]):
            model = segmentation.train(task, x, y, gammas[g], d, layers, heads, steps, batch, rates[r], seed, widen)
            for key, value in segmentation.judge(task, model, *unseen).items():
                found[key][s, g, r] = value
            if s == 0:
                with torch.no_grad():
                    maps[g, r] = model(seen[0]).amax(-1).unflatten(1, (task.grid, task.grid)).cpu().numpy()
            other = segmentation.strength(model, gammas[-1 - g])
            found["switched"][s, g, r] = segmentation.judge(task, other, *unseen)["accuracy"]
    best = found["loss"].mean(0).argmin(-1)
    out = {k: np.take_along_axis(found[k], best[None, :, None], -1)[..., 0] for k in keys}
    return out | {"rate": np.array(rates)[best], "images": seen[0].permute(0, 2, 3, 1).cpu().numpy(),
                  "masks": seen[2].cpu().numpy(), "maps": np.stack([maps[g, best[g]] for g in range(len(gammas))])}


def seconds(n: int, d: int, heads: int, batch: int, repeats: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Seconds of attention, forward and backward, plain and centred: ``full`` and ``causal`` [seed, 2], medians."""
    out: dict[str, list] = {"full": [], "causal": []}
    for gen in generators(seeds):
        q, k, v = (torch.randn(batch, heads, n, d, generator=gen).to(device).requires_grad_() for _ in range(3))
        for name, causal in (("full", False), ("causal", True)):
            took: list[list] = [[], []]
            for _ in range(repeats):
                for c in (0, 1):
                    if q.is_cuda:
                        torch.cuda.synchronize()
                    start = time.perf_counter()
                    centered_attention(q, k, v, is_causal=causal, gamma=float(c)).sum().backward()
                    if q.is_cuda:
                        torch.cuda.synchronize()
                    took[c].append(time.perf_counter() - start)
            out[name].append([np.median(t) for t in took])
    return {k: np.array(v) for k, v in out.items()}


def spectra(depth: int, gamma_steps: int, seeds: Sequence[int]) -> dict:
    """Eigenvalues of I + A - gamma P of a small community graph for the interactive figure, and what becomes of tokens.

    ``values`` [gamma, n, 2] (real and imaginary part); ``residual``, ``cosine`` and ``rank`` [gamma, layer + 1], means over
    seeds.
    """
    gen = generators([seeds[0]])[0]
    adjacency, _ = graphs.blocks(24, 2, 0.6, 0.1, gen)
    a = graphs.random_walk(adjacency.double())
    n, eye = len(a), torch.eye(len(a), dtype=torch.float64)
    x0 = draw(generators(seeds), (n, 8), dtype=torch.float64) + 1
    out: dict[str, list] = {k: [] for k in ("values", "residual", "cosine", "rank")}
    for gamma in np.linspace(0, 1, gamma_steps):
        m = eye + a - gamma / n
        values = torch.linalg.eigvals(m)
        out["values"].append(torch.stack([values.real, values.imag], 1).numpy())
        x, rows = x0, []
        for _ in range(depth + 1):
            rows.append([float(f(x).mean()) for f in (residual, token_cosine, effective_rank)])
            x = m @ x
            x = x / x.flatten(1).norm(dim=1)[:, None, None]
        for key, column in zip(("residual", "cosine", "rank"), np.array(rows).T, strict=True):
            out[key].append(column)
    return {k: np.array(v) for k, v in out.items()}
