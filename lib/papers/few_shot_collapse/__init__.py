"""Why features transfer to classes never seen: collapse, bounds on few-shot error, and certificates.

Source: *Generalization Bounds for Few-Shot Transfer Learning with Pretrained Classifiers*, arXiv:2212.12532; chapter
"few-shot-collapse". The theorems' constants and the certificates are ours. Features are tensors [classes, samples, p] of
any encoder, or [N, p] with labels [N].
"""

from lib.features import FeaturesError, Moments, by_class, cdnv, directional_cdnv, moments

from .certificates import Certificate, certificate, classes_needed
from .episodes import few_shot_error, pair_errors
from .theorems import bounds, by_direction, by_distance, gaussian

__all__ = [
    "Certificate", "FeaturesError", "Moments", "bounds", "by_class", "by_direction", "by_distance", "cdnv", "certificate",
    "classes_needed", "directional_cdnv", "few_shot_error", "gaussian", "moments", "pair_errors"
]
