"""Tokens a second of trees that write, feature update included, beside scikit-learn's own prediction and other peers.

``python -m lib.book bench`` runs it. A comparison of a test waits for one load: that latency is the floor of batch 1.
Boosted trees are one round, a tree for each word; LightGBM takes part where it is installed. The Transformer is a GPT-2 of
two layers with its cache.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from _race import compared, main, race
from transformers import GPT2Config, GPT2LMHeadModel

from book.language.autoregressive_trees import stories
from lib.papers import autoregressive_trees as art
from lib.papers.autoregressive_trees import machines

LENGTH, TREES = 80, 20
KINDS = {"tree": "one tree", "forest": f"{TREES} trees", "xgboost": "XGBoost, a tree a word",
         "lightgbm": "LightGBM, a tree a word"}


def stepwise(predict, decays: np.ndarray, size: int, batch: int) -> None:
    """Write LENGTH tokens for a batch by asking ``predict`` [batch, features] -> [batch, size] at each step."""
    state, gen = np.zeros((batch, len(decays), size)), np.random.default_rng(0)
    for _ in range(LENGTH):
        law = predict(state.reshape(batch, -1)).cumsum(1)
        token = np.minimum((law < gen.random((batch, 1)) * law[:, -1:]).sum(1), size - 1)
        state *= decays[:, None]
        state[np.arange(batch), :, token] += 1


def writing(backend: str, batch: int) -> list[dict]:
    """Tokens a second of each contestant at this batch."""
    names, decays = stories.words(), (0.5, 0.97)
    size = len(names)
    settings = {"tree": {}, "forest": {"n_estimators": TREES}}.get(backend, {"n_estimators": 1})
    model = art.ARDT(art.Memory(np.eye(size), decays), -1, backend, **settings).fit(stories.sample(250, 1))
    rare = ((0, 0), (0, size - len(model.known)))                       # words that the texts do not hold
    asked = {"tree": model.estimator.predict_proba, "forest": model.estimator.predict_proba,
             "xgboost": lambda x: model.estimator.get_booster().inplace_predict(x),
             "lightgbm": lambda x: model.estimator.booster_.predict(x, num_threads=1)}[backend]
    peer = {"tree": "scikit-learn", "forest": "scikit-learn", "xgboost": "XGBoost's Booster",
            "lightgbm": "LightGBM's Booster"}[backend]
    contestants = {"ours": lambda: model.generate(batch, LENGTH, 0),
                   peer: lambda: stepwise(lambda x: np.pad(asked(x.astype(np.float32)), rare), np.array(decays), size, batch)}
    if backend == "tree":
        config = GPT2Config(vocab_size=size + 1, n_positions=LENGTH + 1, n_embd=32, n_layer=2, n_head=4, bos_token_id=size,
                            eos_token_id=None, pad_token_id=size)
        gpt, start = GPT2LMHeadModel(config).eval(), torch.full((batch, 1), size)
        seen = torch.ones_like(start)
        contestants["Transformer with cache"] = lambda: gpt.generate(start, attention_mask=seen, max_new_tokens=LENGTH,
                                                                     do_sample=True, use_cache=True)
    return compared(race(contestants, 10.0), "tokens", batch * LENGTH, batch=batch)


def compiled() -> list[dict]:
    """Tokens a second of machines as trees: the four-state busy beaver, and words of the alternating group."""
    beaver = art.compile_tm(machines.Turing.busy(machines.BEAVERS[4]), 24)
    prompt = beaver.prompt(["0"] * 24, 12)
    group = art.compile_dfa(machines.alternating(), 256)
    drawn = np.random.default_rng(0).integers(0, 3, (64, 256))
    words = [group.prompt([group.machine.symbols[i] for i in row]) for row in drawn]
    found = race({"busy beaver of four states": lambda: beaver.tree.write([prompt] * 16, 5000),
                  "words of A5": lambda: group.tree.write(words, 300)}, 5.0)
    tokens = {"busy beaver of four states": 16 * 2679, "words of A5": 64 * 257}
    return [{"machine": name, "tokens/s": tokens[name] / s} for name, s in found.items()]


def measure() -> dict[str, list[dict]]:
    """One table for each kind of model, and one for compiled machines."""
    kinds = [kind for kind in KINDS if kind != "lightgbm" or importlib.util.find_spec("lightgbm")]
    return {KINDS[kind]: writing(kind, 1) + writing(kind, 256) for kind in kinds} | {"compiled machines": compiled()}


if __name__ == "__main__":
    main(__doc__, measure)
