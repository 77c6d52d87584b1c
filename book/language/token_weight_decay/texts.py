"""Texts as ids: words of newsgroups, byte-level BPE of plays and bibles, and how unequal their frequencies are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lib import data
from lib.papers.token_weight_decay.errors import LedgerError


@dataclass(frozen=True)
class Text:
    """Pieces of a text as ids: ``train`` [n], ``choice`` and ``held`` (which follow it), ``counts`` [V] in ``train``.

    Attributes
    ----------
    types : number of types V.
    unknown : ids that stand for no type of its own and are left out of every measure.
    names : what each id stands for.
    """

    train: Tensor
    choice: Tensor
    held: Tensor
    counts: np.ndarray
    unknown: tuple[int, ...]
    names: list[str]

    @property
    def types(self) -> int:
        """Number of types, the width of the logits."""
        return len(self.names)


def raw(name: str) -> str:
    """A whole text: "kjv", "bbe", "shakespeare", "newsgroups"; with a network "tinystories", "wikitext" or "imdb"."""
    if name in ("kjv", "bbe"):
        return data.corpus(name)
    readers = {"shakespeare": data.shakespeare, "newsgroups": lambda: "\n".join(data.newsgroups()),
               "tinystories": lambda: "\n".join(data.tinystories()), "wikitext": data.wikitext,
               "imdb": lambda: "\n".join(data.imdb())}
    if name not in readers:
        raise LedgerError(f"there is no text {name!r}; choose kjv, bbe, {', '.join(readers)}.")
    return readers[name]()


def words(n: int, seed: int, held: int = 0) -> Text:
    """The first ``n`` words of twenty newsgroups in an order drawn from ``seed``; each word of them is a type, 0 the unknown.

    ``choice`` and ``held`` are the next ``held`` words each.
    """
    messages = data.newsgroups()
    found: list[str] = []
    for i in np.random.default_rng(seed).permutation(len(messages)):
        found += messages[i].split()
        if len(found) >= n + 2 * held:
            break
    names = ["<unknown>", *(w for w, _ in Counter(found[:n]).most_common())]
    place = {w: i for i, w in enumerate(names)}
    ids = torch.tensor([place.get(w, 0) for w in found])
    counts = torch.bincount(ids[1:n], minlength=len(names)).numpy()
    return Text(ids[:n], ids[n:n + held], ids[n + held:n + 2 * held], counts, (0,), names)


@lru_cache(maxsize=8)
def tokenizer(name: str, size: int):
    """Byte-level BPE with at most ``size`` types, trained on a whole text by the library ``tokenizers``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(raw(name).split("\n"), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return made


def pieces(name: str, size: int, n: int, seed: int, held: int = 0) -> Text:
    """``n`` BPE tokens from a random place of a text, and two pieces of ``held`` tokens after them."""
    made, text = tokenizer(name, size), raw(name)
    wanted = n + 2 * held
    room = 8 * wanted + 1000
    at = int(np.random.default_rng(seed).integers(max(1, len(text) - room)))
    ids = torch.tensor(made.encode(text[at:at + room]).ids[1:wanted + 1])        # the first may be cut
    if len(ids) < wanted:
        raise LedgerError(f"{name} has only {len(ids)} tokens from there; ask for fewer than {wanted}.")
    types = made.get_vocab_size()
    names = [made.decode([i]) for i in range(types)]
    counts = torch.bincount(ids[1:n], minlength=types).numpy()
    return Text(ids[:n], ids[n:n + held], ids[n + held:], counts, (), names)


def inequality(f: np.ndarray) -> tuple[float, float, float]:
    """Share of types below the mean frequency, share of all tokens that those hold, and that of the most frequent 1 %."""
    f = np.sort(f[f > 0])[::-1] / f.sum()
    below = f < 1 / len(f)
    return float(below.mean()), float(f[below].sum()), float(f[:max(1, len(f) // 100)].sum())


def zipf_law(names: Sequence[str], sizes: Sequence[int], chars: int) -> dict:
    """Inequality of BPE types on the first ``chars`` characters of texts, and of words in 42 languages.

    ``bpe`` [text, size, 3] and ``language`` [language, 3] as :func:`inequality`; ``rank`` [text, 60] and ``frequency``
    [text, 60] of the largest vocabulary; ``tokens`` [text, size].
    """
    out: dict[str, list] = {"bpe": [], "rank": [], "frequency": [], "tokens": []}
    for name in names:
        rows, tokens = [], []
        for size in sizes:
            ids = np.concatenate([e.ids for e in tokenizer(name, size).encode_batch(raw(name)[:chars].split("\n")) if e.ids])
            counts = np.bincount(ids, minlength=size).astype(float)
            rows.append(inequality(counts))
            tokens.append(len(ids))
        falling = np.sort(counts[counts > 0])[::-1] / counts.sum()
        rank = np.unique(np.geomspace(1, len(falling), 60).astype(int))
        rank = np.append(rank, np.full(60 - len(rank), rank[-1]))
        for key, value in (("bpe", rows), ("rank", rank), ("frequency", falling[rank - 1]), ("tokens", tokens)):
            out[key].append(value)
    languages = data.word_frequencies()
    return {k: np.array(v) for k, v in out.items()} | {"language": np.array([inequality(f) for f in languages.values()])}
