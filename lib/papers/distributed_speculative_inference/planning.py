"""Which lookahead and how many servers: for known latencies and acceptance, and while the acceptance is being learnt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib import show, stats

from . import forms
from .checks import check_pair
from .errors import SpeculationError
from .speakers import Speaker


@dataclass(frozen=True)
class Plan:
    """Predicted latency a token of each method, the best lookaheads, and how many servers are worth having."""

    plain: float
    si: float
    si_lookahead: int
    dsi: float
    lookahead: int
    servers: int
    forwards: float

    def _repr_mimebundle_(self, **kw) -> dict:
        rows = [["plain decoding", stats.number(self.plain), "", "1"],
                ["SI", stats.number(self.si), str(self.si_lookahead), ""],
                [f"DSI, {self.servers} servers", stats.number(self.dsi), str(self.lookahead), stats.number(self.forwards)]]
        return show.Table(["method", "latency a token", "lookahead", "target forwards a token"], rows,
                          "Plan")._repr_mimebundle_(**kw)


def plan(t_target: float, t_draft: float, acceptance: float, servers: int, gain: float = 0.02) -> Plan:
    """Best lookahead and predicted latencies for a target and a drafter.

    Parameters
    ----------
    t_target, t_draft : latencies of one forward, any unit.
    acceptance : probability that a draft is accepted, in [0, 1].
    servers : copies of the target that can be had.
    gain : one more server is worth having if it lowers the latency by this share.

    Raises
    ------
    SpeculationError : no server, latencies that are not positive, an acceptance outside of [0, 1], or a drafter slower than
        its target.
    """
    if servers < 1:
        raise SpeculationError(f"servers={servers} is not possible; DSI needs at least one copy of the target.")
    if not (t_target > 0 and t_draft > 0 and np.isfinite([t_target, t_draft]).all()):
        raise SpeculationError(f"latencies {t_target} and {t_draft} are not possible; measure them, both are positive.")
    if not 0 <= acceptance <= 1:
        raise SpeculationError(f"acceptance={acceptance} is no probability; estimate it with acceptance_rate().")
    if t_draft > t_target:
        raise SpeculationError(f"the drafter ({t_draft:g}) is slower than its target ({t_target:g}); decode with the target "
                               "alone.")
    counts = np.arange(1, servers + 1)
    looks = forms.least_lookahead(counts, t_target, t_draft)
    rates = forms.dsi_rate(acceptance, looks, t_target, t_draft)
    best = 0
    for i in range(1, servers):
        if rates[i] <= (1 - gain) ** (i - best) * rates[best]:
            best = i
    si, k = forms.best_si(acceptance, t_target, t_draft)
    return Plan(t_target, min(float(si), t_target), int(k), float(rates[best]), int(looks[best]), int(counts[best]),
                float(forms.dsi_forwards(acceptance, looks[best], t_target, t_draft)) if acceptance < 1 else 1 / looks[best])


def cost(a, k, t_target: float, t_draft: float, price: float):
    """Latency a token plus ``price`` times target forwards a token, of DSI with servers enough."""
    return forms.dsi_rate(a, k, t_target, t_draft) + price * forms.dsi_forwards(a, k, t_target, t_draft)


@dataclass(frozen=True)
class Adaptive:
    """Chooses the lookahead of the next segment from what was accepted so far; give it to the engine as ``lookahead``.

    The acceptance is estimated with one accepted and one rejected draft added; the lookahead, up to ``most`` and large enough
    for the ``servers``, minimises latency plus ``price`` times target forwards.
    """

    t_target: float
    t_draft: float
    servers: int
    price: float
    most: int = 32

    def __call__(self, accepted: int, judged: int) -> int:
        a = (accepted + 1) / (judged + 2)
        least = int(forms.least_lookahead(self.servers, self.t_target, self.t_draft))
        k = np.arange(least, max(least, self.most) + 1)
        return int(k[np.argmin(cost(a, k, self.t_target, self.t_draft, self.price))])


def acceptance_rate(runs) -> float:
    """Maximum-likelihood acceptance from numbers of drafts accepted before each rejection: ``n / (n + rejections)``."""
    runs = np.asarray(runs, float)
    if runs.size < 1 or (runs < 0).any():
        raise SpeculationError("an acceptance needs at least one run of accepted drafts that ended in a rejection.")
    return float(runs.sum() / (runs.sum() + runs.size))


@dataclass(frozen=True)
class Measured:
    """Latencies of a pair (median seconds, range over prompts) and acceptance (with Clopper and Pearson's 95 % interval)."""

    t_target: tuple[float, float, float]
    t_draft: tuple[float, float, float]
    acceptance: tuple[float, float, float]

    def plan(self, servers: int) -> Plan:
        """The plan for these measurements."""
        return plan(self.t_target[0], self.t_draft[0], self.acceptance[0], servers)

    def _repr_mimebundle_(self, **kw) -> dict:
        rows = [[n, *(stats.number(v) for v in t)] for n, t in
                (("seconds a target forward", self.t_target), ("seconds a drafter forward", self.t_draft),
                 ("acceptance", self.acceptance))]
        return show.Table(["quantity", "value", "low", "high"], rows, "Measured pair")._repr_mimebundle_(**kw)


def measure(target: Any, drafter: Any, prompts: Sequence[Sequence[int]], n_tokens: int = 32, choice=None) -> Measured:
    """Latencies of single forwards and acceptance along the target's own answers.

    Source of the estimator: each position of the target's answer is a trial; the drafter is asked behind the same prefix.
    """
    from .choice import Greedy
    choice = Greedy() if choice is None else choice
    check_pair(target, drafter)
    if not len(prompts) or n_tokens < 1:
        raise SpeculationError("no prompt or no token was asked for; measure needs at least one of each.")
    seconds: dict[str, list[float]] = {"target": [], "draft": []}
    hits = trials = 0
    for prompt in prompts:
        big, small, tokens = Speaker(target, prompt), Speaker(drafter, prompt), []
        spent = {"target": [], "draft": []}
        for i in range(n_tokens):
            began = time.perf_counter()
            verdict = choice.verdict(big.logits(tokens, 1)[0].numpy(), i)
            middle = time.perf_counter()
            draft = choice.draft(small.logits(tokens, 1)[0].numpy(), i)
            spent["draft"].append(time.perf_counter() - middle)
            spent["target"].append(middle - began)
            tokens.append(choice.settle(verdict, draft, i))
            hits, trials = hits + (draft[0] == tokens[-1]), trials + 1
        for name, values in spent.items():
            seconds[name].append(float(np.median(values[1:] or values)))  # the first forward reads the prompt
    share = stats.proportion(hits, trials, 0.05)
    three = {n: (float(np.median(v)), min(v), max(v)) for n, v in seconds.items()}
    return Measured(three["target"], three["draft"], (share.value, share.low, share.high))
