"""Time of centred attention beside torch's own, forward and backward, and of a sparse centred convolution beside its peers.

``python -m lib.book bench`` runs it. Centering reads and writes the values once: that is its floor, a share 1/2n of the
arithmetic of attention over n tokens. PyTorch Geometric's ``GCNConv`` takes part where it is installed.
"""

from __future__ import annotations

import torch
from _race import DEVICE, compared, main, race
from torch.nn.functional import scaled_dot_product_attention

from lib.papers import centered_attention as ca
from lib.papers.centered_attention.graphs import blocks

TOKENS, HEADS, WIDTH = 2048, 4, 64
NODES, FEATURES = 12_000, 64


def attention(causal: bool) -> list[dict]:
    """Seconds of one forward and backward of each contestant."""
    kind = torch.bfloat16 if DEVICE == "cuda" else torch.float32
    q, k, v = (torch.randn(1, HEADS, TOKENS, WIDTH, device=DEVICE, dtype=kind, requires_grad=True) for _ in range(3))
    ours = lambda: ca.centered_attention(q, k, v, is_causal=causal).sum().backward()  # noqa: E731
    plain = lambda: scaled_dot_product_attention(q, k, v, is_causal=causal).sum().backward()  # noqa: E731

    def dense():
        logits = q @ k.mT / WIDTH**0.5
        if causal:
            logits = logits.masked_fill(torch.ones(TOKENS, TOKENS, dtype=torch.bool, device=q.device).triu(1), -torch.inf)
        (ca.center(logits.softmax(-1)) @ v).sum().backward()

    return compared(race({"torch": plain, "ours": ours, "dense, centred": dense}, 20.0), mask="causal" if causal else "none")


def convolution() -> list[dict]:
    """Seconds of one forward and backward of a layer on a random sparse graph of mean degree 8."""
    g = torch.Generator().manual_seed(0)
    i = torch.randint(NODES, (2, 4 * NODES), generator=g)
    i = torch.cat([i, i.flip(0)], 1)
    adjacency = torch.sparse_coo_tensor(i, torch.ones(i.shape[1]), (NODES, NODES), check_invariants=False).coalesce()
    operator = ca.random_walk(adjacency.to(DEVICE))
    h = torch.randn(NODES, FEATURES, generator=g).to(DEVICE).requires_grad_()
    ours, plain = (ca.CenteredConv(FEATURES, FEATURES, gamma).to(DEVICE) for gamma in (1.0, 0.0))
    contestants = {"plain sparse product": lambda: (operator @ (h @ plain.weight) + plain.bias).square().sum().backward(),
                   "ours": lambda: ours(h, operator).square().sum().backward()}
    try:
        from torch_geometric.nn import GCNConv
    except ImportError:
        pass
    else:
        peer, edges = GCNConv(FEATURES, FEATURES, cached=True).to(DEVICE), adjacency.indices().to(DEVICE)
        contestants["GCNConv"] = lambda: peer(h, edges).square().sum().backward()
    return compared(race(contestants, 10.0))


def measure() -> dict[str, list[dict]]:
    """Tables of attention and of the convolution."""
    adjacency, _ = blocks(40, 2, 0.3, 0.1, torch.Generator().manual_seed(0))
    dense, sparse = ca.random_walk(adjacency), ca.random_walk(adjacency.to_sparse())
    assert torch.allclose(dense, sparse.to_dense())
    return {f"attention: {TOKENS} tokens, {HEADS} heads of {WIDTH}": attention(False) + attention(True),
            f"convolution: {NODES} nodes of degree 8, {FEATURES} features": convolution()}


if __name__ == "__main__":
    main(__doc__, measure)
