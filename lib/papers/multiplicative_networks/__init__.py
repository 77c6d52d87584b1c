"""What does one multiplication buy? Explicit networks of product gates, their ReLU emulations, and counting both.

Source: *Exploring the Approximation Capabilities of Multiplicative Neural Networks for Smooth Functions*,
arXiv:2301.04605; chapter "multiplicative-networks". The constructions and constants are ours, in the spirit of the paper.
Networks are ``torch.nn.Module``s: gradients flow, ``.float()`` and ``.to(device)`` work.
"""

from .builders import (
    BuildError,
    PolynomialNetwork,
    bandlimited_network,
    block_size,
    chebyshev_network,
    cross,
    euclid,
    polynomial_network,
    ridge_degree,
    sobolev_network,
    total_degree,
)
from .circuits import Count, Network, ProductLayer, ReluLayer, count, pieces
from .emulate import relu_emulation, square_network

__all__ = ["BuildError", "Count", "Network", "PolynomialNetwork", "ProductLayer", "ReluLayer", "bandlimited_network",
           "block_size", "chebyshev_network", "count", "cross", "euclid", "pieces", "polynomial_network",
           "relu_emulation", "ridge_degree", "sobolev_network", "square_network", "total_degree"]
