"""The ten measured pairs of the paper (Table 1 of the workshop version) and what its simulator reported for them."""

from __future__ import annotations

import numpy as np

from lib import show, stats
from lib.papers.distributed_speculative_inference import forms

PAIRS = (  # target, drafter, data, milliseconds a target forward, a drafter forward, acceptance, reported SI over DSI
    ("Vicuna-13B", "Vicuna-68M", "CNN-DM", 37.7, 2.5, 0.63,
     1.47), ("Vicuna-13B", "Vicuna-68M", "Alpaca", 33.3, 2.5, 0.58,
             1.41), ("Vicuna-7B", "Vicuna-68M", "CNN-DM", 29.4, 2.5, 0.67,
                     1.29), ("Vicuna-7B", "Vicuna-68M", "Alpaca", 26.0, 2.5, 0.59,
                             1.70), ("Starcoder-15B", "Starcoder-168M", "HumanEval", 20.6, 6.8, 0.93,
                                     1.92), ("Starcoder-15B", "Starcoder-168M", "MBPP", 21.0, 6.8, 0.90, 1.66),
    ("Phi3-14B", "Phi3-4B", "HumanEval", 52.1, 34.0, 0.95, 1.41), ("Phi3-14B", "Phi3-4B", "MBPP", 52.2, 34.3, 0.94, 1.37),
    ("Phi3-14B", "Phi3-4B", "CNN-DM", 52.4, 34.6, 0.93, 1.39), ("Phi3-14B", "Phi3-4B", "Alpaca", 49.6, 33.4, 0.87, 1.60))
LOOKAHEADS, SERVERS = (1, 5, 10), 7  # what the paper's runs could choose from


def predicted() -> np.ndarray:
    """Closed forms for the ten pairs, [pair, 3]: latency over the target's of SI and DSI at their best lookahead, and the
    ratio of SI to DSI."""
    out = []
    for *_, t2, t1, a, _ in PAIRS:
        si = min(float(forms.si_rate(a, k, 1.0, t1 / t2)) for k in LOOKAHEADS)
        dsi = min(float(forms.dsi_rate(a, k, 1.0, t1 / t2)) for k in LOOKAHEADS if k * t1 * SERVERS >= t2)
        out.append((min(si, 1.0), dsi, min(si, 1.0) / dsi))
    return np.array(out)


def shortened(cap: int, seeds) -> np.ndarray:
    """Ratios of SI to DSI for the ten pairs, [seed, pair], under three habits of the published simulator that we read in its
    code: neither method credits the target's token on a rejection, SI pays a target forward without drafts after each
    rejection, and runs of accepted drafts end at ``cap``."""
    out = np.empty((len(seeds), len(PAIRS)))
    for i, s in enumerate(seeds):
        for j, (*_, t2, t1, a, _) in enumerate(PAIRS):
            runs = np.minimum(np.random.default_rng([int(s), j]).geometric(1 - a, 4000) - 1, cap)
            total = runs.sum()
            si = min((np.ceil(runs / k) * (k * t1 + t2) + t2).sum() for k in LOOKAHEADS)
            dsi = min((np.ceil(runs / k) * k * t1 + t2).sum() for k in LOOKAHEADS if k * t1 * SERVERS >= t2)
            out[i, j] = si / dsi if total else 1.0
    return out


def shown(ratios: np.ndarray) -> show.Table:
    """The ten rows, closed forms beside what was reported."""
    return show.Table(["target", "drafter", "data", "drafter latency", "acceptance", "SI over DSI, closed form", "reported"],
                      [[*row[:3], stats.number(row[4] / row[3]), stats.number(row[5]), stats.number(r), stats.number(row[6])]
                       for row, r in zip(PAIRS, ratios)], "The paper's ten pairs")
