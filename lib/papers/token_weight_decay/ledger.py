"""Loss, accuracy and learning speed of each token type, summed while batches stream by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import stats

from .errors import LedgerError

EDGES = (1, 3, 9, 27, 81, 243, 729, 2187, 6561)


@dataclass(frozen=True)
class Bin:
    """Types that occur ``low`` to ``high`` - 1 times: their number, share of all tokens, mean loss and accuracy.

    Attributes
    ----------
    low, high : least count, and the least count that is too large (infinite in the last bin).
    types : number of types in the bin that were measured.
    mass : share of the measured tokens that these types hold.
    loss : mean over types of a type's loss, nats, with an interval over types (of zero width for one type).
    accuracy : mean over types of the share of occurrences where the type was most probable.
    """

    low: int
    high: float
    types: int
    mass: float
    loss: stats.Interval
    accuracy: float

    @property
    def name(self) -> str:
        """The bin in words: "3-8", or "81 and more"."""
        return f"{self.low} and more" if math.isinf(self.high) else f"{self.low}-{int(self.high) - 1}"


@dataclass(frozen=True)
class Report:
    """What a ledger measured, by type, by bin of frequency, and in the two means.

    Attributes
    ----------
    counts, seen : occurrences in the text that defines frequency, and among the measured tokens, [V].
    loss, accuracy : of each type, NaN where it was not measured, [V].
    micro, macro : loss, mean over tokens and mean over types, nats.
    micro_accuracy, macro_accuracy : the same of accuracy.
    bins : from rare to frequent.
    """

    counts: np.ndarray
    seen: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    micro: float
    macro: stats.Interval
    micro_accuracy: float
    macro_accuracy: float
    bins: tuple[Bin, ...]


class TokenLedger:
    """Per-type loss and accuracy of a causal language model, streaming and on the model's device.

    Parameters
    ----------
    vocabulary : number of types V, the width of the logits.
    ignore : target that marks padding; types in ``drop`` (an unknown word, say) are left out as well.
    device : where the sums are kept; by default where the first logits, or the model, are.

    Examples
    --------
    >>> ledger = TokenLedger(3)
    >>> ledger.update(torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), torch.tensor([0, 0]))
    >>> report = ledger.report(edges=(1,))
    >>> int(report.seen[0]), report.micro_accuracy
    (2, 0.5)
    """

    def __init__(self, vocabulary: int, ignore: int = -100, drop: Sequence[int] = (),
                 device: str | torch.device | None = None):
        if vocabulary < 2:
            raise LedgerError(f"a vocabulary of {vocabulary} types has nothing to tell apart; give the width of the logits.")
        self.vocabulary, self.ignore, self.drop = vocabulary, ignore, tuple(drop)
        self.device = None if device is None else torch.device(device)
        self.looks: list[np.ndarray] = []
        self._clear()

    def _clear(self) -> None:
        self._sum, self._hits, self._seen = (torch.zeros(self.vocabulary, dtype=torch.float64) for _ in range(3))

    @torch.no_grad()
    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add predictions: ``logits`` [..., V] for the next token and the tokens that came, ``targets`` [...].

        Raises
        ------
        LedgerError
            Where the logits have another width, the shapes differ, or a target is no type.
        """
        if logits.shape[-1] != self.vocabulary:
            raise LedgerError(f"the logits have {logits.shape[-1]} columns and the ledger {self.vocabulary} types; make it "
                              "with the width of the model's output (which may be padded beyond the tokenizer's).")
        if logits.shape[:-1] != targets.shape:
            raise LedgerError(f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} do not go together; give "
                              "logits[:, :-1] with ids[:, 1:].")
        self.device = self.device or logits.device
        wide = torch.float32 if self.device.type == "mps" else torch.float64
        self._sum, self._hits, self._seen = (t.to(self.device, wide) for t in (self._sum, self._hits, self._seen))
        z, y = logits.reshape(-1, self.vocabulary).to(self.device), targets.reshape(-1).to(self.device)
        keep = y != self.ignore
        for token in self.drop:
            keep &= y != token
        z, y = z[keep], y[keep]
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.vocabulary:
            raise LedgerError(f"targets run from {int(y.min())} to {int(y.max())}, outside 0 to {self.vocabulary - 1}; mark "
                              f"padding by {self.ignore}, and use the model's own tokenizer.")
        self._sum.index_add_(0, y, F.cross_entropy(z.float(), y, reduction="none").to(wide))
        self._hits.index_add_(0, y, (z.argmax(-1) == y).to(wide))
        self._seen += torch.bincount(y, minlength=self.vocabulary).to(wide)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Tensor | Mapping]) -> TokenLedger:
        """Run a model over batches of ids [n, T + 1], with padding ``ignore``, and add what it predicts.

        Any causal model that maps ids [n, T] to logits [n, T, V], or to an object with ``logits`` as Hugging Face's do. A
        batch may be a tokenizer's dictionary of ``input_ids`` and ``attention_mask``, padded on the right.
        """
        was, _ = model.training, model.eval()
        at = self.device or next((p.device for p in model.parameters()), None)
        try:
            for given in batches:
                ids = _padded(given, self.ignore).to(at)
                out = model(ids[:, :-1].clamp_min(0))
                self.update(getattr(out, "logits", out), ids[:, 1:])
        finally:
            model.train(was)
        return self

    def read(self, model: nn.Module, tokenizer, texts: Iterable[str], length: int = 128, batch: int = 16) -> TokenLedger:
        """Measure a model on texts: each is cut into windows of ``length`` + 1 tokens, the last of a batch padded.

        ``texts`` is a list, also of one text. ``tokenizer`` is Hugging Face's, of ``transformers`` or of ``tokenizers``, or
        any with ``encode``.
        """
        return self.measure(model, windows((_ids(tokenizer, t) for t in texts), length, batch, self.ignore))

    def look(self) -> np.ndarray:
        """Close a look in the midst of training: keep the loss of each type [V], clear the sums, return it."""
        self.looks.append(self.loss())
        self._clear()
        return self.looks[-1]

    def loss(self) -> np.ndarray:
        """Mean loss of each type, nats, NaN where it was not seen, [V]. Raises LedgerError on NaN or infinite logits."""
        seen, total = self._seen.cpu().numpy(), self._sum.cpu().numpy()
        if not np.isfinite(total).all():
            raise LedgerError("the logits held NaN or infinity; lower the learning rate, or look for the layer that "
                              "overflows.")
        return np.divide(total, seen, out=np.full(len(seen), np.nan), where=seen > 0)

    def speed(self) -> np.ndarray:
        """Learning speed of each type over the looks, 1 - mean of min(1, L_k / log V), [V]: 0 never, 1 at once."""
        if not self.looks:
            raise LedgerError("learning speed needs looks in the midst of training; call look() after each evaluation.")
        return 1 - np.minimum(1, np.stack(self.looks) / math.log(self.vocabulary)).mean(0)

    def report(self, counts: Tensor | np.ndarray | None = None, edges: Sequence[int] | None = None,
               alpha: float = 0.05) -> Report:
        """Means and bins by frequency.

        Parameters
        ----------
        counts : occurrences that define frequency [V], of the training text; without it, of the measured text. Types that
            occur less than the least edge stay out of ``macro`` and of the bins; ``micro`` counts every token.
        edges : least counts of the bins, rising; without it, powers of three up to the largest count.
        alpha : one minus the confidence of the intervals over types.

        Raises
        ------
        LedgerError
            Where nothing was measured, logits were not finite, lengths differ, edges do not rise, or a bin is empty.
        """
        loss, seen = self.loss(), self._seen.cpu().numpy()
        if not seen.sum():
            raise LedgerError("no token has been measured; call update, measure or read first (is all of it padding?).")
        counts = seen if counts is None else np.asarray(torch.as_tensor(counts).cpu(), dtype=float)
        if len(counts) != self.vocabulary:
            raise LedgerError(f"counts has {len(counts)} entries and the ledger {self.vocabulary} types; count with the same "
                              "tokenizer, and pad with zeros to the width of the logits.")
        measured, hits = seen > 0, self._hits.cpu().numpy()
        accuracy = np.divide(hits, seen, out=np.full(len(seen), np.nan), where=measured)
        given = edges is not None
        edges = tuple(edges) if given else tuple(e for e in EDGES if e <= max(counts.max(), 1))
        if any(b <= a for a, b in zip(edges, edges[1:])) or not edges:
            raise LedgerError(f"the edges {edges} do not rise; give least counts such as (1, 3, 9, 27).")
        bins = []
        for low, high in zip(edges, (*edges[1:], math.inf)):
            inside = measured & (counts >= low) & (counts < high)
            if inside.any():
                bins.append(Bin(low, high, int(inside.sum()), float(seen[inside].sum() / seen.sum()),
                                _over_types(loss[inside], alpha), float(accuracy[inside].mean())))
            elif given:
                raise LedgerError(f"no measured type occurs {low} times or more and less than {high}; leave that edge out.")
        micro, known = float(np.nansum(loss * seen) / seen.sum()), measured & (counts >= edges[0])
        if not known.any():
            raise LedgerError(f"no measured type occurs {edges[0]} times in the counts; are they of another text?")
        return Report(counts, seen, loss, accuracy, micro, _over_types(loss[known], alpha),
                      float(hits.sum() / seen.sum()), float(accuracy[known].mean()), tuple(bins))


def _over_types(values: np.ndarray, alpha: float) -> stats.Interval:
    if len(values) < 2:
        return stats.Interval(*(float(values[0]),) * 3, 1)
    return stats.mean(values, alpha)


def _padded(batch: Tensor | Mapping, ignore: int) -> Tensor:
    """Ids of a batch, with ``ignore`` where the mask of a tokenizer's dictionary hides padding."""
    given = batch if isinstance(batch, Mapping) else {"input_ids": batch}
    ids, mask = given.get("input_ids"), given.get("attention_mask")
    if not isinstance(ids, Tensor):
        raise LedgerError("a batch is a tensor of ids [n, T + 1], or a dictionary with such input_ids "
                          "(return_tensors=\"pt\").")
    if mask is not None and not bool(mask[:, 0].all()):
        raise LedgerError("the batch is padded on the left, which moves positions; set tokenizer.padding_side = \"right\".")
    return ids if mask is None else ids.masked_fill(mask == 0, ignore)


def _ids(tokenizer, text: str) -> Sequence[int]:
    out = tokenizer.encode(text)
    return getattr(out, "ids", out)


def windows(texts: Iterable[Sequence[int]], length: int, batch: int, pad: int = -100) -> Iterable[Tensor]:
    """Batches [n, length + 1] of windows that follow each other by ``length`` ids, so that each id is predicted once."""
    rows: list[Tensor] = []
    for ids in texts:
        ids = torch.as_tensor(ids, dtype=torch.long)
        for at in range(0, len(ids) - 1, length):
            row = torch.full((length + 1,), pad)
            piece = ids[at:at + length + 1]
            row[:len(piece)] = piece
            rows.append(row)
            if len(rows) == batch:
                yield torch.stack(rows)
                rows = []
    if rows:
        yield torch.stack(rows)
