"""The coordinator under a virtual clock: the order of events of a run without waiting for it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lib.papers.distributed_speculative_inference.coordinator import Cancel, Coordinator, Draft, Task, Verify


@dataclass
class Timeline:
    """What happened when: ``certain`` times of the tokens, ``work`` spans (who, from, to, what, epoch) and the answer."""

    tokens: list[int]
    certain: list[float]
    work: list[tuple] = field(default_factory=list)
    forwards: int = 0
    accepted: int = 0


def run(coordinator: Coordinator, draft: Callable[[Sequence[int]], int], judge: Callable[[Task], list], t_target: float,
        t_draft: float, preempt: bool = True, failures: dict[int, float] | None = None) -> Timeline:
    """Run DSI on a virtual clock.

    Parameters
    ----------
    draft : the drafter's next token behind a prefix of the answer.
    judge : the target's verdicts on a task.
    failures : server -> time at which it dies; its task is given to another at once.
    """
    events: list = []  # (time, order, sequence, kind, payload); at one time completions come before drafts
    line, number, running = Timeline(coordinator.tokens, []), 0, {}

    def at(time: float, order: int, kind: str, payload) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (round(time, 9), order, number, kind, payload))

    def obey(now: float, commands) -> None:
        line.certain += [now] * (len(coordinator.tokens) - len(line.certain))
        for c in commands:
            if isinstance(c, Draft):
                at(now + t_draft, 2, "draft", (c.epoch, tuple(c.tokens), c.count, now))
            elif isinstance(c, Verify):
                running[c.server] = (c.task, now)
                at(now + t_target, 1, "target", (c.server, c.task, now))
            elif isinstance(c, Cancel) and preempt and c.server in running:
                task, began = running.pop(c.server)
                line.work.append((c.server, began, now, "cancelled", task.epoch))
                obey(now, coordinator.verified(c.server, []))

    for server, time in (failures or {}).items():
        at(time, 0, "failure", server)
    obey(0.0, coordinator.start())
    while events and not coordinator.done:
        now, _, _, kind, payload = heapq.heappop(events)
        if kind == "failure":
            if payload in running:
                task, began = running.pop(payload)
                line.work.append((payload, began, now, "died", task.epoch))
            obey(now, coordinator.lost(payload))
        elif kind == "target":
            server, task, began = payload
            if running.get(server) != (task, began):
                continue
            del running[server]
            line.work.append((server, began, now, "current" if task.epoch == coordinator.epoch else "stale", task.epoch))
            obey(now, coordinator.verified(server, judge(task)))
        else:
            epoch, prefix, count, began = payload
            if epoch != coordinator.epoch:
                continue
            token = draft(prefix)
            line.work.append(("drafter", began, now, "draft", epoch))
            if count > 1:
                at(now + t_draft, 2, "draft", (epoch, (*prefix, token), count - 1, now))
            obey(now, coordinator.drafted(epoch, len(prefix), token))
    for server, (task, began) in running.items():
        line.work.append((server, began, line.certain[-1], "unfinished", task.epoch))
    line.forwards, line.accepted = coordinator.forwards, coordinator.accepted
    return line


def on_path(accepts: Sequence[bool], lookahead: int, t_target: float, t_draft: float, servers: int,
            preempt: bool = False, failures: dict[int, float] | None = None) -> Timeline:
    """A run on given acceptances: the target says 0 at each position, and the drafter 0 or 1."""
    coordinator = Coordinator(len(accepts), lookahead, range(servers))
    return run(coordinator, lambda prefix: 0 if accepts[len(prefix)] else 1, lambda task: [0] * task.want, t_target, t_draft,
               preempt, failures)
