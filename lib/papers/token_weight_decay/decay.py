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


def token_matrices(model: nn.Module, names: Sequence[str] | None = None) -> list[nn.Parameter]:
    """Matrices with a row for each type: the embedding of tokens and the head that predicts them. A shared one comes once.

    Parameters
    ----------
    model : Hugging Face's say themselves which modules these are. Of other models the embedding is the only one, or the one
        that a linear layer shares, or the only one with as many rows as a linear layer has outputs; the head is the linear
        layer with as many outputs, or up to a tenth more where it is padded.
    names : names of these modules, where the model does not tell.

    Raises
    ------
    LedgerError
        Where the model has no embedding, where several modules might be meant, or for a name that no module has.
    """
    modules = dict(model.named_modules())
    if lacking := [n for n in names or () if not isinstance(getattr(modules.get(n), "weight", None), nn.Parameter)]:
        raise LedgerError(f"the model has no module {lacking[0]!r} with a weight; see model.named_modules().")
    ask, head = (getattr(model, f"get_{end}put_embeddings", None) for end in ("in", "out"))
    said = [ask(), head() if head else None] if ask else None
    told = [modules[n] for n in names] if names else said or _embedding_and_head(modules)
    return list({id(m.weight): m.weight for m in told if m is not None}.values())


def _embedding_and_head(modules: dict[str, nn.Module]) -> list[nn.Module]:
    """The embedding of tokens and the head, by what they share."""
    tables = {n: m for n, m in modules.items() if isinstance(m, nn.Embedding)}
    linear = {n: m for n, m in modules.items() if isinstance(m, nn.Linear)}
    if not tables:
        raise LedgerError("the model has no torch.nn.Embedding, so no row belongs to a token; group its parameters by hand.")
    tied = [m for m in tables.values() if any(x.weight is m.weight for x in linear.values())]
    sized = [m for m in tables.values() if any(x.out_features == m.num_embeddings for x in linear.values())]
    found = tied or (list(tables.values()) if len(tables) == 1 else sized)
    if len(found) != 1:
        raise LedgerError(f"any of the embeddings {', '.join(tables)} may be that of tokens; name it and the head, "
                          "names=[...].")
    rows = found[0].num_embeddings
    heads = [n for n, x in linear.items() if x.out_features == rows] or \
        [n for n, x in linear.items() if rows < x.out_features <= 1.1 * rows and x.in_features == found[0].embedding_dim]
    if len(heads) > 1 and not tied and heads[-1] != list(linear)[-1]:
        raise LedgerError(f"any of the layers {', '.join(heads)} may be the head; name it and the embedding, names=[...].")
    return found if tied or not heads else [*found, linear[heads[-1]]]


def param_groups(model: nn.Module, decay: float = 0.1, policy: str = "matrices",
                 names: Sequence[str] | None = None) -> list[dict]:
    """Groups for ``torch.optim.AdamW``: parameters with ``weight_decay = decay``, and those with none.

    Parameters
    ----------
    model : any torch module with an embedding; weights that are tied count as token matrices.
    decay : decoupled weight decay; a weight that nothing holds shrinks by e in 1 / (learning rate times decay) steps.
    policy : one of ``POLICIES``.
    names : as for :func:`token_matrices`.

    Raises
    ------
    LedgerError
        For an unknown policy, a negative decay, or where :func:`token_matrices` does.
    """
    if policy not in POLICIES:
        raise LedgerError(f"there is no policy {policy!r}; choose {', '.join(POLICIES)}.")
    if decay < 0:
        raise LedgerError(f"a decay of {decay} would let weights grow; give 0 or more.")
    of_tokens = {id(p) for p in token_matrices(model, names)}
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
