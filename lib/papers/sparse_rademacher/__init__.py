"""Can a norm bound for conv nets mean anything? The bound by in-degrees on any chain-like torch network, its peers, and
two certificates without norms.

Source: *Norm-based Generalization Bounds for (Compositionally) Sparse Neural Networks*, arXiv:2301.12033; chapter
"sparse-rademacher". The theorem is proved there with our constants. A layer's filter W at position j reads a patch of
``deg`` positions; the bound multiplies Frobenius norms of filters and in-degrees along the worst path.
"""

from .bounds import PEERS, Bound, Sample, all_bounds, bound, sample, worst_path
from .certificates import hold_out, pac_bayes
from .errors import BoundError
from .spectral import circular, norm, unrolled, upper
from .walk import Layer, walk

__all__ = ["PEERS", "Bound", "BoundError", "Layer", "Sample", "all_bounds", "bound", "circular", "hold_out",
           "norm", "pac_bayes", "sample", "unrolled", "upper", "walk", "worst_path"]
