"""Assertions: what the paper says, in our words, each with the claims that decide it.

Nothing here measures. The verdict of an assertion is a pure function of its declaration and of its claims' verdicts.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lib import show
from lib.errors import BookError

__all__ = ["A", "Assertions", "AssertionFault", "declared", "verdict"]

UPHELD, REFUTED, IN_PART, OPEN = "upheld", "refuted", "in part", "open"
VERDICTS = (UPHELD, REFUTED, IN_PART, OPEN)
BECAUSE = "because "


class AssertionFault(BookError):
    """An assertion declared in a way that would say nothing."""


@dataclass(frozen=True)
class A:
    """One assertion of a paper.

    Parameters
    ----------
    id : ``A1``, ``A2``, ...; one in a chapter.
    statement : the assertion in our own words; may hold $mathematics$.
    claims : ids of the claims that decide it, the one whose number is shown first.
    source : where the paper says it: "abstract", "Theorem 1", "Figure 2", ...
    scale : the scale of the paper and ours, where that matters.
    decisive : those of ``claims`` of which a single failure refutes the assertion.
    open : why no claim decides it, as "because ..."; given where ``claims`` is empty, and only there.
    """

    id: str
    statement: str
    claims: tuple[str, ...] = ()
    source: str = "abstract"
    scale: tuple[str, str] | None = None
    decisive: tuple[str, ...] = ()
    open: str = ""

    def __post_init__(self):
        object.__setattr__(self, "claims", tuple(self.claims))
        object.__setattr__(self, "decisive", tuple(self.decisive))
        if not re.fullmatch(r"A\d+", self.id):
            raise AssertionFault(f"{self.id!r} is no id of an assertion; use A1, A2, ...")
        if not self.statement.strip() or not self.source.strip():
            raise AssertionFault(f"assertion {self.id} needs a statement and a source.")
        if bool(self.claims) == bool(self.open) or self.open and not self.open.startswith(BECAUSE):
            raise AssertionFault(f"assertion {self.id} needs the claims that decide it, or open=\"because ...\", not both.")
        if set(self.decisive) - set(self.claims):
            raise AssertionFault(f"assertion {self.id} calls {', '.join(sorted(set(self.decisive) - set(self.claims)))} "
                                 "decisive, which is not among its claims.")
        if self.scale is not None and (isinstance(self.scale, str) or len(self.scale) != 2):
            raise AssertionFault(f"the scale of assertion {self.id} is a pair: the paper's and ours.")


def verdict(a: A, verdicts: Mapping[str, str]) -> str:
    """Verdict of an assertion from the verdicts of claims by id; a claim without one is undecided."""
    mine = [verdicts.get(c, "undecided") for c in a.claims]
    decided = [v for v in mine if v in ("holds", "fails", "partial")]
    if not decided:
        return OPEN
    if any(verdicts.get(c) == "fails" for c in a.decisive) or set(decided) == {"fails"}:
        return REFUTED
    return UPHELD if set(mine) == {"holds"} else IN_PART


def number(a: A, claims: Mapping[str, dict]) -> str:
    """What the first decided claim of an assertion measured or proved, in one phrase with its id.

    Of a refuted assertion it is a claim that fails: no number stands beside a verdict that it does not carry.
    """
    mine = [claims[i] for i in a.claims if i in claims]
    is_refuted = verdict(a, {c["id"]: c["verdict"] for c in mine}) == REFUTED
    for c in sorted(mine, key=lambda c: (is_refuted and c["verdict"] != "fails", not _measures(c))):
        if c["verdict"] in ("holds", "fails", "partial") and c["said"]:
            return f"{c['id']}: {phrase(c['said'])}"
    return f"open, {a.open}" if a.open else "not decided"


def phrase(said: list[str]) -> str:
    """Of what a claim says, the first number without its interval; else the first that is said; else nothing."""
    first = next((s for s in said if " = " in s), said[0] if said else "")
    return re.sub(r" [(][0-9.]+ % interval [^()]*[)]", "", first)


def _measures(c: dict) -> bool:
    return any(" = " in s for s in c["said"]) and c["verdict"] in ("holds", "fails", "partial")


def record(a: A, claims: Mapping[str, dict]) -> dict:
    """The machine's record of an assertion under the records of one run's claims."""
    return {**declaration(a), "verdict": verdict(a, {i: c["verdict"] for i, c in claims.items()}),
            "number": number(a, claims)}


def declaration(a: A) -> dict:
    """An assertion as JSON, without any verdict."""
    return {"id": a.id, "statement": a.statement, "source": a.source, "claims": list(a.claims),
            "decisive": list(a.decisive), "scale": list(a.scale) if a.scale else None, "open": a.open}


class Assertions:
    """The assertions of a chapter, declared before anything runs."""

    def __init__(self, assertions: tuple[A, ...]):
        ids = [a.id for a in assertions]
        double = sorted({i for i in ids if ids.count(i) > 1})
        if double or not ids:
            raise AssertionFault(f"assertions {', '.join(double)} are declared twice." if double
                                 else "no assertion is declared.")
        self.all = assertions

    def check(self, ids: set[str]) -> None:
        """Raise AssertionFault where an assertion names a claim that is not among ``ids``."""
        for a in self.all:
            if set(a.claims) - ids:
                raise AssertionFault(f"assertion {a.id} names {', '.join(sorted(set(a.claims) - ids))}, which no claim is "
                                     "called; name the claims that decide it.")

    def records(self, claims: Mapping[str, dict]) -> list[dict]:
        """The machine's records of all assertions under one run's claims."""
        return [record(a, claims) for a in self.all]

    def _repr_mimebundle_(self, **_):
        rows = [[a.id, a.statement, a.source, ", ".join(a.claims) or f"open, {a.open}"] for a in self.all]
        bundle = show.table(["assertion", "statement", "source", "decided by"], rows, "What the paper says")
        return bundle, {"book": {"kind": "assertions", "ids": [a.id for a in self.all]}}


def declared(code: str) -> list[A]:
    """The assertions that a page declares, read from its code without running it: the literals in ``run.assertions(...)``."""
    found = []
    for n in ast.walk(ast.parse(code)):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "assertions":
            for call in n.args:
                try:
                    found.append(A(*(ast.literal_eval(x) for x in call.args),
                                   **{k.arg: ast.literal_eval(k.value) for k in call.keywords}))
                except (ValueError, AttributeError):
                    raise AssertionFault("run.assertions takes A(\"A1\", \"...\", ...) with literals alone, so that the "
                                         "ledger can read them without running the page.") from None
    return found
