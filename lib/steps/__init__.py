"""Symbolic derivations that are checked while they are told (design.md §8).

>>> from lib import steps
>>> a, b = steps.symbols("a b")
>>> d = steps.derive("binomial", (a + b)**2, given=["a, b real"]).equals(a**2 + 2*a*b + b**2, "expand")
>>> d.result.relation, d.evidence
('=', 'symbolic')
"""

from lib.steps.chain import Derivation, derive, identity
from lib.steps.declare import matrix, symbols
from lib.steps.errors import StepError
from lib.steps.result import Result, Row

__all__ = ["Derivation", "Result", "Row", "StepError", "derive", "identity", "matrix", "symbols"]
