"""Argument checks with one clear sentence each (chapter "probabilistic-stability")."""

from __future__ import annotations

import numpy as np


def finite_array(name: str, value) -> np.ndarray:
    """``value`` as a float64 array; ValueError naming the argument if an entry is not a finite number."""
    try:
        a = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or an array of numbers; got {type(value).__name__}.") from None
    if not np.all(np.isfinite(a)):
        raise ValueError(f"{name} holds NaN or infinite entries; remove them first.")
    return a


def positive(name: str, value) -> float:
    """``value`` as a float > 0, else ValueError."""
    a = finite_array(name, value)
    if a.ndim or a <= 0:
        raise ValueError(f"{name} must be one positive number, got {value!r}; pass a value above 0.")
    return float(a)


def whole(name: str, value, least: int = 1) -> int:
    """``value`` as an int >= ``least``, else ValueError."""
    if isinstance(value, bool) or not float(value).is_integer() or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}; pass such a number.")
    return int(value)
