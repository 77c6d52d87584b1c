"""How rules combine, what they do with booleans and looks, what they record besides the verdict."""

import numpy as np
import pytest

from lib import stats
from lib.claims import Claim, ClaimError, Claims
from lib.rules import RuleError, above, below, parts, within

LOOKS = (8, 16, 32, 64)

WIDE = np.linspace(-1, 1.5, 20)


def margin(rule, **values):
    return rule.judge(values).measured["x"]["margin"]


@pytest.mark.parametrize("rule, x, distance", [
    (above("x", 1.0), 1.5, 0.5), (above("x", 1.0), 0.75, 0.25), (below("x", 1.0), 0.5, 0.5), (below("x", 1.0), 3.0, 2.0),
    (within("x", 1.0, 0.25), 1.125, 0.125), (within("x", 1.0, 0.25), 2.0, 0.75), (within("x", 1.0, 0.25), -1.0, 1.75)])
def test_margin_of_an_exact_value_is_its_distance_to_the_threshold(rule, x, distance):
    assert margin(rule, x=x) == pytest.approx(distance)


def test_margin_of_seeds_is_taken_at_the_end_that_decides():
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=20)
    e = above("x", 0.0).judge({"x": x}).measured["x"]
    assert e["margin"] == pytest.approx(e["low"]) and margin(below("x", 0.0), x=x) == pytest.approx(e["low"])
    assert margin(above("x", 3.0), x=x) == pytest.approx(3 - e["high"])
    assert margin(within("x", 0.0, 2.0), x=x) == pytest.approx(2 - e["high"])
    assert margin(within("x", 0.0, 0.5), x=x) == pytest.approx(e["low"] - 0.5)


def test_margin_of_an_undecided_value_is_the_way_to_the_nearest_verdict():
    e = above("x", 0.0).judge({"x": WIDE}).measured["x"]
    assert e["low"] < 0 < e["high"] and e["margin"] == pytest.approx(min(-e["low"], e["high"]))
    w = within("x", 0.0, 0.5).judge({"x": WIDE}).measured["x"]
    assert w["margin"] == pytest.approx(min(abs(end - t) for end in (w["low"], w["high"]) for t in (-0.5, 0.5)))


def test_margin_of_a_value_that_two_rules_judge_is_the_smaller():
    assert margin(above("x", 0.0) & below("x", 1.5), x=1.0) == 0.5
    assert margin(parts(a=below("x", 1.5), b=within("x", 1.0, 0.25)), x=1.0) == 0.25


def test_two_rules_may_share_an_exact_target():
    rule = within("x", "exact", 0.5) & within("y", "exact", 0.5)
    assert rule.judge({"x": 1.0, "y": 1.0, "exact": 1.25}).measured["target of y"] == 1.25


HOLD, FAIL, OPEN = 1.0, -1.0, np.linspace(-1, 1.1, 20)


@pytest.mark.parametrize("x, y, both, named", [
    (HOLD, HOLD, "holds", "holds"), (HOLD, FAIL, "fails", "partial"), (FAIL, FAIL, "fails", "fails"),
    (HOLD, OPEN, "undecided", "undecided"), (OPEN, OPEN, "undecided", "undecided"), (FAIL, OPEN, "fails", "fails")])
def test_no_undecided_part_hides_a_refutation(x, y, both, named):
    rules = above("x", 0.0), above("y", 0.0)
    for first, second in ((x, y), (y, x)):
        assert (rules[0] & rules[1]).judge({"x": first, "y": second}).verdict == both
        assert parts(a=rules[0], b=rules[1]).judge({"x": first, "y": second}).verdict == named


def test_a_third_part_that_is_undecided_leaves_partial_and_fails_as_they_are():
    three = parts(a=above("x", 0.0), b=above("y", 0.0), c=above("z", 0.0))
    assert three.judge({"x": HOLD, "y": FAIL, "z": OPEN}).verdict == "partial"
    assert three.judge({"x": FAIL, "y": FAIL, "z": OPEN}).verdict == "fails"
    assert (three & above("w", 0.0)).judge({"x": HOLD, "y": FAIL, "z": HOLD, "w": FAIL}).verdict == "fails"


def test_booleans_of_one_seed_count_as_one():
    alike = np.repeat(np.arange(16) < 15, 500).reshape(16, 500)           # fifteen seeds all right, one all wrong
    e = above("x", 0.5).judge({"x": alike}).measured["x"]
    assert e["n"] == 16 and e["unit"] == "seeds" and e["value"] == pytest.approx(15 / 16)
    assert e["low"] < stats.proportion(15, 16).low
    assert above("x", 0.9).judge({"x": alike.ravel()}).verdict == "holds"  # what counting trials would have said
    assert above("x", 0.9).judge({"x": alike}).verdict == "undecided"
    one = stats.clustered(np.ones((16, 3), bool))
    assert one.high == 1 and one.low == pytest.approx((5e-4 / np.e) ** (1 / 16))
    none = stats.clustered(np.zeros((16, 3), bool))
    assert none.low == 0 and none.high == pytest.approx(1 - one.low)


def test_booleans_in_disguise_and_tables_of_numbers_are_refused():
    with pytest.raises(RuleError, match="nothing but 0.0 and 1.0"):
        above("x", 0.5).judge({"x": (np.arange(16) > 0).astype(float)})
    with pytest.raises(RuleError, match="booleans .seed, trial"):
        above("x", 0.5).judge({"x": np.ones((16, 4))})
    assert within("x", 0.0, 0.0).judge({"x": np.zeros(16, int)}).verdict == "holds"  # counts are no booleans


@pytest.mark.parametrize("spread", [0.0, 0.3, 0.5])
def test_a_share_over_seeds_is_wrong_as_rarely_as_stated_however_trials_hang_together(spread):
    rng, wrong, rounds = np.random.default_rng(4), 0, 400
    for _ in range(rounds):
        p = 0.5 + spread * rng.choice([-1, 1], size=(12, 1))               # at 0.5 all trials of a seed agree
        i = stats.clustered(rng.random((12, 6)) < p, 0.1)
        wrong += not i.low <= 0.5 <= i.high
    assert wrong / rounds <= 0.1 + 4 * np.sqrt(0.09 / rounds)


def null_shares(draw, rule, rounds=800):
    """Shares of runs that hold and that fail, judged look after look until the first decision."""
    rng = np.random.default_rng(5)
    found = [rule.judge({"x": draw(rng)}, LOOKS).verdict for _ in range(rounds)]
    return np.array([found.count("holds"), found.count("fails")]) / rounds


@pytest.mark.parametrize("draw, rule", [
    (lambda rng: rng.normal(size=64), above("x", 0.0, alpha=0.1)),
    (lambda rng: rng.normal(size=64), within("x", 0.5, 0.5, alpha=0.1)),
    (lambda rng: rng.random(64) < 0.5, above("x", 0.5, alpha=0.1)),
    (lambda rng: (rng.random((64, 1)) < 0.5) & (rng.random((64, 3)) < 2), below("x", 0.5, alpha=0.1))])
def test_over_all_looks_false_verdicts_stay_below_alpha(draw, rule):
    shares = null_shares(draw, rule)
    assert shares.sum() <= 0.1 and (shares <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 800)).all()


def test_without_dividing_alpha_looking_would_be_wrong_too_often():
    rng, rule = np.random.default_rng(5), above("x", 0.0, alpha=0.1)
    runs = rng.normal(size=(600, 64))
    decided = [any(rule.judge({"x": x[:n]}).verdict != "undecided" for n in LOOKS) for x in runs]
    assert np.mean(decided) > 0.15


def test_the_first_look_that_decides_counts_and_parts_decide_at_their_own():
    rng = np.random.default_rng(6)
    early, late = 5 + rng.normal(size=64), 0.9 + rng.normal(size=64)
    turned = np.concatenate([early[:8], -50 * np.ones(56)])
    o = above("x", 0.0).judge({"x": turned}, LOOKS)
    assert o.verdict == "holds" and o.measured["x"]["n"] == 8 and "look 1 of 4" in o.sentences[0]
    both = parts(a=above("x", 0.0), b=above("y", 0.0)).judge({"x": early, "y": late}, LOOKS)
    assert both.verdict == "holds" and both.measured["x"]["n"] == 8 < both.measured["y"]["n"]
    assert both.alpha == 2e-3
    with pytest.raises(RuleError, match="looks at 8, 16, 32, 64"):
        above("x", 0.0).judge({"x": early[:24]}, LOOKS)
    assert above("x", 0.0).judge({"x": 1.0}, LOOKS).alpha == 0


class FakeRun:
    size, experiments, shrink = "reduced", {}, 1


def claim(**kw):
    return Claim("C1", "x is positive", "ours", ["numeric"], above("x", 0.0), **kw)


def test_few_seeds_need_a_reason():
    x = np.array([1.0, 1.1, 1.2, 1.3, 1.4])
    with pytest.raises(ClaimError, match="judged on 5 seeds"):
        Claims(FakeRun(), (claim(),)).judge("C1", x=x)
    few = Claims(FakeRun(), (claim(few="because a seed takes an hour"),))
    few.judge("C1", x=x)
    assert "because a seed takes an hour" in few.record("C1")["criterion"]
    with pytest.raises(ClaimError, match="because"):
        claim(few="too slow")


def test_looks_change_the_hash_and_nothing_else_does():
    assert claim().hash() == above("x", 0.0).hash() != claim(looks=LOOKS).hash()
    assert claim(few="because of time").hash() == claim().hash()
    assert above("x", 0.0, effect=0.1).hash() == above("x", 0.0).hash()
    for bad in ((8,), (4, 8), (16, 8), (8, 8.5), (8, 8)):
        with pytest.raises(ClaimError, match="looks at"):
            claim(looks=bad)


def test_power_is_what_simulation_finds():
    rng, n = np.random.default_rng(7), 12
    x = 1.2 + rng.normal(size=(1500, n))
    found = np.mean([above("x", 0.0, alpha=0.05).judge({"x": v}).verdict == "holds" for v in x])
    assert stats.power_of_mean(1.2, 1.0, n, 0.05) == pytest.approx(found, abs=0.03)
    trials = rng.random((1500, 40)) < 0.8
    found = np.mean([above("x", 0.5, alpha=0.05).judge({"x": v}).verdict == "holds" for v in trials])
    assert stats.power_of_share(0.8, 0.5, 40, 0.05) == pytest.approx(found, abs=0.03)
    assert stats.power_of_mean(0.0, 1.0, n) == 0 and stats.power_of_mean(1.0, 0.0, n) == 1


def test_power_of_a_judgement_comes_from_its_record():
    from lib.book import power
    rng = np.random.default_rng(8)
    x, rule = rng.normal(size=20), above("x", 0.0, effect=1.5)
    found = power.of({"name": "x", "rule": rule.spec(), "effect": 1.5}, rule.judge({"x": x}).measured["x"], [])
    assert found["power"] == pytest.approx(stats.power_of_mean(1.5, x.std(ddof=1), 20)) and found["n"] == 20
    assert stats.power_of_mean(found["seen"], x.std(ddof=1), 20) == pytest.approx(0.9, abs=1e-3)
    share, booleans = above("y", 0.5, effect=0.4), np.arange(40) < 38
    found = power.of({"name": "y", "rule": share.spec(), "effect": 0.4}, share.judge({"y": booleans}).measured["y"], [])
    assert found["power"] == pytest.approx(stats.power_of_share(0.9, 0.5, 40))
    near = within("x", 0.0, 2.0)
    found = power.of({"name": "x", "rule": near.spec(), "effect": None}, near.judge({"x": x}).measured["x"], [])
    assert found["power"] == pytest.approx(2 * stats.power_of_mean(2.0, x.std(ddof=1), 20) - 1)
    silent = {"name": "x", "rule": rule.spec(), "effect": None}
    assert power.of(silent, above("x", 0.0).judge({"x": 1.0}).measured["x"], []) is None
    assert power.of(silent, rule.judge({"x": x}).measured["x"], [])["power"] is None
    looks = power.of(silent, rule.judge({"x": np.tile(x, 4)[:64] + 9}, LOOKS).measured["x"], list(LOOKS))
    assert looks["n"] == 64 and 0 < looks["seen"] < 10
