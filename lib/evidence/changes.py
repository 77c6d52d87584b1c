"""What changed between two closures, line by line, and what must have run before equal bits mean anything.

A statement that was changed, added or removed must be entered. What runs at import (a constant, an import, the body of a
class) is entered where it is read. What a compiler runs is seen by no trace. Statements that raise are left out: had one
been reached there would be no evidence. So is what nothing can call: a method whose name nothing in the closure reads, and
a function that only such methods read.
"""

import ast
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lib.evidence.recipe import EvidenceError
from lib.normal import normalise, plain
from lib.source import Part

COMPILERS = frozenset({"njit", "jit", "vectorize", "guvectorize", "triton", "compile", "script"})
SILENT = (ast.Pass, ast.Global, ast.Nonlocal, ast.Raise, ast.match_case)
FIELDS = ("body", "handlers", "orelse", "finalbody", "cases")
DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Item:
    """One statement of a part, without the statements inside it.

    ``key`` is its text with what stands around it; ``first`` and ``last`` are its lines in the part (of a definition:
    those of its body); ``reads`` names and attributes; ``at_import`` is true for what runs when a module is read, but for
    ``lambdas``, whose lines are told apart; ``method`` is the method that it is part of, if any.
    """

    key: tuple
    first: int
    last: int
    reads: frozenset[str]
    at_import: bool
    silent: bool
    lambdas: tuple[tuple[int, int], ...]
    method: str | None


@dataclass(frozen=True)
class Placed:
    """A part of a closure and where it stands: a file below the root of its tree, its first line, its lines as they are."""

    part: Part
    file: str
    line: int
    source: str


@dataclass(frozen=True)
class Must:
    """Lines that must be entered: a file and its first and last line, and which part they are of."""

    name: str
    file: str
    first: int
    last: int
    compiled: bool


def items(text: str) -> list[Item]:
    """Statements of one part in order, comments, docstrings, annotations and messages apart."""
    out: list[Item] = []

    def walk(body: list[ast.stmt], path: tuple, at_import: bool, method: str | None = None) -> None:
        in_class = path[-3:-2] == ("ClassDef",)
        for node in body:
            inside = {f: getattr(node, f) for f in FIELDS if isinstance(getattr(node, f, None), list)}
            below = [_line(x) for xs in inside.values() for x in xs]
            is_def = isinstance(node, DEFINITION)
            mine = node.name if is_def and in_class and not method else method
            first, last = _line(node), getattr(node, "end_lineno", None) or _line(node)
            if is_def:
                first, last = node.body[0].lineno, node.body[-1].end_lineno
            elif below and not isinstance(node, ast.ClassDef):
                last = max(first, min(below) - 1)
            for f in inside:
                setattr(node, f, [])  # what is left of it is its head
            every = list(ast.walk(node))
            names = {n.id for n in every if isinstance(n, ast.Name)} | {n.attr for n in every if isinstance(n, ast.Attribute)}
            out.append(Item((path, ast.dump(node)), first, last, frozenset(names), at_import and not is_def,
                            isinstance(node, SILENT),
                            tuple((n.lineno, n.end_lineno) for n in every if isinstance(n, ast.Lambda)), mine))
            name = getattr(node, "name", None) if path else None  # a part may have another name and be the same
            for f, xs in inside.items():
                walk(xs, (*path, type(node).__name__, name, f), at_import and not is_def, mine)

    walk(plain(text).body, (), True)
    return out


def differing(old: str, new: str) -> tuple[list[Item], list[Item]]:
    """Statements of an old and a new text that the other has not at its place."""
    a, b = items(old), items(new)
    gone, come = [], []
    matcher = difflib.SequenceMatcher(None, [x.key for x in a], [x.key for x in b], autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            gone += a[i:j]
            come += b[k:m]
    return gone, come


def must_enter(old: list[Placed], new: list[Placed]) -> tuple[list[Must], list[Must]]:
    """Lines of the old and of the new closure that must be entered before equal results mean that both say the same."""
    return _one_side(old, new), _one_side(new, old)


def _one_side(mine: list[Placed], theirs: list[Placed]) -> list[Must]:
    """Lines of ``mine`` that ``theirs`` does not have."""
    known = {(p.part.name, normalise(p.part.text), _linked(p.part)) for p in theirs}
    odd = [p for p in mine if (p.part.name, normalise(p.part.text), _linked(p.part)) not in known]
    others = [q for q in theirs if (q.part.name, normalise(q.part.text), _linked(q.part)) not in
              {(p.part.name, normalise(p.part.text), _linked(p.part)) for p in mine}]
    out: dict[Must, None] = {}
    at_import: list[str] = []
    alive = _alive(mine)
    for p in (p for p in odd if p in alive):
        q = _counterpart(p, others)
        changed = differing(q.source, p.source)[1] if q else items(p.source)
        if q and _linked(p.part) != _linked(q.part):  # it may mean something else by the names that it reads
            linked = {r.rpartition(".")[2] for r, *_ in p.part.links} | {r.rpartition(".")[2] for r, *_ in q.part.links}
            changed = [i for i in items(p.source) if i in changed or i.reads & linked]
        changed = [i for i in changed if i in alive[p]]
        out |= dict.fromkeys(_lines(p, i) for i in changed if not i.at_import and not i.silent)
        out |= dict.fromkeys(_lines(p, replace(i, first=a, last=b)) for i in changed if i.at_import for a, b in i.lambdas)
        if any(i.at_import for i in changed):
            at_import.append(p.part.name)
    return list(out | dict.fromkeys(_readers(at_import, alive)))


def _alive(parts: list[Placed]) -> dict[Placed, list[Item]]:
    """Parts that something may call, with those of their statements that may run.

    A part is read by name by another that is alive, or by none. A method is read by name, or by a text of one word, by which
    ``getattr`` may read it, or is called by Python itself.
    """
    read_by_others = {p: {n for q in parts if q is not p for i in items(q.source) for n in _meant(q, i)} for p in parts}
    names = {p.part.name for p in parts if p.part.name not in read_by_others[p]}
    names |= {n.value for p in parts for n in ast.walk(ast.parse(p.part.text))
              if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.isidentifier()}
    while True:
        out = {p: [i for i in items(p.source) if i.method is None or i.method in names or i.method.startswith("__")]
               for p in parts if p.part.name in names}
        more = names.union(*(_meant(p, i) for p, some in out.items() for i in some))
        if more == names:
            return out
        names = more


def _meant(p: Placed, i: Item) -> set[str]:
    """Names that a statement reads, and those of the parts that it means by them."""
    return i.reads | {n for r, n, _ in p.part.links if r.rpartition(".")[2] in i.reads}


def _readers(names: list[str], parts: dict[Placed, list[Item]]) -> list[Must]:
    """Statements that read names which modules bind when they are read, through other such names too."""
    out, todo, seen = [], list(names), set(names)
    while todo:
        name, found = todo.pop(), False
        for p, some in parts.items():
            alias = {name} | {r.rpartition(".")[2] for r, n, _ in p.part.links if n == name}
            for i in some:
                if not i.reads & alias or i.at_import and p.part.name == name:
                    continue
                found = True
                if not i.at_import:
                    out += [] if i.silent else [_lines(p, i)]
                elif p.part.name not in seen:
                    seen.add(p.part.name)
                    todo.append(p.part.name)
        if not found:
            raise EvidenceError(f"`{name}` has changed, and no statement is seen to read it")
    return out


def _line(node: ast.AST) -> int:
    return node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno


def _linked(p: Part) -> frozenset:
    return frozenset((r, n, normalise(t)) for r, n, t in p.links)


def _counterpart(p: Placed, others: Iterable[Placed]) -> Placed | None:
    """The part of the other closure that this one was: of the same name, else the most similar one of another."""
    others = [q for q in others if type(_node(q.part)) is type(_node(p.part))]
    if same := [q for q in others if q.part.name == p.part.name]:
        return same[0]
    mine = normalise(p.part.text)
    score = {q.part.name: difflib.SequenceMatcher(None, normalise(q.part.text), mine).ratio() for q in others}
    return next((q for q in others if score[q.part.name] == max(score.values()) > 0.6), None)


def _node(p: Part) -> ast.stmt:
    return ast.parse(p.text).body[0]


def _lines(p: Placed, i: Item) -> Must:
    decorators = {n.id if isinstance(n, ast.Name) else n.attr for d in getattr(_node(p.part), "decorator_list", [])
                  for n in ast.walk(d) if isinstance(n, ast.Name | ast.Attribute)}
    return Must(p.part.name, p.file, p.line + i.first - 1, p.line + i.last - 1, bool(decorators & COMPILERS))


def missed(must: Iterable[Must], entered: Iterable[tuple[str, int]], by_block: bool) -> list[Must]:
    """What was not entered; what a compiler runs counts as entered where a whole block was compared."""
    lines: dict[str, set[int]] = {}
    for file, line in entered:
        lines.setdefault(file, set()).add(line)
    return [m for m in must if not (m.compiled and by_block)
            and not lines.get(m.file, set()) & set(range(m.first, m.last + 1))]
