"""The policy of DSI as a state machine: events of a drafter and of servers in, commands out. No clock, no threads, no model.

Every transport runs this one class, and so does the virtual clock, so that what is tested there is what runs.

A *segment* begins at the start and after each rejection, at a verified prefix. Task 0 asks the target for the next token
after that prefix; the drafter drafts on; each block of ``lookahead`` drafts makes a task that asks for the target's token at
the positions behind its drafts. A verdict of the target that differs from the draft ends the segment; what is queued is
dropped, what runs is cancelled or ignored by its epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from .errors import SpeculationError


@dataclass(frozen=True)
class Task:
    """Ask the target for its verdicts at ``want`` positions from ``start`` on, given all ``tokens`` before the last."""

    epoch: int
    start: int
    want: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Draft:
    """Command: draft up to ``count`` tokens behind ``tokens``."""

    epoch: int
    tokens: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Verify:
    """Command: give a task to a server."""

    server: int
    task: Task


@dataclass(frozen=True)
class Cancel:
    """Command: what this server computes is stale; abort it where the transport can."""

    server: int


def same_token(verdict: Any, draft: tuple | None, position: int) -> int:
    """Exact match: the verdict is the target's token, whatever was drafted."""
    return verdict


class Coordinator:
    """DSI for one answer.

    Parameters
    ----------
    n_tokens : tokens to generate.
    lookahead : drafts a verification, or a function of the drafts accepted and judged so far, asked at each segment.
    servers : names of target servers, whole numbers.
    settle : from the target's verdict at a position, the draft ``(token, extra)`` there or None, and the position, to the
        token of the answer; exact match where nothing is given, see :mod:`choice` for sampling.
    is_last : ends the answer early, such as at an end-of-text token.

    ``tokens`` is the certain part of the answer. Each event returns commands. ``servers_lost`` and ``drafter_lost`` say what
    failed on the way.
    """

    def __init__(self, n_tokens: int, lookahead: int | Callable[[int, int], int], servers: Sequence[int],
                 settle: Callable[[Any, tuple | None, int], int] = same_token,
                 is_last: Callable[[int], bool] = lambda token: False):
        choose = lookahead if callable(lookahead) else lambda accepted, judged: lookahead
        if n_tokens < 1 or not isinstance(choose(0, 0), Integral) or choose(0, 0) < 1 or len(set(servers)) < 1:
            raise SpeculationError(f"{n_tokens} tokens, lookahead {lookahead} and {len(servers)} servers are not possible; "
                                   "each is a whole number of at least 1.")
        self.n, self.choose, self.settle, self.is_last = n_tokens, choose, settle, is_last
        self.tokens: list[int] = []
        self.done, self.epoch, self.base = False, -1, 0
        self.drafts: list[tuple[int, Any]] = []  # of this segment, position base + index
        self.sent = 0  # drafts of this segment that tasks hold
        self.verdicts: dict[int, Any] = {}
        self.queue: deque[Task] = deque()
        self.idle = list(servers)
        self.busy: dict[int, Task] = {}
        self.servers_lost: list[int] = []
        self.drafter_lost = False
        self.accepted = self.judged = self.forwards = self.k = 0

    def start(self) -> list:
        """First commands."""
        return self._segment() + self._dispatch()

    def drafted(self, epoch: int, position: int, token: int, extra: Any = None) -> list:
        """The drafter proposes a token at a position."""
        if self.done or self.drafter_lost or epoch != self.epoch or position != self.base + len(self.drafts):
            return []
        self.drafts.append((token, extra))
        rest = self.n - 1 - self.base
        if len(self.drafts) - self.sent == self.k or len(self.drafts) == rest:
            self._block()
        return self._settle() + self._dispatch()

    def verified(self, server: int, verdicts: Sequence) -> list:
        """A server returns its verdicts on the task that it holds, any number of them if the task is stale."""
        if server not in self.busy:  # declared lost meanwhile
            return []
        task = self.busy.pop(server)
        self.idle.append(server)
        if self.done or task.epoch != self.epoch:
            return self._dispatch()
        if len(verdicts) != task.want:
            raise SpeculationError(f"server {server} returned {len(verdicts)} verdicts where {task.want} were asked for.")
        for i, v in enumerate(verdicts):
            self.verdicts.setdefault(task.start + i, v)
        return self._settle() + self._dispatch()

    def paused(self, epoch: int) -> list:
        """The drafter can draft no further in this segment: what it drafted is verified."""
        if epoch == self.epoch and len(self.drafts) > self.sent and not self.done:
            self._block()
        return self._dispatch()

    def lost(self, server: int, why: str = "unknown") -> list:
        """A server died or hangs: its task goes to another."""
        task = self.busy.pop(server, None)
        if server in self.idle:
            self.idle.remove(server)
        self.servers_lost.append(server)
        if task is not None and task.epoch == self.epoch and not self.done:
            self.queue.appendleft(task)
        if not self.idle and not self.busy and not self.done:
            raise SpeculationError(f"no target server is left after {len(self.servers_lost)} failures, the last: {why}; "
                                   f"{len(self.tokens)} of {self.n} tokens are certain and kept.")
        return self._dispatch()

    def lost_drafter(self) -> list:
        """The drafter died or hangs: what it drafted is verified, and the answer goes on as plain decoding."""
        self.drafter_lost = True
        return self.paused(self.epoch)

    def _segment(self) -> list:
        self.epoch += 1
        self.k = max(1, self.choose(self.accepted, self.judged))
        self.base, self.sent = len(self.tokens), 0
        self.drafts, self.verdicts = [], {}
        self.queue.clear()
        self.queue.append(Task(self.epoch, self.base, 1, tuple(self.tokens)))
        rest = self.n - 1 - self.base
        commands: list = [Cancel(s) for s in self.busy]
        return commands + ([Draft(self.epoch, tuple(self.tokens), rest)] if rest and not self.drafter_lost else [])

    def _block(self) -> None:
        new, prefix = self.drafts[self.sent:], tuple(self.tokens[:self.base]) + tuple(t for t, _ in self.drafts)
        self.queue.append(Task(self.epoch, self.base + self.sent + 1, len(new), prefix))
        self.sent = len(self.drafts)

    def _settle(self) -> list:
        while not self.done and len(self.tokens) in self.verdicts:
            position = len(self.tokens)
            i = position - self.base
            draft = self.drafts[i] if i < len(self.drafts) else None
            token = self.settle(self.verdicts.pop(position), draft, position)
            self.tokens.append(token)
            if len(self.tokens) == self.n or self.is_last(token):
                self.done = True
                self.queue.clear()
                return [Cancel(s) for s in self.busy]
            self.judged += draft is not None
            if draft is None or draft[0] != token:
                return self._segment()
            self.accepted += 1
        return []

    def _dispatch(self) -> list:
        commands = []
        while self.queue and self.idle:
            server, task = self.idle.pop(0), self.queue.popleft()
            self.busy[server] = task
            self.forwards += 1
            commands.append(Verify(server, task))
        return commands
