"""Speed of the chapter on distributed speculative inference, each number beside its peer in the same run.

``python -m lib.book bench`` runs it. The simulator against a plain event loop; the engine against its own closed form and
against Hugging Face's ``generate`` with and without ``assistant_model`` on the same pair and prompt.
"""

from __future__ import annotations

import heapq
import importlib.util
import statistics

import numpy as np
import torch
from _race import compared, main, race

from book.language.distributed_speculative_inference import experiments, pairs
from lib.papers import distributed_speculative_inference as dsi


def event_loop(accepts, k: int, t_target: float, t_draft: float) -> float:
    """What one would write first: a heap of events, servers to spare; time of the last token."""
    n, now, at = len(accepts), 0.0, 0
    while at < n:
        events, drafts = [(now + t_target, 0)], 0
        while drafts < n - 1 - at:
            drafts = min(drafts + k, n - 1 - at)
            heapq.heappush(events, (now + drafts * t_draft + t_target, drafts))
        run = 0
        while run < n - 1 - at and accepts[at + run]:
            run += 1
        while True:
            time_, known = heapq.heappop(events)
            if known >= run:
                break
        now, at = time_, at + run + 1
    return now


def simulator() -> list[dict]:
    """Simulated tokens a second, one core."""
    n, paths = 400, np.random.default_rng(0).random((500, 400)) < 0.8
    few = [p.tolist() for p in paths[:20]]
    seconds = race({"ours": lambda: dsi.simulate(paths, 2, 1.0, 0.1, 5),
                    "event loop": lambda: [event_loop(p, 2, 1.0, 0.1) for p in few]})
    assert np.allclose(dsi.simulate(paths[:20], 2, 1.0, 0.1, n).times[:, -1], [event_loop(p, 2, 1.0, 0.1) for p in few])
    return compared(seconds, "tokens", {"ours": paths.size, "event loop": len(few) * n})


def overhead(transport: str = "threads", rounds: int = 5, n: int = 60) -> list[dict]:
    """Engine against its closed form, which is its limit, at emulated latencies; median over answers."""
    out, pace = [], (0.040, 0.008)
    target, drafter = pairs.early_exit(64, 64, 4, 2, 1.0, 0)
    for k, servers in ((1, 5), (2, 3), (5, 1), (4, 2)):
        ratio, lost = [], []
        with dsi.Engine(lambda: target, lambda: drafter, servers, transport) as e:
            e.generate((1, 2, 3), 4, k)
            for s in range(rounds):
                choice = dsi.SharedNoise(s)
                got = e.generate((1, 2, 3), n, k, choice=choice, pace=pace)
                accepts = experiments.agreement(drafter, (1, 2, 3), got.tokens, choice)
                want = dsi.simulate(accepts, k, *pace, servers, preempt=True).times[0, -1]
                ratio.append(got.seconds / want)
                lost.append(1000 * (got.seconds - want) / n)
        out.append({"transport": transport, "lookahead": k, "servers": servers,
                    "time over limit": statistics.median(ratio), "ms a token above": statistics.median(lost)})
    return out


def against_transformers(n: int = 48, layers: int = 12) -> list[dict]:
    """Tokens a second of plain, SI and DSI, of ``generate`` and of assisted ``generate``; greedy, nothing emulated."""
    target, drafter = pairs.early_exit(64, 256, layers, 2, 0.3, 0)
    prompt, ids = (1, 2, 3), torch.tensor([[1, 2, 3]])
    for m in (target, drafter):
        m.generation_config.eos_token_id, m.generation_config.pad_token_id = None, 0
    drafter.generation_config.num_assistant_tokens, drafter.generation_config.num_assistant_tokens_schedule = 4, "constant"
    drafter.generation_config.assistant_confidence_threshold = 0.0
    said: dict = {}
    with dsi.Engine(lambda: target, lambda: drafter, 2) as e:
        seconds = race(
            {
                "plain": lambda: said.update(plain=dsi.plain(target, prompt, n).tokens),
                "SI": lambda: said.update(si=dsi.si(target, drafter, prompt, n, 4).tokens),
                "DSI, 2 servers": lambda: said.update(dsi=e.generate(prompt, n, 4).tokens),
                "transformers generate": lambda: said.update(theirs=target.generate(ids, max_new_tokens=n, do_sample=False
                                                                                    )[0, 3:].tolist()),
                "transformers assisted": lambda: said.update(assisted=target.generate(
                    ids, max_new_tokens=n, do_sample=False, assistant_model=drafter)[0, 3:].tolist())
            }, 30.0)
    assert all(v == said["plain"] for v in said.values()), "the ways do not give the same tokens"
    return compared(seconds, "tokens", n)


def measure() -> dict[str, list[dict]]:
    """Tables of the simulator, of the engine and of real models."""
    paced = overhead()
    if importlib.util.find_spec("ray"):
        import ray
        ray.init(num_cpus=6, log_to_driver=False)  # an actor waits most of its time: more of them than cores
        paced += overhead("ray")
        ray.shutdown()
    return {"simulator, one core": simulator(), "engine at 40 and 8 ms, against its closed form": paced,
            "same pair, greedy": against_transformers()}


if __name__ == "__main__":
    main(__doc__, measure)
