"""How a token is chosen from logits, and how the target's verdict settles a draft: greedy, shared noise, rejection.

All randomness is keyed by seed and *position*, never by call, so that verdicts may come in any order and twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import SpeculationError


def _uniform(seed: int, position: int, stream: int, n: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=[seed, 4 * position + stream])).random(n)


def _law(logits, temperature: float) -> np.ndarray:
    z = np.asarray(logits, np.float64) / temperature
    p = np.exp(z - z.max())
    return p / p.sum()


def _draw(p: np.ndarray, u: float) -> int:
    return int(min(np.searchsorted(np.cumsum(p), u * p.sum(), side="right"), np.flatnonzero(p)[-1]))


@dataclass(frozen=True)
class Greedy:
    """The most likely token; ties go to the smallest."""

    def draft(self, logits, position: int) -> tuple[int, None]:
        return int(np.argmax(logits)), None

    def verdict(self, logits, position: int) -> int:
        return int(np.argmax(logits))

    def settle(self, verdict: int, draft: tuple | None, position: int) -> int:
        return verdict


@dataclass(frozen=True)
class _Seeded:
    seed: int
    temperature: float = 1.0

    def __post_init__(self):
        if not self.temperature > 0 or self.seed < 0:
            raise SpeculationError(f"seed={self.seed} and temperature={self.temperature} are impossible; a seed is 0 or more "
                                   "and a temperature positive; Greedy() is temperature 0.")


@dataclass(frozen=True)
class SharedNoise(_Seeded):
    """Sampling by Gumbel noise that drafter and target share at each position.

    The answer is the one that plain sampling with the same seed gives, token by token, whatever the drafter does.
    """

    def draft(self, logits, position: int) -> tuple[int, None]:
        return self.verdict(logits, position), None

    def verdict(self, logits, position: int) -> int:
        z = np.asarray(logits, np.float64) / self.temperature
        return int(np.argmax(z - np.log(-np.log(_uniform(self.seed, position, 0, len(z))))))

    def settle(self, verdict: int, draft: tuple | None, position: int) -> int:
        return verdict


@dataclass(frozen=True)
class Rejection(_Seeded):
    """Speculative sampling by rejection: the answer has exactly the target's law, not the same tokens.

    A draft x of law q is kept with probability ``min(1, p(x) / q(x))``, else a token is drawn from the positive part of
    p - q. Where no draft is there in time a token of law p is drawn: whether one is there does not depend on this position's
    coins.
    """

    def draft(self, logits, position: int) -> tuple[int, np.ndarray]:
        q = _law(logits, self.temperature)
        return _draw(q, _uniform(self.seed, position, 1, 1)[0]), q

    def verdict(self, logits, position: int) -> np.ndarray:
        return _law(logits, self.temperature)

    def settle(self, verdict: np.ndarray, draft: tuple | None, position: int) -> int:
        keep, again = _uniform(self.seed, position, 2, 2)
        if draft is None:
            return _draw(verdict, again)
        token, q = draft
        if keep * q[token] < verdict[token]:
            return token
        rest = np.maximum(verdict - q, 0)
        return _draw(rest if rest.sum() > 0 else verdict, again)
