"""What a target server and a drafter do with the messages that reach them; the same code for threads, processes and Ray.

A *port* has ``send(message)``, ``recv()`` and ``poll(seconds)``, as a connection of ``multiprocessing`` has. Messages carry
token ids (and, for rejection sampling, laws). ``None`` ends a worker.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from typing import Any

import torch

from .speakers import Speaker


class Port:
    """One end of a pair of queues within a process."""

    def __init__(self, inbox: queue.Queue, outbox: queue.Queue):
        self.inbox, self.outbox, self.seen = inbox, outbox, []

    @classmethod
    def pair(cls, bound: int = 64) -> tuple[Port, Port]:
        """Two ends; each direction holds at most ``bound`` messages, then its sender waits."""
        a, b = queue.Queue(bound), queue.Queue(bound)
        return cls(a, b), cls(b, a)

    def send(self, message) -> None:
        self.outbox.put(message)

    def recv(self):
        return self.seen.pop() if self.seen else self.inbox.get()

    def poll(self, seconds: float = 0.0) -> bool:
        if not self.seen:
            try:
                self.seen.append(self.inbox.get(timeout=seconds) if seconds > 0 else self.inbox.get_nowait())
            except queue.Empty:
                return False
        return True


def _until(port, deadline: float) -> bool:
    """Wait for a deadline on the monotonic clock; True if a message came first."""
    return port.poll(max(0.0, deadline - time.monotonic()))


def own_stream(model) -> contextlib.AbstractContextManager:
    """On a GPU a stream of its own for each worker, so that forwards of several may overlap."""
    device = next(model.parameters()).device
    return torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else contextlib.nullcontext()


def serve(port, make: Callable[[], Any]) -> None:
    """A target server: one task at a time, its verdicts back; a cancelled task gets none."""
    model, speaker, choice, pace, answer = make(), None, None, 0.0, None
    stream = own_stream(model)
    port.send(("ready",))
    while (message := port.recv()) is not None:
        if message[0] == "begin":
            _, answer, prompt, choice, pace, _ = message
            speaker = Speaker(model, prompt)
        elif message[0] == "verify":
            _, sent, task = message
            try:
                with stream:
                    logits = speaker.logits(task.tokens, task.want).numpy()
                verdicts = [choice.verdict(logits[i], task.start + i) for i in range(task.want)]
            except Exception as e:  # whatever a model raises ends this server, not the answer
                port.send(("failed", answer, f"{type(e).__name__}: {e}"))
                return
            if _until(port, sent + pace):  # the only message in flight now is a cancellation, a new answer or the end
                verdicts = []
            port.send(("verified", answer, verdicts))


def draft(port, make: Callable[[], Any]) -> None:
    """A drafter: drafts behind the prefix of the newest command, token by token, until the next command."""
    model, speaker, choice, pace, answer = make(), None, None, 0.0, None
    stream = own_stream(model)
    port.send(("ready",))
    while (message := port.recv()) is not None:
        if message[0] == "begin":
            _, answer, prompt, choice, _, pace = message
            speaker = Speaker(model, prompt)
        elif message[0] == "draft":
            _, deadline, epoch, tokens, count = message
            try:
                for _ in range(count):
                    with stream:
                        logits = speaker.logits(tokens, 1)
                    token, extra = choice.draft(logits[0].numpy(), len(tokens))
                    deadline += pace
                    if _until(port, deadline):
                        break
                    port.send(("drafted", answer, epoch, len(tokens), token, extra))
                    tokens = (*tokens, token)
            except Exception as e:  # the answer goes on without drafts
                port.send(("failed", answer, f"{type(e).__name__}: {e}"))
                return
