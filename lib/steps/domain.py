"""The domain of a derivation: which values each symbol may take, and symbols that know it."""

from __future__ import annotations

from functools import cached_property

import sympy as sp

from lib.steps.errors import StepError
from lib.steps.grammar import Constraint, Given, parse_given


class Domain:
    """All values that the symbols of a derivation may take.

    Parameters
    ----------
    given : list of str
        Sentences such as ``"0 < p < 1"``; see `lib.steps.grammar`.
    """

    def __init__(self, given: list[str] | tuple[str, ...] | str):
        sentences = [given] if isinstance(given, str) else list(given)
        self.given: list[Given] = [parse_given(text) for text in sentences]
        self.symbols: list[sp.Symbol] = []
        for sentence in self.given:
            self.symbols += [s for s in sentence.names if s not in self.symbols]
        self.integers = {s for sentence in self.given for s in sentence.integers}
        stated: list[Constraint] = [c for sentence in self.given for c in sentence.constraints]
        self.constraints = stated + _transitive(stated)

    def without(self, symbol: sp.Symbol) -> Domain:
        """The same domain, knowing nothing about one symbol."""
        other = object.__new__(Domain)
        other.given = self.given
        other.symbols, other.integers = list(self.symbols), self.integers - {symbol}
        other.constraints = [c for c in self.constraints if symbol not in c.gap.free_symbols]
        return other

    def restricted(self, *extra: Constraint) -> Domain:
        """The part of the domain where more constraints hold."""
        other = object.__new__(Domain)
        other.given, other.symbols, other.integers = self.given, self.symbols, self.integers
        other.constraints = [*self.constraints, *extra]
        return other

    def without_other_bounds(self, symbol: sp.Symbol, end: sp.Expr, side: int) -> Domain:
        """The domain in which one symbol is a real number that knows only one bound on one side."""
        other = object.__new__(Domain)
        other.given = self.given
        other.symbols, other.integers = list(self.symbols), self.integers - {symbol}
        other.constraints = []
        for link in self.constraints:
            slope = sp.diff(link.gap, symbol)
            same_side = slope.is_Rational and slope * side > 0 and link.relation != "!="
            if not same_side or sp.expand(symbol - link.gap / slope - end) == 0:
                other.constraints.append(link)
        return other

    def opened(self, symbol: sp.Symbol, end: sp.Expr, side: int) -> Domain:
        """The domain without one end."""
        low, high = (end, symbol) if side > 0 else (symbol, end)
        return self.restricted(Constraint(low, "<", high, ""))

    def bounds(self, symbol: sp.Symbol) -> tuple[list[tuple[sp.Expr, bool]], list[tuple[sp.Expr, bool]]]:
        """Lower and upper bounds ``(expression, strict)`` that the constraints state for one symbol."""
        lower, upper = [], []
        for link in self.constraints:
            slope = sp.diff(link.gap, symbol) if symbol in link.gap.free_symbols else sp.S.Zero
            if link.relation == "!=" or not slope.is_Rational or slope == 0:
                continue
            value = sp.expand(symbol - link.gap / slope)
            (lower if slope > 0 else upper).append((value, link.relation == "<"))
        return lower, upper

    def is_mixed(self, symbol: sp.Symbol) -> bool:
        """Whether some constraint on a symbol is not a bound by an expression without it."""
        involved = (c for c in self.constraints if symbol in c.gap.free_symbols)
        return any(not sp.diff(c.gap, symbol).is_Rational for c in involved)

    def excluded(self, symbol: sp.Symbol) -> list[sp.Expr]:
        """Values that a ``!=`` forbids."""
        found = []
        for link in self.constraints:
            slope = sp.diff(link.gap, symbol)
            if link.relation == "!=" and slope.is_Rational and slope != 0:
                found.append(sp.expand(symbol - link.gap / slope))
        return found

    @cached_property
    def typed(self) -> dict[sp.Symbol, sp.Symbol]:
        """Each plain symbol, and the symbol with sympy assumptions that stands for it inside a prover."""
        facts = {s: {"integer": True} if s in self.integers else {"real": True} for s in self.symbols}
        for _ in range(3):
            table = {s: sp.Symbol(s.name, **facts[s]) for s in self.symbols}
            for s in self.symbols:
                lower, upper = self.bounds(s)
                facts[s] |= _sign_facts([(e.xreplace(table), strict) for e, strict in lower], 1)
                facts[s] |= _sign_facts([(e.xreplace(table), strict) for e, strict in upper], -1)
                if any(e == 0 for e in self.excluded(s)):
                    facts[s] |= {"zero": False}
        return {s: sp.Symbol(s.name, **facts[s]) for s in self.symbols}

    @cached_property
    def slack(self) -> dict[sp.Symbol, sp.Expr]:
        """Each symbol written with positive variables that run over its whole range (or over more).

        ``l < x < u`` becomes ``(l + u*z)/(1 + z)``, ``x > l`` becomes ``l + z``, ``x < u`` becomes ``u - z``.
        """
        table: dict[sp.Symbol, sp.Expr] = {}
        for s in self.symbols:
            below, above = self.bounds(s)
            lower, upper = _choose(below, table, 1), _choose(above, table, -1)
            closed = (lower and not lower[1]) or (not lower and upper and not upper[1])
            kind = {"nonnegative": True} if closed else {"positive": True}
            if s in self.integers and not (lower and upper):
                kind |= {"integer": True}
            z = sp.Dummy(f"z_{s.name}", **kind)
            if lower and upper:
                low, high = lower[0].xreplace(table), upper[0].xreplace(table)
                table[s] = sp.cancel((low + high * z) / (1 + z))
            elif lower:
                table[s] = lower[0].xreplace(table) + z
            elif upper:
                table[s] = upper[0].xreplace(table) - z
            else:
                table[s] = self.typed[s]
        return table

    def closed_tops(self) -> list[tuple[sp.Symbol, sp.Expr]]:
        """Upper ends that belong to a two-sided range: the slack variables reach them only in the limit."""
        tops = []
        for s in self.symbols:
            lower, upper = self.bounds(s)
            if lower:
                tops += [(s, value) for value, strict in upper if not strict]
        return tops

    def check_symbols(self, expression: sp.Basic) -> None:
        """Refuse an expression with a symbol that has no domain or that carries own assumptions."""
        for symbol in sorted(expression.free_symbols, key=str):
            if symbol in self.symbols:
                continue
            if sp.Symbol(symbol.name) in self.symbols:
                raise StepError(
                    f"The symbol {symbol} carries its own assumptions; make it with steps.symbols: "
                    "the derivation owns the domain."
                )
            raise StepError(f"The symbol {symbol} has no domain; name it in given=[...].")


def _transitive(stated: list[Constraint]) -> list[Constraint]:
    """What follows from ``x < y`` and ``y < z`` for a symbol y in the middle."""
    chained = [c for c in stated if c.relation != "!="]
    known = {(c.left, c.right) for c in chained}
    found = []
    for first in chained:
        for second in chained:
            if first.right == second.left and first.right.is_Symbol and first.text != second.text:
                ends = (first.left, second.right)
                if ends not in known and any(end.free_symbols for end in ends):
                    known.add(ends)
                    sign = "<" if "<" in (first.relation, second.relation) else "<="
                    found.append(Constraint(ends[0], sign, ends[1], f"{first.text}, {second.text}"))
    return found


def _sign_facts(bounds: list[tuple[sp.Expr, bool]], side: int) -> dict[str, bool]:
    """What a list of lower (side 1) or upper (side -1) bounds says about the sign."""
    words = ("positive", "nonnegative") if side > 0 else ("negative", "nonpositive")
    facts: dict[str, bool] = {}
    for value, strict in bounds:
        value = side * value
        if value.is_positive or (value.is_nonnegative and strict):
            return {words[0]: True}
        if value.is_nonnegative:
            facts = {words[1]: True}
    return facts


def _choose(bounds: list[tuple[sp.Expr, bool]], table: dict, side: int) -> tuple[sp.Expr, bool] | None:
    """The bound to build a slack variable on: the last symbolic one that is ready, else the tightest number."""
    usable = [b for b in bounds if b[0].free_symbols <= table.keys()]
    symbolic = [b for b in usable if b[0].free_symbols]
    if symbolic or not usable:
        return symbolic[-1] if symbolic else None
    return max(usable, key=lambda b: (side * float(b[0]), b[1]))
