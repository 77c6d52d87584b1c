"""Discrete-event simulation of DSI with a given number of servers, with and without pre-emption, on given acceptances.

Servers take verifications in the order in which their drafts are ready. A rejection drops what waits; what runs goes on to
its end and keeps its server, unless ``preempt`` aborts it. A completion is handled before queued work starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from .errors import SpeculationError
from .forms import as_paths


@dataclass(frozen=True)
class Simulated:
    """Times [paths, N] of certainty of each token; target forwards started, drafts made, and time that verifications of the
    path to the answer have waited for a server, [paths] each."""

    times: np.ndarray
    forwards: np.ndarray
    drafts: np.ndarray
    waited: np.ndarray


@nb.njit(cache=True, nogil=True)
def _run(accepts, k, t_target, t_draft, servers, preempt, times, forwards, drafts, waited):
    n_paths, N = accepts.shape
    free, finish = np.empty(servers), np.empty(N + 1)
    for c in range(n_paths):
        free[:] = 0.0
        now, p = 0.0, 0
        while p < N:
            rest, n = N - 1 - p, 0  # drafts that can still be of use; accepted ones
            while n < rest and accepts[c, p + n]:
                n += 1
            last = -(-n // k)
            end, b, done = np.inf, 0, 0
            while True:
                made = min(b * k, rest)
                if b and made == done:
                    break
                ready = now + made * t_draft
                j = 0
                for q in range(1, servers):
                    if free[q] < free[j]:
                        j = q
                start = max(ready, free[j])
                if start >= end - 1e-12 * (1 + end) if end < np.inf else False:
                    break
                forwards[c] += 1
                free[j] = start + t_target
                finish[b] = free[j]
                if b <= last:
                    waited[c] += start - ready
                    if b == last:
                        end = finish[b]
                elif preempt:
                    free[j] = min(free[j], end)
                done = made
                b += 1
            for i in range(n + 1):
                times[c, p + i] = finish[-(-i // k)]
            drafts[c] += min(rest, int((end - now) / t_draft + 1e-9))
            now = end
            p += n + 1


def simulate(accepts, k: int, t_target: float, t_draft: float, servers: int, preempt: bool = False) -> Simulated:
    """Simulate DSI on acceptances [paths, N] or [N].

    Raises
    ------
    SpeculationError : no server, no lookahead, or latencies that are not positive.
    """
    if servers < 1 or k < 1:
        raise SpeculationError(f"servers={servers} and lookahead={k} are not possible; both are at least 1.")
    if not (t_target > 0 and t_draft > 0):
        raise SpeculationError(f"latencies {t_target} and {t_draft} are not possible; both are positive.")
    a = np.ascontiguousarray(np.atleast_2d(as_paths(accepts)))
    out = Simulated(np.empty(a.shape), np.zeros(len(a), np.int64), np.zeros(len(a), np.int64), np.zeros(len(a)))
    _run(a, k, float(t_target), float(t_draft), servers, preempt, out.times, out.forwards, out.drafts, out.waited)
    return out
