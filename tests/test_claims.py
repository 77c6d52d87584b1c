"""Rules decide; nothing else does."""

import numpy as np
import pytest

from lib.claims import Claim, ClaimError, Claims, above, below, parts, proved, within
from lib.rules import RuleError


class FakeRun:
    size, experiments, shrink = "reduced", {}, 1


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
    with pytest.raises(RuleError, match="equal outcomes"):
        Claims(FakeRun(), (claim,)).judge("C1", x=np.ones(2))


def measured_claim(**kw):
    rule = below("slope", 0.0) & within("slope", "exact", 0.5)
    return Claim("C1", "the slope is negative", "ours", ["numeric"], rule, **kw)


def test_a_null_is_measured_said_and_recorded(capsys):
    claims = Claims(FakeRun(), (measured_claim(null="the same walk at half its rate"),))
    for null in (dict(slope=-9.0, exact=-4.0), dict(slope=0.25)):
        claims.judge("C1", slope=-1.0, exact=-1.2, null=null)
        assert claims.record("C1")["null"]["measured"]["target of slope"] == null.get("exact", -1.2)
    found = claims.record("C1")
    assert found["verdict"] == "holds" and found["null"]["what"] == "the same walk at half its rate"
    assert found["null"]["verdict"] == "fails" and found["null"]["measured"]["slope"]["value"] == 0.25
    assert "Null (the same walk at half its rate) fails: slope = 0.25" in capsys.readouterr().out


def test_a_rule_that_holds_on_its_null_is_refused_and_the_verdict_before_stays():
    claims = Claims(FakeRun(), (measured_claim(null="the same walk at half its rate"),))
    seen = []
    for slope in (0.5, -1.0):
        try:
            claims.judge("C1", slope=-1.0, exact=-1.2, null=dict(slope=slope))
        except ClaimError as e:
            seen.append(str(e))
    assert len(seen) == 1 and "holds on its null as well (the same walk" in seen[0] and "\n" not in seen[0]
    assert claims.record("C1")["null"]["measured"]["slope"]["value"] == 0.5


@pytest.mark.parametrize("null, given, word", [
    ("the untrained net", None, "without one"), ("owed", {"slope": 1.0}, "with one"), ("", {"slope": 1.0}, "with one"),
    ("none, because all cases are enumerated", {"slope": 1.0}, "with one"),
    ("the untrained net", {}, "judged on slope"), ("the untrained net", {"slope": 1.0, "x": 2.0}, "judged on slope")])
def test_declared_and_given_nulls_must_agree(null, given, word):
    with pytest.raises(ClaimError, match=word):
        Claims(FakeRun(), (measured_claim(null=null),)).judge("C1", slope=-1.0, exact=-1.2, null=given)


def test_what_a_record_says_of_a_null():
    class Fake:
        ok, evidence = True, "symbolic"
    pure = Claim("C2", "s", "ours", ["symbolic"], proved("d"))
    both = Claim("C3", "s", "ours", ["symbolic", "numeric"], proved("d") & above("x", 0.0), null="x of random signs")
    later = Claim("C4", "s", "ours", ["numeric"], above("x", 0.0), null="the untrained net", sizes=("full",))
    claims = Claims(FakeRun(), (claim(), pure, both, later, claim("C5", null="none, because it is an identity")))
    claims.judge("C1", x=1.0)
    claims.judge("C2", d=Fake())
    claims.judge("C3", d=Fake(), x=1.0, null=dict(x=-1.0))
    claims.judge("C5", x=1.0)
    nulls = {id: claims.record(id)["null"] for id in ("C1", "C2", "C3", "C4", "C5")}
    assert nulls["C1"] == "owed" and nulls["C2"].startswith("none, because ") and nulls["C5"].startswith("none, because ")
    assert nulls["C3"]["verdict"] == "fails" and nulls["C4"] == {"what": "the untrained net", "said": []}


def test_a_claim_may_say_less_of_itself_than_its_chain_but_not_more():
    class Chain:
        ok, evidence = True, "symbolic"

    class Cited:
        ok, evidence = True, "symbolic + cited"
    words = Claim("C1", "s", "ours", ["by words"], proved("d"))
    claims = Claims(FakeRun(), (words, Claim("C2", "s", "ours", ["numeric"], proved("d"))))
    claims.judge("C1", d=Chain())
    assert claims.record("C1")["evidence"] == ["by words"]
    for id, d in (("C1", Cited()), ("C2", Chain())):
        with pytest.raises(ClaimError, match="whose evidence is"):
            Claims(FakeRun(), (words, claims["C2"])).judge(id, d=d)
