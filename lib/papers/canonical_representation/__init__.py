"""Do representations, weights and gradients of a layer align? The six relations of the canonical representation
hypothesis on any torch model.

Source: *Formation of Representations in Neural Networks*, arXiv:2410.03006; chapter "canonical-representation". A layer
maps ``h_a`` to ``h_b = W h_a``; ``g`` is minus the gradient of one sample's loss. The second moments ``H`` and ``G`` on
either side are compared with ``Z_a = W^T W`` and ``Z_b = W W^T``.
"""

from .factorial import effects
from .moments import (
    RELATIONS,
    Exponent,
    alignment,
    exponent,
    modes,
    participation_ratio,
    phase,
    random_baseline,
    six,
    six_baselines,
)
from .phases import degenerate, phase_table
from .probe import Probe, attach
from .report import LayerReport, Report
from .targets import ProbeError

__all__ = ["RELATIONS", "Exponent", "LayerReport", "Probe", "ProbeError", "Report", "alignment", "attach", "degenerate",
           "effects", "exponent", "modes", "participation_ratio", "phase", "phase_table", "random_baseline", "six",
           "six_baselines"]
