"""LaTeX of a checked expression, close to what the author typed."""

from __future__ import annotations

import sympy as sp
from sympy.printing.latex import LatexPrinter

RELATIONS = {"=": "=", "<=": r"\le", "<": "<", ">=": r"\ge", ">": ">", "->": r"\to", "~": "="}


class _Printer(LatexPrinter):
    """Writes a product of square roots of numbers and one other thing as one root."""

    def _print_Mul(self, expr: sp.Mul) -> str:
        half = sp.Rational(1, 2)
        roots = [f for f in expr.args if f.is_Pow and f.exp == half]
        if len(roots) >= 2 and sum(not f.base.is_positive for f in roots) <= 1:
            base = sp.Mul(*(f.base for f in roots), evaluate=False)
            merged = sp.Pow(base, half, evaluate=False)
            rest = [f for f in expr.args if f not in roots]
            if not rest:
                return self._print(merged)
            expr = sp.Mul(*rest, merged, evaluate=False)
        return super()._print_Mul(expr)


_PRINTER = _Printer({"ln_notation": False, "mul_symbol": None, "fold_short_frac": False})


def latex(side: sp.Expr | sp.MatrixBase) -> str:
    """LaTeX of one side; logarithms as ``log``, roots of numbers drawn together."""
    return _PRINTER.doprint(side)
