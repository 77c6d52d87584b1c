"""Empty, vacuous and wrong steps: each is refused with one sentence."""

import pytest
import sympy as sp
from sympy import Add, Derivative, Eq, Float, Matrix, Mul, Sum, exp, log, oo, sqrt

from lib.steps import StepError, derive, symbols

a, b, k, lam, m, n, p, x, y, z = symbols("a b k lambda m n p x y z")
GIVEN = ["0 < p < 1", "a, b > 0", "x, y real", "n = 1, 2, ..."]


def start(e):
    return derive("test", e, GIVEN)


@pytest.mark.parametrize(
    "left, right, words",
    [
        (x + y, x + y, "same expression"),
        (x + y, y + x, "same expression"),
        (2 * x, Add(x, x, evaluate=False), "same expression"),
        (x, Mul(1, x, evaluate=False), "same expression"),
        (x**2 + 1, Add(1, Mul(x, x, evaluate=False), evaluate=False), "same expression"),
        (x, Eq(x, x), "truth value"),
        (x, Eq(x, y), "truth value"),
        (x, True, "truth value"),
        (x, x > 0, "truth value"),
        (x, [], "empty solution"),
        (x, sp.S.EmptySet, "needs one expression"),
        (x, {1}, "needs one expression"),
        (x, sp.nan, "NaN"),
        (x, oo, "infinity"),
        (x, sp.zoo, "NaN or infinity"),
        (x, 1.5 * x, "floating-point"),
        (x, 0.5, "floating-point"),
        (x, Float(1) * x, "floating-point"),
        (x, "x", "not str"),
        (x, None, "not NoneType"),
        ((x + y) ** 2 - x**2 - 2 * x * y - y**2, 0, "zero at every point"),
        ((x - 1) ** 2 - x**2 + 2 * x - 1, x - sp.Add(x, 0, evaluate=False), "zero at every point"),
        (x, x + z - Derivative(z**2 / 2, z), "no domain"),
        (Sum(k, (k, 5, 2)), -7, "runs backwards"),
        (Sum(k, (k, 5, n)), n * (n + 1) / 2 - 10, "runs backwards"),
        (1 / (x * y), (x + y) / (x**2 * y + x * y**2), "undefined"),
        (log(x), log(x**2) / 2, "undefined"),
        (sp.Symbol("x", positive=True), x, "own assumptions"),
        (sp.Function("f")(x), x, "cannot check"),
        (Matrix([x, y]), x, "not a matrix"),
        (Matrix([x, y]), Matrix([[x, y]]), "shape"),
    ],
)
def test_what_says_nothing_is_refused(left, right, words):
    with pytest.raises(StepError, match=words):
        start(left).equals(right, "because")


@pytest.mark.parametrize(
    "left, right",
    [
        ((a + b) ** 2, a**2 + b**2),
        (sqrt(x**2), x),
        (log(a + b), log(a) + log(b)),
        ((x + y) ** 3, x**3 + 3 * x**2 * y + 3 * x * y**2 - y**3),
        (p ** (n + 1), p**n),
        (Sum(p**k, (k, 0, n)), (1 - p**n) / (1 - p)),
        (Matrix([[a, b], [b, a]]).det(), a**2 + b**2),
        (exp(a + b), exp(a) + exp(b)),
        (n, n + sp.sin(n * sp.pi) + (n - 1) * (n - 2) * (n - 13) * (n - 11)),
    ],
)
def test_wrong_identities_are_refused(left, right):
    with pytest.raises(StepError, match="Not true"):
        start(left).equals(right, "because")


def test_wrong_directions_are_refused():
    assert start(log(1 + a)).at_most(a, "concave").ok
    for method, right in [("at_least", a), ("above", a), ("below", log(1 + a) / 2), ("at_most", log(1 + a) / 2)]:
        with pytest.raises(StepError, match="Not true"):
            getattr(start(log(1 + a)), method)(right, "because")


def test_true_inside_but_false_at_the_ends():
    with pytest.raises(StepError, match="Not true"):
        start(p).at_least(sp.Rational(1, 500), "false near 0")
    with pytest.raises(StepError, match="Not true"):
        derive("t", p, ["0 <= p <= 1"]).above(p**2, "equal at both ends")
    assert start(p).above(p**2, "open ends").ok


def test_an_inequality_that_is_an_equality_is_refused():
    with pytest.raises(StepError, match="say it with equals"):
        start((a + b) ** 2).at_most(a**2 + 2 * a * b + b**2, "weak")


def test_boxes():
    d = derive("t", p * (2 - p), ["0 <= p <= 1"])
    for box, words in [({p: (0, sp.Rational(1, 2))}, "smaller"), ({}, "says nothing"), ({p: (1, 0)}, "in order")]:
        with pytest.raises(StepError, match=words):
            d.on_box(">=", p, "monotone", box=box)
    with pytest.raises(StepError, match="not bounded"):
        start(a**2 + 1).on_box(">=", a, "unbounded", box={a: (0, 100)})
    assert d.on_box(">=", p / 2, "monotone", box={p: (0, 1)}).evidence == "verified on box"


def test_put_outside_the_domain():
    for value in (-1, a, 2 * p, 1 - a, sp.Integer(1)):
        with pytest.raises(StepError, match="domain|satisfy"):
            start(p**2 + x).put(p, value, "choose")
    with pytest.raises(StepError, match="integer"):
        start(a**n).put(n, a, "choose")
    with pytest.raises(StepError, match="no free"):
        start(a**n).put(p, sp.Rational(1, 2), "choose")
    assert start(p**2).put(p, a / (a + b), "choose").result.rhs == a**2 / (a + b) ** 2


def test_put_keeps_mutual_constraints():
    with pytest.raises(StepError, match="domain|satisfy"):
        derive("t", x + lam, ["0 < x < lambda"]).put(lam, 2, "x may be larger")


def test_limits_and_series():
    with pytest.raises(StepError, match="Not the limit"):
        start(log(1 + a) / a).tends_to(2, "wrong", a, 0)
    with pytest.raises(StepError, match="approach"):
        start(log(1 + p) / p).tends_to(0, "not in the domain", p, oo)
    with pytest.raises(StepError, match="Not true"):
        start(exp(x)).series(1 + x + x**2, "wrong", x, 3)
    with pytest.raises(StepError, match="degree"):
        start(exp(x)).series(1 + x + x**2 / 2, "too long", x, 2)
    with pytest.raises(StepError, match="Not true"):
        start(exp(x)).series(1 + x, "too short", x, 3)


def test_a_chain_cannot_turn():
    with pytest.raises(StepError, match="up and down"):
        start(a).below(a + 1, "up").above(a / 2, "down")
    with pytest.raises(StepError, match="After a series"):
        start(exp(x)).series(1 + x, "T", x, 2).at_most(1 + x + x**2, "no")


def test_gaps_and_anchors():
    with pytest.raises(StepError, match="difference of the sides itself"):
        start(a**2 + b**2).at_least(2 * a * b, "square", gap=a**2 + b**2 - 2 * a * b)
    with pytest.raises(StepError, match="Not proved"):
        start(a**2 + b**2).at_least(2 * a * b, "square", gap=(a + b) ** 2)
    d = start(n * p)
    with pytest.raises(StepError, match="anchor fails"):
        d.anchor("count", lambda n, p: n * p + 1, [{n: 2, p: sp.Rational(1, 2)}])
    with pytest.raises(StepError, match="not exact"):
        d.anchor("count", lambda n, p: float(n * p), [{n: 2, p: sp.Rational(1, 2)}])
    with pytest.raises(StepError, match="outside"):
        d.anchor("count", lambda n, p: n * p, [{n: 2, p: 2}])
    with pytest.raises(StepError, match="at least one"):
        d.anchor("count", lambda n, p: n * p, [])
    with pytest.raises(StepError, match="misses"):
        d.anchor("count", lambda n: n, [{n: 2}])


def test_what_no_prover_shows_is_not_accepted():
    hard = sp.polygamma(0, a + 1) - sp.Integral((1 - x**a) / (1 - x), (x, 0, 1))
    with pytest.raises(StepError, match="Not proved"):
        derive("t", hard + a, ["0 < a < 2"]).equals(a - sp.EulerGamma, "harmonic")
    assert (
        derive("t", hard + a, ["0 < a < 2"]).equals(a - sp.EulerGamma, "harmonic", numeric=True).evidence == "numeric"
    )


def test_a_symbol_that_is_only_cited_needs_no_domain():
    d = start(m).cite("<=", a, "a theorem")
    assert d.evidence == "cited" and not d.ok
    with pytest.raises(StepError, match="no domain"):
        start(m).equals(a, "m is not known")
