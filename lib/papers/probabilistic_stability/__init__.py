"""Instrument of the chapter "probabilistic-stability": where can SGD stay, and where not?

Source: L. Ziyin, B. Li, T. Galanti, M. Ueda, arXiv:2303.13093. The pieces, each usable alone:

- scalar laws of the curvature: `gaussian`, `uniform`, `gamma`, `squared_gaussian`, `two_point`, `empirical`, `density`,
  `regression_signal`;
- what they imply: `thresholds`, `stable_intervals`, `critical_exponent`, `small_rate_threshold`, `phases`;
- finite runs: `verdict`;
- matrices: `lyapunov_spectrum`, `saddle_spectrum`;
- your own torch model: `model_spectrum`, `neuron_params`, `dead_neuron`, `neuron_signals`, `neuron_exponent`;
- exact nonlinear dynamics over pre-drawn noise: `two_parameter`, `matrix_factorisation`, `tanh_net`, `blocked`, and
  their noise: `draw_statistics`, `draw_batches`.

Importing the package loads neither torch nor numba nor scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._law import Law
from .engine import State, blocked, matrix_factorisation, tanh_net, two_parameter
from .exponents import Thresholds, critical_exponent, phases, small_rate_threshold, stable_intervals, thresholds
from .laws import density, empirical, gamma, gaussian, squared_gaussian, two_point, uniform
from .regression import draw_batches, draw_statistics, regression_signal
from .verdicts import Verdict, verdict

if TYPE_CHECKING:
    from ._torch_tools import dead_neuron, neuron_params
    from .models import ModelSpectrum, model_spectrum
    from .neurons import neuron_exponent, neuron_signals
    from .spectrum import Spectrum, lyapunov_spectrum, saddle_spectrum

_NEEDS_TORCH = {
    "Spectrum": "spectrum",
    "lyapunov_spectrum": "spectrum",
    "saddle_spectrum": "spectrum",
    "ModelSpectrum": "models",
    "model_spectrum": "models",
    "neuron_exponent": "neurons",
    "neuron_signals": "neurons",
    "dead_neuron": "_torch_tools",
    "neuron_params": "_torch_tools",
}

__all__ = [
    "Law",
    "ModelSpectrum",
    "Spectrum",
    "State",
    "Thresholds",
    "Verdict",
    "blocked",
    "critical_exponent",
    "dead_neuron",
    "density",
    "draw_batches",
    "draw_statistics",
    "empirical",
    "gamma",
    "gaussian",
    "lyapunov_spectrum",
    "matrix_factorisation",
    "model_spectrum",
    "neuron_exponent",
    "neuron_params",
    "neuron_signals",
    "phases",
    "regression_signal",
    "saddle_spectrum",
    "small_rate_threshold",
    "squared_gaussian",
    "stable_intervals",
    "tanh_net",
    "thresholds",
    "two_parameter",
    "two_point",
    "uniform",
    "verdict",
]


def __getattr__(name: str):
    if name in _NEEDS_TORCH:
        return getattr(import_module(f".{_NEEDS_TORCH[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
