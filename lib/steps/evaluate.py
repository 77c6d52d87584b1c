"""Values of an expression at a point or on a box, as python-flint balls (intervals with a proved error)."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb

import mpmath
import sympy as sp
from flint import acb, arb, ctx, fmpq

from lib.steps.errors import StepError

NAN = arb("nan")
MANY = 20_000  # the longest sum that is added up term by term
Values = dict[sp.Symbol, arb]


class Backwards(StepError):
    """A sum or product whose upper end lies below its lower end."""


def exact(value: Fraction | int | sp.Rational) -> arb:
    """A rational as a ball at the present precision."""
    return arb(fmpq(int(value.numerator), int(value.denominator)))


def power(base: arb, exponent: arb) -> arb:
    """``base**exponent`` for reals, NaN where it is not real; whole exponents also on balls around 0."""
    if exponent.is_exact() and exponent.is_integer():
        n = int(exponent.unique_fmpz())
        if n < 0:
            return 1 / power(base, arb(-n))
        if n % 2 == 0 and base.contains(0):
            top = max(abs(base.lower()), abs(base.upper()), key=float).upper() if n else arb(1)
            return (arb(0).union(top**n)) if n else arb(1)
        return base**n if not base.contains(0) or base.is_exact() else (base.lower() ** n).union(base.upper() ** n)
    if base.is_zero():
        return arb(0) if exponent > 0 else NAN
    if 2 * exponent == 1:
        return base.sqrt()
    if base > 0:
        return (exponent * base.log()).exp()
    return NAN


def sign(x: arb) -> arb:
    if x > 0:
        return arb(1)
    if x < 0:
        return arb(-1)
    return arb(0) if x.is_zero() else arb(0, 1)


def polygamma(n: arb, z: arb) -> arb:
    if n.is_zero():
        return z.digamma()
    return acb(z).polygamma(acb(n)).real


def hypergeometric(upper: list[arb], lower: list[arb], z: arb) -> arb:
    return acb(z).hypgeom([acb(v) for v in upper], [acb(v) for v in lower]).real


def binomial(n: arb, k: arb) -> arb:
    if n.is_exact() and k.is_exact() and n.is_integer() and k.is_integer() and n >= 0:
        bottom = int(k.unique_fmpz())
        return arb(comb(int(n.unique_fmpz()), bottom)) if bottom >= 0 else arb(0)
    return (n + 1).gamma() * (k + 1).rgamma() * (n - k + 1).rgamma()


FUNCTIONS: dict[str, Callable[..., arb]] = {
    "exp": arb.exp, "log": arb.log, "sin": arb.sin, "cos": arb.cos, "tan": arb.tan, "cot": arb.cot, "sec": arb.sec,
    "csc": arb.csc, "sinh": arb.sinh, "cosh": arb.cosh, "tanh": arb.tanh, "coth": arb.coth, "sech": arb.sech,
    "asin": arb.asin, "acos": arb.acos, "atan": arb.atan, "asinh": arb.asinh, "acosh": arb.acosh, "atanh": arb.atanh,
    "atan2": arb.atan2, "sinc": arb.sinc, "LambertW": arb.lambertw, "zeta": arb.zeta,
    "erf": arb.erf, "erfc": arb.erfc, "erfi": arb.erfi, "erfinv": arb.erfinv, "Ei": arb.ei, "li": arb.li, "Si": arb.si,
    "Ci": arb.ci, "gamma": arb.gamma, "loggamma": arb.lgamma, "digamma": arb.digamma, "polygamma": polygamma,
    "factorial": lambda n: (n + 1).gamma(), "binomial": binomial, "RisingFactorial": lambda x, n: x.rising(n),
    "beta": lambda a, b: a.gamma() * b.gamma() * (a + b).rgamma(),
    "harmonic": lambda n: (n + 1).digamma() + arb.const_euler(),
    "besseli": lambda n, z: z.bessel_i(n), "besselj": lambda n, z: z.bessel_j(n), "besselk": lambda n, z: z.bessel_k(n),
    "Max": lambda *v: _fold(arb.max, v), "Min": lambda *v: _fold(arb.min, v), "Abs": abs, "sign": sign,
    "floor": arb.floor, "ceiling": arb.ceil, "Heaviside": lambda x, *_: (sign(x) + 1) / 2,
    "KroneckerDelta": lambda a, b: arb(1) if a == b else arb(0) if a != b else NAN,
    "re": lambda x: x, "im": lambda x: arb(0), "conjugate": lambda x: x,
}  # fmt: skip
CONSTANTS: dict[sp.Basic, Callable[[], arb]] = {
    sp.pi: arb.pi, sp.E: arb.const_e, sp.EulerGamma: arb.const_euler, sp.Catalan: arb.const_catalan,
    sp.GoldenRatio: lambda: (1 + arb(5).sqrt()) / 2, sp.nan: lambda: NAN, sp.zoo: lambda: NAN, sp.oo: arb.pos_inf,
    sp.S.NegativeInfinity: arb.neg_inf,
}  # fmt: skip


def _fold(combine: Callable[[arb, arb], arb], values: tuple[arb, ...]) -> arb:
    result = values[0]
    for value in values[1:]:
        result = combine(result, value)
    return result


class Program:
    """An expression compiled to a list of ball operations; equal parts are computed once.

    Parameters
    ----------
    expression : sympy.Expr
        With plain or typed symbols; what is not known to flint is refused at compile time.
    """

    def __init__(self, expression: sp.Expr):
        self.expression = expression
        self.rough = False  # True: a quadrature or an infinite sum by mpmath is inside, so errors are estimates
        self._tape: list[Callable[[list[arb], Values], arb]] = []
        self._seen: dict[sp.Basic, int] = {}
        self._last = self._node(expression)

    def __call__(self, values: Values) -> arb:
        tape: list[arb] = []
        for operation in self._tape:
            tape.append(operation(tape, values))
        return tape[self._last]

    def _node(self, e: sp.Basic) -> int:
        if e not in self._seen:
            operation = self._operation(e)
            self._tape.append(operation)
            self._seen[e] = len(self._tape) - 1
        return self._seen[e]

    def _operation(self, e: sp.Basic) -> Callable[[list[arb], Values], arb]:
        if e.is_Symbol:
            return lambda t, v: v[e]
        if e.is_Rational:
            return lambda t, v: exact(e)
        if e in CONSTANTS:
            constant = CONSTANTS[e]
            return lambda t, v: constant()
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e)
        if isinstance(e, (sp.Sum, sp.Product)):
            return self._sum(e)
        if isinstance(e, sp.Integral):
            return self._integral(e)
        if isinstance(e, (sp.Derivative, sp.Subs, sp.Limit)):
            real = {s: sp.Symbol(s.name, real=True) for s in e.free_symbols if not s.is_real}
            done = e.xreplace(real).doit().xreplace({new: old for old, new in real.items()})
            if isinstance(done, (sp.Derivative, sp.Subs, sp.Limit)):
                raise StepError(f"Points cannot check {e}: sympy does not carry it out.")
            i = self._node(done)
            return lambda t, v: t[i]
        if isinstance(e, sp.hyper):
            upper, lower = [self._node(x) for x in e.ap], [self._node(x) for x in e.bq]
            i = self._node(e.argument)
            return lambda t, v: hypergeometric([t[k] for k in upper], [t[k] for k in lower], t[i])
        parts = [self._node(x) for x in e.args]
        if e.is_Add:
            return lambda t, v: sum((t[k] for k in parts[1:]), t[parts[0]])
        if e.is_Mul:
            return lambda t, v: _fold(arb.__mul__, tuple(t[k] for k in parts))
        if e.is_Pow:
            base, exponent = parts
            return lambda t, v: power(t[base], t[exponent])
        function = FUNCTIONS.get(type(e).__name__)
        if function is None:
            raise StepError(f"Points cannot check {e}: {type(e).__name__} has no values by ball arithmetic.")
        return lambda t, v: function(*(t[k] for k in parts))

    def _piecewise(self, e: sp.Piecewise) -> Callable:
        branches = [(self._inner(value), _condition(self, condition)) for value, condition in e.args]

        def choose(t: list[arb], v: Values) -> arb:
            for value, condition in branches:
                answer = condition(v)
                if answer is None:
                    return NAN
                if answer:
                    return value(v)
            return NAN

        return choose

    def _inner(self, e: sp.Basic) -> Program:
        inner = Program(e)
        self.rough = self.rough or inner.rough
        return inner

    def _sum(self, e: sp.Sum | sp.Product) -> Callable:
        index, low, high = e.limits[-1]
        body = e.function if len(e.limits) == 1 else e.func(e.function, *e.limits[:-1])
        inner, first = self._inner(body), self._inner(low)
        start = arb(0) if isinstance(e, sp.Sum) else arb(1)
        combine = arb.__add__ if isinstance(e, sp.Sum) else arb.__mul__
        if high is sp.oo:
            self.rough = True
            return lambda t, v: _endless(isinstance(e, sp.Sum), inner, index, first(v), v)
        last = self._inner(high)

        def run(t: list[arb], v: Values) -> arb:
            ends = [first(v), last(v)]
            if not all(end.is_exact() and end.is_integer() for end in ends):
                return NAN
            a, b = (int(end.unique_fmpz()) for end in ends)
            if b < a - 1:
                raise Backwards(f"the sum {e} runs backwards (from {a} to {b})")
            if b - a > MANY:
                return NAN
            total = start
            for k in range(a, b + 1):
                total = combine(total, inner({**v, index: arb(k)}))
            return total

        return run

    def _integral(self, e: sp.Integral) -> Callable:
        if any(len(limit) != 3 for limit in e.limits):
            raise StepError(f"Points cannot check {e}: the integral has no ends.")
        variable, low, high = e.limits[-1]
        body = e.function if len(e.limits) == 1 else sp.Integral(e.function, *e.limits[:-1])
        inner, first, last = self._inner(body), self._inner(low), self._inner(high)
        self.rough = True

        def integrand(v: Values, ends: list[mpmath.mpf]) -> Callable[[mpmath.mpf], mpmath.mpf]:
            """The values of the body; 0 at the ends themselves, which the quadrature only reaches by rounding."""
            return lambda x: mpmath.mpf(0) if x in ends else _sample(inner, {**v, variable: _from_mpmath(x)})

        def run(t: list[arb], v: Values) -> arb:
            with mpmath.workdps(25):
                try:
                    ends = [_to_mpmath(first(v)), _to_mpmath(last(v))]
                    value, error = mpmath.quad(integrand(v, ends), ends, error=True, maxdegree=8)
                except (ValueError, ZeroDivisionError):
                    return NAN
                if not mpmath.isfinite(value):
                    return NAN
                return _from_mpmath(value) + arb(0, float(abs(error) * 10 + abs(value) * mpmath.mpf(10) ** -18))

        return run


def _endless(is_sum: bool, inner: Program, index: sp.Symbol, first: arb, values: Values) -> arb:
    """An infinite sum or product by mpmath; the error is an estimate."""
    if not (first.is_exact() and first.is_integer()):
        return NAN
    start = int(first.unique_fmpz())
    method = mpmath.nsum if is_sum else mpmath.nprod
    with mpmath.workdps(25):
        try:
            value = method(lambda k: _sample(inner, {**values, index: _from_mpmath(k)}), [start, mpmath.inf])
        except (ValueError, ZeroDivisionError, mpmath.libmp.NoConvergence):
            return NAN
        return _from_mpmath(value) + arb(0, float(abs(value)) * 1e-12 + 1e-16) if mpmath.isfinite(value) else NAN


def _sample(inner: Program, values: Values) -> mpmath.mpf:
    """One value of an integrand or summand at the precision that mpmath works with just now."""
    with ctx.workprec(mpmath.mp.prec + 30):
        return _to_mpmath(inner(values))


def _to_mpmath(ball: arb) -> mpmath.mpf:
    if not ball.is_finite():
        if ball.is_nan():
            raise ValueError("no value")
        return mpmath.inf if ball > 0 else -mpmath.inf
    return mpmath.make_mpf(ball.mid()._mpf_)


def _from_mpmath(value: mpmath.mpf) -> arb:
    negative, man, exp, _ = value._mpf_
    return arb((-int(man) if negative else int(man), int(exp)))


def _condition(program: Program, condition: sp.Basic) -> Callable[[Values], bool | None]:
    """A condition of a Piecewise as a function with the answers True, False, None (not decided by the balls)."""
    if condition in (sp.true, sp.false):
        answer = condition == sp.true
        return lambda v: answer
    if isinstance(condition, (sp.And, sp.Or, sp.Not)):
        parts = [_condition(program, c) for c in condition.args]
        stop = isinstance(condition, sp.Or)

        def join(v: Values) -> bool | None:
            answers = [part(v) for part in parts]
            if isinstance(condition, sp.Not):
                return None if answers[0] is None else not answers[0]
            return stop if stop in answers else None if None in answers else not stop

        return join
    if not isinstance(condition, sp.core.relational.Relational):
        raise StepError(f"Points cannot check the condition {condition}.")
    left, right = program._inner(condition.lhs), program._inner(condition.rhs)
    kind = condition.rel_op

    def decide(v: Values) -> bool | None:
        d = left(v) - right(v)
        known = {"<": d < 0, "<=": d <= 0, ">": d > 0, ">=": d >= 0, "==": d.is_zero(), "!=": d != 0}[kind]
        opposite = {"<": d >= 0, "<=": d > 0, ">": d <= 0, ">=": d < 0, "==": d != 0, "!=": d.is_zero()}[kind]
        return True if known else False if opposite else None

    return decide


def at_precision(bits: int, program: Program, point: dict[sp.Symbol, Fraction]) -> arb:
    """The value at a rational point, computed with so many bits."""
    with ctx.workprec(bits):
        return program({s: exact(x) for s, x in point.items()})
