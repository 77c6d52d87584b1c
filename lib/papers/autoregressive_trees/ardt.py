"""Auto-regressive decision trees for language: what a tree sees of a text, how it is fitted, how it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from .errors import TreeError


@dataclass(frozen=True)
class Memory:
    """Numbers that a tree reads: decayed sums of embeddings of all tokens before, or the last tokens one by one.

    ``embedding`` [tokens, d]; ``decays``: a sum v <- decay v + embedding for each; or ``window``: so many last embeddings.
    """

    embedding: np.ndarray
    decays: tuple[float, ...] = ()
    window: int = 0

    def __post_init__(self):
        if bool(self.decays) == bool(self.window):
            raise TreeError("a memory has decays or a window; give one of them.")
        if any(not 0 < a < 1 for a in self.decays):
            raise TreeError(f"decays {self.decays} must lie between 0 and 1.")

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Numbers before each token of a text and after the last, [len + 1, features]."""
        e = self.embedding[np.asarray(tokens, int)]
        if self.window:
            padded = np.concatenate([np.zeros((self.window, e.shape[1])), e])
            return np.stack([padded[i:i + self.window].ravel() for i in range(len(e) + 1)])
        out = np.zeros((len(self.decays), len(e) + 1, e.shape[1]))
        for k, decay in enumerate(self.decays):
            for t in range(len(e)):
                out[k, t + 1] = decay * out[k, t] + e[t]
        return out.transpose(1, 0, 2).reshape(len(e) + 1, -1)


BACKENDS = ("tree", "forest", "xgboost", "lightgbm")


def _estimator(backend: str, seed: int, settings: dict):
    """A classifier of scikit-learn's interface."""
    if backend == "tree":
        from sklearn.tree import DecisionTreeClassifier
        return DecisionTreeClassifier(**{"min_samples_leaf": 4, "random_state": seed} | settings)
    if backend == "forest":
        from sklearn.ensemble import RandomForestClassifier
        return RandomForestClassifier(**{"n_estimators": 20, "max_features": 0.5, "min_samples_leaf": 2,
                                         "random_state": seed} | settings)
    if backend not in BACKENDS:
        raise TreeError(f"there is no back-end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    try:
        if backend == "xgboost":
            from xgboost import XGBClassifier
            return XGBClassifier(**{"n_estimators": 20, "max_depth": 6, "random_state": seed, "n_jobs": 1} | settings)
        from lightgbm import LGBMClassifier
        return LGBMClassifier(**{"n_estimators": 20, "random_state": seed, "n_jobs": 1, "verbose": -1} | settings)
    except ImportError:
        raise TreeError(f"{backend} is not installed; `pip install {backend}` or choose tree or forest.") from None


class ARDT:
    """A classifier that predicts the next token from a memory of those before, and writes by feeding itself.

    Parameters
    ----------
    memory : what the trees see.
    stop : token after which a text ends.
    backend : ``tree``, ``forest`` (scikit-learn), ``xgboost`` or ``lightgbm``; ``settings`` go to it.
    shrink : weight of the parent's law in that of a node, of a single tree; elsewhere ``floor`` is mixed in, uniform.
    """

    def __init__(self, memory: Memory, stop: int, backend: str = "tree", seed: int = 0, shrink: float = 0.5,
                 floor: float = 1e-3, **settings):
        self.memory, self.stop, self.backend, self.shrink, self.floor = memory, stop, backend, shrink, floor
        self.size, self.trees = len(memory.embedding), None
        self.estimator = _estimator(backend, seed, settings)

    def fit(self, texts: Sequence[Sequence[int]]) -> ARDT:
        """Fit to texts of token ids, each with its end."""
        if not len(texts):
            raise TreeError("there is no text to fit to; give at least one.")
        if any(not 0 <= np.min(t) <= np.max(t) < self.size for t in texts):
            raise TreeError(f"a text holds a token outside 0 to {self.size - 1}; use the dictionary of the embedding.")
        x = np.concatenate([self.memory.read(t)[:-1] for t in texts]).astype(np.float32)
        y = np.concatenate([np.asarray(t, int) for t in texts])
        self.known = np.unique(y)
        self.estimator.fit(x, np.searchsorted(self.known, y))
        self.trees = self._compile() if self.backend in ("tree", "forest") else None
        self.sparse, self.sums = np.array_equal(self.memory.embedding, np.eye(self.size)), {}
        return self

    def _sums(self, epsilon: float) -> np.ndarray:
        """Running sums of each node's law without words below ``epsilon``: what a single tree writes is known before."""
        if epsilon not in self.sums:
            law = self.trees["law"]
            self.sums[epsilon] = np.where(law >= np.minimum(epsilon, law.max(1, keepdims=True)), law, 0).cumsum(1)
        return self.sums[epsilon]

    def _compile(self) -> dict[str, np.ndarray]:
        """Arrays over the nodes of all trees, and a law [nodes, tokens] for each."""
        members = [self.estimator] if self.backend == "tree" else self.estimator.estimators_
        parts: dict[str, list] = {k: [] for k in ("feature", "threshold", "left", "right", "law")}
        roots, entries = [], 0
        for member in members:
            t, base = member.tree_, sum(map(len, parts["left"]))
            roots.append(base)
            count = t.value[:, 0] * t.weighted_n_node_samples[:, None]
            law = count / count.sum(1, keepdims=True)
            entries += 2 * int((t.children_left >= 0).sum()) + int((t.value[t.children_left < 0] > 0).sum())
            if self.backend == "tree":
                for node in range(t.node_count):                        # parents come before their children
                    for child in (t.children_left[node], t.children_right[node]):
                        if child >= 0:
                            law[child] = (count[child] + self.shrink * law[node]) / (count[child].sum() + self.shrink)
            wide = np.zeros((t.node_count, self.size))
            wide[:, self.known[member.classes_.astype(int)]] = law
            for key, value in (("feature", t.feature), ("threshold", t.threshold), ("law", wide),
                               ("left", np.where(t.children_left < 0, -1, t.children_left + base)),
                               ("right", np.where(t.children_right < 0, -1, t.children_right + base))):
                parts[key].append(value)
        out = {k: np.concatenate(v) for k, v in parts.items()}
        floor = 1e-6 if self.backend == "tree" else self.floor
        out["law"] = ((1 - floor) * out["law"] + floor / self.size) / len(members)
        return out | {"roots": np.array(roots), "entries": np.array(entries)}

    @property
    def parameters(self) -> int:
        """Two numbers for each test and one for each word that a leaf has seen (trees and forests)."""
        if self.trees is None:
            raise TreeError("parameters are counted of a tree or a forest that was fitted.")
        return int(self.trees["entries"])

    def laws(self, tokens: Sequence[int]) -> np.ndarray:
        """Law of each token of a text given those before, [len, tokens]."""
        x = self.memory.read(tokens)[:-1].astype(np.float32)
        if self.trees is not None:
            t = self.trees
            return _laws(t["feature"], t["threshold"], t["left"], t["right"], t["law"], t["roots"], x)
        out = np.full((len(x), self.size), self.floor / self.size)
        out[:, self.known] += (1 - self.floor) * self.estimator.predict_proba(x)
        return out

    def score(self, texts: Sequence[Sequence[int]]) -> tuple[float, float]:
        """Mean negative log-likelihood of a token in nats, and share of tokens that are the most probable one."""
        loss, right, count = 0.0, 0, 0
        for text in texts:
            law = self.laws(text)
            loss -= float(np.log(law[np.arange(len(text)), text]).sum())
            right += int((law.argmax(1) == np.asarray(text)).sum())
            count += len(text)
        return loss / count, right / count

    def generate(self, count: int, limit: int, seed: int, epsilon: float = 0.0) -> list[np.ndarray]:
        """Texts from the start, at most ``limit`` tokens each; words less probable than ``epsilon`` are never drawn."""
        u = np.random.default_rng(seed).random((count, limit))
        if self.trees is not None:
            t, m = self.trees, self.memory
            single = len(t["roots"]) == 1
            law = self._sums(epsilon) if single else t["law"]
            out, sizes = _generate(t["feature"], t["threshold"], t["left"], t["right"], law, t["roots"], single, m.embedding,
                                   self.sparse, np.array(m.decays, float), m.window, u, self.stop, epsilon)
            return [row[:s] for row, s in zip(out, sizes, strict=True)]
        texts: list[list[int]] = [[] for _ in range(count)]
        for k in range(limit):
            open_ = [i for i, text in enumerate(texts) if not text or text[-1] != self.stop]
            for i in open_:
                law = self.laws([*texts[i], 0])[-1]
                law = np.where(law >= min(epsilon, law.max()), law, 0).cumsum()
                texts[i].append(int(np.searchsorted(law, u[i, k] * law[-1], side="right")))
        return [np.array(text) for text in texts]

    def explain(self, tokens: Sequence[int], names: Sequence[str]) -> list[str]:
        """The tests on the path of the next token after these, in words (a single tree on one-hot decayed sums)."""
        if self.backend != "tree" or not self.memory.decays or not self.sparse:
            raise TreeError("only a single tree on decayed sums of one-hot embeddings is explained in words.")
        x, t, node, told = self.memory.read(tokens)[-1].astype(np.float32), self.trees, 0, []
        while t["left"][node] >= 0:
            k, word = divmod(int(t["feature"][node]), self.size)
            decay, low = self.memory.decays[k], x[t["feature"][node]] <= t["threshold"][node]
            age = np.log(t["threshold"][node]) / np.log(decay)
            told.append(f"“{names[word]}” {'not ' if low else ''}within {max(age, 0) + 1:.0f} words")
            node = int(t["left"][node] if low else t["right"][node])
        return [*told, f"so “{names[int(t['law'][node].argmax())]}”"]


@numba.njit(cache=True)
def _laws(feature, threshold, left, right, law, roots, x):
    out = np.zeros((len(x), law.shape[1]))
    for i in range(len(x)):
        for root in roots:
            node = root
            while left[node] >= 0:
                node = left[node] if x[i, feature[node]] <= threshold[node] else right[node]
            out[i] += law[node]
    return out


@numba.njit(cache=True)
def _generate(feature, threshold, left, right, law, roots, single, embedding, sparse, decays, window, u, stop, epsilon):
    """Sums v are kept as state times scale, so that a step changes the scale and, one-hot, one number."""
    count, limit = u.shape
    size, d = embedding.shape
    out, sizes = np.zeros((count, limit), np.int64), np.zeros(count, np.int64)
    state, scale, p = np.zeros((len(decays), d)), np.ones(len(decays)), np.empty(size)
    for i in range(count):
        state[:] = 0
        scale[:] = 1
        for k in range(limit):
            if not single:
                p[:] = 0
            node = 0
            for root in roots:
                node = root
                while left[node] >= 0:
                    f = feature[node]
                    if window:
                        at = k - window + f // d
                        value = embedding[out[i, at], f % d] if at >= 0 else 0.0
                    else:
                        value = state[f // d, f % d] * scale[f // d]
                    node = left[node] if np.float32(value) <= threshold[node] else right[node]
                if not single:
                    p += law[node]
            if single:
                token = np.searchsorted(law[node], u[i, k] * law[node, size - 1], side="right")
            else:
                floor, total = min(epsilon, p.max()), 0.0
                for c in range(size):
                    total += p[c] if p[c] >= floor else 0.0
                mark, token = u[i, k] * total, -1
                for c in range(size):
                    if p[c] >= floor:
                        token = c
                        mark -= p[c]
                        if mark < 0:
                            break
            out[i, k], sizes[i] = token, k + 1
            if token == stop:
                break
            for j in range(len(decays)):
                scale[j] *= decays[j]
                if scale[j] < 1e-200:
                    state[j] *= scale[j]
                    scale[j] = 1
                if sparse:
                    state[j, token] += 1 / scale[j]
                else:
                    state[j] += embedding[token] / scale[j]
    return out, sizes
