"""Each prover on true statements, and no prover on their mutants."""

import pytest
import sympy as sp
from flint import arb, ctx
from sympy import Abs, Derivative, EulerGamma, Integral, Rational, Sum, binomial, exp, factorial, log, oo, pi, sqrt

from lib.steps.balls import prove_on_box
from lib.steps.domain import Domain
from lib.steps.evaluate import power
from lib.steps.mutants import mutants
from lib.steps.points import Points
from lib.steps.pointwise import Pointwise
from lib.steps.sign import prove_sign
from lib.steps.zero import prove_zero

a, b, k, lam, n, p, t, x, y, A, B = sp.symbols("a b k lambda n p t x y A B")
DOMAIN = ["0 < p < 1", "0 < lambda < 1", "a, b > 0", "x, t real", "n = 1, 2, ..."]
F = sp.Lambda(x, x * log(x) - x)

HALF_NORMAL = Integral(2 * log(y) * exp(-(y**2) / 2) / sqrt(2 * pi), (y, 0, oo))

EQUALITIES = [
    ((a + b) ** 2, a**2 + 2 * a * b + b**2, "expand"),
    (a / (a + b), 1 - b / (a + b), "cancel"),
    (a / sqrt(a**2 + 2 * a * b + b**2), a / (a + b), "powers"),
    (Abs(p - 2), 2 - p, "signs decided, powers"),
    (log(1 - lam**2), log(1 - lam) + log(1 + lam), "slack variables and logarithms"),
    (log(Abs(1 - x**2)), log(Abs(1 - x)) + log(Abs(1 + x)), "slack variables and logarithms"),
    (factorial(n + 1) / factorial(n), n + 1, "gamma functions"),
    (sp.sin(x) ** 2, 1 - sp.cos(x) ** 2, "exponentials"),
    (t * sp.hyper((1,), (Rational(3, 2),), -(t**2)), sqrt(pi) / 2 * exp(-(t**2)) * sp.erfi(t), "hypergeometric series"),
    (Sum(k, (k, 1, n)), n * (n + 1) / 2, "carried out, expand"),
    (Sum(p**k, (k, 0, n)), (1 - p ** (n + 1)) / (1 - p), "carried out, expand"),
    (Sum(p**k, (k, 0, oo)), 1 / (1 - p), "carried out, expand"),
    (Sum(k * binomial(n, k) * p**k * (1 - p) ** (n - k), (k, 0, n)), n * p, "carried out, powers"),
    (Derivative(a * log(a) - a, a), log(a), "carried out, expand"),
    (
        Integral(2 * log(y) * exp(-(y**2) / 2) / sqrt(2 * pi), (y, 0, oo)),
        -(log(2) + EulerGamma) / 2,
        "carried out, expand",
    ),
    (Integral(log(y), (y, a, a + b)), F(a + b) - F(a), "derivative in b and value at an end"),
    (p * (1 - lam) ** 2 + (1 - p) * (1 + lam) ** 2 - 1, lam * (lam - (4 * p - 2)), "expand"),
    (sqrt(2 * a) * sqrt(3 * b), sqrt(6 * a * b), "expand"),
    (Sum(k * factorial(k), (k, 1, n)), factorial(n + 1) - 1, "carried out, gamma functions"),
    (a**x * b**x, (a * b) ** x, "expand"),
]

INEQUALITIES = [
    (a / b + b / a, 2, False, "signs and factors"),
    (p * (1 - p), 0, True, "slack variables"),
    (log(1 + a), 0, True, "signs and factors"),
    (a, log(1 + a), True, "derivative in a"),
    (exp(x), 1 + x, False, "derivative in x from 0 to both sides"),
    (p * log(p) + (1 - p) * log(1 - p), -log(2), False, "derivative in p from 1/2 to both sides"),
    (-log(1 - lam), lam, True, "derivative in lambda"),
    (1 - p**n, 0, True, "derivative in p"),
    (sqrt(a) + sqrt(b), sqrt(a + b), True, "derivative in a"),
    (sp.cos(p), 1 - p**2, False, None),
    (2 + sp.sin(3 * p) * lam, Rational(1, 2), True, "balls on the whole closed domain"),
]


@pytest.mark.parametrize("left, right, prover", EQUALITIES)
def test_zero_is_proved_and_no_mutant_is(left, right, prover):
    domain = Domain(_needed(left - right))
    assert prove_zero(left - right, domain) == prover
    points = Points(domain)
    step = Pointwise(left, "=", right)
    survivors = step.check(points).survivors
    for mutant in mutants(right)[:6]:
        if mutant not in survivors and not mutant.has(sp.I):
            assert prove_zero(left - mutant, domain) is None, mutant
    assert not survivors


@pytest.mark.parametrize("large, small, strict, prover", INEQUALITIES)
def test_sign_is_proved_and_no_false_mutant_is(large, small, strict, prover):
    domain = Domain(_needed(large - small))
    proof = prove_sign(large - small, domain, strict)
    assert (proof and proof.prover) == prover
    points = Points(domain)
    for mutant in mutants(large)[:8]:
        step = Pointwise(mutant, ">" if strict else ">=", sp.sympify(small))
        if any(_fails(step, point) for point in points.first):
            assert prove_sign(mutant - small, domain, strict) is None, mutant


def _fails(step, point):
    try:
        return step.holds(point) is False
    except ValueError:
        return False


def _needed(e):
    extra = ["x != 1", "x != -1"] if e.has(Abs) and x in e.free_symbols else []
    names = {s.name for s in e.free_symbols}
    return [text for text in DOMAIN + extra if names & set(text.replace(",", " ").split())]


def test_a_strict_inequality_is_not_proved_where_it_touches():
    domain = Domain(["0 <= p <= 1"])
    assert prove_sign(p * (1 - p), domain, False) and not prove_sign(p * (1 - p), domain, True)
    assert not prove_sign(p, domain, True) and not prove_sign(1 - p, domain, True)
    assert not prove_sign((p - Rational(1, 2)) ** 2, domain, True)


def test_a_stated_gap_must_be_the_gap():
    domain = Domain(["a, b, x > 0"])
    difference = a * x + b / x - 2 * sqrt(a * b)
    assert prove_sign(difference, domain, False, gap=(sqrt(a * x) - sqrt(b / x)) ** 2).prover.startswith("stated gap")
    assert prove_sign(difference, domain, False, gap=(sqrt(a * x) + sqrt(b / x)) ** 2) is None


def test_balls_need_the_whole_box():
    domain = Domain(["0 <= p <= 1", "0 <= lambda <= 1"])
    assert prove_on_box(1 + p * lam - p, domain, False) is not None  # zero on an edge
    assert prove_on_box(p - lam + Rational(99, 100), domain, False) is None  # false in one corner
    assert prove_on_box(1 / (p - Rational(1, 3)) ** 2, domain, True, cells=500) is None  # not defined inside


def test_powers_of_balls_around_zero():
    with ctx.workprec(64):
        assert power(arb(0, 1), arb(2)) >= -1e-8
        assert power(arb(0, 1), arb(3)).contains(-1) and power(arb(0, 1), arb(0)) == 1
        assert power(arb(-1), arb(0.5)).is_nan()


def test_a_sum_that_runs_backwards_is_not_zero_by_convention():
    step = Pointwise(Sum(k, (k, 5, n)), "=", n * (n + 1) / 2 - 10)
    with pytest.raises(ValueError, match="runs backwards"):
        step.check(Points(Domain(["n = 1, 2, ..."])))


def test_induction_proves_what_sympy_cannot_sum():
    s = Sum(1 / (k * (k + 1)), (k, 1, n))
    assert prove_zero(s - n / (n + 1), Domain(["n = 1, 2, ..."])) is not None
    assert prove_zero(s - n / (n + 2), Domain(["n = 1, 2, ..."])) is None
