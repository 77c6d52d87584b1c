"""Is a tree an automaton? An exact answer by walking through its leaves, or a word on which it errs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .compilers import Running
from .errors import TreeError
from .machines import Dfa
from .tree import Tree


@dataclass(frozen=True)
class Verdict:
    """``equal``, or the shortest prefix of a ``word`` after which the tree writes ``wrote`` where ``should`` is due."""

    equal: bool
    word: tuple | None = None
    step: int | None = None
    wrote: object = None
    should: object = None

    def __str__(self) -> str:
        if self.equal:
            return "the same on every word"
        return f"differs on {''.join(map(str, self.word))} at step {self.step}: writes {self.wrote!r}, not {self.should!r}"


def regions(tree: Tree) -> list[tuple[int, dict[int, frozenset[int]]]]:
    """Leaves that can be reached: token written, and for each slot that is read the tokens that lead there."""
    everything, found = frozenset(range(len(tree.names))), []

    def walk(node: int, seen: dict[int, frozenset[int]]) -> None:
        if tree.left[node] < 0:
            found.append((int(tree.token[node]), seen))
            return
        slot, low = int(tree.slot[node]), tree.codes[:, tree.coordinate[node]] <= tree.threshold[node]
        for child, side in ((tree.left[node], low), (tree.right[node], ~low)):
            kept = seen.get(slot, everything) & frozenset(np.flatnonzero(side).tolist())
            if kept:
                walk(int(child), seen | {slot: kept})

    walk(0, {})
    return found


def verify(running: Running) -> Verdict:
    """Compare a tree with its automaton on *every* word of the length it was made for.

    Before step t the window holds the symbols from t on and the states written so far, which the earlier symbols alone
    decide. So for each leaf and step the states that lead there are found symbol by symbol, and the answer is exact:
    leaves times n times states times symbols operations, not symbols^n.
    """
    tree, machine = running.tree, running.machine
    if not isinstance(machine, Dfa):
        raise TreeError(f"verify compares a tree with an automaton, and this one runs a {type(machine).__name__}; compare "
                        "what both write on inputs instead.")
    n, symbols = tree.window, machine.symbols
    sign = {a: tree.names.index(a) for a in symbols}
    state = {q: tree.names.index(("state", q)) for q in machine.states}
    leaves, anything = regions(tree), frozenset(range(len(tree.names)))
    for t in range(1, n + 2):
        for token, allowed in leaves:
            slot = lambda i: allowed.get(i, anything)  # noqa: B023, E731
            free = [[a for a in symbols if sign[a] in slot(i)] for i in range(n - t + 1)]      # x_t .. x_n
            if not all(free):
                continue
            reach: dict = {machine.start: ()}                                       # state -> a word that leads there
            for j in range(1, t):
                then: dict = {}
                for q, word in reach.items():
                    for a in symbols:
                        p = machine.table[q, a]
                        if p not in then and state[p] in slot(n - t + j):
                            then[p] = (*word, a)
                reach = then
            for q, word in reach.items():
                if t == n + 1:
                    due, tails = "accept" if q in machine.accept else "reject", [()]
                else:
                    due, tails = None, [(a,) for a in free[0]]
                for tail in tails:
                    should = due or ("state", machine.table[q, tail[0]])
                    if tree.names[token] != should:
                        return Verdict(False, (*word, *tail, *(f[0] for f in free[1:])), t, tree.names[token], should)
    return Verdict(True)
