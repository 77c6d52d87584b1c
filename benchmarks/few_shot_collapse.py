"""Speed of few-shot episodes, sampling included, beside scikit-learn's nearest centroid and a vectorised NumPy loop.

``python -m lib.book bench`` runs it: episodes a second at 5 ways, 5 shots, 15 queries, 64 features, in one run.
"""

from __future__ import annotations

import numpy as np
import torch
from _race import compared, main, race
from sklearn.neighbors import NearestCentroid

from lib.papers import few_shot_collapse as fs

WAYS, SHOTS, QUERIES = 5, 5, 15


def draw(rng, classes: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes [k] and samples [k, s] of one episode, without replacement."""
    return rng.permutation(classes)[:WAYS], np.stack([rng.permutation(samples)[:SHOTS + QUERIES] for _ in range(WAYS)])


def by_scikit(z: np.ndarray, episodes: int) -> float:
    """Mean error, one fit an episode."""
    rng, own, wrong = np.random.default_rng(0), np.arange(WAYS), []
    for _ in range(episodes):
        c, rows = draw(rng, *z.shape[:2])
        x = z[c[:, None], rows]
        model = NearestCentroid().fit(x[:, :SHOTS].reshape(-1, z.shape[2]), own.repeat(SHOTS))
        wrong.append(np.mean(model.predict(x[:, SHOTS:].reshape(-1, z.shape[2])) != own.repeat(QUERIES)))
    return float(np.mean(wrong))


def by_numpy(z: np.ndarray, episodes: int) -> float:
    """Mean error, one matrix product an episode."""
    rng, own, wrong = np.random.default_rng(0), np.arange(WAYS).repeat(QUERIES), []
    for _ in range(episodes):
        c, rows = draw(rng, *z.shape[:2])
        x = z[c[:, None], rows]
        centre = x[:, :SHOTS].mean(1)
        score = 2 * x[:, SHOTS:].reshape(-1, z.shape[2]) @ centre.T - (centre**2).sum(1)
        wrong.append(np.mean(score.argmax(1) != own))
    return float(np.mean(wrong))


def measure() -> dict[str, list[dict]]:
    """Episodes a second of each contestant, whose errors must agree."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(100, 1, 64, generator=g) + 1.5 * torch.randn(100, 40, 64, generator=g)
    counts, errors = {"ours": 20_000, "NumPy": 1_000, "scikit-learn": 60}, {}
    contestants = {
        "ours": lambda n: fs.few_shot_error(z, ways=WAYS, shots=SHOTS, queries=QUERIES, episodes=n),
        "NumPy": lambda n: by_numpy(z.numpy(), n), "scikit-learn": lambda n: by_scikit(z.numpy(), n)
    }
    seconds = race({name: lambda name=name, f=f: errors.update({name: f(counts[name])})
                    for name, f in contestants.items()}, 20.0)
    assert max(errors.values()) - min(errors.values()) < 0.03, errors
    return {f"{WAYS} ways, {SHOTS} shots, {QUERIES} queries": compared(seconds, "episodes", counts)}


if __name__ == "__main__":
    main(__doc__, measure)
