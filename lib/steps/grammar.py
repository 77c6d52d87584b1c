"""The small language of the domains: ``"0 < p < 1"``, ``"a, b > 0"``, ``"x real"``, ``"L = 2, 3, ..."``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sympy as sp
from sympy.parsing.sympy_parser import parse_expr, standard_transformations

from lib.steps.errors import StepError
from lib.steps.sides import entry_symbols

KNOWN = {"pi": sp.pi, "sqrt": sp.sqrt, "exp": sp.exp, "log": sp.log, "Abs": sp.Abs, "Max": sp.Max, "Min": sp.Min}
NAME = r"[A-Za-z_]\w*"
NAMES = re.compile(rf"{NAME}(\s*,\s*{NAME})*")
HELP = 'write for example "0 < p < 1", "a, b > 0", "x real", "k integer", "W real 2 x 3", "lambda != 1" or "L = 2, 3, ..."'


@dataclass(frozen=True)
class Constraint:
    """``left relation right`` with the relation one of ``<``, ``<=``, ``!=``; `text` is what the author wrote."""

    left: sp.Expr
    relation: str
    right: sp.Expr
    text: str

    @property
    def gap(self) -> sp.Expr:
        """Right minus left."""
        return self.right - self.left


@dataclass
class Given:
    """What one sentence says."""

    text: str
    names: list[sp.Symbol]
    integers: list[sp.Symbol] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)


def wrong(text: str, why: str) -> StepError:
    return StepError(f"The domain {text!r} is not understood: {why}; {HELP}.")


def parse_expression(source: str, text: str) -> sp.Expr:
    """Parse a bound; every unknown name becomes a plain symbol (``lambda`` too)."""
    if re.search(r"\d\.|\.\d", source):
        raise wrong(text, "decimal numbers are not exact, write a fraction")
    if not source.strip():
        raise wrong(text, "one side of a comparison is empty")
    if not re.fullmatch(r"[\w\s+\-*/(),]+", source):
        raise wrong(text, f"{source.strip()!r} holds a sign that is not known here")
    local = {}

    def rename(match: re.Match) -> str:
        word = match.group(0)
        local[f"v_{word}"] = KNOWN.get(word, sp.Symbol(word))
        return f"v_{word}"

    safe = re.sub(rf"\b{NAME}\b", rename, source)
    try:
        value = parse_expr(safe, local_dict=local, transformations=standard_transformations)
    except Exception as error:
        raise wrong(text, f"{source.strip()!r} is not an expression") from error
    if not isinstance(value, sp.Expr):
        raise wrong(text, f"{source.strip()!r} is not an expression")
    return value


def parse_names(source: str, text: str) -> list[sp.Symbol]:
    if not NAMES.fullmatch(source.strip()):
        raise wrong(text, f"{source.strip()!r} is not a list of names")
    return [sp.Symbol(name.strip()) for name in source.split(",")]


def parse_progression(text: str, head: str, tail: str) -> Given:
    """``L = 2, 3, ...`` or ``k = 0, 1, ..., n``."""
    match = re.fullmatch(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*\.\.\.\s*(?:,(.+))?", tail)
    if not match or int(match.group(2)) != int(match.group(1)) + 1:
        raise wrong(text, "after '=' come two consecutive integers and '...'")
    names = parse_names(head, text)
    found = [Constraint(sp.Integer(match.group(1)), "<=", name, text) for name in names]
    if match.group(3):
        last = parse_expression(match.group(3), text)
        found += [Constraint(name, "<=", last, text) for name in names]
    return Given(text, names, list(names), found)


def parse_given(text: str) -> Given:
    """Parse one sentence.

    Parameters
    ----------
    text : str
        For example ``"0 < p < 1"``.

    Returns
    -------
    Given
        The names, which of them are integers, and the constraints (every pair of a chain).
    """
    if not isinstance(text, str):
        raise StepError(f"A domain is a string, not {type(text).__name__}; {HELP}.")
    shape = re.fullmatch(r"(.*)\sreal\s(\d+)\s?x\s?(\d+)\s*", text)
    if shape:
        names = parse_names(shape[1], text)
        return Given(text, [e for m in names for row in entry_symbols(m.name, int(shape[2]), int(shape[3])) for e in row])
    for word in ("real", "integer"):
        if re.fullmatch(rf".*\s{word}\s*", text):
            names = parse_names(text.strip()[: -len(word)], text)
            return Given(text, names, names if word == "integer" else [])
    pieces = re.split(r"(<=|>=|!=|==|<|>|=)", text)
    items, signs = pieces[0::2], pieces[1::2]
    if signs == ["="]:
        return parse_progression(text, *items)
    if not signs or not (set(signs) <= {"<", "<="} or set(signs) <= {">", ">="} or signs == ["!="]):
        raise wrong(text, "it is not one chain of comparisons in one direction")
    columns = [
        parse_names(i, text) if "," in i and NAMES.fullmatch(i.strip()) else [parse_expression(i, text)] for i in items
    ]
    if sum(len(column) > 1 for column in columns) > 1:
        raise wrong(text, "only one place of the chain may list several names")
    if signs[0][0] == ">":
        columns, signs = columns[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    found = []
    for i in range(len(columns)):
        for j in range(i + 1, len(columns)):
            sign = "!=" if signs[0] == "!=" else "<" if "<" in signs[i:j] else "<="
            found += [Constraint(left, sign, right, text) for left in columns[i] for right in columns[j]]
    for link in found:
        if link.left.is_number and link.right.is_number and (link.gap <= 0) == True:  # noqa: E712
            raise StepError(f"The domain {text!r} has no point.")
    names = sorted(
        {s for column in columns for item in column for s in item.free_symbols}, key=lambda s: text.find(s.name)
    )
    if not names:
        raise wrong(text, "it names no symbol")
    return Given(text, names, [], found)
