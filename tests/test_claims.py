"""Rules decide; nothing else does."""

import numpy as np
import pytest

from lib.claims import Claim, ClaimError, Claims, above, below, parts, proved, within
from lib.rules import RuleError


class FakeRun:
    size, experiments = "reduced", {}


def outcome(rule, **values):
    return rule.judge(values).verdict


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("rule, value, verdict", [
    (above("x", 1.0), 1.1, "holds"), (above("x", 1.0), 0.9, "fails"), (above("x", 1.0), 1.0, "fails"),
    (below("x", 1.0), 0.9, "holds"), (below("x", 1.0), 1.1, "fails"), (within("x", 1.0, 0.1), 1.05, "holds"),
    (within("x", 1.0, 0.1), 1.2, "fails"),
    (above("x", 0.0), 1 + 0.1 * RNG.normal(size=20), "holds"),
    (above("x", 0.0), -1 + 0.1 * RNG.normal(size=20), "fails"),
    (above("x", 0.0), np.linspace(-1, 1.1, 20), "undecided"),
    (below("x", 0.0), np.linspace(-1, 1.1, 20), "undecided"),
    (within("x", 0.0, 0.5), 0.1 * RNG.normal(size=20), "holds"),
    (within("x", 0.0, 0.5), 2 + 0.1 * RNG.normal(size=20), "fails"),
    (within("x", 0.0, 0.5), RNG.normal(size=5), "undecided"),
    (above("x", 0.9), np.ones(96, bool), "holds"), (above("x", 0.9), np.ones(20, bool), "undecided"),
    (above("x", 0.9), np.zeros(20, bool), "fails")])
def test_verdict_of_a_bound(rule, value, verdict):
    assert outcome(rule, x=value) == verdict


@pytest.mark.parametrize("value", [float("nan"), np.array([1.0, np.nan]), np.array([1.0, np.inf]), np.array([]), "yes",
                                   None, np.ones((2, 2)), np.ones(1)])
def test_what_is_no_measurement_is_refused(value):
    with pytest.raises(RuleError):
        outcome(above("x", 0.0), x=value)


def test_combinations():
    both = above("x", 0.0) & below("y", 0.0)
    assert outcome(both, x=1, y=-1) == "holds" and outcome(both, x=1, y=1) == "fails"
    named = parts(a=above("x", 0.0), b=below("y", 0.0))
    assert outcome(named, x=1, y=1) == "partial" and outcome(named, x=-1, y=1) == "fails"
    assert outcome(named, x=1, y=-1) == "holds"
    wide = np.linspace(-1, 1.1, 20)
    assert outcome(named, x=wide, y=-1) == "undecided" and outcome(both, x=wide, y=1) == "fails"


def test_a_rule_states_its_false_verdict_probability_and_its_hash_follows_the_numbers():
    assert above("x", 0.0).judge({"x": np.arange(9.0)}).alpha == 1e-3 and above("x", 0.0).judge({"x": 1.0}).alpha == 0
    assert above("x", 0.0).hash() != above("x", 0.1).hash() != below("x", 0.1).hash()
    assert above("x", 0.0).hash() == above("x", 0.0, "in other words").hash()


def test_false_verdicts_are_as_rare_as_stated():
    rng = np.random.default_rng(1)
    wrong = sum(outcome(above("x", 0.0, alpha=0.05), x=rng.normal(size=12)) == "holds" for _ in range(4000))
    assert wrong / 4000 < 0.035  # one side of 0.05, four standard errors


def test_proved_needs_a_derivation():
    class Fake:
        ok, evidence = True, "symbolic"
    assert outcome(proved("d"), d=Fake()) == "holds"
    with pytest.raises(RuleError, match="no derivation"):
        outcome(proved("d"), d=True)


def claim(id="C1", rule=None, **kw):
    return Claim(id, "x is positive", "ours", ["numeric"], rule or above("x", 0.0), **kw)


def test_judging_twice_from_one_place_replaces_and_from_two_is_refused():
    claims = Claims(FakeRun(), (claim(),))
    for x in (-1.0, 1.0):
        claims.judge("C1", x=x)
    assert claims.record("C1")["verdict"] == "holds"
    with pytest.raises(ClaimError, match="two places"):
        claims.judge("C1", x=1.0)


def test_unjudged_and_undeclared_claims_are_refused(capsys):
    claims = Claims(FakeRun(), (claim(), claim("C2", sizes=("full",)), claim("C3", needs_hub=True)))
    with pytest.raises(ClaimError, match="C1 is not judged"):
        claims.record("C1")
    assert claims.record("C2")["verdict"] == "pending(full)" and claims.record("C3")["verdict"] == "pending(hub)"
    with pytest.raises(ClaimError, match="not declared"):
        claims.judge("C9", x=1.0)
    with pytest.raises(ClaimError, match="judged on x"):
        claims.judge("C1", y=1.0)


@pytest.mark.parametrize("make, word", [
    (lambda: claim("first"), "claim id"), (lambda: claim(sizes=()), "some size"),
    (lambda: Claim("C1", "", "ours", ["numeric"], above("x", 0)), "statement"),
    (lambda: Claim("C1", "s", "ours", ["guess"], above("x", 0)), "evidence"),
    (lambda: Claim("C1", "s", "ours", ["numeric"], True), "rule"),
    (lambda: Claims(FakeRun(), (claim(), claim())), "twice"), (lambda: Claims(FakeRun(), ()), "no claim")])
def test_empty_declarations_are_refused(make, word):
    with pytest.raises(ClaimError, match=word):
        make()


def test_sentences_are_one_wording_a_verdict(capsys):
    claims = Claims(FakeRun(), (claim(),))
    claims.judge("C1", x=-0.25)
    claims.say("C1")
    assert capsys.readouterr().out.splitlines()[-1] == "C1 fails: x = −0.25."


def test_coverage_names_every_claim(capsys):
    claims = Claims(FakeRun(), (claim(), claim("C2")))
    with pytest.raises(ClaimError, match="C2 stand"):
        claims.coverage({"Theorem 1": ["C1"]})
    with pytest.raises(ClaimError, match="not covered, because"):
        claims.coverage({"Theorem 1": ["C1", "C2"], "Figure 1": "skipped"})
    claims.coverage({"Theorem 1": ["C1", "C2"], "Figure 1": "not covered, because it is a sketch"})
    assert "Figure 1" in capsys.readouterr().out


def test_few_equal_outcomes_decide_nothing_in_a_shrunk_run_and_are_refused_in_a_whole_one():
    class Shrunk(FakeRun):
        shrink = 1 / 64

    claim = Claim("C1", "it is positive", "ours", ["numeric"], above("x", 0.0))
    claims = Claims(Shrunk(), (claim,))
    claims.judge("C1", x=np.ones(2))
    assert claims.record("C1")["verdict"] == "undecided" and "shrunk" in claims.sentence("C1")
    with pytest.raises(RuleError, match="NaN"):
        Claims(Shrunk(), (claim,)).judge("C1", x=np.array([1.0, np.nan]))
    whole = Claims(FakeRun(), (claim,))
    whole.run.shrink = 1
    with pytest.raises(RuleError, match="equal outcomes"):
        whole.judge("C1", x=np.ones(2))
