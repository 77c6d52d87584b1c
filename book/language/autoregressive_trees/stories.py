"""Stories from a small grammar with memory: it gives the exact law of the next word, and checks what others write."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cache

import numpy as np

KINDS = {"boy": ("he", ("tom", "ben", "max", "sam", "leo", "tim")),
         "girl": ("she", ("lily", "anna", "mia", "sue", "zoe", "amy"))}
COLOURS = ("red", "blue", "green", "yellow", "pink", "white")
TOYS = ("ball", "car", "doll", "kite", "boat", "train", "drum", "robot", "puzzle", "book")
ANIMALS = ("dog", "cat", "bird", "frog", "duck", "fox", "bear", "rabbit")
PLACES = ("park", "garden", "forest", "house", "school", "river", "barn", "field")
MOODS, SAD = ("happy", "calm", "proud", "free"), ("sad", "upset", "worried", "lonely")
HAPPY = ("glad", "merry", "excited", "thankful")
NAMES = tuple(n for _, names in KINDS.values() for n in names)
END = "<end>"
Step = tuple[dict[str, float], frozenset[str]]  # law of the next word, and what a checker without memory would let pass


def _fixed(text: str) -> Generator[Step, str, None]:
    for word in text.split():
        yield {word: 1.0}, frozenset([word])


def _one_of(options: Sequence[str]) -> Generator[Step, str, str]:
    word = yield {o: 1 / len(options) for o in options}, frozenset(options)
    return word


def _again(word: str, options: Sequence[str]) -> Generator[Step, str, None]:
    """A word that was said before; a checker without memory lets any of its class pass."""
    yield {word: 1.0}, frozenset(options)


def story() -> Generator[Step, str, None]:
    """Yields the law of the next word, given all that was sent before."""
    pronouns = tuple(p for p, _ in KINDS.values())
    yield from _fixed("once upon a time there was a")
    kind = yield from _one_of(tuple(KINDS))
    pronoun, names = KINDS[kind]
    yield from _fixed("named")
    name = yield {n: 1 / len(names) for n in names}, frozenset(NAMES)
    yield from _fixed(".")
    yield {name: 0.5, pronoun: 0.5}, frozenset((*NAMES, *pronouns))
    yield from _fixed("had a")
    colour = yield from _one_of(COLOURS)
    toy = yield from _one_of(TOYS)
    yield from _fixed(".")
    for k in range(5):
        first = "one"
        if k < 4:
            first = yield {pronoun: 0.6, "one": 0.4}, frozenset((*pronouns, "one"))
        else:
            yield from _fixed("one")
        if first == "one":
            break
        verb = yield from _one_of(("liked", "saw", "ran"))
        if verb == "liked":
            yield from _fixed("to play with the")
            yield from _again(toy, TOYS)
        elif verb == "saw":
            yield from _fixed("a")
            animal = yield from _one_of(ANIMALS)
            yield from _fixed(". the")
            yield from _again(animal, ANIMALS)
            yield from _fixed("said hello to")
            yield from _again(name, NAMES)
        else:
            yield from _fixed("to the")
            yield from _one_of(PLACES)
            yield from _fixed("and")
            yield from _again(pronoun, pronouns)
            yield from _fixed("felt")
            yield from _one_of(MOODS)
        yield from _fixed(".")
    yield from _fixed("day")
    yield from _again(pronoun, pronouns)
    yield from _fixed("lost the")
    yield from _again(toy, TOYS)
    yield from _fixed("in the")
    place = yield from _one_of(PLACES)
    yield from _fixed(".")
    yield from _again(name, NAMES)
    yield from _fixed("was")
    yield from _one_of(SAD)
    yield from _fixed("and looked for the")
    yield from _again(toy, TOYS)
    yield from _fixed(". then a")
    animal = yield from _one_of(ANIMALS)
    yield from _fixed("found it in the")
    yield from _again(place, PLACES)
    yield from _fixed(". the")
    yield from _again(animal, ANIMALS)
    yield from _fixed("gave the")
    yield from _again(colour, COLOURS)
    yield from _again(toy, TOYS)
    yield from _fixed("to")
    yield from _again(name, NAMES)
    yield from _fixed(".")
    yield from _again(pronoun, pronouns)
    yield from _fixed("was")
    yield from _one_of(HAPPY)
    yield from _fixed("and said thank you . the end . " + END)


@cache
def words() -> tuple[str, ...]:
    """The dictionary, in an order that does not change."""
    gen, seen = np.random.default_rng(0), dict.fromkeys((END,))
    for _ in range(400):
        for word in tell(gen):
            seen.setdefault(word)
    for group in (KINDS, NAMES, COLOURS, TOYS, ANIMALS, PLACES, MOODS, SAD, HAPPY):
        for word in group:
            seen.setdefault(word)
    return tuple(sorted(seen))


def tell(gen: np.random.Generator) -> list[str]:
    """One story, sampled."""
    teller, said = story(), []
    law, _ = next(teller)
    while True:
        options = list(law)
        said.append(options[int(gen.choice(len(options), p=list(law.values())))])
        try:
            law, _ = teller.send(said[-1])
        except StopIteration:
            return said


def sample(count: int, seed: int) -> list[np.ndarray]:
    """Stories as token ids; the last token is the end."""
    gen, at = np.random.default_rng(seed), {w: i for i, w in enumerate(words())}
    return [np.array([at[w] for w in tell(gen)]) for _ in range(count)]


def laws(tokens: Sequence[int]) -> np.ndarray:
    """Exact law of every word of a true story, [words, dictionary]."""
    table, teller = np.zeros((len(tokens), len(words()))), story()
    at = {w: i for i, w in enumerate(words())}
    law, _ = next(teller)
    for row, token in zip(table, tokens, strict=True):
        for word, p in law.items():
            row[at[word]] = p
        try:
            law, _ = teller.send(words()[token])
        except StopIteration:
            break
    return table


def check(tokens: Sequence[int]) -> tuple[bool, bool, float]:
    """Is it a story to a checker without memory; with memory; and the share of words before the first break with memory."""
    teller, valid, strict, loose = story(), 0, True, True
    law, passes = next(teller)
    for i, token in enumerate(tokens):
        word = words()[token]
        if strict and word in law:
            valid += 1
        strict, loose = strict and word in law, loose and word in passes
        if not loose:
            break
        try:
            law, passes = teller.send(word)
        except StopIteration:
            done = i + 1 == len(tokens)
            return loose and done, strict and done, valid / len(tokens)
    return False, False, valid / max(len(tokens), 1)
