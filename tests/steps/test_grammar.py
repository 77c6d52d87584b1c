"""The language of the domains, and the points that are made from it."""

from fractions import Fraction

import pytest
import sympy as sp

from lib.steps import StepError
from lib.steps.domain import Domain
from lib.steps.points import FEW, Points

p, a, b, lam, n, k, x, y = sp.symbols("p a b lambda n k x y")


def test_every_form_is_understood():
    domain = Domain(["0 < p < 1", "a, lambda > 0", "x real", "n = 1, 2, ...", "k = 0, 1, ..., n", "b > a", "x != 1"])
    assert domain.symbols == [p, a, lam, x, n, k, b]
    assert domain.integers == {n, k}
    assert domain.typed[lam].is_positive and domain.typed[n].is_integer and domain.typed[b].is_positive
    assert not domain.typed[x].is_positive


@pytest.mark.parametrize(
    "text",
    ["", "p", "0 < p > 1", "p = 3", "0 < p < 0.5", "p < ", "p ~ 1", "p = 1, 3, ...", "1 < 2", "a, b > x, y", "p in R"],
)
def test_wrong_grammar_is_a_clear_error(text):
    with pytest.raises(StepError, match="not understood|names no symbol"):
        Domain([text])


@pytest.mark.parametrize("given", [["1 < p < 0"], ["p > 1", "p < 0"], ["0 < p < 0"], ["x > 2", "x < y", "y < 1"]])
def test_a_domain_without_a_point_is_refused(given):
    with pytest.raises(StepError, match="has no point"):
        Points(Domain(given))


def test_points_lie_in_the_domain_and_near_its_ends():
    points = Points(Domain(["0 < p < 1", "0 <= a <= 1", "p < b < 1", "n = 1, 2, ...", "x real", "x != 1"]))
    assert len(points.first) == FEW and len(points.more) == 200
    for point in points.first + points.more:
        assert 0 < point[p] < 1 and 0 <= point[a] <= 1 and point[p] < point[b] < 1 and point[n] >= 1 and point[x] != 1
    assert min(point[p] for point in points.first) <= Fraction(1, 1000)
    assert max(point[p] for point in points.first) >= Fraction(999, 1000)
    assert {Fraction(0), Fraction(1)} <= {point[a] for point in points.first}


def test_points_are_the_same_every_time():
    given = ["0 < p < 1", "x real", "n = 2, 3, ..."]
    assert Points(Domain(given)).more == Points(Domain(given)).more
