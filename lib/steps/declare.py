"""Symbols without assumptions, for chains whose domains say what may be assumed."""

import sympy as sp


def symbols(names: str) -> tuple[sp.Symbol, ...] | sp.Symbol:
    """Plain symbols without assumptions: the derivation owns the domain."""
    return sp.symbols(names)


def matrix(name: str, rows: int, columns: int) -> sp.MatrixSymbol:
    """A matrix symbol: a chain shows formulas as they are written in it, and checks them entry by entry at this shape.

    Declare it in the domain, for example ``"W real 2 x 3"``; its entries are then ``W_11``, ``W_12``, ...
    """
    return sp.MatrixSymbol(name, rows, columns)
