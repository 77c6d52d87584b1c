"""The engine: plain decoding, SI and DSI of the same pair of models, with the same choice of tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from .checks import check_pair, check_prompt, check_vocabularies
from .choice import Greedy
from .coordinator import Cancel, Coordinator, Draft, Verify
from .errors import SpeculationError
from .speakers import Speaker
from .transports import DRAFTER, TRANSPORTS

Lookahead = int | Callable[[int, int], int]
METHODS = ("plain", "si", "dsi")


@dataclass
class Answer:
    """Tokens of an answer; seconds from its beginning at which each was certain; what it took, what was lost on the way."""

    tokens: list[int] = field(default_factory=list)
    certain: list[float] = field(default_factory=list)
    forwards: int = 0
    judged: int = 0
    accepted: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Time of the last token."""
        return self.certain[-1]


def _checked(n_tokens: int, lookahead) -> None:
    if n_tokens < 1 or not callable(lookahead) and (not isinstance(lookahead, Integral) or lookahead < 1):
        raise SpeculationError(f"{n_tokens} tokens and lookahead {lookahead} are not possible; each is a whole number of at "
                               "least 1.")


def plain(target: Any, prompt: Sequence[int], n_tokens: int, choice=Greedy(), pace: float = 0.0,  # noqa: B008 (frozen)
          eos: int | None = None) -> Answer:
    """Decode with the target alone; ``pace`` is the least time of a forward, kept by deadlines that do not drift."""
    _checked(n_tokens, 1)
    speaker, answer, began = Speaker(target, prompt), Answer(), time.monotonic()
    deadline = began
    while len(answer.tokens) < n_tokens:
        verdict = choice.verdict(speaker.logits(answer.tokens, 1)[0].numpy(), len(answer.tokens))
        deadline = _pause(deadline + pace)
        answer.tokens.append(choice.settle(verdict, None, len(answer.tokens)))
        answer.certain.append(time.monotonic() - began)
        answer.forwards += 1
        if answer.tokens[-1] == eos:
            break
    return answer


def si(target: Any, drafter: Any, prompt: Sequence[int], n_tokens: int, lookahead: int, choice=Greedy(),  # noqa: B008
       pace: tuple[float, float] = (0.0, 0.0), eos: int | None = None) -> Answer:
    """Speculative inference: draft ``lookahead`` tokens, verify them in one forward of the target, begin again."""
    _checked(n_tokens, lookahead)
    check_pair(target, drafter)
    big, small, answer, began = Speaker(target, prompt), Speaker(drafter, prompt), Answer(), time.monotonic()
    deadline = began
    while len(answer.tokens) < n_tokens:
        first, drafts = len(answer.tokens), []
        for _ in range(min(lookahead, n_tokens - 1 - first)):
            prefix = answer.tokens + [t for t, _ in drafts]
            drafts.append(choice.draft(small.logits(prefix, 1)[0].numpy(), len(prefix)))
            deadline = _pause(deadline + pace[1])
        logits = big.logits(answer.tokens + [t for t, _ in drafts], len(drafts) + 1).numpy()
        verdicts = [choice.verdict(v, first + i) for i, v in enumerate(logits)]
        deadline = _pause(deadline + pace[0])
        answer.forwards += 1
        for i, v in enumerate(verdicts):
            d = drafts[i] if i < len(drafts) else None
            token = choice.settle(v, d, first + i)
            answer.tokens.append(token)
            answer.certain.append(time.monotonic() - began)
            answer.judged += d is not None
            answer.accepted += d is not None and d[0] == token
            if token == eos:
                return answer
            if d is None or d[0] != token:
                break
    return answer


def _pause(deadline: float) -> float:
    """Sleep to a deadline; where it has passed, work goes on from now."""
    left = deadline - time.monotonic()
    if left > 0:
        time.sleep(left)
        return deadline
    return time.monotonic()


class Engine:
    """DSI on a drafter and ``servers`` copies of a target that run at once.

    Parameters
    ----------
    make_target, make_drafter : functions without arguments that return the models; called once in each worker. Within one
        process they may return the same object: weights are shared, caches are not. Threads call them at the same time, so
        they must not draw from a shared random generator.
    servers : copies of the target.
    transport : ``"threads"``, ``"processes"`` or ``"ray"``.
    patience : seconds after which a server, or the drafter, that does not answer counts as lost.

    Use it in a ``with`` block; it serves any number of answers, one at a time.
    """

    def __init__(self, make_target: Callable[[], Any], make_drafter: Callable[[], Any], servers: int = 2,
                 transport: str = "threads", patience: float = 60.0, **kw):
        if servers < 1:
            raise SpeculationError(f"servers={servers} is not possible; DSI needs at least one copy of the target.")
        if transport not in TRANSPORTS:
            raise SpeculationError(f"transport={transport!r} is not known; choose one of {', '.join(TRANSPORTS)}.")
        self.patience, self.number, self.heard, self.due, self.open = patience, 0, 0.0, 0, False
        self.alive, self.drafter_alive = set(range(servers)), True
        self.transport = TRANSPORTS[transport](make_target, make_drafter, servers, **kw)
        waiting, end, self.facts = {*range(servers), DRAFTER}, time.monotonic() + max(patience, 180.0), {}
        while waiting:
            got = self.transport.receive(0.1)
            if got and got[1][0] == "ready":
                waiting.discard(got[0])
                self.facts[got[0]] = got[1][1:]
            elif got or time.monotonic() > end:
                self.close()
                raise SpeculationError(f"a worker could not start ({got[1][2] if got else 'no answer'}).")
        try:
            check_vocabularies(self.facts[0][0], self.facts[DRAFTER][0])
        except SpeculationError:
            self.close()
            raise

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        self.transport.close()

    def generate(self, prompt: Sequence[int], n_tokens: int, lookahead: Lookahead = 1, **kw) -> Answer:
        """All of :meth:`stream`."""
        answer = Answer()
        for _ in self.stream(prompt, n_tokens, lookahead, answer=answer, **kw):
            pass
        return answer

    def stream(self, prompt: Sequence[int], n_tokens: int, lookahead: Lookahead = 1, choice=Greedy(),  # noqa: B008 (frozen)
               pace: tuple[float, float] = (0.0, 0.0), eos: int | None = None, answer: Answer | None = None) -> Iterator[int]:
        """Tokens as soon as they are certain; closing the generator cancels the rest.

        Parameters
        ----------
        choice : see :mod:`choice`; the same as for :func:`plain` gives the same tokens, or for rejection the same law.
        pace : least times of a forward of target and drafter, to emulate slower models.
        answer : filled on the way.
        """
        _checked(n_tokens, lookahead)
        room = check_prompt(prompt, *self.facts[0])
        if self.open:
            raise SpeculationError("this engine is still streaming another answer; finish or close that stream first.")
        if not self.alive:
            raise SpeculationError("no target server is left; make a new engine.")
        answer = Answer() if answer is None else answer
        self.number, self.open, self.due = self.number + 1, True, 0
        policy = Coordinator(min(n_tokens, room), lookahead, sorted(self.alive), choice.settle, lambda t: t == eos)
        policy.drafter_lost = not self.drafter_alive
        for name in (*sorted(self.alive), *((DRAFTER,) if self.drafter_alive else ())):
            self.transport.send(name, ("begin", self.number, tuple(prompt), choice, *pace))
        began, since, told = time.monotonic(), {}, 0
        self._obey(policy.start(), since)
        try:
            while True:
                now = time.monotonic() - began
                answer.certain += [now] * (len(policy.tokens) - len(answer.certain))
                answer.tokens, answer.forwards = list(policy.tokens), policy.forwards
                answer.judged, answer.accepted = policy.judged, policy.accepted
                while told < len(policy.tokens):
                    told += 1
                    yield policy.tokens[told - 1]
                if policy.done and len(policy.tokens) == room < n_tokens and policy.tokens[-1] != eos:
                    raise SpeculationError(f"the model's context is full after {room} of {n_tokens} tokens; generate fewer.")
                if policy.done:
                    return
                self._obey(self._next(policy, since, answer), since)
        finally:
            self.open = False
            for name in since:
                self.transport.send(name, ("cancel",))
            if self.drafter_alive:
                self.transport.send(DRAFTER, ("cancel",))

    def _next(self, policy: Coordinator, since: dict, answer: Answer) -> list:
        """Commands after the next event, or after a server has kept us waiting too long."""
        heard = {**since, DRAFTER: self.heard} if self.drafter_alive and self.due else since
        now = time.monotonic()
        late = [name for name, t in heard.items() if now - t >= self.patience]
        if late:
            return [c for name in late for c in self._lost(name, "it does not answer", policy, since, answer)]
        got = self.transport.receive(min((t + self.patience - now for t in heard.values()), default=0.05))
        if got is None:
            return []
        name, message = got
        if message[0] == "failed":
            return self._lost(name, message[2], policy, since, answer)
        if message[0] == "ready" or message[1] != self.number:
            return []
        if message[0] == "paused":
            self.due = self.due if message[2] != policy.epoch else 0
            return policy.paused(message[2])
        if message[0] == "drafted":
            self.heard, self.due = time.monotonic(), self.due - (message[2] == policy.epoch)
            return policy.drafted(*message[2:])
        since.pop(name, None)
        return policy.verified(name, message[2])

    def _lost(self, name: int, why: str, policy: Coordinator, since: dict, answer: Answer) -> list:
        if name == DRAFTER:
            if not self.drafter_alive:
                return []
            self.drafter_alive = False
            answer.notes.append(f"the drafter was lost ({why}); the target went on alone")
            return policy.lost_drafter()
        if name not in self.alive:
            return []
        self.alive.discard(name)
        since.pop(name, None)
        answer.notes.append(f"target server {name} was lost ({why}); {len(self.alive)} are left")
        return policy.lost(name, why)

    def _obey(self, commands: list, since: dict) -> None:
        for c in commands:
            now = time.monotonic()
            if isinstance(c, Verify):
                since[c.server] = now
                self.transport.send(c.server, ("verify", c.task))
            elif isinstance(c, Cancel):
                self.transport.send(c.server, ("cancel",))
            elif isinstance(c, Draft) and self.drafter_alive:
                self.heard, self.due = now, c.count
                self.transport.send(DRAFTER, ("draft", c.epoch, c.tokens, c.count))


def generate(target: Any, drafter: Any, prompt: Sequence[int], n_tokens: int, method: str = "dsi", lookahead: int = 1,
             servers: int = 2, **kw) -> Answer:
    """One answer by ``plain``, ``si`` or ``dsi`` (threads of this process); the same tokens for each method and seed.

    Parameters
    ----------
    target, drafter : Hugging Face causal LMs that share a tokenizer. Only the sizes of their vocabularies can be compared
        here: two tokenizers of one size pass, and a vocabulary that is padded further than the other is refused.
    prompt : token ids of one text, such as ``tokenizer(text).input_ids``.
    choice : :class:`Greedy`, :class:`SharedNoise` or :class:`Rejection`.

    Raises
    ------
    SpeculationError : vocabularies that differ, a prompt that is empty, too long or no list of token ids, no server, an
        unknown method.
    """
    if method not in METHODS:
        raise SpeculationError(f"method={method!r} is not known; choose one of {', '.join(METHODS)}.")
    if method == "plain":
        return plain(target, prompt, n_tokens, **kw)
    if method == "si":
        return si(target, drafter, prompt, n_tokens, lookahead, **kw)
    with Engine(lambda: target, lambda: drafter, servers) as engine:
        return engine.generate(prompt, n_tokens, lookahead, **kw)
