"""Rules: how measured values become a verdict.

A rule is declared before anything runs. Its sentence is generated from it, and so is the verdict:

- a scalar is taken as exact;
- a vector of numbers is one outcome a seed: its mean is judged by Student's interval;
- a vector of booleans is one independent trial each: their share is judged by the Clopper-Pearson interval;
- a table of booleans [seed, trial] has trials that may hang together within a seed: seeds are what is counted
  (``stats.clustered``); numbers that are booleans in disguise (0.0 and 1.0, nothing else) are refused;
- a derivation (``lib.steps``) counts as proved when each of its steps was.

The interval has confidence ``1 - alpha``: where the rule is statistical, ``alpha`` is the probability of a false
verdict. With ``looks`` each value is judged at these numbers of seeds, each look at an equal part of alpha, and the first
decision counts.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from lib import stats
from lib.errors import BookError

ALPHA = 1e-3
FEW = 8  # below so many seeds a claim gives its reason
HOLDS, FAILS, PARTIAL, UNDECIDED = "holds", "fails", "partial", "undecided"


class RuleError(BookError):
    """A measurement that a rule cannot judge."""


class TooFew(RuleError):
    """Outcomes from which no interval follows, since they are few and equal."""


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

    def leaves(self) -> list["Rule"]:
        """The rules that this one is made of."""
        return [self]

    def judge(self, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
        """Verdict on the values; raises RuleError when one is missing, NaN or of the wrong kind."""
        raise NotImplementedError


def estimate(name: str, value, alpha: float) -> tuple[stats.Interval, str]:
    """A value with its interval, and what that counts: the "mean" over seeds, the share of "trials" or of "seeds", or
    nothing where the value is exact. Raises RuleError on what is no measurement."""
    a = np.asarray(value)
    if a.dtype == object or a.dtype.kind not in "biuf":
        raise RuleError(f"`{name}` is no number but {type(value).__name__}; judge numbers, booleans or derivations.")
    if a.size == 0 or not np.isfinite(a.astype(float)).all():
        raise RuleError(f"`{name}` holds NaN, infinity or nothing; that is no measurement. Mend it, or leave such "
                        "outcomes out on purpose and say so.")
    if a.ndim == 0:
        return stats.Interval(float(a), float(a), float(a), 1), ""
    if len(a) < 2 or a.ndim > 1 and (a.dtype != bool or a.ndim > 2):
        raise RuleError(f"`{name}` has shape {a.shape}; give one number, one outcome a seed for two seeds or more, or "
                        "booleans [seed, trial].")
    if a.dtype == bool:
        if a.ndim == 2:
            return stats.clustered(a, alpha), "seeds"
        return stats.proportion(int(a.sum()), len(a), alpha), "trials"
    if a.dtype.kind == "f" and set(np.unique(a)) == {0.0, 1.0}:
        raise RuleError(f"`{name}` holds nothing but 0.0 and 1.0, which Student's interval does not fit; give the booleans "
                        "themselves, [trial] or [seed, trial], or counts as whole numbers.")
    if len(a) < FEW and np.ptp(a) == 0:
        raise TooFew(f"`{name}` holds {len(a)} equal outcomes, from which no interval follows; give at least {FEW} seeds.")
    return stats.mean(a, alpha), "mean"


class Measured(Rule):
    """A rule on one value ``name`` with its own ``alpha``: the kind that looks at seeds."""

    name: str
    words: str
    alpha: float
    effect: float | None

    def compare(self, e: stats.Interval, values: dict) -> tuple[str, float]:
        """Verdict on an interval, and how far the end that decides lies from the threshold."""
        raise NotImplementedError

    def judge(self, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
        value, said = np.asarray(values[self.name]), ""
        if value.ndim == 0 or not looks:
            e, unit = estimate(self.name, values[self.name], self.alpha)
            verdict, margin = self.compare(e, values)
            alpha = self.alpha
        else:
            if len(value) not in looks:
                raise RuleError(f"`{self.name}` has {len(value)} outcomes and the claim looks at "
                                f"{', '.join(map(str, looks))}; give as many as at one of its looks.")
            alpha = self.alpha / len(looks)
            for i, n in enumerate(looks):
                e, unit = estimate(self.name, value[:n], alpha)
                verdict, margin = self.compare(e, values)
                said = f", look {i + 1} of {len(looks)}"
                if verdict != UNDECIDED or n == len(value):
                    break
        record = {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "margin": float(margin), "unit": unit}
        words = _says(self.words or self.name, e, bool(unit), alpha, said)
        return Outcome(verdict, (words,), {self.name: record}, self.alpha if unit else 0.0)


@dataclass(frozen=True)
class Bound(Measured):
    """``name`` below or above a number."""

    name: str
    bound: float
    side: str
    words: str = ""
    alpha: float = ALPHA
    effect: float | None = None

    def spec(self) -> list:
        return [self.side, self.name, self.bound, self.alpha]

    def names(self) -> set[str]:
        return {self.name}

    def sentence(self) -> str:
        return f"{self.words or self.name} {self.side} {stats.number(self.bound)}"

    def compare(self, e: stats.Interval, values: dict) -> tuple[str, float]:
        sign = 1 if self.side == "above" else -1
        near, far = (sign * (end - self.bound) for end in ((e.low, e.high) if sign > 0 else (e.high, e.low)))
        if near > 0:
            return HOLDS, near
        return (FAILS, -far) if far <= 0 else (UNDECIDED, min(-near, far))


@dataclass(frozen=True)
class Within(Measured):
    """``name`` within ``tol`` of a number or of another value."""

    name: str
    target: float | str
    tol: float
    words: str = ""
    alpha: float = ALPHA
    effect: float | None = None

    def spec(self) -> list:
        return ["within", self.name, self.target, self.tol, self.alpha]

    def names(self) -> set[str]:
        return {self.name} | ({self.target} if isinstance(self.target, str) else set())

    def sentence(self) -> str:
        target = self.target if isinstance(self.target, str) else stats.number(self.target)
        return f"{self.words or self.name} within {stats.number(self.tol)} of {target}"

    def compare(self, e: stats.Interval, values: dict) -> tuple[str, float]:
        target = self._target(values)
        low, high = e.low - target, e.high - target
        inside, outside = self.tol - max(abs(low), abs(high)), max(low, -high) - self.tol
        if inside >= 0:
            return HOLDS, inside
        if outside > 0:
            return FAILS, outside
        return UNDECIDED, min(abs(end - side * self.tol) for end in (low, high) for side in (-1, 1))

    def _target(self, values: dict) -> float:
        if not isinstance(self.target, str):
            return self.target
        target, unit = estimate(self.target, values[self.target], self.alpha)
        if unit:
            raise RuleError(f"`{self.target}` is the target of a rule and must be one exact number; "
                            "judge the paired differences instead.")
        return target.value

    def judge(self, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
        target, o = self._target(values), super().judge(values, looks)
        return Outcome(o.verdict, (f"{o.sentences[0]} against {stats.number(target)}",),
                       {**o.measured, f"target of {self.name}": target}, o.alpha)


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

    def judge(self, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
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

    def leaves(self) -> list[Rule]:
        return [leaf for r in self.rules for leaf in r.leaves()]

    def judge(self, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
        found = [r.judge(values, looks) for r in self.rules]
        verdicts = {o.verdict for o in found}
        worst = next((v for v in (FAILS, PARTIAL, UNDECIDED) if v in verdicts), HOLDS)
        return _merge(worst, found)


@dataclass(frozen=True)
class Parts(Rule):
    """Named parts, judged one by one: *partial* when some hold and some fail, *fails* when some fail and none holds."""

    parts: tuple[tuple[str, Rule], ...]

    def spec(self) -> list:
        return ["parts", [[n, r.spec()] for n, r in self.parts]]

    def names(self) -> set[str]:
        return set().union(*(r.names() for _, r in self.parts))

    def sentence(self) -> str:
        return "; ".join(f"{n}: {r.sentence()}" for n, r in self.parts)

    def leaves(self) -> list[Rule]:
        return [leaf for _, r in self.parts for leaf in r.leaves()]

    def judge(self, values: dict, looks: tuple[int, ...] = ()) -> Outcome:
        found = [(n, r.judge(values, looks)) for n, r in self.parts]
        verdicts = {o.verdict for _, o in found}
        if PARTIAL in verdicts or {HOLDS, FAILS} <= verdicts:
            verdict = PARTIAL
        else:  # an undecided part hides neither a refutation nor the lack of one
            verdict = next((v for v in (FAILS, UNDECIDED) if v in verdicts), HOLDS)
        named = [Outcome(o.verdict, tuple(f"{n} {o.verdict} ({s})" for s in o.sentences), o.measured, o.alpha)
                 for n, o in found]
        return _merge(verdict, named)


def _merge(verdict: str, found: list[Outcome]) -> Outcome:
    measured = {}
    for o in found:
        for name, record in o.measured.items():
            known = measured.get(name)
            if isinstance(known, dict) and "margin" in known:  # judged by two rules: the nearer threshold
                record = {**record, "margin": min(known["margin"], record["margin"])}
            measured[name] = record
    return Outcome(verdict, tuple(s for o in found for s in o.sentences), measured, sum(o.alpha for o in found))


def _says(words: str, e: stats.Interval, statistical: bool, alpha: float, look: str) -> str:
    if not statistical:
        return f"{words} = {stats.number(e.value)}"
    confidence = f"{100 * (1 - alpha):.4g} %"
    return (f"{words} = {stats.number(e.value)} "
            f"({confidence} interval {stats.number(e.low)} to {stats.number(e.high)}, n = {e.n}{look})")


def below(name: str, bound: float, words: str = "", alpha: float = ALPHA, effect: float | None = None) -> Rule:
    """The value ``name`` (or its mean over seeds) lies below ``bound``.

    ``effect`` is the smallest distance of the true value from the bound that is worth naming; ``python -m lib.book power``
    says with which probability the rule sees it.
    """
    return Bound(name, float(bound), "below", words, alpha, effect)


def above(name: str, bound: float, words: str = "", alpha: float = ALPHA, effect: float | None = None) -> Rule:
    """The value ``name`` (or its mean, or its share of true outcomes) lies above ``bound``; ``effect`` as in ``below``."""
    return Bound(name, float(bound), "above", words, alpha, effect)


def within(name: str, target: float | str, tol: float, words: str = "", alpha: float = ALPHA,
           effect: float | None = None) -> Rule:
    """The value ``name`` lies within ``tol`` of ``target``, a number or the name of an exact value.

    ``effect`` is the smallest distance beyond the tolerance that is worth naming.
    """
    return Within(name, target, float(tol), words, alpha, effect)


def proved(name: str, words: str = "") -> Rule:
    """The derivation ``name`` was proved step by step."""
    return Proved(name, words)


def parts(**rules: Rule) -> Rule:
    """Named parts: *partial* when some hold and some fail, *fails* when some fail and none holds."""
    return Parts(tuple(rules.items()))
