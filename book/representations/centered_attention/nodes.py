"""Deep graph networks for the classes of nodes: many seeds at once, seven ways of keeping nodes apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lib import data
from lib.ensemble import draw, generators
from lib.papers.centered_attention.graphs import Operator, blocks, neighbours, pairs
from lib.papers.centered_attention.smoothing import token_cosine

METHODS = ("plain", "centred, no skip", "skip", "skip, centred", "PairNorm", "GCNII", "DropEdge")


@dataclass(frozen=True)
class Problem:
    """Graphs of S seeds: ``edges`` of each, features [S, n, f], labels [S, n]; weights [S, n] for training, choice and test.

    Weights count every class alike and sum to 1, so that an accuracy is the mean over classes.
    """

    edges: list[Tensor]
    x: Tensor
    y: Tensor
    train: Tensor
    choice: Tensor
    test: Tensor

    @property
    def classes(self) -> int:
        return int(self.y.max()) + 1

    def operator(self) -> Operator:
        return Operator(self.edges, self.x.shape[1], self.x.device)


def _weights(y: Tensor, per_class: int, gen: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """``per_class`` training nodes of each class, as many again to choose settings by, the others to test; y < 0: unused."""
    order, rank, total = torch.randperm(len(y), generator=gen), torch.full((len(y), ), -1), int(y.max()) + 1
    for c in range(total):
        mine = order[y[order] == c]
        rank[mine] = torch.arange(len(mine))
    chosen = torch.stack([(0 <= rank) & (rank < per_class), (per_class <= rank) & (rank < 2 * per_class),
                          rank >= 2 * per_class]).float()
    for c in range(total):
        chosen[:, y == c] /= total * chosen[:, y == c].sum(1, keepdim=True)
    return tuple(chosen)


def _problem(rows: list[tuple], device: str) -> Problem:
    edges, *parts = zip(*rows, strict=True)
    return Problem([e.to(device) for e in edges], *(torch.stack(part).to(device) for part in parts))


def block_model(n: int, k: int, inside: float, outside: float, per_class: int, seeds: Sequence[int],
                device: str = "cpu") -> Problem:
    """Stochastic block models with 16 Gaussian features whose class means have standard deviation .3."""
    rows = []
    for gen in generators(seeds):
        a, y = blocks(n, k, inside, outside, gen)
        x = 0.3 * torch.randn(k, 16, generator=gen)[y] + torch.randn(n, 16, generator=gen)
        rows.append((pairs(a), x, y, *_weights(y, per_class, gen)))
    return _problem(rows, device)


def digit_graph(n: int, k: int, noise: float, per_class: int, seeds: Sequence[int], device: str = "cpu") -> Problem:
    """Handwritten digits as nodes, joined to their ``k`` nearest by clean pixels; the features are noisy pixels."""
    d, rows = data.digits(), []
    pixels, labels = torch.tensor(d.x.reshape(-1, 64)).float() / 16, torch.tensor(d.y)
    for gen in generators(seeds):
        i = torch.randperm(len(labels), generator=gen)[:n]
        x, y = pixels[i], labels[i]
        noisy = x - 0.5 + noise * torch.randn(x.shape, generator=gen)
        rows.append((pairs(neighbours(x, k)), noisy, y, *_weights(y, per_class, gen)))
    return _problem(rows, device)


def known_graph(graph: data.Graph, per_class: int, width: int, seeds: Sequence[int], device: str = "cpu") -> Problem:
    """One graph, split anew for each seed; features are its words on ``width`` singular directions.

    Classes too small for ``per_class`` nodes to train on, as many to choose by and to test on, keep their nodes unlabelled.
    """
    words = torch.tensor(graph.x, dtype=torch.float32)
    words = F.normalize(words - words.mean(0), dim=1)
    _, lead = torch.linalg.eigh((words.T @ words).double())
    x = words @ lead[:, -width:].float()
    x = x / x.std()
    y = torch.tensor(graph.y)
    large = torch.bincount(y[y >= 0]) >= 3 * per_class
    y = torch.where((y >= 0) & large[y], large.cumsum(0)[y] - 1, -1)
    edges = torch.tensor(graph.edges)
    rows = [(edges, x, y.clamp_min(0), *_weights(y, per_class, gen)) for gen in generators(seeds)]
    return _problem(rows, device)


def pair_norm(h: Tensor) -> Tensor:
    """Node features [S, n, h] less their mean, scaled to a mean squared length of 1 (Zhao and Akoglu 2020)."""
    h = h - h.mean(1, keepdim=True)
    return h / h.square().sum(-1).mean(1).sqrt()[:, None, None].clamp_min(1e-6)


def dropped(problem: Problem, share: float, gens: list[torch.Generator]) -> Operator:
    """Operators of the same graphs with a share of edges left out, both directions alike (Rong et al. 2020)."""
    kept = [e[:, (torch.rand(e.shape[1], generator=gen) > share).to(e.device)]
            for e, gen in zip(problem.edges, gens, strict=True)]
    return Operator(kept, problem.x.shape[1], problem.x.device)


def forward(p: dict[str, Tensor], method: str, a: Operator, x: Tensor, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """Scores [S, n, classes] and last features [S, n, hidden]; ``alpha`` scales the branch beside a skip."""
    h0 = h = (x @ p["in"]).relu()
    for i in range(p["mid"].shape[1]):
        w = p["mid"][:, i]
        if method == "GCNII":
            beta = math.log(0.5 / (i + 1) + 1)
            m = 0.9 * (a @ h) + 0.1 * h0
            h = ((1 - beta) * m + beta * (m @ w)).relu()
            continue
        hw = h @ w
        out = a @ hw
        if "centred" in method:
            out = out - hw.mean(1, keepdim=True)
        if method == "PairNorm":
            out = pair_norm(out)
        h = h + alpha * out.relu() if method.startswith("skip") else out.relu()
    return h @ p["out"] + p["bias"], h


def fit(problem: Problem, method: str, depth: int, hidden: int, steps: int, lr: float, seeds: Sequence[int],
        alpha: float = 1.0, clip: bool = False) -> dict[str, Tensor]:
    """Train one net a seed with Adam (weight decay 5e-4): accuracies ``choice`` and ``test`` [S], ``cosine`` of nodes [S].

    ``clip`` scales the gradient of each weight to a norm of at most 1.
    """
    device, (S, n, f) = problem.x.device, problem.x.shape
    gens = generators(seeds)
    shapes = {"in": (f, hidden), "mid": (depth, hidden, hidden), "out": (hidden, problem.classes)}
    p = {k: (draw(gens, s) * (2 / s[-2])**0.5).to(device).requires_grad_() for k, s in shapes.items()}
    p["bias"] = torch.zeros(S, 1, problem.classes, device=device, requires_grad=True)
    optimizer = torch.optim.Adam(p.values(), lr, weight_decay=5e-4)
    operator = problem.operator()
    for _ in range(steps):
        a = dropped(problem, 0.3, gens) if method == "DropEdge" else operator
        scores = forward(p, method, a, problem.x, alpha)[0]
        each = F.cross_entropy(scores.flatten(0, 1), problem.y.flatten(), reduction="none").reshape(S, n)
        loss = (each * problem.train).sum()
        optimizer.zero_grad()
        loss.backward()
        for v in p.values():                                     # a seed that explodes must not end the others
            v.grad.nan_to_num_(0, 0, 0)
            if clip:
                v.grad /= v.grad.flatten(1).norm(dim=1).clamp_min(1.0).reshape(-1, *[1] * (v.ndim - 1))
        optimizer.step()
    with torch.no_grad():
        scores, h = forward(p, method, operator, problem.x, alpha)
        right = scores.nan_to_num().argmax(-1) == problem.y
        return {**{k: (right * m).sum(1) for k, m in (("choice", problem.choice), ("test", problem.test))},
                "cosine": token_cosine(h.nan_to_num()).float()}


def best(problem: Problem, method: str, depth: int, hidden: int, steps: int, rates: Sequence[float], seeds: Sequence[int],
         alpha: float = 1.0, clip: bool = False) -> dict[str, Tensor]:
    """:func:`fit` at the rate whose mean accuracy on the nodes set aside for choices is highest."""
    found = [fit(problem, method, depth, hidden, steps, lr, seeds, alpha, clip) for lr in rates]
    return max(found, key=lambda r: float(r["choice"].mean()))
