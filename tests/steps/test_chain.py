"""Chains, results, what they report and how they are shown."""

import html
import subprocess
import sys
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from sympy import Matrix, Rational, Sum, binomial, exp, log, oo, sqrt

from lib import steps
from lib.steps import StepError, symbols

a, B, lam, L, m, p, x, n, k = symbols("a B lambda L m p x n k")


def best_lambda():
    d = steps.derive("Theorem 1, step 6: the best $\\lambda$", m, given=["a, B, lambda > 0", "L = 2, 3, ..."])
    d.cite("<=", a / lam + B + lam * B**2 / 2, "steps 1-5")
    d.equals(B * (1 + sqrt(2 * a)) + (lam * B - sqrt(2 * a)) ** 2 / (2 * lam), "complete the square")
    d.put(lam, sqrt(2 * a) / B, "the square vanishes")
    return d


def test_the_example_of_the_design():
    d = best_lambda()
    assert d.ok and d.evidence == "symbolic + cited"
    assert (d.result.lhs, d.result.relation) == (m, "<=")
    assert sp.expand(d.result.rhs - B * (1 + sqrt(2 * a))) == 0
    assert d.result.args == (a, B)
    assert [row.evidence for row in d.proved] == ["cited", "symbolic", "symbolic"]
    assert [row.number for row in d.proved] == [1, 2, 3]


def test_fn_agrees_with_the_expression():
    d = best_lambda()
    values = np.linspace(0.5, 3, 4)
    expected = [float(d.result.rhs.subs({a: v, B: 2})) for v in values]
    np.testing.assert_allclose(d.result.fn(values, 2.0), expected, rtol=1e-13)


def test_fn_of_special_functions():
    h = sp.hyper((1, 1), (Rational(3, 2), 2), -a)
    d = steps.derive("h", log(exp(h)) * 2, ["a > 0"]).equals(2 * h, "log of exp")
    np.testing.assert_allclose(
        d.result.fn(np.array([0.5, 1.0])), [float(2 * h.subs(a, v)) for v in (0.5, 1)], rtol=1e-12
    )


def test_the_right_side_is_the_next_left_side():
    d = steps.derive("chain", (1 - p) ** 2, ["0 < p < 1"]).equals(1 - 2 * p + p**2, "expand")
    d.below(1 - p, "$p^2 < p$").at_most(1, "drop p")
    assert (d.result.lhs, d.result.relation, d.result.rhs) == ((1 - p) ** 2, "<", 1)
    with pytest.raises(steps.StepError):
        d.equals(1 - p, "that was an earlier expression")
    assert len(d.proved) == 3  # a refused step leaves the chain as it was


def test_put_changes_the_left_end_too():
    d = steps.derive("t", exp(x) * p, ["x real", "0 < p < 1"]).at_least(p * (1 + x), "tangent").put(x, 2, "choose")
    assert (d.result.lhs, d.result.relation, d.result.rhs) == (p * exp(2), ">=", 3 * p)


def test_series_and_limits_in_the_result():
    d = steps.derive("t", log(1 + x), ["x > -1"]).series(x - x**2 / 2, "Taylor", x, 3)
    assert d.result.relation == "~" and d.result.remainder == sp.O(x**3)
    d = steps.derive("t", (1 + x / n) ** n, ["0 < x < 2", "n = 1, 2, ..."]).tends_to(exp(x), "Euler", n, oo)
    assert d.result.relation == "->" and d.result.rhs == exp(x)
    d = steps.derive("t", log(1 + a) / a, ["a > 0"]).tends_to(1, "slope at 0", a, 0, dir="+")
    assert d.ok


def test_matrices():
    u, w, y = symbols("u w y")
    loss = (u * w - y) ** 2 / 2
    hessian = Matrix(2, 2, lambda i, j: sp.Derivative(loss, (u, w)[i], (u, w)[j]))
    d = steps.derive("Hessian", hessian, ["u, w, y real"])
    d.equals(Matrix([[w**2, 2 * u * w - y], [2 * u * w - y, u**2]]), "differentiate").put(u, 0, "saddle").put(
        w, 0, "saddle"
    )
    assert d.result.rhs == Matrix([[0, -y], [-y, 0]])


def test_anchor_compares_with_an_enumeration():
    mean = Sum(k * binomial(n, k) * p**k * (1 - p) ** (n - k), (k, 0, n))

    def count(n, p):
        return sum(k * comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1))

    points = [{n: 3, p: Fraction(1, 3)}, {"n": 4, "p": Fraction(1, 5)}]
    d = steps.derive("mean", mean, ["0 < p < 1", "n = 1, 2, ..."]).anchor("enumerate", count, points)
    assert d.equals(n * p, "binomial mean").evidence == "symbolic"
    d.anchor("simulate", lambda n, p: float(n * p) + 1e-3, points, tol=0.01)
    steps.derive("t", lam**2, ["lambda > 0"]).anchor("square", lambda lambda_: lambda_**2, [{lam: 3}])


def test_mutants_and_assumptions_are_reported():
    d = steps.derive("t", sqrt(a**2), ["a > 0", "L = 2, 3, ..."]).equals(a, "positive root")
    assert "mutants refuted" in d.notes[0] and d.assumptions[0] == ("a > 0", "needed: false at a = -1")
    d = steps.derive("t", log(a**2), ["a > 0"]).equals(2 * log(a), "power")
    assert d.assumptions == [("a > 0", "undefined at a = 0")]
    d = steps.derive("t", (a + 1) ** 2, ["a > 0"]).equals(a**2 + 2 * a + 1, "expand")
    assert d.assumptions == [("a > 0", "not found needed")]


def test_a_surviving_mutant_is_named():
    d = steps.derive("t", a, ["a > 100"]).at_most(a**2 + 2, "a > 1")
    assert any("Not told apart" in note for note in d.notes)


def test_weakening_mutants_do_not_count():
    d = steps.derive("t", log(1 + a), ["a > 0"]).at_most(a, "concave")
    assert d.notes[0].endswith("1 of 1 mutants refuted.")  # -a is false; 2a only weakens
    assert "largest ratio of the sides" in d.proved[0].check


def test_numeric_is_the_last_resort():
    d = steps.derive("t", sp.cos(p), ["0 < p < 1"]).at_least(1 - p**2 / 2 - p**4 / 100, "Taylor")
    assert d.evidence in ("numeric", "symbolic")
    d = steps.derive("t", sp.sin(x) + 2, ["x real"]).above(sp.cos(x) / 2, "size")
    assert d.evidence == "numeric" and "points" in d.proved[0].check


def test_a_quadrature_is_numeric_and_its_text_is_made():
    half = sp.Integral(log(a * x) * exp(-(x**2)), (x, 0, oo))
    d = steps.derive("t", half, ["1/2 < a < 2"])
    d.equals(sqrt(sp.pi) / 2 * (log(a) - sp.EulerGamma / 2 - log(2)), "quadrature", numeric=True)
    assert d.evidence == "numeric" and "not found needed" not in d.notes[0]
    with pytest.raises(steps.StepError, match="Not true"):
        steps.derive("t", half, ["1/2 < a < 2"]).equals(sqrt(sp.pi) / 2 * log(a), "wrong", numeric=True)
    ends = sp.Integral(log(x), (x, 1, log(a)))
    d = steps.derive("t", ends, ["a > 2"]).equals(log(a) * log(log(a)) - log(a) + 1, "primitive", numeric=True)
    assert "undefined" in dict(d.assumptions)["a > 2"] or "not found" in dict(d.assumptions)["a > 2"]


def test_html_is_escaped_and_accessible():
    d = steps.derive("a < b & <script>", p, ["0 < p < 1"]).below(1, "since $p<1$ & <b>bold</b>")
    bundle = d._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    page = bundle["text/html"]
    assert "<script>" not in page and "<b>" not in page and "&lt;script&gt;" in page
    assert '<div class="derivation">' in page and "<caption>" in page and '<th scope="col">' in page
    assert r'<span class="math notranslate nohighlight">\(p&lt;1\)</span>' in page
    assert "<p<" not in html.unescape("") and page.count("<tr") == page.count("</tr>")


def test_roots_are_printed_as_typed():
    assert r"\sqrt{2 a}" in best_lambda().proved[1].latex


SCRIPT = """
from tests.steps.test_chain import best_lambda
print(best_lambda()._repr_mimebundle_()["text/plain"])
"""


def test_plain_text_is_the_same_in_every_process():
    texts = set()
    for seed in ("0", "7"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "PYTHONPATH": "."},
        )
        texts.add(done.stdout)
    assert len(texts) == 1 and "3. =" in texts.pop()


def test_import_is_light():
    code = "import sys, lib.steps; print([m for m in ('torch', 'matplotlib', 'scipy', 'seaborn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]"


def test_matrix_symbols_are_shown_as_written_and_checked_by_entries():
    W, h = steps.matrix("W", 2, 3), steps.matrix("h", 3, 1)
    d = steps.derive("association", W * (W.T * W) * W.T, ["W real 2 x 3"]).equals((W * W.T) ** 2, "regroup")
    assert d.ok and d.start_text == "W*W.T*W*W.T" and d.proved[0].latex.endswith(r"\left(W W^{T}\right)^{2}")
    size = steps.derive("size", sp.Trace(W * h * h.T * W.T), ["W real 2 x 3", "h real 3 x 1"])
    assert size.equals((h.T * W.T * W * h)[0, 0], "cyclic").ok
    with pytest.raises(StepError, match="fails|Not"):
        steps.derive("false", W * W.T, ["W real 2 x 3"]).equals(2 * W * W.T, "no")
    with pytest.raises(StepError, match="shape"):
        steps.derive("false", W * W.T, ["W real 2 x 3"]).equals(W.T * W, "other side")
    with pytest.raises(StepError, match="domain"):
        steps.derive("undeclared", W * W.T, ["h real 3 x 1"]).equals(2 * W * W.T - W * W.T - W * W.T, "no domain")
