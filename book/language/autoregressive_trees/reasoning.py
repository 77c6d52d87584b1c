"""Three tasks of reasoning with exact answers: sentences for a language model, symbols of an automaton for a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lib.papers.autoregressive_trees.machines import Dfa

NAMES = ("Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon")
STEPS = {"step": "Take one step.", "left": "Turn left.", "right": "Turn right.", "around": "Turn around."}
PAD = "."


@dataclass(frozen=True)
class Task:
    """An automaton on words of ``n`` symbols, how a word is drawn, how it is asked in English, and the two answers."""

    name: str
    machine: Dfa
    n: int
    draw: Callable[[np.random.Generator], list]
    ask: Callable[[list], str]
    answers: tuple[str, str]  # of a word that is accepted, and of one that is not

    def sample(self, count: int, seed: int) -> tuple[list[list], np.ndarray]:
        """``count`` different words in random order, half of them accepted, and whether each is."""
        gen, found = np.random.default_rng(seed), {True: {}, False: {}}
        while min(map(len, found.values())) < count - count // 2:
            word = self.draw(gen)
            found[self.machine.run(word)[1]][tuple(word)] = word
        words = [*list(found[True].values())[:count // 2], *list(found[False].values())[:count - count // 2]]
        order = gen.permutation(count)
        return [words[i] for i in order], order < count // 2


def reached(start, moves: Callable[[object], Iterator[tuple]], accept: Callable[[object], bool]) -> Dfa:
    """The automaton of all states that are reached from ``start`` by ``moves``: pairs (symbol, next state)."""
    rows, todo, seen = [], [start], {start}
    for state in todo:
        for symbol, then in moves(state):
            rows.append((state, symbol, then))
            if then not in seen:
                seen.add(then)
                todo.append(then)
    return Dfa.of(rows, start, [s for s in todo if accept(s)])


def lies(people: int = 9) -> Task:
    """Web of lies: the first tells the truth or lies, each other says which of the two the one before does."""

    def ask(word: list) -> str:
        said = [f"{NAMES[0]} {'lies' if word[0] == 'lies' else 'tells the truth'}."]
        for i, symbol in enumerate(word[1:], 1):
            said.append(f"{NAMES[i]} says {NAMES[i - 1]} {'lies' if symbol == 'lies' else 'tells the truth'}.")
        return f"{' '.join(said)} Does {NAMES[people - 1]} tell the truth?"

    honest = reached(True, lambda q: iter((("truth", q), ("lies", not q))), bool)
    return Task("web of lies", honest, people, lambda gen: [("truth", "lies")[i] for i in gen.integers(0, 2, people)], ask,
                ("Yes", "No"))


def navigate(steps: int = 8) -> Task:
    """Navigate: single steps and turns; is the walker back at the start? The state is the start as the walker sees it."""

    def moves(q) -> Iterator[tuple]:
        x, y = q
        yield "step", ((x, y - 1) if abs(x) + abs(y - 1) <= steps else q)
        yield from (("left", (y, -x)), ("right", (-y, x)), ("around", (-x, -y)))

    return Task("navigate", reached((0, 0), moves, lambda q: q == (0, 0)), steps,
                lambda gen: [list(STEPS)[i] for i in gen.choice(4, steps, p=(0.55, 0.15, 0.15, 0.15))],
                lambda word: f"If you follow these instructions, do you return to the starting point? "
                             f"{' '.join(STEPS[s] for s in word)}", ("Yes", "No"))


def boolean(length: int = 14) -> Task:
    """Boolean expressions of not, and, or, and brackets one deep; the state holds what is known outside and inside.

    A level is (value of the terms before "or", value of the factors before "and", pending "not").
    """
    fresh = (False, True, False)

    def put(level: tuple, value: bool) -> tuple:
        return level[0], level[1] and (value != level[2]), False

    def change(level: tuple, symbol: str) -> tuple:
        if symbol in ("True", "False"):
            return put(level, symbol == "True")
        if symbol == "not":
            return level[0], level[1], not level[2]
        return (level[0] or level[1], True, False) if symbol == "or" else level

    def moves(q) -> Iterator[tuple]:
        for symbol in ("True", "False", "not", "and", "or", PAD):
            yield symbol, (q if symbol == PAD else (*q[:-1], change(q[-1], symbol)))
        yield "(", ((*q, fresh) if len(q) == 1 else q)
        yield ")", ((put(q[0], q[1][0] or q[1][1]), ) if len(q) == 2 else q)

    def draw(gen: np.random.Generator) -> list:
        def some(deep: bool) -> list:
            word = []
            for i in range(int(gen.integers(2, 4))):
                word += [("and", "or")[gen.integers(2)]] if i else []
                word += ["not"] if gen.random() < 0.4 else []
                word += (["(", *some(False), ")"] if deep and gen.random() < 0.5 else [("True", "False")[gen.integers(2)]])
            return word
        word = some(True)
        while len(word) > length:
            word = some(True)
        return word + [PAD] * (length - len(word))

    machine = reached((fresh, ), moves, lambda q: len(q) == 1 and (q[0][0] or q[0][1]))
    return Task("boolean expressions", machine, length, draw,
                lambda word: f"What is the value of: {' '.join(s for s in word if s != PAD)}?", ("True", "False"))


def tasks() -> list[Task]:
    """The three tasks at the length that the chapter asks."""
    return [boolean(), navigate(), lies()]
