"""Simple English for trees: a dictionary of frequent words, counts of word sequences as the baseline, and a judge."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lib import data
from lib.data import DataMissing

OTHER, PIECE = "<other>", 128


def words(text: str) -> list[str]:
    """Words in lower case and marks of punctuation."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|[.,:;?!]", text.lower().replace("’", "'"))


def stream(name: str, gen: np.random.Generator) -> list[str]:
    """All words of ``bbe`` from a random place on, or of the tales of ``grimm`` or ``tinystories`` in random order."""
    if name == "bbe":
        every = words(data.corpus("bbe"))
        at = int(gen.integers(len(every)))
        return every[at:] + every[:at]
    if name not in ("grimm", "tinystories"):
        raise DataMissing(f"there is no text {name!r}; choose bbe, grimm or tinystories.")
    tales = data.grimm() if name == "grimm" else data.tinystories()
    return [w for i in gen.permutation(len(tales)) for w in words(tales[i])]


@dataclass(frozen=True)
class Texts:
    """Pieces of 128 words as ids of ``names``: to learn from, to choose settings on, and unseen; the last name is other."""

    names: list[str]
    train: list[np.ndarray]
    held: list[np.ndarray]
    unseen: list[np.ndarray]

    def spelt(self, ids: Sequence[int]) -> str:
        """A text in words."""
        return re.sub(r" ([.,:;?!])", r"\1", " ".join(self.names[i] for i in ids))


def split(name: str, count: int, asked: int, size: int, seed: int) -> Texts:
    """``count`` words to learn from, then twice ``asked`` words; a dictionary of the ``size - 1`` most frequent words."""
    every = stream(name, np.random.default_rng(seed))
    if len(every) < count + 2 * asked:
        raise DataMissing(f"{name} has {len(every)} words, and {count + 2 * asked} are asked for; ask for fewer.")
    names = [*(w for w, _ in Counter(every[:count]).most_common(size - 1)), OTHER]
    at = {w: i for i, w in enumerate(names)}
    ids = np.array([at.get(w, len(names) - 1) for w in every[:count + 2 * asked]])
    cut = lambda a: [a[i:i + PIECE] for i in range(0, len(a), PIECE)]  # noqa: E731
    return Texts(names, cut(ids[:count]), cut(ids[count:count + asked]), cut(ids[count + asked:]))


class Counts:
    """Law of the next word from counts after the last words, fewer words filling in for rare sequences.

    Source: I. H. Witten, T. C. Bell, *The zero-frequency problem*, 1991 (method C).
    """

    def __init__(self, texts: Sequence[np.ndarray], size: int, order: int):
        self.size, self.order = size, order
        self.seen: list[dict] = [defaultdict(Counter) for _ in range(order)]
        for text in texts:
            for i, word in enumerate(text):
                for k in range(min(order, i + 1)):
                    self.seen[k][tuple(text[i - k:i])][int(word)] += 1
        self.parameters = sum(len(c) for level in self.seen for c in level.values())

    def law(self, before: Sequence[int]) -> np.ndarray:
        """Law of the word after these, [size]."""
        p = np.full(self.size, 1 / self.size)
        for k in range(min(self.order, len(before) + 1)):
            found = self.seen[k].get(tuple(before[len(before) - k:]))
            if found is None:
                break
            p = p * len(found)
            p[list(found)] += list(found.values())
            p /= p.sum()
        return p

    def score(self, texts: Sequence[np.ndarray]) -> tuple[float, float]:
        """Mean negative log-likelihood of a word in nats, and share of words that are the most probable one."""
        found = [(np.log(law[w]), law.argmax() == w) for text in texts for i, w in enumerate(text)
                 for law in [self.law(text[max(0, i - self.order + 1):i])]]
        loss, right = np.mean(found, 0)
        return -float(loss), float(right)

    def generate(self, count: int, limit: int, seed: int, epsilon: float) -> list[np.ndarray]:
        """Texts of ``limit`` words; words less probable than ``epsilon`` are never drawn."""
        gen, out = np.random.default_rng(seed), []
        for _ in range(count):
            text: list[int] = []
            for _ in range(limit):
                law = self.law(text[max(0, len(text) - self.order + 1):])
                law = np.where(law >= min(epsilon, law.max()), law, 0)
                text.append(int(gen.choice(self.size, p=law / law.sum())))
            out.append(np.array(text))
        return out


def fresh(texts: Sequence[np.ndarray], told: Sequence[np.ndarray], run: int = 6) -> float:
    """Share of runs of six words in what was written that do not stand in what was learnt from."""
    runs = lambda some: [tuple(t[i:i + run]) for t in some for i in range(len(t) - run + 1)]  # noqa: E731
    known = set(runs(told))
    return float(np.mean([r not in known for r in runs(texts)]))


@torch.no_grad()
def judged(model, tokenizer, texts: Sequence[str]) -> float:
    """What a larger model thinks of texts: its negative log-likelihood in nats a word."""
    loss, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([tokenizer(text).input_ids], device=model.device)
        loss += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += len(words(text))
    return loss / count
