"""Intervals against closed forms."""

import math

import numpy as np
import pytest

from lib import stats


def test_student_interval_of_a_known_sample():
    i = stats.mean([1.0, 2.0, 3.0, 4.0, 5.0], alpha=0.05)
    assert i.value == 3 and i.high - 3 == pytest.approx(2.7764451 * np.sqrt(2.5 / 5), rel=1e-6)


def test_clopper_pearson_closed_forms():
    full, none = stats.proportion(10, 10, 0.05), stats.proportion(0, 10, 0.05)
    assert full.low == pytest.approx(0.025 ** 0.1) and full.high == 1
    assert none.high == pytest.approx(1 - 0.025 ** 0.1) and none.low == 0


def test_coverage():
    rng = np.random.default_rng(2)
    hits = [i.low <= 0 <= i.high for i in (stats.mean(rng.normal(size=21), 0.1) for _ in range(800))]
    assert np.mean(hits) > 0.9 - 4 * np.sqrt(0.09 / 800)


def test_ranks_and_bands():
    assert stats.spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1)
    m, low, high = stats.band(np.arange(12.0).reshape(4, 3))
    assert m.tolist() == [4.5, 5.5, 6.5] and (low < m).all() and (high > m).all()


def test_trials_behind_shares():
    found = stats.trials(np.float32([0.3, 1, 0]), 10)
    assert found.shape == (3, 10) and found.sum(1).tolist() == [3, 10, 0]


@pytest.mark.parametrize("call", [
    lambda: stats.trials([0.33], 10), lambda: stats.trials([1.1], 10), lambda: stats.clustered(np.ones(4, bool)),
    lambda: stats.clustered(np.ones((4, 2))),
    lambda: stats.mean([1.0]), lambda: stats.mean([1.0, np.nan]), lambda: stats.proportion(3, 2),
    lambda: stats.spearman([1, 1, 1], [1, 2, 3]), lambda: stats.band(np.ones((1, 3)))])
def test_what_has_no_interval_is_refused(call):
    with pytest.raises(ValueError):
        call()


@pytest.mark.parametrize("x, text", [(-0.0598, "−0.0598"), (12.0, "12"), (1.23e-7, "1.23e−07"), (0, "0"),
                                     (float("inf"), "∞"), (float("nan"), "undefined")])
def test_numbers_as_printed(x, text):
    assert stats.number(x) == text


@pytest.mark.parametrize("q, budget", [(0.0, 0.1), (0.02, 0.05), (0.2, 0.05), (0.5, 0.01), (0.999, 1e-4), (0.3, 40.0)])
def test_kl_inverse_inverts(q, budget):
    p = stats.kl_inverse(q, budget)
    assert p >= q and (p == 1 or stats.kl(q, p) == pytest.approx(budget, rel=1e-4))
    assert p <= q + math.sqrt(budget / 2) + 1e-9  # Pinsker: never worse than Hoeffding


def test_kl_inverse_at_the_ends_and_beyond():
    assert stats.kl_inverse(0.0, 0.1) == pytest.approx(1 - math.exp(-0.1))
    assert stats.kl_inverse(1.0, 0.1) == 1 and stats.kl_inverse(0.4, 0) == 0.4 and stats.kl_inverse(0.4, 50.0) == 1
    with pytest.raises(ValueError, match="no limit"):
        stats.kl_inverse(1.2, 0.1)
    with pytest.raises(ValueError, match="no limit"):
        stats.kl_inverse(0.2, math.nan)
