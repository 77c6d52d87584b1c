"""Aggregation over graphs: operators with rows that sum to one, a centred convolution, and small graphs to try them on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .errors import CenteringError
from .operators import check_gamma


def random_walk(adjacency: Tensor) -> Tensor:
    """(D + I)^-1 (A + I) of adjacency [..., n, n], dense or a sparse [n, n]: rows sum to one."""
    if adjacency.shape[-1] != adjacency.shape[-2]:
        raise CenteringError(f"an adjacency matrix is square, not {tuple(adjacency.shape)}.")
    if adjacency.is_sparse or adjacency.layout == torch.sparse_csr:
        a = adjacency.to_sparse_coo().coalesce()
        n, loop = a.shape[0], torch.arange(a.shape[0], device=a.device)
        i = torch.cat([a.indices(), torch.stack([loop, loop])], 1)
        w = torch.cat([a.values(), a.values().new_ones(n)])
        degree = w.new_zeros(n).index_add_(0, i[0], w)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse")  # torch tells at each first use that CSR is in beta
            return torch.sparse_coo_tensor(i, w / degree[i[0]], a.shape).coalesce().to_sparse_csr()
    a = adjacency + torch.eye(adjacency.shape[-1], dtype=adjacency.dtype, device=adjacency.device)
    return a / a.sum(-1, keepdim=True)


class _Mix(torch.autograd.Function):
    """A sparse matrix times features; the gradient takes the transpose that is kept beside it."""

    @staticmethod
    def forward(ctx, h: Tensor, a: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return a @ h

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed @ g, None, None


class Operator:
    """(D + I)^-1 (A + I) of S undirected graphs of n nodes as one sparse matrix, with its transpose for gradients.

    ``operator @ h`` takes features [S, n, f]. ``edges``: for each graph [2, m], every edge once and no loops.
    """

    def __init__(self, edges: Sequence[Tensor], n: int, device: str | torch.device = "cpu"):
        self.n, self.count, size = n, len(edges), n * len(edges)
        once = torch.cat([e.to(device) + s * n for s, e in enumerate(edges)], 1)
        loop = torch.arange(size, device=device)
        index = torch.cat([once, once.flip(0), torch.stack([loop, loop])], 1)
        index = index[:, torch.argsort(index[0] * size + index[1])]
        degree = torch.bincount(index[0], minlength=size)
        start = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse")
            self.a, self.transposed = (torch.sparse_csr_tensor(start, index[1], 1.0 / degree[index[end]], (size, size))
                                       for end in (0, 1))

    def __matmul__(self, h: Tensor) -> Tensor:
        return _Mix.apply(h.flatten(0, 1), self.a, self.transposed).unflatten(0, (self.count, self.n))


def pairs(adjacency: Tensor) -> Tensor:
    """Edges [2, m] of a symmetric adjacency matrix [n, n], each once."""
    return adjacency.triu(1).nonzero().T


class CenteredConv(nn.Module):
    """Graph convolution ``(A - gamma P) H W + b``: features [n, f_in] -> [n, f_out]; the operator A may be sparse.

    ``A H W`` less the mean of the rows of ``H W``: A stays sparse. ``operator`` comes from :func:`random_walk`.
    """

    def __init__(self, f_in: int, f_out: int, gamma: float = 1.0, bias: bool = True):
        super().__init__()
        check_gamma(gamma)
        self.weight = nn.Parameter(torch.empty(f_in, f_out))
        self.bias = nn.Parameter(torch.zeros(f_out)) if bias else None
        self.gamma = gamma
        nn.init.xavier_uniform_(self.weight)

    def forward(self, h: Tensor, operator: Tensor) -> Tensor:
        if h.shape[-1] != self.weight.shape[0] or operator.shape[-1] != h.shape[-2]:
            raise CenteringError(f"features {tuple(h.shape)} do not fit an operator {tuple(operator.shape)} and a weight "
                                 f"{tuple(self.weight.shape)}: [n, f_in], [n, n], [f_in, f_out].")
        if operator.layout != torch.strided and h.ndim != 2:
            raise CenteringError(f"a sparse operator mixes features [n, f_in] of one graph, not {tuple(h.shape)}; call it "
                                 "for each graph, or put the graphs of a batch into one block-diagonal operator.")
        hw = h @ self.weight
        out = operator @ hw - self.gamma * hw.mean(-2, keepdim=True)
        return out if self.bias is None else out + self.bias


def known(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Adjacency [n, n] and two communities [n] of ``karate`` (the club that split), from networkx."""
    if name != "karate":
        raise CenteringError(f"there is no graph {name!r}; choose karate.")
    import networkx as nx
    g = nx.karate_club_graph()
    split = np.array([g.nodes[i]["club"] == "Officer" for i in g], int)
    return nx.to_numpy_array(g, weight=None), split


def blocks(n: int, k: int, inside: float, outside: float, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """Adjacency [n, n] and labels [n] of a stochastic block model with k equal blocks."""
    y = torch.arange(n) % k
    chance = torch.where(y[:, None] == y[None], inside, outside)
    upper = (torch.rand(n, n, generator=gen) < chance).float().triu(1)
    return upper + upper.T, y


def neighbours(points: Tensor, k: int) -> Tensor:
    """Adjacency [n, n] of the symmetric graph of k nearest neighbours of points [n, d]."""
    near = torch.cdist(points, points).fill_diagonal_(torch.inf).topk(k, largest=False).indices
    a = torch.zeros(len(points), len(points)).scatter_(1, near, 1.0)
    return torch.maximum(a, a.T)
