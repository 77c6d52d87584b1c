"""The check list S1-S14 of the first chapter (probabilistic stability)."""

import pytest
import sympy as sp
from sympy import Abs, Derivative, EulerGamma, Integral, Matrix, Rational, Sum, exp, eye, hyper, log, oo, pi, rf, sqrt

from lib.steps import derive, identity, symbols

A, B, a, h, l, lam, p, q, r1, r2, t, u, v, w, x, x1, x2, x3, y, z = symbols(
    "A B a h l lambda p q r1 r2 t u v w x x1 x2 x3 y z"
)
HALF = Rational(3, 2)
PLUS = p * log(1 + lam) + (1 - p) * log(Abs(1 - lam))
MINUS = (1 - p) * log(1 + lam) + p * log(Abs(1 - lam))


def s1():
    return derive("S1", log(1 - l * h), ["l, h real", "l*h < 1"]).series(
        -l * h - l**2 * h**2 / 2 - l**3 * h**3 / 3, "logarithm", l, 4
    )


def s2():
    d = derive("S2", PLUS + MINUS, ["0 < p < 1", "lambda > 0", "lambda != 1"])
    return d.equals(log(1 + lam) + log(Abs(1 - lam)), "weights").equals(log(Abs(1 - lam**2)), "product")


def s3():
    root = sp.solve(PLUS.subs(Abs(1 - lam), 1 - lam), p)[0]
    d = derive("S3", root, ["0 < lambda < 1"]).equals(-log(1 - lam) / log((1 + lam) / (1 - lam)), "quotient")
    return d.series(Rational(1, 2) + lam / 4 + lam**3 / 24, "Taylor", lam, 4)


def s4():
    d = derive("S4", MINUS, ["0 < p < 1", "lambda > 1"]).put(lam, sqrt(2), "the corner")
    return d.equals((1 - 2 * p) * log(1 + sqrt(2)), "$(\\sqrt2-1)(\\sqrt2+1)=1$")


def s5():
    return identity("S5", Derivative(v * log(v) - v, v), log(v), ["v > 0"])


def s5_uniform():
    def primitive(e):
        return e * log(Abs(e)) - e

    mean = Integral(log(1 - lam * h), (h, A, B)) / (B - A)
    closed = (primitive(1 - lam * A) - primitive(1 - lam * B)) / (lam * (B - A))
    return identity("uniform law", mean, closed, ["-1 <= A < B", "B < 1", "0 < lambda < 1"])


def s6():
    d = derive("S6", Derivative(a * hyper((1, 1), (HALF, 2), -a), a), ["a > 0"])
    d.equals(hyper((1,), (HALF,), -a), "term by term")
    return d.series(sum((-a) ** k / rf(HALF, k) for k in range(12)), "Kummer", a, 12)


def s7():
    d = derive("S7", sqrt(pi) / 2 * exp(-(t**2)) * sp.erfi(t), ["t real"])
    d.equals(t * hyper((1,), (HALF,), -(t**2)), "Dawson")
    return d.series(sum((-1) ** k * t ** (2 * k + 1) / rf(HALF, k) for k in range(5)), "Dawson", t, 11)


def s8():
    integral = Integral(2 * log(z) * exp(-(z**2) / 2) / sqrt(2 * pi), (z, 0, oo))
    return identity("S8", integral, -(log(2) + EulerGamma) / 2)


def s9():
    X = Matrix([x1, x2, x3])
    return identity("S9", (eye(3) - l * X * X.T).det(), 1 - l * (x1**2 + x2**2 + x3**2), ["l, x1, x2, x3 real"])


def s10():
    M = Matrix([[0, x1, x2], [x1, 0, 0], [x2, 0, 0]])
    d = derive("S10", (z * eye(3) - M).det(), ["z, x1, x2 real"]).equals(z**3 - z * (x1**2 + x2**2), "expand")
    return d.equals(z * (z - sqrt(x1**2 + x2**2)) * (z + sqrt(x1**2 + x2**2)), "factor")


def s11():
    phi = log(q * r1**p + (1 - q) * r2**p)
    second = q * (1 - q) * r1**p * r2**p * (log(r1) - log(r2)) ** 2 / (q * r1**p + (1 - q) * r2**p) ** 2
    d = derive("S11", Derivative(phi, (p, 2)), ["0 < q < 1", "r1, r2 > 0", "p real"])
    return d.equals(second, "quotient rule").at_least(0, "every factor")


def s11_slope():
    phi = log(q * r1**p + (1 - q) * r2**p)
    slope = (q * r1**p * log(r1) + (1 - q) * r2**p * log(r2)) / (q * r1**p + (1 - q) * r2**p)
    d = derive("S11", Derivative(phi, p), ["0 < q < 1", "r1, r2 > 0", "p real"]).equals(slope, "chain rule")
    return d.put(p, 0, "slope at 0")


def s12():
    left = p * (1 - lam) ** 2 + (1 - p) * (1 + lam) ** 2 - 1
    return identity("S12", left, lam * (lam - (4 * p - 2)), ["0 < p < 1", "lambda > 0"])


def s13():
    loss = (u * w * x - y) ** 2 / 2
    gradient = Matrix([Derivative(loss, u), Derivative(loss, w)])
    d = derive("S13", gradient, ["u, w, x, y real"]).equals(x * (u * w * x - y) * Matrix([w, u]), "chain rule")
    return d.put(u, 0, "saddle").put(w, 0, "saddle")


def s14():
    r = x * (y - u * w * x)
    u_next, w_next = u + lam * r * w, w + lam * r * u
    given = ["u, w, x, y real", "lambda > 0"]
    identity("sum", u_next + w_next, (u + w) * (1 + lam * r), given)
    identity("difference", u_next - w_next, (u - w) * (1 - lam * r), given)
    return identity("S14", u_next**2 - w_next**2, (u**2 - w**2) * (1 - lam**2 * r**2), given)


def kelly():
    d = derive("Kelly", q * log(1 + x) + (1 - q) * log(1 - lam), ["x > 0", "0 < lambda < 1", "0 < q < 1"])
    return d.below(q * x - (1 - q) * lam, "$\\log(1+x)<x$ twice")


def phase_two():
    return derive("II", log(3) / 4 + Rational(3, 4) * log(Rational(1, 2))).below(0, "numbers")


def batch_moment():
    k, n = symbols("k n")
    mean = Sum(k**2 * sp.binomial(n, k) * p**k * (1 - p) ** (n - k), (k, 0, n))
    return identity("second moment", mean, n * p * (1 - p) + n**2 * p**2, ["0 < p < 1", "n = 1, 2, ..."])


CASES = [
    s1,
    s2,
    s3,
    s4,
    s5,
    s5_uniform,
    s6,
    s7,
    s8,
    s9,
    s10,
    s11,
    s11_slope,
    s12,
    s13,
    s14,
    kelly,
    phase_two,
    batch_moment,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_check_list(case):
    d = case()
    assert d.ok and d.evidence == "symbolic"
    assert "Not told apart" not in d._repr_mimebundle_()["text/plain"]
