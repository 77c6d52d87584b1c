"""Who decays: groups of parameters for an optimizer, and decay that tells the rows of token matrices apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .errors import LedgerError

POLICIES = {
    "everything": "all parameters decay",
    "matrices": "matrices decay; norms, biases and other vectors do not (the usual choice)",
    "body": "matrices decay, but not the embedding and unembedding",
    "tokens": "only the embedding and unembedding decay",
}
ROWS = ("frequency", "mean")


def token_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Matrices with a row for each type: the embeddings, and linear layers with as many outputs. Shared ones come once.

    Raises
    ------
    LedgerError
        Where the model has no embedding.
    """
    ask = getattr(model, "get_input_embeddings", None)  # Hugging Face's models know which one is of tokens
    tables = [ask()] if ask else [m for m in model.modules() if isinstance(m, nn.Embedding)]
    if not tables:
        raise LedgerError("the model has no torch.nn.Embedding, so no row belongs to a token; group its parameters by hand.")
    width = max(m.num_embeddings for m in tables)
    found = [m.weight for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings == width
             or isinstance(m, nn.Linear) and m.out_features == width]
    return list({id(p): p for p in found}.values())


def param_groups(model: nn.Module, decay: float = 0.1, policy: str = "matrices") -> list[dict]:
    """Groups for ``torch.optim.AdamW``: parameters with ``weight_decay = decay``, and those with none.

    Parameters
    ----------
    model : any torch module with an embedding; weights that are tied count as token matrices.
    decay : decoupled weight decay; a weight that nothing holds shrinks by e in 1 / (learning rate times decay) steps.
    policy : one of ``POLICIES``.

    Raises
    ------
    LedgerError
        For an unknown policy, a negative decay, or a model without an embedding.
    """
    if policy not in POLICIES:
        raise LedgerError(f"there is no policy {policy!r}; choose {', '.join(POLICIES)}.")
    if decay < 0:
        raise LedgerError(f"a decay of {decay} would let weights grow; give 0 or more.")
    of_tokens = {id(p) for p in token_matrices(model)}
    rules = {"everything": lambda p: True, "matrices": lambda p: p.ndim > 1, "tokens": lambda p: id(p) in of_tokens,
             "body": lambda p: p.ndim > 1 and id(p) not in of_tokens}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [([p for p in trained if rules[policy](p)], decay), ([p for p in trained if not rules[policy](p)], 0.0)]
    return [{"params": params, "weight_decay": d} for params, d in groups if params]


class RowDecay:
    """Decoupled decay of the rows of the token matrices; call :meth:`step` after the optimizer's.

    Parameters
    ----------
    model : as for :func:`param_groups`, whose policy is then "body".
    decay : of the most frequent type ("frequency") or of all ("mean").
    kind : "frequency": row k decays by sqrt(f_k / max f), the size of Adam's step on it; "mean": rows decay towards their
        mean row, not towards zero.
    counts : occurrences [V] in the training text, for "frequency".
    """

    def __init__(self, model: nn.Module, decay: float, kind: str,
                 counts: Sequence[int] | np.ndarray | Tensor | None = None):
        if kind not in ROWS:
            raise LedgerError(f"there is no row decay {kind!r}; choose {', '.join(ROWS)}.")
        self.rows, self.decay, self.kind, self.scale = token_matrices(model), decay, kind, 1.0
        if kind == "frequency":
            if counts is None or len(counts) != len(self.rows[0]):
                raise LedgerError(f"decay by frequency needs the counts of all {len(self.rows[0])} types of the training "
                                  "text.")
            f = torch.as_tensor(counts, dtype=torch.float32, device=self.rows[0].device)
            self.scale = (f / f.max()).sqrt()[:, None]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Decay by the learning rate of this step."""
        for p in self.rows:
            centre = p.mean(0, keepdim=True) if self.kind == "mean" else 0.0
            p.sub_(rate * self.decay * self.scale * (p - centre))
