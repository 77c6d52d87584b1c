"""A decision tree that writes tokens: it reads the last ``window`` tokens and its leaf is the next one.

A test asks whether a code of the token in one slot of the window is at most a threshold. Slot 0 is the oldest token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from .errors import TreeError

Node = tuple  # ("leaf", token) or ("test", slot, coordinate, threshold, left, right)


def leaf(token: int) -> Node:
    """A leaf that writes a token."""
    return ("leaf", token)


def test(slot: int, coordinate: int, threshold: float, left: Node, right: Node) -> Node:
    """Go left where the coordinate of the token in the slot is at most the threshold."""
    return ("test", slot, coordinate, threshold, left, right)


def search(slot: int, coordinate: int, cases: Sequence[Node], first: int = 0) -> Node:
    """Balanced search for the value of a coordinate among ``first``, ``first + 1``, ...; one case for each."""
    if len(cases) == 1:
        return cases[0]
    half = (len(cases) + 1) // 2
    return test(slot, coordinate, first + half - 0.5, search(slot, coordinate, cases[:half], first),
                search(slot, coordinate, cases[half:], first + half))


@dataclass(frozen=True)
class Tree:
    """Arrays over nodes, and what tokens are.

    Attributes
    ----------
    slot, coordinate, threshold, left, right, token : arrays [nodes]; ``left`` is -1 at a leaf, whose ``token`` is written.
    names : the dictionary; token i is written ``names[i]``.
    codes : array [tokens, coordinates], the embedding that tests read.
    window : number of tokens that the tree may read.
    stop : array [tokens] of bool, tokens after which nothing is written.
    pad : token that stands in slots before the start.
    """

    slot: np.ndarray
    coordinate: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    token: np.ndarray
    names: tuple
    codes: np.ndarray
    window: int
    stop: np.ndarray
    pad: int

    @staticmethod
    def build(root: Node, names: Sequence, codes: Sequence, window: int, stop: Sequence[int], pad: int) -> Tree:
        """The arrays of a nested node, in the order of a walk from the root, left before right."""
        rows: list[list] = []

        def add(node: Node) -> int:
            at = len(rows)
            if node[0] == "leaf":
                rows.append([0, 0, 0.0, -1, -1, node[1]])
            else:
                rows.append([*node[1:4], 0, 0, -1])
                rows[at][3] = add(node[4])
                rows[at][4] = add(node[5])
            return at

        add(root)
        columns = list(zip(*rows, strict=True))
        whole = lambda c: np.array(columns[c], np.int64)  # noqa: E731
        halts = np.zeros(len(names), bool)
        halts[list(stop)] = True
        return Tree(whole(0), whole(1), np.array(columns[2], float), whole(3), whole(4), whole(5), tuple(names),
                    np.asarray(codes, float), window, halts, pad)

    @property
    def leaves(self) -> int:
        """Number of leaves: the size of a tree."""
        return int((self.left < 0).sum())

    @property
    def depth(self) -> int:
        """Comparisons on the longest path."""
        deep = np.zeros(len(self.left), int)
        for i in reversed(range(len(self.left))):                      # children come after their parent
            if self.left[i] >= 0:
                deep[i] = 1 + max(deep[self.left[i]], deep[self.right[i]])
        return int(deep[0])

    def path(self, tokens: Sequence[int]) -> list[int]:
        """Nodes from the root to the leaf that is reached after these tokens."""
        node, found = 0, [0]
        while self.left[node] >= 0:
            at = len(tokens) - self.window + self.slot[node]
            token = tokens[at] if at >= 0 else self.pad
            low = self.codes[token, self.coordinate[node]] <= self.threshold[node]
            node = int(self.left[node] if low else self.right[node])
            found.append(node)
        return found

    def write(self, prompts, limit: int) -> list[np.ndarray]:
        """What the tree writes after each prompt (token ids, any lengths): at most ``limit`` tokens with the stop token."""
        prompts = [np.asarray(p, np.int64) for p in prompts]
        if any(p.ndim != 1 or (len(p) and not 0 <= p.min() <= p.max() < len(self.names)) for p in prompts):
            raise TreeError(f"a prompt is a list of tokens from 0 to {len(self.names) - 1}.")
        starts = np.concatenate([[0], np.cumsum([len(p) for p in prompts])]).astype(np.int64)
        flat = np.concatenate(prompts) if prompts else np.zeros(0, np.int64)
        out, counts = _write(self.slot, self.coordinate, self.threshold, self.left, self.right, self.token, self.codes,
                             self.window, self.stop, self.pad, flat, starts, limit)
        return [row[:c] for row, c in zip(out, counts, strict=True)]


@numba.njit(cache=True)
def _write(slot, coordinate, threshold, left, right, token, codes, window, stop, pad, flat, starts, limit):
    n = len(starts) - 1
    out, counts = np.zeros((n, limit), np.int64), np.zeros(n, np.int64)
    for i in range(n):
        size = starts[i + 1] - starts[i]
        seen = np.empty(size + limit, np.int64)
        seen[:size] = flat[starts[i]:starts[i + 1]]
        for k in range(limit):
            node = 0
            while left[node] >= 0:
                at = size + k - window + slot[node]
                t = seen[at] if at >= 0 else pad
                node = left[node] if codes[t, coordinate[node]] <= threshold[node] else right[node]
            seen[size + k] = token[node]
            counts[i] = k + 1
            if stop[token[node]]:
                break
        out[i, :counts[i]] = seen[size:size + counts[i]]
    return out, counts
