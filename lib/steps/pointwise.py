"""The check of one step at rational points: does it hold, how tight is it, which mutants does it refute."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import sympy as sp
from flint import arb

from lib.steps.compare import HOLDS, Pair, Undefined, order, value, vanishes
from lib.steps.errors import StepError
from lib.steps.evaluate import Program
from lib.steps.mutants import mutants
from lib.steps.points import Point, Points, show
from lib.steps.sides import Side, entries

WEAKER = {"<=": (0, 1), "<": (0, 1), ">=": (0, -1), ">": (0, -1)}


@dataclass
class Findings:
    """What the points said about one step."""

    points: int
    killed: int = 0
    survivors: list[Side] = field(default_factory=list)
    tightest: str = ""

    @property
    def mutants(self) -> int:
        return self.killed + len(self.survivors)


class Pointwise:
    """One step, compiled entry by entry.

    Parameters
    ----------
    left, right : Side
        Both sides, in plain symbols that all have a domain.
    relation : str
        One of ``=``, ``<=``, ``<``, ``>=``, ``>``.
    """

    def __init__(self, left: Side, relation: str, right: Side):
        self.left, self.relation, self.right = left, relation, right
        self.used = left.free_symbols | right.free_symbols

    @cached_property
    def pairs(self) -> list[Pair]:
        """Both sides of each entry, compiled when the first point asks for them."""
        return [Pair(a, b) for a, b in entries(self.left, self.right)]

    @property
    def rough(self) -> bool:
        return any(pair.left.rough or pair.right.rough for pair in self.pairs)

    def orders(self, point: Point) -> list[int | None]:
        return [pair.at(point).order for pair in self.pairs]

    def holds(self, point: Point) -> bool | None:
        """True or False at a point, None if it is not decided; raises Undefined where a side has no value."""
        answers = [None if o is None else o in HOLDS[self.relation] for o in self.orders(point)]
        return False if False in answers else None if None in answers else True

    def check(self, points: Points) -> Findings:
        """Refuse the step if it fails, is undefined or is empty at the first points; else say what was found."""
        distinct = {tuple((s, x) for s, x in point.items() if s in self.used): point for point in points.first}
        for point in points.first:
            try:
                answer = self.holds(point)
            except Undefined as error:
                raise StepError(f"A side is {error}.") from error
            if answer is None:
                raise StepError(f"The step could not be decided at {show(point, self.used)}.")
            if not answer:
                raise StepError(self._refutation(point))
        if all(self._both_vanish(point) for point in points.first):
            raise StepError("Both sides are zero at every point, so the step says nothing.")
        if self.relation != "=" and all(o == 0 for point in points.first for o in self.orders(point)):
            raise StepError("Both sides are equal at every point: say it with equals.")
        found = Findings(len(distinct))
        if self.relation != "=":
            found.tightest = self._tightest(points.first)
        self._mutate(points, found)
        return found

    def _refutation(self, point: Point) -> str:
        for pair in self.pairs:
            seen = pair.at(point)
            if seen.order not in HOLDS[self.relation]:
                return (
                    f"Not true: at {show(point, self.used)} the left side is {digits(seen.left)} "
                    f"and the right side is {digits(seen.right)}, which is not '{self.relation}'."
                )
        return "Not true."

    def _both_vanish(self, point: Point) -> bool:
        return all(vanishes(pair.left, point) and vanishes(pair.right, point) for pair in self.pairs)

    def _tightest(self, points: list[Point]) -> str:
        """The largest ratio of the smaller side to the larger one (both positive), or the smallest difference."""
        best = None
        for point in points:
            seen = self.pairs[0].at(point)
            small, large = (seen.left, seen.right) if self.relation[0] == "<" else (seen.right, seen.left)
            if small > 0 and large > 0 and (best is None or float(small / large) > best[0] + 1e-12):
                best = (float(small / large), small / large, point)
        if best is None:
            return ""
        return f"largest ratio of the sides {digits(best[1], 3)} at {show(best[2], self.used)}"

    def _mutate(self, points: Points, found: Findings) -> None:
        lefts = [[value(pair.left, point) for pair in self.pairs] for point in points.first]
        rights = [[value(pair.right, point) for pair in self.pairs] for point in points.first]
        for mutant in mutants(self.right):
            try:
                parts = [(i, Program(part)) for i, part in enumerate(_flat(mutant)) if part != _flat(self.right)[i]]
            except StepError:  # not a real expression any more
                found.killed += 1
                continue
            if self._only_weakens(parts, rights, points.first):
                continue
            if self._dies(parts, lefts, points.first) or (not self.rough and self._dies(parts, None, points.more)):
                found.killed += 1
            elif not _same(mutant, self.right):
                found.survivors.append(mutant)

    def _only_weakens(self, parts: list[tuple[int, Program]], rights: list[list[arb]], points: list[Point]) -> bool:
        if self.relation == "=":
            return False
        for point, right in zip(points, rights, strict=True):
            for i, program in parts:
                try:
                    if order(right[i], value(program, point), self.rough) not in WEAKER[self.relation]:
                        return False
                except StepError:
                    return False
        return True

    def _dies(self, parts: list[tuple[int, Program]], lefts: list[list[arb]] | None, points: list[Point]) -> bool:
        for k, point in enumerate(points):
            for i, program in parts:
                try:
                    left = lefts[k][i] if lefts else value(self.pairs[i].left, point)
                    seen = order(left, value(program, point), self.rough)
                except StepError:
                    return True
                if seen is not None and seen not in HOLDS[self.relation]:
                    return True
        return False


def _flat(side: Side) -> list[sp.Expr]:
    return list(side) if isinstance(side, sp.MatrixBase) else [side]


def _same(mutant: Side, right: Side) -> bool:
    """Whether a mutant that survives is only another form of the right side."""
    return all(sp.expand(a - b) == 0 for a, b in zip(_flat(mutant), _flat(right), strict=True))


def digits(ball: arb, count: int = 4) -> str:
    """A few safe digits of a value, the same on every machine."""
    return sp.Float(ball.mid().str(30, radius=False), 30).n(count).__str__()
