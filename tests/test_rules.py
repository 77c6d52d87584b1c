"""What a rule records of a value besides its verdict."""

import numpy as np
import pytest

from lib.rules import above, below, parts, within

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
