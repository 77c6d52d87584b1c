"""Two certificates that need no norm of the network: a hold-out test, and a PAC-Bayes bound around its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats as laws
from torch import Tensor, nn

from lib.stats import kl_inverse

from .bounds import Bound, check_probability
from .errors import BoundError


def hold_out(errors: int, n: int, delta: float = 0.05) -> Bound:
    """Upper end of Clopper and Pearson's one-sided interval for the error of a network on ``n`` samples it has not seen."""
    check_probability(delta)
    if not 0 <= errors <= n or n < 1:
        raise BoundError(f"{errors} errors among {n} samples are not possible; count again.")
    total = 1.0 if errors == n else float(laws.beta.ppf(1 - delta, errors + 1, n - errors))
    return Bound("a hold-out test", total, errors / n, 0.0, total - errors / n, factors={"samples held out": n},
                 assumes="samples that training has not seen")


def pac_bayes(model: nn.Module, start: Sequence[Tensor], errors: Callable[[nn.Module], float], m: int, delta: float = 0.05,
              noises: Sequence[float] = (0.003, 0.01, 0.03, 0.1, 0.2), draws: int = 30, seed: int = 0) -> Bound:
    """PAC-Bayes bound of the network with Gaussian noise on its weights (in the style of Dziugaite and Roy 2017).

    Parameters
    ----------
    model : the trained network; left as it was, also where ``errors`` raises.
    start : its weights before training, on which the prior is centred.
    errors : error of a network on the sample of ``m`` points, or on a fresh random part of it at each call.
    noises : deviations of posterior and prior alike that are tried; a union over them is paid.
    draws : networks sampled a noise; their mean error is itself bounded, at a fifth of ``delta``.

    Returns
    -------
    Bound of the error of a *random* network, not of the one trained. Raises BoundError for impossible numbers.
    """
    check_probability(delta)
    if m < 1 or draws < 1 or not noises:
        raise BoundError(f"{m} samples, {draws} draws and {len(noises)} deviations give no bound; each must be 1 or more.")
    params, gen = list(model.parameters()), torch.Generator().manual_seed(seed)
    if len(start) != len(params):
        raise BoundError(f"{len(start)} weights at the start and {len(params)} now; give all of them.")
    kept = [p.detach().clone() for p in params]
    distance = float(sum((p - q).square().sum() for p, q in zip(kept, start)))
    best = None
    share = delta / len(noises)
    try:
        with torch.no_grad():
            for noise in noises:
                found = []
                for _ in range(draws):
                    for p, q in zip(params, kept):
                        p.copy_(q + noise * torch.randn(q.shape, generator=gen).to(q))
                    found.append(errors(model))
                mean = kl_inverse(float(np.mean(found)), math.log(2 / (share / 5)) / draws)
                kl = distance / (2 * noise**2)
                c = (kl + math.log(2 * math.sqrt(m) / (share * 4 / 5))) / m
                total = kl_inverse(mean, c)
                seen = float(np.mean(found))
                one = Bound("PAC-Bayes around the weights", total, seen, total - mean, mean - seen,
                            factors={"deviation of the noise": noise, "divergence": kl},
                            assumes="a network with noise on its weights")
                best = one if best is None or total < best.total else best
    finally:
        with torch.no_grad():
            for p, q in zip(params, kept):
                p.copy_(q)
    return best
