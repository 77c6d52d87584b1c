"""Trees that run machines: the constructions of the chapter's theorems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import TreeError
from .machines import Circuit, Dfa, Turing
from .tree import Tree, leaf, search, test


@dataclass(frozen=True)
class Running:
    """A machine as a tree: ``tree``, the ``machine``, and how its inputs and outputs are written in tokens."""

    tree: Tree
    machine: Dfa | Turing | Circuit

    def token(self, name) -> int:
        """Token of a name of the dictionary."""
        try:
            return self.tree.names.index(name)
        except ValueError:
            raise TreeError(f"{name!r} is no token of this machine.") from None

    def prompt(self, given: Sequence, head: int = 0) -> list[int]:
        """Tokens of an input: a word, the bits of a circuit, or a tape with the place of its head."""
        given = list(given)
        if isinstance(self.machine, Turing):
            if len(given) != self.tree.window - 2 or not 0 <= head < len(given):
                raise TreeError(f"this tree was made for {self.tree.window - 2} cells with the head on one of them; it was "
                                f"given {len(given)} and a head at {head}.")
            cells = [(a, self.machine.start) if i == head else a for i, a in enumerate(given)]
            return [self.token("#"), *map(self.token, cells), self.token("#")]
        if isinstance(self.machine, Circuit):
            if len(given) != self.machine.inputs:
                raise TreeError(f"this circuit takes {self.machine.inputs} bits, not {len(given)}.")
            return [int(b) for b in given]
        if not given or len(given) != self.tree.window:
            raise TreeError(f"this tree was made for words of {self.tree.window} symbols, and there is one of {len(given)}; "
                            "compile it for that length.")
        return [self.token(a) for a in given]

    def write(self, inputs: Sequence, limit: int = 1_000_000, heads: Sequence[int] | None = None) -> list[list]:
        """Names of the tokens that the tree writes after each input."""
        heads = [0] * len(inputs) if heads is None else heads
        written = self.tree.write([self.prompt(x, h) for x, h in zip(inputs, heads, strict=True)], limit)
        return [[self.tree.names[t] for t in row] for row in written]


def compile_dfa(machine: Dfa, n: int) -> Running:
    """A tree that writes the n states an automaton goes through on a word of n symbols, then "accept" or "reject".

    It has (symbols + 1)(states + 1) - 1 leaves whatever n is; n is its window.
    """
    if n < 1:
        raise TreeError(f"a word of {n} symbols leaves nothing to read; compile for words of 1 symbol or more.")
    symbols, states = machine.symbols, machine.states
    _free(symbols, "accept", "reject", "pad")
    names = [*symbols, *(("state", q) for q in states), "accept", "reject", "pad"]
    k, base = len(symbols), len(symbols)
    codes = [[i, 0] for i in range(k)] + [[k, 1 + j] for j in range(len(states))] + [[k, 0]] * 3
    at = {q: base + j for j, q in enumerate(states)}
    moves = [search(n - 1, 1, [leaf(at[machine.table[q, a]]) for q in (machine.start, *states)]) for a in symbols]
    verdict = search(n - 1, 1, [leaf(base + len(states) + (q not in machine.accept)) for q in states], first=1)
    stop = [base + len(states), base + len(states) + 1]
    return Running(Tree.build(search(0, 0, [*moves, verdict]), names, codes, n, stop, len(names) - 1), machine)


def _free(symbols: Sequence, *own: str) -> None:
    """Raise TreeError where an alphabet holds a token that the construction writes for itself."""
    if taken := [a for a in own if a in symbols]:
        raise TreeError(f"the symbol {taken[0]!r} is a token that the tree writes of its own; give it another name in the "
                        "machine's table.")


def compile_tm(machine: Turing, cells: int) -> Running:
    """A tree that writes the successive configurations of a machine on a tape of so many cells, "#" between them, then "end".

    It has 2 + moves + symbols (states entered to the right + to the left + 1) leaves whatever the tape is; its window is the
    tape and two more.
    """
    if cells < 1:
        raise TreeError(f"a tape of {cells} cells holds nothing; give it at least one.")
    symbols, states = machine.symbols, machine.states
    _free(symbols, "#", "end")
    live = [(a, q) for q in states for a in symbols if (q, a) in machine.table]
    halted = [(a, q) for q in states for a in symbols if (q, a) not in machine.table]
    entered = {m: list(dict.fromkeys(q for q, _, move in machine.table.values() if move == m)) for m in "RL"}
    names = [*symbols, *live, *halted, "#", "end"]
    at = {name: i for i, name in enumerate(names)}
    k, h = len(symbols), len(live)

    def effect(name, move: str) -> int:
        """Rank of the state in which the head leaves this cell that way, or 0."""
        if name in live and machine.table[name[1], name[0]][2] == move:
            return 1 + entered[move].index(machine.table[name[1], name[0]][0])
        return 0

    own = {**{a: i for i, a in enumerate(symbols)}, **{p: k + i for i, p in enumerate(live)}, **dict.fromkeys(halted, k + h),
           "#": k + h + 1, "end": k + h + 1}
    codes = [[own[name], effect(name, "R"), effect(name, "L")] for name in names]

    def stays(name) -> int:
        then, written, move = machine.table[name[1], name[0]]
        return at[(written, then)] if move == "S" else at[written]

    quiet = [search(0, 1, [search(2, 2, [leaf(at[a]), *(leaf(at[a, q]) for q in entered["L"])]),
                           *(leaf(at[a, q]) for q in entered["R"])]) for a in symbols]
    root = search(1, 0, [*quiet, *(leaf(stays(p)) for p in live), leaf(at["end"]), leaf(at["#"])])
    return Running(Tree.build(root, names, codes, cells + 2, [at["end"]], at["#"]), machine)


def compile_circuit(circuit: Circuit) -> Running:
    """A tree that writes the value of each gate in order, then "end".

    It has 1 + sum of 2^k leaves over gates of k inputs; its window is inputs and gates together.
    """
    n, gates = circuit.inputs, len(circuit.gates)
    if not gates:
        raise TreeError("a circuit without gates computes nothing; give it one.")

    def gate(t: int) -> tuple:
        """The t-th gate, 1 to N, or the end: reads its inputs one after the other."""
        if t > gates:
            return leaf(2)
        reads, truth = circuit.gates[t - 1]

        def bit(k: int, value: int) -> tuple:
            if k == len(reads):
                return leaf(truth[value])
            return test(reads[k] + gates - t + 1, 0, 0.5, bit(k + 1, 2 * value), bit(k + 1, 2 * value + 1))

        return bit(0, 0)

    def when(low: int, high: int) -> tuple:
        """Which gate is due? There are N - t + 1 pads before step t, so slot N - m is a pad where t is at most m."""
        if low == high:
            return gate(low)
        m = (low + high) // 2
        return test(gates - m, 0, -1.0, when(low, m), when(m + 1, high))

    names, codes = ("0", "1", "end", "pad"), [[0], [1], [1], [-2]]
    return Running(Tree.build(when(1, gates + 1), names, codes, n + gates, [2], 3), circuit)


def configuration(running: Running, written: Sequence) -> list[tuple[list, int | None, object]]:
    """Tapes, places of the head and states in what a machine's tree wrote; raises TreeError where a tape lost its head."""
    rows, cells = [[]], running.tree.window - 2
    for name in written:
        if name == "#":
            rows.append([])
        elif name != "end":
            rows[-1].append(name)
    out = []
    for row in rows:
        if len(row) == cells:
            heads = [i for i, name in enumerate(row) if isinstance(name, tuple)]
            if not heads:
                tape, head, state = out[-1] if out else (row, 0, running.machine.start)
                raise TreeError(f"the head left the tape of {cells} cells in state {state!r} on symbol {tape[head]!r}; "
                                "compile for more cells.")
            out.append(([n[0] if isinstance(n, tuple) else n for n in row], heads[0], row[heads[0]][1]))
    return out


def bounds(running: Running) -> dict[str, int]:
    """What the theorems say of a machine's tree: ``leaves`` (exactly) and ``depth`` (at most)."""
    bits = lambda c: int(np.ceil(np.log2(c)))  # noqa: E731
    m = running.machine
    if isinstance(m, Dfa):
        s, q = len(m.symbols), len(m.states)
        return {"leaves": (s + 1) * (q + 1) - 1, "depth": bits(s + 1) + bits(q + 1)}
    if isinstance(m, Circuit):
        k = [len(reads) for reads, _ in m.gates]
        return {"leaves": 1 + sum(2**v for v in k), "depth": bits(len(k) + 1) + max(k)}
    right, left = (len({q for q, _, move in m.table.values() if move == w}) for w in "RL")
    return {"leaves": 2 + len(m.table) + len(m.symbols) * (right + left + 1),
            "depth": bits(len(m.symbols) + len(m.table) + 2) + bits(right + 1) + bits(left + 1)}
