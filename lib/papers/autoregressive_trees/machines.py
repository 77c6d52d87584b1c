"""Machines given by plain tables, their reference simulators, and well-known ones."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from .errors import TreeError


@dataclass(frozen=True)
class Dfa:
    """A deterministic automaton: ``table`` maps (state, symbol) to a state; states and symbols are those of the table."""

    table: Mapping[tuple[Hashable, Hashable], Hashable]
    start: Hashable
    accept: frozenset

    @staticmethod
    def of(rows: Sequence[tuple], start: Hashable, accept) -> Dfa:
        """From rows (state, symbol, next state); raises TreeError where one is missing or given twice."""
        table: dict = {}
        for state, symbol, then in rows:
            if table.get((state, symbol), then) != then:
                raise TreeError(f"state {state!r} has two moves on symbol {symbol!r}: {table[state, symbol]!r} and {then!r}; "
                                "an automaton is deterministic.")
            table[state, symbol] = then
        machine = Dfa(table, start, frozenset(accept))
        for state in {*machine.states, *table.values(), start, *machine.accept}:
            for symbol in machine.symbols:
                if (state, symbol) not in table:
                    raise TreeError(f"state {state!r} has no move on symbol {symbol!r}; complete the table.")
        return machine

    @property
    def states(self) -> list:
        return list(dict.fromkeys(state for state, _ in self.table))

    @property
    def symbols(self) -> list:
        return list(dict.fromkeys(symbol for _, symbol in self.table))

    def run(self, word: Sequence) -> tuple[list, bool]:
        """States after each symbol, and whether the word is accepted."""
        state, seen = self.start, []
        for symbol in word:
            if (state, symbol) not in self.table:
                raise TreeError(f"symbol {symbol!r} is not of this automaton; its symbols are {self.symbols}.")
            state = self.table[state, symbol]
            seen.append(state)
        return seen, state in self.accept


@dataclass(frozen=True)
class Turing:
    """A machine with one tape: ``table`` maps (state, symbol) to (state, written symbol, move), a move in "LSR".

    States without a row halt.
    """

    table: Mapping[tuple[Hashable, Hashable], tuple[Hashable, Hashable, str]]
    start: Hashable

    @staticmethod
    def of(rows: Sequence[tuple], start: Hashable) -> Turing:
        """From rows (state, symbol, next state, written, move); raises TreeError where they are no deterministic machine."""
        table: dict = {}
        for state, symbol, *then in rows:
            if len(then) != 3 or then[2] not in ("L", "S", "R"):
                raise TreeError(f"the row of state {state!r} and symbol {symbol!r} ends in a state, a symbol and L, S or R.")
            if table.get((state, symbol), tuple(then)) != tuple(then):
                raise TreeError(f"state {state!r} has two moves on symbol {symbol!r}; a machine here is deterministic.")
            table[state, symbol] = tuple(then)
        machine = Turing(table, start)
        for state in dict.fromkeys(s for s, _ in table):
            for symbol in machine.symbols:
                if (state, symbol) not in table:
                    raise TreeError(f"state {state!r} has no move on symbol {symbol!r}; complete its row or leave it out.")
        return machine

    @staticmethod
    def busy(text: str) -> Turing:
        """From the usual text of busy beavers, one group a state: written symbol, move, next state ("1RB1LB_1LA1RZ")."""
        rows = [(chr(65 + i), str(j), part[3 * j + 2], part[3 * j], part[3 * j + 1])
                for i, part in enumerate(text.split("_")) for j in (0, 1)]
        return Turing.of(rows, "A")

    @property
    def states(self) -> list:
        return list(dict.fromkeys([*(s for s, _ in self.table), *(then[0] for then in self.table.values()), self.start]))

    @property
    def symbols(self) -> list:
        return list(dict.fromkeys([*(a for _, a in self.table), *(then[1] for then in self.table.values())]))

    def run(self, tape: Sequence, head: int, limit: int = 100_000) -> tuple[list, int, Hashable, int]:
        """Final tape, place of the head, state, and number of steps; raises TreeError if the head leaves the tape."""
        tape, state = list(tape), self.start
        for step in range(limit):
            if (state, tape[head]) not in self.table:
                return tape, head, state, step
            then, written, move = self.table[state, tape[head]]
            read, tape[head] = tape[head], written
            head += {"L": -1, "S": 0, "R": 1}[move]
            if not 0 <= head < len(tape):
                raise TreeError(f"the head leaves the tape of {len(tape)} cells in state {state!r} on symbol {read!r}; "
                                "give it more cells.")
            state = then
        raise TreeError(f"the machine does not halt within {limit} steps.")


@dataclass(frozen=True)
class Circuit:
    """Gates in order: each names its inputs (0 to n - 1, then earlier gates n, n + 1, ...) and a truth table of 2^k bits."""

    inputs: int
    gates: Sequence[tuple[Sequence[int], Sequence[int]]]

    def __post_init__(self):
        for j, (reads, truth) in enumerate(self.gates):
            late = [i for i in reads if not 0 <= i < self.inputs + j]
            if late:
                raise TreeError(f"gate {j} reads {late[0]}, which is no input (0 to {self.inputs - 1}) and no earlier gate.")
            if len(truth) != 2**len(reads) or not set(truth) <= {0, 1}:
                raise TreeError(f"gate {j} reads {len(reads)} bits: its truth table must hold {2**len(reads)} bits, 0 or 1.")

    def run(self, bits: Sequence[int]) -> list[int]:
        """Values of all gates."""
        if len(bits) != self.inputs:
            raise TreeError(f"this circuit takes {self.inputs} bits, not {len(bits)}.")
        values = list(bits)
        for reads, truth in self.gates:
            values.append(truth[sum(values[i] << (len(reads) - 1 - k) for k, i in enumerate(reads))])
        return values[self.inputs:]


def parity() -> Dfa:
    """Is the number of ones even?"""
    return Dfa.of([(q, a, q ^ a) for q in (0, 1) for a in (0, 1)], 0, [0])


def divisible(m: int) -> Dfa:
    """Is a binary number, most significant bit first, divisible by m?"""
    return Dfa.of([(q, a, (2 * q + a) % m) for q in range(m) for a in (0, 1)], 0, [0])


def contains(pattern: str, letters: str) -> Dfa:
    """Does a word hold the pattern? (the automaton of Knuth, Morris and Pratt)"""
    rows = []
    for q in range(len(pattern) + 1):
        for a in letters:
            seen = pattern[:q] + a
            then = q if q == len(pattern) else max(k for k in range(min(len(seen), len(pattern)) + 1)
                                                   if seen.endswith(pattern[:k]))
            rows.append((q, a, then))
    return Dfa.of(rows, 0, [len(pattern)])


def alternating() -> Dfa:
    """Is a product of three generators of the alternating group on five letters the identity? Complete for NC1."""
    generators = {"r": (1, 2, 3, 4, 0), "s": (1, 2, 0, 3, 4), "t": (0, 1, 3, 4, 2)}
    sign = lambda p: sum(p[i] > p[j] for i in range(5) for j in range(i + 1, 5)) % 2  # noqa: E731
    group = [p for p in permutations(range(5)) if sign(p) == 0]
    identity = tuple(range(5))
    return Dfa.of([(p, a, tuple(g[v] for v in p)) for p in group for a, g in generators.items()], identity, [identity])


BEAVERS = {2: "1RB1LB_1LA1RZ", 3: "1RB1RZ_1LB0RC_1LC1LA", 4: "1RB1LB_1LA0LC_1RZ1LD_1RD0RA"}


def increment() -> Turing:
    """Adds one to a binary number; the head starts at its first bit, a blank before it."""
    return Turing.of([("right", "0", "right", "0", "R"), ("right", "1", "right", "1", "R"), ("right", "_", "carry", "_", "L"),
                      ("carry", "1", "carry", "0", "L"), ("carry", "0", "done", "1", "S"), ("carry", "_", "done", "1", "S")],
                     "right")


def palindrome() -> Turing:
    """Is a word over a and b a palindrome? It ends in the state "yes" or "no"; the head starts at the first letter."""
    rows = [("start", "a", "carry a", "_", "R"), ("start", "b", "carry b", "_", "R"), ("start", "_", "yes", "_", "S")]
    for mine, other in ("ab", "ba"):
        rows += [(f"carry {mine}", c, f"carry {mine}", c, "R") for c in "ab"]
        rows += [(f"carry {mine}", "_", f"want {mine}", "_", "L")]
        rows += [(f"want {mine}", mine, "back", "_", "L"), (f"want {mine}", other, "no", other, "S"),
                 (f"want {mine}", "_", "yes", "_", "S")]
    return Turing.of(rows + [("back", c, "back", c, "L") for c in "ab"] + [("back", "_", "start", "_", "R")], "start")


def xor_tree(n: int) -> Circuit:
    """Parity of n bits by n - 1 gates of two inputs, in a balanced tree."""
    level, gates = list(range(n)), []
    while len(level) > 1:
        above = []
        for i in range(0, len(level) - 1, 2):
            gates.append(((level[i], level[i + 1]), (0, 1, 1, 0)))
            above.append(n + len(gates) - 1)
        level = above + level[len(level) - len(level) % 2:]
    return Circuit(n, gates)


def adder(bits: int) -> Circuit:
    """Sum of two numbers, least significant bits first, x then y: gates are sum and carry of each place."""
    gates: list = []
    for i in range(bits):
        reads = (i, bits + i) if i == 0 else (i, bits + i, 2 * bits + 2 * i - 1)
        ones = [bin(v).count("1") for v in range(2**len(reads))]
        gates += [(reads, tuple(c % 2 for c in ones)), (reads, tuple(int(c >= 2) for c in ones))]
    return Circuit(2 * bits, gates)
