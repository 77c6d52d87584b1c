"""Closed forms of the chapter: expected and pathwise latencies of plain decoding, SI and DSI.

Times are in the unit of ``t_target`` and ``t_draft``, the latencies of one forward of each model; ``a`` is the acceptance
rate, ``k`` the lookahead, ``servers`` the number of copies of the target. Arrays broadcast.

Source: arXiv:2405.14105; derivations in chapter "distributed-speculative-inference".
"""

from __future__ import annotations

import numba as nb
import numpy as np

from .errors import SpeculationError


def tokens_per_iteration(a, k):
    """Expected tokens of one SI iteration, accepted drafts and one of the target: ``1 + a + ... + a^k``."""
    a, k = np.asarray(a, float), np.asarray(k)
    return np.where(a < 1, (1 - a ** (k + 1.0)) / np.where(a < 1, 1 - a, 1), k + 1.0)


def si_rate(a, k, t_target, t_draft):
    """Latency a token of SI in the long run: draft k tokens one by one, verify them in one forward, begin again."""
    return (np.asarray(k) * t_draft + t_target) / tokens_per_iteration(a, k)


def expected_blocks(a, k):
    """Mean of ``ceil(n / k)`` for a geometric number n of accepted drafts: ``a / (1 - a^k)``, infinite at a = 1."""
    a, k = np.asarray(a, float), np.asarray(k)
    with np.errstate(divide="ignore"):
        return a / (1 - a ** (k + 0.0))


def dsi_rate(a, k, t_target, t_draft):
    """Latency a token of DSI in the long run, with servers enough (:func:`servers_needed`)."""
    a, k = np.asarray(a, float), np.asarray(k)
    share = np.where(a < 1, (1 - a) * expected_blocks(np.minimum(a, 1 - 1e-12), k) * k, 1.0)  # blocks' drafts a token
    return (1 - a) * t_target + share * t_draft


def servers_needed(k, t_target, t_draft):
    """Copies of the target so that no verification waits: ``ceil(t_target / (k t_draft))``."""
    return np.ceil(np.asarray(t_target) / (np.asarray(k) * t_draft) - 1e-9).astype(int)


def least_lookahead(servers, t_target, t_draft):
    """Smallest lookahead for which ``servers`` copies are enough: ``ceil(t_target / (servers t_draft))``."""
    return np.maximum(1, np.ceil(np.asarray(t_target) / (np.asarray(servers) * t_draft) - 1e-9)).astype(int)


def dsi_forwards(a, k, t_target, t_draft):
    """Target forwards a generated token of DSI in the long run, stale ones included and never aborted."""
    return (1 - np.asarray(a, float)) * (expected_blocks(a, k) + servers_needed(k, t_target, t_draft))


def si_forwards(a, k):
    """Target forwards a generated token of SI in the long run."""
    return 1 / tokens_per_iteration(a, k)


def best_si(a, t_target, t_draft, most: int = 200):
    """Lowest latency a token of SI over lookaheads 1 to ``most``, and the lookahead; arrays broadcast."""
    a, t_target, t_draft = np.broadcast_arrays(np.asarray(a, float), t_target, t_draft)
    best, at = np.full(a.shape, np.inf), np.zeros(a.shape, int)
    for k in range(1, most + 1):
        rate = si_rate(a, k, t_target, t_draft)
        at, best = np.where(rate < best, k, at), np.minimum(best, rate)
    return best, at


def as_paths(accepts) -> np.ndarray:
    """Acceptances [..., N] as booleans; an empty path is refused."""
    accepts = np.asarray(accepts, bool)
    if accepts.ndim < 1 or accepts.shape[-1] < 1:
        raise SpeculationError("a path needs one acceptance a token, an array [..., N] with N >= 1.")
    return accepts


def dsi_times(accepts, k: int, t_target, t_draft) -> np.ndarray:
    """Times at which DSI is certain of each token, with servers enough.

    Parameters
    ----------
    accepts : would the draft at each position be accepted, [..., N]; the last position needs no draft.

    Returns
    -------
    times [..., N].
    """
    accepts = as_paths(accepts)
    N = accepts.shape[-1]
    out = np.empty(accepts.shape)
    began, at = np.zeros(accepts.shape[:-1]), np.zeros(accepts.shape[:-1], int)  # the segment's start: time and position
    for i in range(N):
        drafts = np.minimum(-(-(i - at) // k) * k, N - 1 - at)
        out[..., i] = began + drafts * t_draft + t_target
        rejected = ~accepts[..., i]
        began, at = np.where(rejected, out[..., i], began), np.where(rejected, i + 1, at)
    return out


@nb.njit(cache=True, nogil=True)
def _si(accepts, k, t_target, t_draft, times):
    for c in range(len(accepts)):
        n, now, p = accepts.shape[1], 0.0, 0
        while p < n:
            drafts, kept = min(k, n - 1 - p), 0
            while kept < drafts and accepts[c, p + kept]:
                kept += 1
            now += drafts * t_draft + t_target
            times[c, p:p + kept + 1] = now
            p += kept + 1


def si_times(accepts, k: int, t_target: float, t_draft: float) -> np.ndarray:
    """Times [..., N] at which SI with lookahead k is certain of each token, on the same acceptances."""
    accepts = as_paths(accepts)
    out = np.empty(accepts.shape)
    flat = np.ascontiguousarray(accepts.reshape(-1, accepts.shape[-1]))
    _si(flat, k, float(t_target), float(t_draft), out.reshape(flat.shape))
    return out
