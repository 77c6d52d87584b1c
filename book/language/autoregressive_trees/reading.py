"""Trees, counts and Transformers on real text: the experiment on simple English."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence

import numpy as np

from lib import data
from lib.papers.autoregressive_trees.ardt import ARDT, Memory

from . import nets, texts
from .experiments import EPSILON, embedding

MODELS = ("last words counted", "tree", "forest", "boosted trees", "Transformer")
TREES = slice(1, 4)
LIMIT = 60  # words of a text that is written


def read(corpora: Sequence[str], count: int, asked: int, size: int, told: int, width: int, steps: int, seeds: Sequence[int],
         device: str = "cpu") -> dict:
    """What :data:`MODELS` make of real text: ``loss``, ``held``, ``top``, ``fresh``, ``parameters``, ``seconds``, ``judge``.

    Each [seed, corpus, model], after ``count`` words of a dictionary of ``size``; ``held`` is the loss by which each chose
    between two settings. ``judge``: nats a word that SmolLM2 gives to ``told`` written texts, and last to as many real
    ones, [seed, corpus, model + 1]; words outside the dictionary are left out there.
    """
    judge = data.smollm()
    judge[0].to(device)
    shape = (len(seeds), len(corpora), len(MODELS))
    out = {k: np.zeros(shape) for k in ("loss", "held", "top", "fresh", "parameters", "seconds")}
    out["judge"] = np.zeros((*shape[:2], len(MODELS) + 1))
    for (s, c) in np.ndindex(shape[:2]):
        t = texts.split(corpora[c], count, asked, size, int(seeds[s]))
        spelt = lambda rows, t=t: [t.spelt([i for i in row if t.names[i] != texts.OTHER]) for row in rows]  # noqa: E731
        for m, name in enumerate(MODELS):
            start = time.perf_counter()
            model = min(options(name, t, width, steps, int(seeds[s]), device), key=lambda o: o.score(t.held)[0])
            out["seconds"][s, c, m] = time.perf_counter() - start
            wrote = model.generate(told, LIMIT, int(seeds[s]), EPSILON)
            out["loss"][s, c, m], out["top"][s, c, m] = model.score(t.unseen)
            out["held"][s, c, m], out["parameters"][s, c, m] = model.score(t.held)[0], model.parameters
            out["fresh"][s, c, m] = texts.fresh(wrote, t.train)
            out["judge"][s, c, m] = texts.judged(*judge, spelt(wrote))
        out["judge"][s, c, -1] = texts.judged(*judge, spelt([u[:LIMIT] for u in t.unseen[:told]]))
    return out


def options(name: str, t: texts.Texts, width: int, steps: int, seed: int, device: str) -> Iterator:
    """One of :data:`MODELS`, fitted, at two settings: order, weight of parents, learning rate, or number of steps."""
    size = len(t.names)
    if name == "last words counted":
        yield from (texts.Counts(t.train, size, order) for order in (2, 3))
    elif name == "Transformer":
        told = nets.rows(t.train, size, texts.PIECE, device)
        yield from (nets.Writer(nets.trained(told, size, width, 0.005, n, 16, seed), size, texts.PIECE)
                    for n in (max(steps // 4, 1), steps))
    elif name == "boosted trees":
        yield from (ARDT(_memory(t), -1, "xgboost", seed % 2**31, n_estimators=10, learning_rate=rate).fit(t.train)
                    for rate in (0.15, 0.3))
    else:
        settings = {"min_samples_leaf": 20} if name == "tree" else {"n_estimators": 10, "max_features": 0.3,
                                                                    "min_samples_leaf": 5}
        fitted = ARDT(_memory(t), -1, name, seed % 2**31, **settings).fit(t.train)
        yield from (copy.copy(fitted).compile(shrink) for shrink in (20.0, 100.0))


def _memory(t: texts.Texts) -> Memory:
    return Memory(embedding(t.train, min(32, len(t.names)), len(t.names)), (0.1, 0.5, 0.9))
