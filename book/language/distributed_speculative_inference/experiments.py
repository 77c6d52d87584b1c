"""Experiments of the chapter: every acceptance path, rates, queues, exact laws, the coordinator on real models, pairs that
are trained, planning while the acceptance is learnt, and wall-clock runs of the engine."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch

from lib import data
from lib.ensemble import seeded
from lib.papers.distributed_speculative_inference import engine, forms, planning
from lib.papers.distributed_speculative_inference.choice import Greedy, SharedNoise
from lib.papers.distributed_speculative_inference.coordinator import Coordinator, Task
from lib.papers.distributed_speculative_inference.simulation import simulate
from lib.papers.distributed_speculative_inference.speakers import Speaker
from lib.papers.distributed_speculative_inference.workers import own_stream

from . import pairs, virtual

LETTERS = 128  # byte tokens of the texts used here


def every_path(n: int) -> np.ndarray:
    """All acceptances [2^n, n]."""
    return np.array(list(itertools.product((False, True), repeat=n)))


def exhaustive(ns: Sequence[int], lookaheads: Sequence[int], shares: Sequence[float]) -> dict:
    """All paths for each number of tokens, lookahead and drafter latency (target latency 1): one row a configuration.

    ``rows`` columns: N; k; latency; paths; paths whose simulated times, with servers to spare, differ from the closed form;
    tokens later than plain decoding; tokens later than SI; paths with a difference before the last k + 1 tokens when only the
    servers of the formula are there and none is pre-empted; mean time with one server fewer over the time with enough.
    """
    rows = []
    for n in ns:
        paths = every_path(n)
        for k in lookaheads:
            for c in shares:
                closed, need = forms.dsi_times(paths, k, 1.0, c), int(forms.servers_needed(k, 1.0, c))
                plenty, enough = (simulate(paths, k, 1.0, c, s).times for s in (need + n, need))
                inner = max(0, n - k - 1)
                fewer = simulate(paths, k, 1.0, c, need - 1).times[:, -1] / enough[:, -1] if need > 1 else np.ones(1)
                rows.append((n, k, c, len(paths), (~np.isclose(plenty, closed).all(1)).sum(),
                             (closed > np.arange(1, n + 1) + 1e-9).sum(),
                             (closed > forms.si_times(paths, k, 1.0, c) + 1e-9).sum(),
                             (~np.isclose(enough, closed)[:, :inner].all(1)).sum(), fewer.mean()))
    return {"rows": np.array(rows, float)}


def rates(cells: Sequence[tuple[float, int, float]], n: int, seeds: Sequence[int]) -> dict:
    """Simulated latency a token of DSI and SI, and target forwards a token of DSI: [seed, cell, 3]; cells are (a, k, c)."""
    out = np.empty((len(seeds), len(cells), 3))
    for i, s in enumerate(seeds):
        u = np.random.default_rng(s).random(n)
        for j, (a, k, c) in enumerate(cells):
            run = simulate(u < a, k, 1.0, c, int(forms.servers_needed(k, 1.0, c)))
            out[i, j] = run.times[0, -1] / n, forms.si_times(u < a, k, 1.0, c)[-1] / n, run.forwards[0] / n
    return {"rates": out}


def queues(a: float, c: float, k: int, servers: Sequence[int], n: int, seeds: Sequence[int]) -> dict:
    """Latency a token against servers, [seed, servers, 2]: at lookahead k, and at the least that the servers bear."""
    out = np.empty((len(seeds), len(servers), 2))
    for i, s in enumerate(seeds):
        accepts = np.random.default_rng(s).random(n) < a
        for j, sp in enumerate(servers):
            out[i, j] = [simulate(accepts, q, 1.0, c, sp).times[0, -1] / n
                         for q in (k, int(forms.least_lookahead(sp, 1.0, c)))]
    return {"latency": out}


def laws(vocabulary: int, depth: int, gen: np.random.Generator) -> dict:
    """A random law with rational values behind every prefix shorter than ``depth``."""
    out = {}
    for n in range(depth):
        for prefix in itertools.product(range(vocabulary), repeat=n):
            w = gen.integers(0, 6, vocabulary)
            w[gen.integers(vocabulary)] += 1
            out[prefix] = [Fraction(int(v), int(w.sum())) for v in w]
    return out


def speculated(p: dict, q: dict, k: int, depth: int) -> dict:
    """Exact law of the first ``depth`` tokens of speculative sampling with lookahead k, every draft and coin."""
    answer: dict = {}

    def go(prefix: tuple, drafts: tuple, weight: Fraction) -> None:
        """``drafts`` are proposed behind the certain ``prefix`` and not yet judged."""
        if weight == 0:
            return
        if len(prefix) == depth:
            answer[prefix] = answer.get(prefix, Fraction(0)) + weight
            return
        if len(drafts) < min(k, depth - len(prefix)):
            for x, chance in enumerate(q[prefix + drafts]):
                go(prefix, (*drafts, x), weight * chance)
            return
        judge(prefix, drafts, weight)

    def judge(prefix: tuple, drafts: tuple, weight: Fraction) -> None:
        if weight == 0:
            return
        if not drafts:  # all accepted: one token of the target
            if len(prefix) == depth:
                go(prefix, (), weight)
            else:
                for x, chance in enumerate(p[prefix]):
                    go((*prefix, x), (), weight * chance)
            return
        x, target, drafter = drafts[0], p[prefix], q[prefix]
        keep = min(Fraction(1), target[x] / drafter[x])
        judge((*prefix, x), drafts[1:], weight * keep)
        rest = [max(Fraction(0), a - b) for a, b in zip(target, drafter)]
        if keep < 1:
            for y, r in enumerate(rest):
                go((*prefix, y), (), weight * (1 - keep) * r / sum(rest))

    go((), (), Fraction(1))
    return answer


def exact_laws(vocabulary: int, depth: int, lookaheads: Sequence[int], seeds: Sequence[int]) -> dict:
    """Sequences whose probability under speculative sampling is not the target's, exactly: ``wrong`` [seed, lookahead]."""
    wrong = np.empty((len(seeds), len(lookaheads)), int)
    for i, s in enumerate(seeds):
        gen = np.random.default_rng(s)
        p, q = laws(vocabulary, depth, gen), laws(vocabulary, depth, gen)
        want = {}
        for seq in itertools.product(range(vocabulary), repeat=depth):
            chance = Fraction(1)
            for n in range(depth):
                chance *= p[seq[:n]][seq[n]]
            want[seq] = chance
        for j, k in enumerate(lookaheads):
            got = speculated(p, q, k, depth)
            wrong[i, j] = sum(got.get(seq, Fraction(0)) != chance for seq, chance in want.items())
    return {"wrong": wrong}


def agreement(drafter: torch.nn.Module, prompt: Sequence[int], tokens: Sequence[int], choice) -> np.ndarray:
    """Would the drafter's token be the answer's, behind each true prefix: acceptances [N]."""
    speaker = Speaker(drafter, prompt)
    return np.array([choice.draft(speaker.logits(tokens[:i], 1)[0].numpy(), i)[0] == t for i, t in enumerate(tokens)])


def virtual_runs(strengths: Sequence[float], configurations: Sequence[tuple[int, int]], n: int, t_target: float,
                 t_draft: float, seeds: Sequence[int]) -> dict:
    """The coordinator with real models under a virtual clock, greedy and with shared noise.

    Returns, by [seed, strength, choice, configuration (lookahead, servers)]: ``same``, the answer is that of plain decoding;
    ``late``, largest gap of the times of certainty from the simulator's on the acceptances of this answer; ``forwards``
    started; and ``acceptance`` [seed, strength, choice].
    """
    shape = (len(seeds), len(strengths), 2)
    same, late = np.empty((*shape, len(configurations)), bool), np.empty((*shape, len(configurations)))
    forwards, acceptance = np.empty((*shape, len(configurations)), int), np.empty(shape)
    for i, s in enumerate(seeds):
        for j, strength in enumerate(strengths):
            target, drafter = pairs.early_exit(64, 64, 4, 2, strength, int(s))
            for c, choice in enumerate((Greedy(), SharedNoise(int(s)))):
                want = engine.plain(target, (1, 2, 3), n, choice).tokens
                accepts = agreement(drafter, (1, 2, 3), want, choice)
                acceptance[i, j, c] = accepts[:-1].mean()
                for g, (k, servers) in enumerate(configurations):
                    line = on_models(target, drafter, n, k, servers, choice, t_target, t_draft)
                    same[i, j, c, g] = line.tokens == want
                    times = simulate(accepts, k, t_target, t_draft, servers, preempt=True).times[0]
                    late[i, j, c, g] = np.abs(np.array(line.certain) - times).max()
                    forwards[i, j, c, g] = line.forwards
    return {"same": same, "late": late, "forwards": forwards, "acceptance": acceptance}


def on_models(target, drafter, n: int, k, servers: int, choice, t_target: float, t_draft: float, preempt: bool = True,
              failures: dict | None = None) -> virtual.Timeline:
    """A pair of models under a virtual clock; each server has a cache of its own, as in the engine."""
    prompt = (1, 2, 3)
    speakers, small = [Speaker(target, prompt) for _ in range(servers)], Speaker(drafter, prompt)

    def judge(task: Task) -> list:
        speaker = speakers[task.start % servers]
        logits = speaker.logits(task.tokens, task.want).numpy()
        return [choice.verdict(v, task.start + i) for i, v in enumerate(logits)]

    def draft(prefix: Sequence[int]) -> int:
        return choice.draft(small.logits(prefix, 1)[0].numpy(), len(prefix))[0]

    return virtual.run(Coordinator(n, k, range(servers), choice.settle), draft, judge, t_target, t_draft, preempt, failures)


def trained(d: int, layers: int, d_draft: int, steps: int, batch: int, length: int, n_prompts: int, n: int,
            seeds: Sequence[int], device: str = "cpu") -> dict:
    """A target trained on the King James Bible, one drafter trained on the same text and one distilled on the target's own.

    Returns ``acceptance`` [seed, drafter, 2]: of shared noise, and the overlap of the two laws, which rejection sampling
    reaches; along answers of the target behind prompts from the text; ``loss`` [seed, 3] nats a byte of target and drafters
    on a held-out end of the text.
    """
    text = np.minimum(pairs.bytes_of(data.corpus("kjv")), LETTERS - 1)
    held, text = text[-200_000:], text[:-200_000]
    acceptance, loss = np.empty((len(seeds), 2, 2)), np.empty((len(seeds), 3))
    for i, s in enumerate(seeds):
        gen = torch.Generator().manual_seed(int(s))
        with seeded(s):
            target, *drafters = (pairs.llama(LETTERS, w, m, context=1024).to(device)
                                 for w, m in ((d, layers), (d_draft, 1), (d_draft, 1)))
        pairs.train(target, text, steps, batch, length, 3e-3, int(s))
        prompts = pairs.windows(text, 64, 16, gen).to(device)
        own = pairs.speak(target, prompts, 4 * length, int(s))
        pairs.train(drafters[0], text, steps, batch, length, 3e-3, int(s) + 1)
        pairs.train(drafters[1], own.ravel(), steps, batch, length, 3e-3, int(s) + 1, target)
        ask = pairs.windows(held, n_prompts, 16, gen).to(device)
        answers = torch.cat([ask, torch.tensor(pairs.speak(target, ask, n, int(s) + 2), device=device)], 1)
        probe = pairs.windows(held, 64, length, gen).to(device)
        for j, model in enumerate((target, *drafters)):
            with torch.inference_mode():
                logits = model(input_ids=probe[:, :-1], use_cache=False).logits
            loss[i, j] = float(torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), probe[:, 1:].flatten()))
        with torch.inference_mode():
            p, *qs = (m(input_ids=answers[:, :-1], use_cache=False).logits[:, 15:].double().log_softmax(-1)
                      for m in (target, *drafters))
        noise = -(-torch.rand(p.shape, generator=gen, dtype=torch.float64).clamp(1e-300).log()).log().to(device)
        for j, q in enumerate(qs):
            acceptance[i, j] = (float(((p + noise).argmax(-1) == (q + noise).argmax(-1)).double().mean()),
                                float(torch.minimum(p.exp(), q.exp()).sum(-1).mean()))
    return {"acceptance": acceptance, "loss": loss}


def estimates(accept: Sequence[float], tokens: int, prompts: int, seeds: Sequence[int]) -> dict:
    """Maximum-likelihood acceptance from runs between rejections, [seed, a]; a run cut by the end of a prompt is left out."""
    out = np.empty((len(seeds), len(accept)))
    for i, s in enumerate(seeds):
        u = np.random.default_rng(s).random((prompts, tokens))
        for j, a in enumerate(accept):
            runs = [n for row in u < a for n in np.diff(np.flatnonzero(np.r_[True, ~row])) - 1]
            out[i, j] = planning.acceptance_rate(runs)
    return {"estimate": out}


def regrets(accept: Sequence[float], t_target: float, t_draft: float, servers: int, price: float, n: int, most: int,
            seeds: Sequence[int]) -> dict:
    """Cost a token, latency plus price times forwards, [seed, a, most + 1]: at each fixed lookahead, and adaptively, last.

    Segments are played with the closed form of their time and of their forwards.
    """
    least = int(forms.least_lookahead(servers, t_target, t_draft))
    out = np.full((len(seeds), len(accept), most + 1), np.nan)
    for i, s in enumerate(seeds):
        for j, a in enumerate(accept):
            lengths = np.random.default_rng([int(s), j]).geometric(1 - a, n) - 1
            for k in range(least, most + 1):
                out[i, j, k - 1] = _played(lengths, k, t_target, t_draft, price, n)
            out[i, j, -1] = _played(lengths, planning.Adaptive(t_target, t_draft, servers, price, most), t_target,
                                    t_draft, price, n)
    return {"cost": out}


def _played(lengths: np.ndarray, k, t_target: float, t_draft: float, price: float, n: int) -> float:
    total, tokens, accepted, judged = 0.0, 0, 0, 0
    for length in lengths:
        q = k(accepted, judged) if callable(k) else k
        blocks = -(-int(length) // q)
        total += blocks * q * t_draft + t_target + price * (blocks + int(forms.servers_needed(q, t_target, t_draft)))
        accepted, judged, tokens = accepted + int(length), judged + int(length) + 1, tokens + int(length) + 1
        if tokens >= n:
            break
    return total / tokens


def paced(strengths: Sequence[float], configurations: Sequence[tuple[int, int]], n: int, t_target: float, t_draft: float,
          seeds: Sequence[int]) -> dict:
    """Wall-clock seconds of the engine at emulated latencies, [seed, strength, configuration, 6].

    Columns: plain decoding, SI, DSI, and what the closed forms predict for SI and DSI on the acceptances of this answer; 1
    where all three answers are the same.
    """
    out = np.empty((len(seeds), len(strengths), len(configurations), 6))
    for i, s in enumerate(seeds):
        for j, strength in enumerate(strengths):
            target, drafter = pairs.early_exit(64, 64, 4, 2, strength, int(s))
            choice, pace = SharedNoise(int(s)), (t_target, t_draft)
            base = engine.plain(target, (1, 2, 3), n, choice, t_target)
            accepts = agreement(drafter, (1, 2, 3), base.tokens, choice)
            for g, (k, servers) in enumerate(configurations):
                one = engine.si(target, drafter, (1, 2, 3), n, k, choice, pace)
                with engine.Engine(lambda t=target: t, lambda q=drafter: q, servers) as dsi:
                    dsi.generate((1, 2, 3), 4, k, choice=choice)
                    two = dsi.generate((1, 2, 3), n, k, choice=choice, pace=pace)
                out[i, j, g] = (base.seconds, one.seconds, two.seconds, forms.si_times(accepts, k, *pace)[-1],
                                forms.dsi_times(accepts, k, *pace)[-1], base.tokens == one.tokens == two.tokens)
    return {"seconds": out}


def crowding(model: torch.nn.Module, servers: int, n: int) -> float:
    """Seconds of a forward when ``servers`` threads decode at once, over that of one alone."""
    def decode(spent: list) -> None:
        with own_stream(model):
            speaker, tokens = Speaker(model, (1, 2, 3)), []
            for _ in range(n):
                began = time.perf_counter()
                tokens.append(int(speaker.logits(tokens, 1)[0].argmax()))
                spent.append(time.perf_counter() - began)

    medians = []
    for crowd in (1, servers):
        spent = [[] for _ in range(crowd)]
        threads = [threading.Thread(target=decode, args=(v,)) for v in spent]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        medians.append(np.median([v[1:] for v in spent]))
    return float(medians[1] / medians[0])


def saturated(d: int, layers: int, keep: int, strength: float, n: int, lookahead: int, servers: Sequence[int],
              seeds: Sequence[int], device: str = "cpu") -> dict:
    """True latencies on one device, nothing emulated: ``seconds`` [seed, servers, 3] of plain decoding, SI and DSI, and
    ``crowd`` [seed, servers], how much slower a forward is when that many servers decode at once."""
    out, crowd = np.empty((len(seeds), len(servers), 3)), np.empty((len(seeds), len(servers)))
    for i, s in enumerate(seeds):
        target, drafter = (m.to(device) for m in pairs.early_exit(64, d, layers, keep, strength, int(s)))
        choice = SharedNoise(int(s))
        for g, sp in enumerate(servers):
            crowd[i, g] = crowding(target, sp, 12)
            with engine.Engine(lambda t=target: t, lambda q=drafter: q, sp) as dsi:
                dsi.generate((1, 2, 3), 4, lookahead, choice=choice)
                out[i, g] = (engine.plain(target, (1, 2, 3), n, choice).seconds,
                             engine.si(target, drafter, (1, 2, 3), n, lookahead, choice).seconds,
                             dsi.generate((1, 2, 3), n, lookahead, choice=choice).seconds)
    return {"seconds": out, "crowd": crowd}
