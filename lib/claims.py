"""Claims: declared before anything runs, judged by their own rule where the evidence is.

There is no argument that says whether a claim holds. The criterion's sentence and the verdict both come from the rule.
"""

import hashlib
import html
import json
import re
from dataclasses import dataclass, field

from lib import show
from lib.errors import BookError
from lib.rules import (
    FEW,
    HOLDS,
    UNDECIDED,
    Measured,
    Outcome,
    Proved,
    Rule,
    TooFew,
    above,
    below,
    parts,
    proved,
    within,
)
from lib.words import inline

__all__ = ["Claim", "Claims", "ClaimError", "above", "below", "parts", "proved", "within"]

KINDS = ("symbolic", "cited", "by words", "verified on box", "numeric", "timing")
PENDING = "pending(full)"
HUB = "pending(hub)"
OWED, NONE = "owed", "none, because "
WORDS = {"holds": "holds", "fails": "fails", "partial": "holds in part", "undecided": "is undecided",
         PENDING: "is pending at full size", HUB: "is pending: it needs data from a hub"}


class ClaimError(BookError):
    """A claim declared, judged or shown in a way that would say nothing."""


@dataclass(frozen=True)
class Claim:
    """A sentence that can fail, with the rule that decides it.

    Parameters
    ----------
    id : ``C1``, ``C2``, ...; one in a chapter.
    statement : the sentence, in the paper's sense (or ours, where ``source`` says so); may hold $mathematics$.
    source : where the sentence comes from: a theorem, figure or section of the paper, or "ours".
    evidence : kinds of evidence, of ``symbolic`` (the chain is the sentence), ``cited``, ``by words`` (the chain is near it,
        or starts where the content is), ``verified on box``, ``numeric``, ``timing``.
    rule : what decides (``lib.rules``).
    sizes : sizes at which it can be decided; at others it is pending by declaration.
    needs_hub : True where only data from a hub decides it.
    changed : the reason, when the rule differs from the one in the committed reference.
    few : why fewer than eight seeds decide, as "because ..."; without it such a judgement is refused.
    looks : numbers of seeds at which the rule looks, each at an equal part of its alpha; the first decision counts.
        Without looks the number of seeds is fixed.
    null : what the same numbers are measured on where the sentence is false ("the untrained net"), and then
        ``judge(..., null=dict(...))`` gives them; or "none, because ..." where there is no such thing; or "owed".
    """

    id: str
    statement: str
    source: str
    evidence: list[str]
    rule: Rule
    sizes: tuple[str, ...] = ("reduced", "full")
    needs_hub: bool = False
    changed: str = ""
    few: str = ""
    looks: tuple[int, ...] = ()
    null: str = ""

    def __post_init__(self):
        if not re.fullmatch(r"C\d+[a-z]?", self.id):
            raise ClaimError(f"{self.id!r} is no claim id; use C1, C2, C2b, ...")
        if not self.statement.strip() or not self.source.strip():
            raise ClaimError(f"claim {self.id} needs a statement and a source.")
        if not isinstance(self.rule, Rule):
            raise ClaimError(f"claim {self.id} needs a rule of lib.rules, not {type(self.rule).__name__}.")
        if not self.evidence or any(e not in KINDS for e in self.evidence):
            raise ClaimError(f"claim {self.id} must say its kinds of evidence, of {', '.join(KINDS)}.")
        if not self.sizes or any(s not in ("reduced", "full") for s in self.sizes):
            raise ClaimError(f"claim {self.id} must be decided at some size: \"reduced\", \"full\" or both.")
        if self.few and not self.few.startswith("because "):
            raise ClaimError(f"claim {self.id} must say why few seeds decide it as few=\"because ...\".")
        if any(isinstance(n, bool) or not isinstance(n, int) for n in self.looks) or \
                list(self.looks) != sorted(set(self.looks)) or self.looks and (len(self.looks) < 2 or self.looks[0] < FEW):
            raise ClaimError(f"claim {self.id} looks at {self.looks}; give two or more growing numbers of seeds, "
                             f"{FEW} or more.")

    @property
    def is_measured(self) -> bool:
        """True where numbers decide, alone or beside a derivation."""
        return bool({"numeric", "timing"} & set(self.evidence))

    @property
    def has_null(self) -> bool:
        """True where the claim says what its null is measured on."""
        return bool(self.null) and self.null != OWED and not self.null.startswith(NONE)

    def hash(self) -> str:
        """Twelve digits that change when what decides does: the rule, or the looks."""
        if not self.looks:
            return self.rule.hash()
        spec = [self.rule.spec(), "looks", list(self.looks)]
        return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]

    def criterion(self) -> str:
        """The rule in words, with its looks and the reason for few seeds."""
        looks = f"; looked at with {', '.join(map(str, self.looks))} seeds, the first decision counts" if self.looks else ""
        return self.rule.sentence() + looks + (f"; few seeds, {self.few}" if self.few else "")


@dataclass
class Judgement:
    """What a rule said of a claim: verdict, sentences with numbers, measured values."""

    verdict: str
    sentences: tuple[str, ...] = ()
    measured: dict = field(default_factory=dict)
    alpha: float = 0.0
    place: str = ""
    stale: list[str] | None = None
    null: Outcome | None = None


class Claims:
    """The claims of a chapter in one run."""

    def __init__(self, run, claims: tuple[Claim, ...]):
        ids = [c.id for c in claims]
        double = sorted({i for i in ids if ids.count(i) > 1})
        if double or not ids:
            raise ClaimError(f"claims {', '.join(double)} are declared twice." if double else "no claim is declared.")
        self.run = run
        self._claims = {c.id: c for c in claims}
        self._judged: dict[str, Judgement] = {}

    def __getitem__(self, id: str) -> Claim:
        if id not in self._claims:
            raise ClaimError(f"claim {id} is not declared; declared are {', '.join(self._claims)}.")
        return self._claims[id]

    def decides(self, id: str) -> bool:
        """True where this run's size can decide the claim; a page asks before it judges a claim of one size only."""
        claim = self[id]
        is_timing_here = "timing" in claim.evidence and self.run.size == "reduced"  # seconds are judged in records only
        return self.run.size in claim.sizes and not claim.needs_hub and not is_timing_here

    def judge(self, id: str, *, null: dict | None = None, **values) -> None:
        """Judge a claim by its rule and show the verdict.

        Values: one number (exact), a vector with one outcome a seed, booleans [trial] or [seed, trial], or a derivation.
        ``null`` holds the same names measured where the sentence is false (derivations and exact targets may be left
        out); a rule that holds there as well can tell nothing, and is refused. Judging again from the same cell replaces; a
        second place is refused. A claim that this size cannot decide stays pending.
        """
        claim = self[id]
        place = show.place()
        before = self._judged.get(id)
        if before and before.place != place:
            raise ClaimError(f"claim {id} is judged in two places; judge it once, where its evidence is.")
        wanted = claim.rule.names()
        if set(values) != wanted:
            raise ClaimError(f"claim {id} is judged on {', '.join(sorted(wanted))}; "
                             f"it was given {', '.join(sorted(values)) or 'nothing'}.")
        for name, d in values.items():
            kinds = set(str(d.evidence).split(" + ")) if hasattr(d, "ok") else set()
            if "by words" in claim.evidence:
                kinds -= {"symbolic"}  # a claim may say less of itself than of a chain that is only near its sentence
            if kinds - set(claim.evidence):
                raise ClaimError(f"claim {id} rests on `{name}`, whose evidence is {d.evidence}; declare "
                                 f"{', '.join(sorted(kinds - set(claim.evidence)))} among its kinds of evidence.")
        if (null is not None) != claim.has_null:
            way = "without" if null is None else "with"
            raise ClaimError(f"claim {id} declares null={claim.null!r} and is judged {way} one; say in the claim what "
                             "the null is measured on and give its numbers to judge, or do neither.")
        if not self.decides(id):
            judgement = Judgement(HUB if claim.needs_hub else PENDING, place=place)
        else:
            o = self._outcome(claim, values, claim.looks)
            fewest = min((m["n"] for m in o.measured.values() if isinstance(m, dict) and m.get("unit")), default=FEW)
            if fewest < FEW and not claim.few and self.run.shrink == 1:  # a shrunk run decides nothing
                raise ClaimError(f"claim {id} is judged on {fewest} seeds; give it {FEW} or more, or say why not as "
                                 "few=\"because ...\".")
            of_null = self._null(claim, null, values) if null is not None and self.run.shrink == 1 else None
            stale = {e.id: f"{e.id} since commit {e.info.get('commit')}: {', '.join(e.stale)}"
                     for e in self.run.experiments.values() if e is not None and e.stale} if claim.is_measured else {}
            said = o.sentences + tuple(f"stale, the text of {v}" for v in stale.values())
            judgement = Judgement(o.verdict, said, o.measured, o.alpha, place, sorted(stale) or None, of_null)
        self._judged[id] = judgement
        self._show(id)

    def _outcome(self, claim: Claim, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
        """What the rule says; a shrunk run, whose few seeds may agree by chance, decides nothing then."""
        try:
            return claim.rule.judge(values, looks)
        except TooFew as e:
            if self.run.shrink == 1:
                raise
            return Outcome(UNDECIDED, (f"shrunk: {e}",), {})

    def _null(self, claim: Claim, null: dict, values: dict) -> Outcome:
        """What the rule says where the sentence is false; refused when it holds there."""
        leaves = claim.rule.leaves()
        given = {r.name for r in leaves if isinstance(r, Proved)} | {r.target for r in leaves if hasattr(r, "target")}
        if not null.keys() <= values.keys() or not values.keys() - given <= null.keys():
            raise ClaimError(f"the null of claim {claim.id} is judged on {', '.join(sorted(values.keys() - given))}; "
                             f"it was given {', '.join(sorted(null)) or 'nothing'}.")
        o = claim.rule.judge({k: null.get(k, v) for k, v in values.items()})
        if o.verdict == HOLDS:
            raise ClaimError(f"the rule of claim {claim.id} holds on its null as well ({claim.null}: "
                             f"{'; '.join(o.sentences)}), so that holding says nothing; ask for more "
                             "than the null has, or judge another number.")
        return o

    def pend(self, id: str, needs: list[str], why: str, shown: bool = False) -> None:
        """Mark a claim as pending because experiments have no evidence in this run; ``shown`` displays that verdict."""
        self[id]
        self._judged[id] = Judgement(PENDING, (f"needs {', '.join(needs)}: {why}",), place=show.place())
        if shown:
            self._show(id)

    def _judgement(self, id: str) -> Judgement:
        claim, found = self[id], self._judged.get(id)
        if found is None and not self.decides(id):
            return Judgement(HUB if claim.needs_hub else PENDING)
        if found is None:
            raise ClaimError(f"claim {id} is not judged; judge it where its evidence is, or declare the sizes that "
                             "decide it.")
        return found

    def sentence(self, id: str) -> str:
        """One wording for each verdict, with the numbers."""
        j = self._judgement(id)
        numbers = f": {'; '.join(j.sentences)}" if j.sentences else ""
        power = " The interval contains the threshold: more seeds are needed." if j.verdict == UNDECIDED else ""
        null = f" {self._null_words(id)}" if j.null else ""
        return f"{id} {WORDS[j.verdict]}{numbers}.{power}{null}"

    def _null_words(self, id: str) -> str:
        """What the null measured, and what the rule says of it."""
        claim, o = self[id], self._judged[id].null
        return f"Null ({claim.null}) {o.verdict}: {'; '.join(o.sentences)}."

    def say(self, id: str) -> None:
        """Display the sentence of a claim that was judged before."""
        text = self.sentence(id)
        show.publish({"text/plain": text, "text/html": f'<p class="book-say">{inline(text)}</p>'},
                     {"kind": "say", "id": id})

    def _show(self, id: str) -> None:
        claim, j = self[id], self._judged[id]
        text = self.sentence(id)
        null = f'<span class="book-null">{inline(self._null_words(id))}</span> ' if j.null else ""
        markup = (f'<div class="book-verdict book-{slug(j.verdict)}" id="verdict-{id}-{self.run.size}">'
                  f'<p><span class="book-badge">{id} {html.escape(j.verdict)}</span> '
                  f'<span class="book-size">{self.run.size} size</span> {inline(claim.statement)}</p>'
                  f'<p class="book-numbers">{inline("; ".join(j.sentences) or WORDS[j.verdict])}. {null}'
                  f'<span class="book-criterion">Criterion: {inline(claim.criterion())}.</span></p></div>')
        show.publish({"text/plain": text, "text/html": markup}, {"kind": "verdict", "id": id, "size": self.run.size,
                                                                 **self.record(id)})

    def record(self, id: str) -> dict:
        """The machine's record of one claim in this run."""
        claim, j = self[id], self._judgement(id)
        return {"id": id, "statement": claim.statement, "source": claim.source, "evidence": list(claim.evidence),
                "criterion": claim.criterion(), "rule": claim.hash(), "changed": claim.changed,
                "tests": [{"name": r.name, "rule": r.spec(), "effect": r.effect} for r in claim.rule.leaves()
                          if isinstance(r, Measured)], "looks": list(claim.looks),
                "sizes": list(claim.sizes), "verdict": j.verdict, "measured": j.measured, "said": list(j.sentences),
                "alpha": j.alpha, "stale": j.stale, "null": self._null_record(claim, j.null)}

    def _null_record(self, claim: Claim, o: Outcome | None) -> dict | str:
        """The null in the machine's record: what was measured there, or why nothing was."""
        if claim.has_null:
            found = {"verdict": o.verdict, "said": list(o.sentences), "measured": o.measured} if o else {"said": []}
            return {"what": claim.null, **found}
        return claim.null or (OWED if claim.is_measured else f"{NONE}mutants test the steps of a derivation")

    def report(self) -> None:
        """Display one stable line a claim (what nbval compares) and the machine's record in the metadata.

        Raises ClaimError when a claim that this size decides was not judged.
        """
        records = [self.record(id) for id in self._claims]
        lines = [f"{r['id']} {r['verdict']}: {r['criterion']}" for r in records]
        p = self.run.provenance()
        used = {i: None if e is None else {"stale": e.stale, **{k: e.info.get(k) for k in
                                                                 ("device", "commit", "made", "seconds", "peak_mb")}}
                for i, e in self.run.experiments.items()}
        paper = self.run.paper
        if paper is not None:
            paper.check(set(self._claims))
        said = paper.records({r["id"]: r for r in records}) if paper is not None else []
        facts = {"kind": "report", "assertions": said, "claims": records, "experiments": used, "run": vars(p)}
        show.publish({"text/plain": "\n".join(lines)}, facts)

    def coverage(self, rows: dict[str, list[str] | str]) -> None:
        """Display the coverage table: each item of the paper -> its claims, or why it is not covered."""
        out, seen = [], set()
        for item, ids in rows.items():
            if isinstance(ids, str):
                if not ids.startswith("not covered, because "):
                    raise ClaimError(f"coverage of {item!r} must be a list of claims, or a sentence that starts with "
                                     "\"not covered, because\".")
                out.append([item, ids])
            else:
                seen |= {self[i].id for i in ids}
                out.append([item, ", ".join(ids)])
        missing = [i for i in self._claims if i not in seen]
        if missing:
            raise ClaimError(f"claims {', '.join(missing)} stand in no row of the coverage table.")
        show.publish(show.table(["in the paper", "here"], out, "What of the paper is covered"), {"kind": "coverage"})

    def _repr_mimebundle_(self, **_):
        rows = [[c.id, c.statement, c.source, c.criterion()] for c in self._claims.values()]
        bundle = show.table(["claim", "statement", "source", "criterion"], rows, "Claims of this chapter")
        return bundle, {"book": {"kind": "claims", "ids": list(self._claims)}}


def slug(verdict: str) -> str:
    """A verdict as the name of a style."""
    return re.sub(r"[^a-z]+", "-", verdict).strip("-")
