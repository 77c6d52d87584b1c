"""Speed of `lib.papers.multiplicative_networks`: a polynomial at many points by product gates, against NumPy's Clenshaw and
Horner's rule in torch.

All contestants of a row take turns in one run and read the same points; the median of the rounds counts. The limit is
reading and writing memory once, measured in the same run. Run: ``python -m benchmarks.multiplicative_networks [--json]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.polynomial import chebyshev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/multiplicative_networks.py`

from benchmarks._race import command, race  # noqa: E402
from lib.papers import multiplicative_networks as mn  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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
            out.append({"degree": n, "gates": mn.count(network).gates, "contestant": name, "points_per_second": points / s,
                        "times_best_peer": best / s, "share_of_limit": points / s / limit,
                        "error": 0.0 if "numpy" in name else float(np.abs(found - want).max() / np.abs(want).max())})
    return out


def measure() -> dict:
    """Device, threads and rows."""
    return {"device": DEVICE, "threads": torch.get_num_threads(), "rows": rows()}


def table(found: dict) -> list[str]:
    """What the command prints."""
    out = [f"torch {torch.__version__} on {DEVICE}, {torch.get_num_threads()} threads, 10 million points in float64",
           f"{'degree':>6} {'gates':>6} {'contestant':18} {'points/s':>10} {'x peer':>7} {'of limit':>9} {'error':>9}"]
    out += [f"{r['degree']:6} {r['gates']:6} {r['contestant']:18} {r['points_per_second']:10.2e} "
            f"{r['times_best_peer']:7.1f} {r['share_of_limit']:9.1%} {r['error']:9.1e}" for r in found["rows"]]
    return [*out, "x peer: times the faster of NumPy and Horner; of limit: of copying the points once"]


if __name__ == "__main__":
    command(__doc__, measure, table)
