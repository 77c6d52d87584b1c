"""Auto-regressive decision trees for language: what a tree sees of a text, how it is fitted, how it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from . import ensembles
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


class ARDT:
    """An estimator that predicts the next token from a memory of those before, and writes by feeding itself.

    Parameters
    ----------
    memory : what the trees see.
    stop : token after which a text ends.
    backend : ``tree``, ``forest`` (scikit-learn), ``xgboost``, ``lightgbm``, or ``xgboost-embedding``, which regresses onto
        the embedding of the next token, as summaries of the paper tell; ``settings`` go to the estimator.
    shrink : weight of the parent's law in that of a node, of trees and forests.
    floor : share of the uniform law that is mixed into each.
    sharpness : a token is likelier by exp(-sharpness distance^2) the nearer its embedding, of ``xgboost-embedding``.
    """

    def __init__(self, memory: Memory, stop: int, backend: str = "tree", seed: int = 0, shrink: float = 0.5,
                 floor: float = 1e-6, sharpness: float = 4.0, **settings):
        self.memory, self.stop, self.backend, self.shrink, self.floor = memory, stop, backend, shrink, floor
        self.size, self.sharpness, self.nodes = len(memory.embedding), sharpness, None
        self.estimator = ensembles.estimator(backend, seed, settings)
        self.sparse = np.array_equal(memory.embedding, np.eye(self.size))

    def fit(self, texts: Sequence[Sequence[int]]) -> ARDT:
        """Fit to texts of token ids, each with its end."""
        if not len(texts):
            raise TreeError("there is no text to fit to; give at least one.")
        if any(not 0 <= np.min(t) <= np.max(t) < self.size for t in texts):
            raise TreeError(f"a text holds a token outside 0 to {self.size - 1}; use the dictionary of the embedding.")
        x = np.concatenate([self.memory.read(t)[:-1] for t in texts]).astype(np.float32)
        y = np.concatenate([np.asarray(t, int) for t in texts])
        self.known = np.unique(y)
        self.estimator.fit(x, self.memory.embedding[y] if self.backend == "xgboost-embedding"
                           else np.searchsorted(self.known, y))
        return self.compile(self.shrink)

    def compile(self, shrink: float) -> ARDT:
        """Turn the fitted estimator into plain arrays again, with another weight of parents."""
        self.shrink, self.sums = shrink, {}
        if self.backend in ensembles.COUNTING:
            members = [self.estimator] if self.backend == "tree" else self.estimator.estimators_
            self.nodes = ensembles.counting(members, self.known, self.size, shrink, self.floor)
        else:
            row = self.memory.read([])[:1].astype(np.float32)
            self.nodes = ensembles.boosted(self.backend, self.estimator, self.known, self.memory.embedding, row,
                                           lambda nodes, x: _scores(*_arrays(nodes), x))
        return self

    def _sums(self, epsilon: float) -> np.ndarray:
        """Running sums of each node's law without words below ``epsilon``: what a single tree writes is known before."""
        if epsilon not in self.sums:
            law = self.nodes.value
            self.sums[epsilon] = np.where(law >= np.minimum(epsilon, law.max(1, keepdims=True)), law, 0).cumsum(1)
        return self.sums[epsilon]

    @property
    def parameters(self) -> int:
        """Two numbers for each test and one for each word that a leaf has seen, or for each boosted leaf."""
        return self._fitted().entries

    def laws(self, tokens: Sequence[int]) -> np.ndarray:
        """Law of each token of a text given those before, [len, tokens]."""
        law = _scores(*_arrays(self._fitted()), self.memory.read(tokens)[:-1].astype(np.float32))
        if len(self.nodes.output):
            law = np.array([_softmax(row, self.nodes.codes, self.sharpness) for row in law])
            law = (1 - self.floor) * law + self.floor / self.size
        return law

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
        u, m = np.random.default_rng(seed).random((count, limit)), self.memory
        feature, threshold, left, right, value, *rest = _arrays(self._fitted())
        single = self.backend == "tree"
        value = self._sums(epsilon) if single else value
        out, sizes = _generate(feature, threshold, left, right, value, *rest, self.nodes.codes, self.sharpness, single,
                               m.embedding, self.sparse, np.array(m.decays, float), m.window, u, self.stop, epsilon)
        return [row[:s] for row, s in zip(out, sizes, strict=True)]

    def explain(self, tokens: Sequence[int], names: Sequence[str]) -> list[str]:
        """The tests on the path of the next token after these, in words that are true of the text.

        A decayed sum of a word that came last ``a`` tokens ago (0: just now) lies between decay^a and decay^a / (1 - decay).
        So a sum above a threshold says within how many words the word came, and one below, within how many it did not. Only
        of a single tree on decayed sums of one-hot embeddings.
        """
        if self.backend != "tree" or not self.memory.decays or not self.sparse:
            raise TreeError("only a single tree on decayed sums of one-hot embeddings is explained in words.")
        x, t, node, told = self.memory.read(tokens)[-1].astype(np.float32), self._fitted(), 0, []
        while t.left[node] >= 0:
            k, word = divmod(int(t.feature[node]), self.size)
            decay, mark = self.memory.decays[k], float(t.threshold[node])
            low = x[t.feature[node]] <= mark
            told.append(f"“{names[word]}” {_rarely(mark, decay) if low else _lately(mark, decay)}")
            node = int(t.left[node] if low else t.right[node])
        return [*told, f"so “{names[int(t.value[node].argmax())]}”"]

    def _fitted(self) -> ensembles.Nodes:
        if self.nodes is None:
            raise TreeError("this estimator was not fitted; call fit first.")
        return self.nodes


def _lately(mark: float, decay: float) -> str:
    """What a decayed sum above a mark says of the last time that its word came."""
    reach = np.ceil(np.log(mark * (1 - decay)) / np.log(decay)) if mark > 0 else np.inf
    return f"within {reach:.0f} words" if reach < np.inf else "somewhere before"


def _rarely(mark: float, decay: float) -> str:
    """What a decayed sum of at most a mark says of the last time that its word came."""
    free = np.ceil(np.log(mark) / np.log(decay) - 1e-6) if mark > 0 else np.inf
    return f"not within {free:.0f} words" if free > 0 else f"not often of late (decayed sum at most {mark:.2g})"


def _arrays(t: ensembles.Nodes) -> tuple:
    return t.feature, t.threshold, t.left, t.right, t.value, t.roots, t.output, t.base


@numba.njit(cache=True)
def _scores(feature, threshold, left, right, value, roots, output, base, x):
    """Sums over trees [rows, scores]: a law, or what boosted trees say of each score."""
    out = np.zeros((len(x), len(base) if len(base) else value.shape[1]))
    for i in range(len(x)):
        if len(base):
            out[i] = base
        for r in range(len(roots)):
            node = roots[r]
            while left[node] >= 0:
                node = left[node] if x[i, feature[node]] <= threshold[node] else right[node]
            if len(output):
                out[i, output[r]] += value[node, 0]
            else:
                out[i] += value[node]
    return out


@numba.njit(cache=True)
def _softmax(score, codes, sharpness):
    """Law from the scores of words, or from the distances of their codes to a point."""
    if len(codes):
        score = -sharpness * ((codes - score) ** 2).sum(1)
    p = np.exp(score - score.max())
    return p / p.sum()


@numba.njit(cache=True)
def _generate(feature, threshold, left, right, value, roots, output, base, codes, sharpness, single, embedding, sparse,
              decays, window, u, stop, epsilon):
    """Sums v are kept as state times scale, so that a step changes the scale and, one-hot, one number."""
    count, limit = u.shape
    size, d = embedding.shape
    out, sizes = np.zeros((count, limit), np.int64), np.zeros(count, np.int64)
    state, scale = np.zeros((len(decays), d)), np.ones(len(decays))
    p, score = np.empty(size), np.empty(len(base))
    for i in range(count):
        state[:] = 0
        scale[:] = 1
        for k in range(limit):
            if not single:
                p[:] = 0
                score[:] = base
            node = 0
            for r in range(len(roots)):
                node = roots[r]
                while left[node] >= 0:
                    f = feature[node]
                    if window:
                        at = k - window + f // d
                        seen = embedding[out[i, at], f % d] if at >= 0 else 0.0
                    else:
                        seen = state[f // d, f % d] * scale[f // d]
                    node = left[node] if np.float32(seen) <= threshold[node] else right[node]
                if len(output):
                    score[output[r]] += value[node, 0]
                elif not single:
                    p += value[node]
            if single:
                token = np.searchsorted(value[node], u[i, k] * value[node, size - 1], side="right")
            else:
                if len(output):
                    p = _softmax(score, codes, sharpness)
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
