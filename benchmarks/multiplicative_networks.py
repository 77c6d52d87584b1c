"""Speed of `lib.papers.multiplicative_networks`: a polynomial at many points by product gates, against NumPy's Clenshaw and
Horner's rule in torch.

All contestants of a row take turns in one run and read the same points; the median of the rounds counts. The limit is
copying the points once, measured in the same run. ``python -m lib.book bench`` runs it.
"""

from __future__ import annotations

import numpy as np
import torch
from _race import DEVICE, main, race
from numpy.polynomial import chebyshev

from lib.papers import multiplicative_networks as mn


def horner(c: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """What a user writes: monomial coefficients c from degree 0 up, points x."""
    out = torch.full_like(x, float(c[-1]))
    for v in c[:-1].flip(0).tolist():
        out.mul_(x).add_(v)
    return out


def rows(degrees=(8, 16, 32, 64, 128), points: int = 10**7) -> list[dict]:
    """Points a second of each contestant by degree, and the largest difference from NumPy over the largest value."""
    x = torch.rand(points, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(DEVICE) * 2 - 1
    copied = torch.empty_like(x)
    limit = points / race({"copy": lambda: copied.copy_(x)})["copy"]
    out = []
    for n in degrees:
        c = np.random.default_rng(n).standard_normal(n + 1)
        network = mn.polynomial_network(c).to(DEVICE)
        monomial = torch.tensor(chebyshev.cheb2poly(c))
        contestants = {"product gates": lambda network=network: network.evaluate(x),
                       "Horner in torch": lambda monomial=monomial: horner(monomial, x)}
        if DEVICE == "cpu":
            contestants["numpy chebval"] = lambda c=c: chebyshev.chebval(x.numpy(), c)
        want = chebyshev.chebval(x[:10**5].cpu().numpy(), c)
        seconds = race(contestants)
        best = min(s for name, s in seconds.items() if name != "product gates")
        for name, s in seconds.items():
            some = x[:10**5]
            found = (network.evaluate(some) if name == "product gates" else horner(monomial, some)).cpu().numpy()
            out.append({"degree": n, "gates": mn.count(network).gates, "contestant": name, "points/s": points / s,
                        "times the best peer": best / s, "share of limit": points / s / limit,
                        "error": 0.0 if "numpy" in name else float(np.abs(found - want).max() / np.abs(want).max())})
    return out


def measure() -> dict[str, list[dict]]:
    """One table."""
    return {"10 million points in float64": rows()}


if __name__ == "__main__":
    main(__doc__, measure)
