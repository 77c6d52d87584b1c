"""Why self-supervision finds classes that nobody named: clusters at every level, objectives, and where they come from.

Source: *Reverse Engineering Self-Supervised Learning*, arXiv:2305.15614; chapter "ssl-clustering". The water-filling theorem
and the forecasts are ours. Features are tensors [N, p] of any encoder.
"""

from lib.features import FeaturesError as FeaturesError

from .errors import ClusteringError
from .forecast import Forecast, forecast, patches
from .measures import Level, clustering, forced_choice, shares
from .objectives import Objective, barlow_twins, objective, simclr, spectral, vicreg
from .views import augment
from .waterfilling import Hierarchy, Water, fit, hinge_needed, optimum, water

__all__ = [
    "ClusteringError", "Forecast", "Hierarchy", "Level", "Objective", "Water", "augment", "barlow_twins",
    "clustering", "fit", "forced_choice", "forecast", "hinge_needed", "objective", "optimum", "patches", "shares", "simclr",
    "spectral", "vicreg", "water"
]
