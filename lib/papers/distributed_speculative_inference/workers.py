"""What a target server and a drafter do with the messages that reach them; the same code for threads, processes and Ray.

A *port* has ``send(message)``, ``recv()`` and ``poll(seconds)``, as a connection of ``multiprocessing`` has. Messages carry
token ids (and, for rejection sampling, laws). ``None`` ends a worker.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from .speakers import Speaker


class Mailbox:
    """Messages to a worker. What is superseded is dropped, so that few wait and no sender ever does: a new answer or the end
    drops all, a draft or a cancellation the drafts and cancellations before it."""

    def __init__(self):
        self.items: deque = deque()
        self.filled = threading.Condition()

    def put(self, message) -> None:
        with self.filled:
            if message is None or message[0] == "begin":
                self.items.clear()
            elif message[0] in ("draft", "cancel"):
                self.items = deque(m for m in self.items if m[0] not in ("draft", "cancel"))
            self.items.append(message)
            self.filled.notify()

    def get(self, timeout: float | None = None):
        with self.filled:
            if not self.filled.wait_for(lambda: self.items, timeout):
                raise queue.Empty
            return self.items.popleft()


class Port:
    """One end of a pair of mailboxes or queues within a process."""

    def __init__(self, inbox, outbox):
        self.inbox, self.outbox, self.seen = inbox, outbox, []

    def send(self, message) -> None:
        self.outbox.put(message)

    def recv(self):
        return self.seen.pop() if self.seen else self.inbox.get()

    def poll(self, seconds: float = 0.0) -> bool:
        if not self.seen:
            try:
                self.seen.append(self.inbox.get(timeout=max(0.0, seconds)))
            except queue.Empty:
                return False
        return True


def _until(port, deadline: float) -> bool:
    """Wait for a deadline on the monotonic clock; True if a message came first."""
    return port.poll(max(0.0, deadline - time.monotonic()))


def own_stream(model) -> contextlib.AbstractContextManager:
    """On a GPU a stream of its own for each worker, so that forwards of several may overlap."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return contextlib.nullcontext()
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.default_stream(device))  # the weights are there
    return torch.cuda.stream(stream)


def facts(model) -> tuple[int, int | None]:
    """Size of the vocabulary and of the context of a model."""
    return model.config.vocab_size, getattr(model.config, "max_position_embeddings", None)


def serve(port, make: Callable[[], Any]) -> None:
    """A target server: one task at a time, its verdicts back; a cancelled task gets none."""
    model, speaker, choice, pace, answer = make(), None, None, 0.0, None
    stream = own_stream(model)
    port.send(("ready", *facts(model)))
    while (message := port.recv()) is not None:
        if message[0] == "begin":
            _, answer, prompt, choice, pace, _ = message
            speaker = Speaker(model, prompt)
        elif message[0] == "verify":
            task, began = message[1], time.monotonic()
            try:
                with stream:
                    logits = speaker.logits(task.tokens, task.want).numpy()
                verdicts = [choice.verdict(logits[i], task.start + i) for i in range(task.want)]
            except Exception as e:  # whatever a model raises ends this server, not the answer
                port.send(("failed", answer, f"{type(e).__name__}: {e}"))
                return
            if _until(port, began + pace):  # the only message in flight now is a cancellation, a new answer or the end
                verdicts = []
            port.send(("verified", answer, verdicts))


def draft(port, make: Callable[[], Any]) -> None:
    """A drafter: drafts behind the prefix of the newest command, until the next command or the end of its context."""
    model, speaker, choice, pace, answer = make(), None, None, 0.0, None
    stream, (_, limit) = own_stream(model), facts(model)
    port.send(("ready", *facts(model)))
    while (message := port.recv()) is not None:
        if message[0] == "begin":
            _, answer, prompt, choice, _, pace = message
            room = limit - len(prompt) if limit else None
            speaker = None if limit and room <= 0 else Speaker(model, prompt)
        elif message[0] == "draft":
            (_, epoch, tokens, count), deadline = message, time.monotonic()
            try:
                for _ in range(count):
                    if speaker is None or room is not None and len(tokens) > room:
                        port.send(("paused", answer, epoch))
                        break
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
