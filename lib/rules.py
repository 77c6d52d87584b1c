"""Rules: how measured values become a verdict.

A rule is declared before anything runs. Its sentence is generated from it, and so is the verdict:

- a scalar is taken as exact;
- a vector of numbers is one outcome a seed: its mean is judged by Student's interval;
- a vector of booleans is one trial a seed: their share is judged by the Clopper-Pearson interval;
- a derivation (``lib.steps``) counts as proved when each of its steps was.

The interval has confidence ``1 - alpha``: where the rule is statistical, ``alpha`` is the probability of a false
verdict.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from lib import stats
from lib.errors import BookError

ALPHA = 1e-3
HOLDS, FAILS, PARTIAL, UNDECIDED = "holds", "fails", "partial", "undecided"


class RuleError(BookError):
    """A measurement that a rule cannot judge."""


@dataclass(frozen=True)
class Outcome:
    """Verdict of a rule on measured values: sentences with the numbers, and the machine's record of them."""

    verdict: str
    sentences: tuple[str, ...]
    measured: dict
    alpha: float = 0.0


class Rule:
    """A criterion that can be printed, hashed, combined (``&``) and applied to values."""

    def __and__(self, other: "Rule") -> "Rule":
        mine = self.rules if isinstance(self, All) else (self,)
        return All(mine + (other.rules if isinstance(other, All) else (other,)))

    def hash(self) -> str:
        """Twelve digits that change when the rule does."""
        return hashlib.sha256(json.dumps(self.spec(), sort_keys=True).encode()).hexdigest()[:12]

    def spec(self) -> list:
        """What decides, as JSON."""
        raise NotImplementedError

    def names(self) -> set[str]:
        """Names of the values that the rule judges."""
        raise NotImplementedError

    def sentence(self) -> str:
        """The criterion in words."""
        raise NotImplementedError

    def judge(self, values: dict) -> Outcome:
        """Verdict on the values; raises RuleError when one is missing, NaN or of the wrong kind."""
        raise NotImplementedError


def estimate(name: str, value, alpha: float) -> tuple[stats.Interval, bool]:
    """A value with its interval, and whether it is statistical. Raises RuleError on what is no measurement."""
    a = np.asarray(value)
    if a.dtype == object or a.dtype.kind not in "biuf":
        raise RuleError(f"`{name}` is no number but {type(value).__name__}; judge numbers, booleans or derivations.")
    if a.size == 0 or not np.isfinite(a.astype(float)).all():
        raise RuleError(f"`{name}` holds NaN, infinity or nothing; that is no measurement. Mend it, or leave such "
                        "outcomes out on purpose and say so.")
    if a.ndim == 0:
        return stats.Interval(float(a), float(a), float(a), 1), False
    if a.ndim > 1 or len(a) < 2:
        raise RuleError(f"`{name}` has shape {a.shape}; give one number, or one outcome a seed for two seeds or more.")
    if a.dtype == bool:
        return stats.proportion(int(a.sum()), len(a), alpha), True
    if len(a) < 8 and np.ptp(a) == 0:
        raise RuleError(f"`{name}` holds {len(a)} equal outcomes, from which no interval follows; give at least 8 seeds.")
    return stats.mean(a, alpha), True


def _decide(low: float, high: float, inside: bool) -> str:
    return HOLDS if inside else UNDECIDED if low < high else FAILS


@dataclass(frozen=True)
class Bound(Rule):
    """``name`` below or above a number."""

    name: str
    bound: float
    side: str
    words: str = ""
    alpha: float = ALPHA

    def spec(self) -> list:
        return [self.side, self.name, self.bound, self.alpha]

    def names(self) -> set[str]:
        return {self.name}

    def sentence(self) -> str:
        return f"{self.words or self.name} {self.side} {stats.number(self.bound)}"

    def judge(self, values: dict) -> Outcome:
        e, statistical = estimate(self.name, values[self.name], self.alpha)
        sign = 1 if self.side == "above" else -1
        near, far = (e.low, e.high) if sign > 0 else (e.high, e.low)
        verdict = HOLDS if sign * (near - self.bound) > 0 else FAILS if sign * (far - self.bound) <= 0 else UNDECIDED
        margin = {HOLDS: abs(near - self.bound), FAILS: abs(far - self.bound)}.get(
            verdict, min(abs(near - self.bound), abs(far - self.bound)))
        return Outcome(verdict, (_says(self.words or self.name, e, statistical, self.alpha),),
                       _record(self.name, e, margin), self.alpha if statistical else 0.0)


@dataclass(frozen=True)
class Within(Rule):
    """``name`` within ``tol`` of a number or of another value."""

    name: str
    target: float | str
    tol: float
    words: str = ""
    alpha: float = ALPHA

    def spec(self) -> list:
        return ["within", self.name, self.target, self.tol, self.alpha]

    def names(self) -> set[str]:
        return {self.name} | ({self.target} if isinstance(self.target, str) else set())

    def sentence(self) -> str:
        target = self.target if isinstance(self.target, str) else stats.number(self.target)
        return f"{self.words or self.name} within {stats.number(self.tol)} of {target}"

    def judge(self, values: dict) -> Outcome:
        target = self.target
        if isinstance(target, str):
            target, is_random = estimate(target, values[target], self.alpha)
            if is_random:
                raise RuleError(f"`{self.target}` is the target of a rule and must be one exact number; "
                                "judge the paired differences instead.")
            target = target.value
        e, statistical = estimate(self.name, values[self.name], self.alpha)
        low, high = e.low - target, e.high - target
        verdict = HOLDS if -self.tol <= low and high <= self.tol else \
            FAILS if low > self.tol or high < -self.tol else UNDECIDED
        said = f"{_says(self.words or self.name, e, statistical, self.alpha)} against {stats.number(target)}"
        # Holding rests on the end that lies further off the target, failing on the nearer one, indecision on either.
        far, near = self.tol - max(abs(low), abs(high)), self.tol - min(abs(low), abs(high))
        margin = {HOLDS: abs(far), FAILS: abs(near)}.get(
            verdict, min(abs(end - side * self.tol) for end in (low, high) for side in (-1, 1)))
        return Outcome(verdict, (said,), {**_record(self.name, e, margin), f"target of {self.name}": target},
                       self.alpha if statistical else 0.0)


@dataclass(frozen=True)
class Proved(Rule):
    """``name`` is a derivation of which each step was proved."""

    name: str
    words: str = ""

    def spec(self) -> list:
        return ["proved", self.name]

    def names(self) -> set[str]:
        return {self.name}

    def sentence(self) -> str:
        return f"{self.words or f'derivation `{self.name}`'} proved step by step"

    def judge(self, values: dict) -> Outcome:
        d = values[self.name]
        if not hasattr(d, "ok") or not hasattr(d, "evidence"):
            raise RuleError(f"`{self.name}` is no derivation but {type(d).__name__}; give what steps.derive returned.")
        ok = d.ok is True
        said = f"{self.words or self.name}: {d.evidence if ok else 'not proved'}"
        return Outcome(HOLDS if ok else FAILS, (said,), {self.name: {"proved": ok, "by": str(d.evidence)}})


@dataclass(frozen=True)
class All(Rule):
    """All of the rules; fails when one does."""

    rules: tuple[Rule, ...]

    def spec(self) -> list:
        return ["all", [r.spec() for r in self.rules]]

    def names(self) -> set[str]:
        return set().union(*(r.names() for r in self.rules))

    def sentence(self) -> str:
        return "; and ".join(r.sentence() for r in self.rules)

    def judge(self, values: dict) -> Outcome:
        found = [r.judge(values) for r in self.rules]
        verdicts = {o.verdict for o in found}
        worst = next((v for v in (FAILS, PARTIAL, UNDECIDED) if v in verdicts), HOLDS)
        return _merge(worst, found)


@dataclass(frozen=True)
class Parts(Rule):
    """Named parts, judged one by one: *partial* when some hold and some fail."""

    parts: tuple[tuple[str, Rule], ...]

    def spec(self) -> list:
        return ["parts", [[n, r.spec()] for n, r in self.parts]]

    def names(self) -> set[str]:
        return set().union(*(r.names() for _, r in self.parts))

    def sentence(self) -> str:
        return "; ".join(f"{n}: {r.sentence()}" for n, r in self.parts)

    def judge(self, values: dict) -> Outcome:
        found = [(n, r.judge(values)) for n, r in self.parts]
        verdicts = {o.verdict for _, o in found}
        if len(verdicts) == 1:
            verdict = verdicts.pop()
        elif HOLDS in verdicts and FAILS in verdicts or PARTIAL in verdicts:
            verdict = PARTIAL
        else:
            verdict = UNDECIDED
        named = [Outcome(o.verdict, tuple(f"{n} {o.verdict} ({s})" for s in o.sentences), o.measured, o.alpha)
                 for n, o in found]
        return _merge(verdict, named)


def _merge(verdict: str, found: list[Outcome]) -> Outcome:
    measured = {}
    for o in found:
        for name, record in o.measured.items():
            known = measured.get(name)
            if isinstance(known, dict) and "margin" in known:  # a value judged by two rules is as near as the nearer threshold
                record = {**record, "margin": min(known["margin"], record["margin"])}
            measured[name] = record
    return Outcome(verdict, tuple(s for o in found for s in o.sentences), measured, sum(o.alpha for o in found))


def _record(name: str, e: stats.Interval, margin: float) -> dict:
    """The machine's record of a value; ``margin`` is how far its deciding end lies from the threshold."""
    return {name: {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "margin": float(margin)}}


def _says(words: str, e: stats.Interval, statistical: bool, alpha: float) -> str:
    if not statistical:
        return f"{words} = {stats.number(e.value)}"
    confidence = f"{100 * (1 - alpha):.4g} %"
    return (f"{words} = {stats.number(e.value)} "
            f"({confidence} interval {stats.number(e.low)} to {stats.number(e.high)}, n = {e.n})")


def below(name: str, bound: float, words: str = "", alpha: float = ALPHA) -> Rule:
    """The value ``name`` (or its mean over seeds) lies below ``bound``."""
    return Bound(name, float(bound), "below", words, alpha)


def above(name: str, bound: float, words: str = "", alpha: float = ALPHA) -> Rule:
    """The value ``name`` (or its mean, or its share of true outcomes) lies above ``bound``."""
    return Bound(name, float(bound), "above", words, alpha)


def within(name: str, target: float | str, tol: float, words: str = "", alpha: float = ALPHA) -> Rule:
    """The value ``name`` lies within ``tol`` of ``target``, a number or the name of an exact value."""
    return Within(name, target, float(tol), words, alpha)


def proved(name: str, words: str = "") -> Rule:
    """The derivation ``name`` was proved step by step."""
    return Proved(name, words)


def parts(**rules: Rule) -> Rule:
    """Named parts: *partial* when some hold and some fail."""
    return Parts(tuple(rules.items()))
