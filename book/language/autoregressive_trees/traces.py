"""Learning an automaton's tree from runs: with every state as a label (chain of thought), or with the answer alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.papers.autoregressive_trees.compilers import Running, compile_dfa
from lib.papers.autoregressive_trees.errors import TreeError
from lib.papers.autoregressive_trees.machines import Dfa
from lib.papers.autoregressive_trees.tree import Tree


def windows(running: Running, words: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Codes of all windows before each written token [words (n + 1), 2 n], and that token."""
    tree, n = running.tree, running.tree.window
    rows, due = [], []
    for word, written in zip(words, running.tree.write([running.prompt(w) for w in words], n + 1), strict=True):
        tokens = np.array([*running.prompt(word), *written])
        at = np.arange(n + 1)[:, None] + np.arange(n)
        rows.append(tree.codes[tokens[at]].reshape(n + 1, -1))
        due.append(written)
    return np.concatenate(rows), np.concatenate(due)


def tree_of(estimator, like: Tree) -> Tree:
    """A fitted scikit-learn classifier on the codes of windows as a tree that writes tokens."""
    t = estimator.tree_
    if t.n_features != like.window * like.codes.shape[1]:
        raise TreeError(f"the estimator reads {t.n_features} numbers, and a window has {like.window * like.codes.shape[1]}.")
    inner = t.children_left >= 0
    feature = np.where(inner, t.feature, 0)
    return Tree(feature // like.codes.shape[1], feature % like.codes.shape[1], np.where(inner, t.threshold, 0.0),
                np.where(inner, t.children_left, -1).astype(np.int64), np.where(inner, t.children_right, -1).astype(np.int64),
                np.where(inner, -1, estimator.classes_[t.value[:, 0].argmax(1)]).astype(np.int64), like.names, like.codes,
                like.window, like.stop, like.pad)


def draw(machine: Dfa, n: int, count: int, chance: float | None, gen: np.random.Generator) -> list[list]:
    """Words of n symbols, uniform, or with this probability of the last symbol (the other symbols alike)."""
    k = len(machine.symbols)
    p = np.full(k, 1 / k) if chance is None else np.array([(1 - chance) / (k - 1)] * (k - 1) + [chance])
    return [[machine.symbols[i] for i in row] for row in gen.choice(k, (count, n), p=p)]


def learn(machine: Dfa, n: int, count: int, chance: float | None, seed: int, tests: int = 300) -> dict:
    """Trees fitted to ``count`` runs: accuracy on uniform words with states as labels and with the answer alone.

    ``cot``, ``direct``: share of words answered rightly; ``leaves`` of the first; ``tree`` itself, as it writes.
    """
    from sklearn.tree import DecisionTreeClassifier
    gen, running = np.random.default_rng(seed), compile_dfa(machine, n)
    words, asked = draw(machine, n, count, chance, gen), draw(machine, n, tests, None, gen)
    truth = np.array([machine.run(w)[1] for w in asked])
    x, y = windows(running, words)
    fitted = DecisionTreeClassifier(random_state=seed).fit(x, y)
    learnt = Running(tree_of(fitted, running.tree), machine)
    said = np.array([row[-1] == "accept" for row in learnt.write(asked, n + 1)])
    bits = lambda some: np.array([[machine.symbols.index(a) for a in w] for w in some])  # noqa: E731
    alone = DecisionTreeClassifier(random_state=seed).fit(bits(words), [machine.run(w)[1] for w in words])
    return {"cot": float((said == truth).mean()), "direct": float((alone.predict(bits(asked)) == truth).mean()),
            "leaves": learnt.tree.leaves, "tree": learnt}
