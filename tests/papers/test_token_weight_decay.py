"""The instrument of "token-weight-decay": closed forms, brute force, two processes, and bad input."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from book.language.token_weight_decay import exercises, experiments, sharded, texts, training
from lib import data
from lib.models import Gpt
from lib.papers import token_weight_decay as twd
from lib.papers.token_weight_decay import theory


def predictions(n: int = 200, types: int = 7, seed: int = 0):
    """Logits and targets of which type 6 never comes."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, types, generator=g), torch.randint(types - 1, (n,), generator=g)


def test_ledger_is_a_loop_over_types():
    z, y = predictions()
    ledger = twd.TokenLedger(7)
    for a, b in zip(z.split(64), y.split(64), strict=True):
        ledger.update(a, b)
    report = ledger.report(edges=(1,))
    ce = F.cross_entropy(z, y, reduction="none")
    by_type = [float(ce[y == k].mean()) for k in range(6)]
    assert report.loss[:6] == pytest.approx(by_type, rel=1e-6) and math.isnan(report.loss[6])
    assert report.micro == pytest.approx(float(ce.mean()), rel=1e-6)
    assert report.macro.value == pytest.approx(float(np.mean(by_type)), rel=1e-6)
    assert report.accuracy[2] == pytest.approx(float((z.argmax(1) == y)[y == 2].float().mean()))
    assert report.macro.low < report.macro.value < report.macro.high and report.bins[0].types == 6


def test_padding_and_unknown_words_are_left_out():
    z, y = predictions()
    some = y.clone()
    some[::3] = -100
    ledger = twd.TokenLedger(7, drop=(1,))
    ledger.update(z, some)
    kept = (some >= 0) & (some != 1)
    assert ledger.report().micro == pytest.approx(float(F.cross_entropy(z[kept], y[kept])), rel=1e-6)
    assert ledger.report().seen[1] == 0


def test_bins_follow_the_counts_of_the_training_text():
    z, y = predictions()
    ledger = twd.TokenLedger(7)
    ledger.update(z, y)
    report = ledger.report(counts=[1, 2, 5, 9, 10, 0, 0])
    assert [(b.name, b.types) for b in report.bins] == [("1-2", 2), ("3-8", 1), ("9 and more", 2)]
    assert report.macro.value == pytest.approx(float(report.loss[:5].mean()))
    assert sum(b.mass for b in report.bins) == pytest.approx(float((y != 5).float().mean()))


def test_each_id_is_predicted_once():
    ids = torch.arange(1, 24)
    found = torch.cat([w[:, 1:][w[:, 1:] >= 0] for w in twd.windows([ids, ids[:5], ids[:1]], 4, 2)])
    assert found.tolist() == [*range(2, 24), *range(2, 6)]


def test_models_of_torch_and_of_hugging_face_are_read():
    made = texts.tokenizer("bbe", 300) if data.have("bbe") else pytest.skip("data")
    for model in (experiments.gpt2(300, 0), experiments.recurrent(300, 0)):
        report = twd.TokenLedger(300).read(model, made, ["In the beginning", "God made the heaven"], length=8).report()
        assert report.micro == pytest.approx(math.log(300), rel=0.1) and report.seen.sum() > 8


def test_learning_speed_is_one_less_the_mean():
    ledger = twd.TokenLedger(3)
    for strength in (0.0, 100.0):
        ledger.update(torch.tensor([[strength, 0.0, 0.0]] * 2), torch.tensor([0, 1]))
        ledger.look()
    assert ledger.speed()[0] == pytest.approx(0.5) and ledger.speed()[1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("wrong, words", [
    (lambda: twd.TokenLedger(5).update(torch.zeros(2, 7), torch.zeros(2, dtype=torch.long)), "7 columns"),
    (lambda: twd.TokenLedger(7).update(torch.zeros(2, 7), torch.zeros(3, dtype=torch.long)), "go together"),
    (lambda: twd.TokenLedger(7).update(torch.zeros(2, 7), torch.tensor([1, 9])), "own tokenizer"),
    (lambda: twd.TokenLedger(1), "nothing to tell apart"),
    (lambda: twd.TokenLedger(7).report(), "no token"),
    (lambda: twd.TokenLedger(7).speed(), "look"),
    (lambda: filled().report(counts=[1, 2]), "2 entries"),
    (lambda: filled().report(edges=(3, 1)), "do not rise"),
    (lambda: filled().report(edges=(1, 900)), "leave that edge out"),
    (lambda: filled(math.nan).report(), "NaN"),
    (lambda: twd.param_groups(torch.nn.Linear(3, 3)), "Embedding"),
    (lambda: twd.param_groups(training.gpt(9, 8, 1, 2, 0), 0.1, "half"), "no policy"),
    (lambda: twd.param_groups(training.gpt(9, 8, 1, 2, 0), -0.1), "grow"),
    (lambda: twd.RowDecay(training.gpt(9, 8, 1, 2, 0), 0.1, "frequency"), "counts"),
    (lambda: twd.RowDecay(training.gpt(9, 8, 1, 2, 0), 0.1, "some"), "no row decay"),
    (lambda: training.objective("odd", 1, np.ones(3)), "no loss"),
    (lambda: theory.linear_loss([0.5, 0.5], 0.0, 2), "decay and frequencies above 0"),
    (lambda: theory.minimise_ufm((3, 2), (0.1,), 1, 1, [0]), "at least 2"),
    (lambda: texts.raw("voynich"), "no text"),
    (lambda: trained_on(5, training.Plan(1, 2, 8, 0.1)), "no window"),
    (lambda: trained_on(9, training.Plan(1, 3, 4, 0.1), (0, 2)), "multiple"),
])
def test_bad_input_is_told(wrong, words):
    with pytest.raises(twd.LedgerError, match=words):
        wrong()


def trained_on(tokens: int, plan: training.Plan, shard: tuple[int, int] = (0, 1)) -> list[float]:
    """Training that is refused."""
    return training.train(training.gpt(9, 8, 1, 2, 0), torch.arange(tokens), plan, torch.Generator(), [], shard=shard)


def filled(scale: float = 1.0) -> twd.TokenLedger:
    """A ledger with one batch."""
    ledger, (z, y) = twd.TokenLedger(7), predictions()
    ledger.update(z * scale, y)
    return ledger


def test_groups_hold_each_parameter_once():
    for model in (training.gpt(11, 8, 2, 2, 0), experiments.gpt2(300, 0), experiments.recurrent(11, 0)):
        for policy in twd.POLICIES:
            groups = twd.param_groups(model, 0.3, policy)
            found = [id(p) for g in groups for p in g["params"]]
            assert sorted(found) == sorted(id(p) for p in model.parameters())
    model = training.gpt(11, 8, 2, 2, 0)
    tokens = {id(model.embed.weight), id(model.head.weight)}
    assert {id(p) for p in twd.param_groups(model, 0.3, "tokens")[0]["params"]} == tokens
    assert not tokens & {id(p) for p in twd.param_groups(model, 0.3, "body")[0]["params"]}
    assert all(p.ndim > 1 for p in twd.param_groups(model, 0.3)[0]["params"])
    assert len(twd.token_matrices(experiments.gpt2(300, 0))) == 1


class Characters(torch.nn.Module):
    """As nanoGPT's character model: fewer types than positions, and a feed-forward layer of any width."""

    def __init__(self, types=65, positions=256, d=16, wide=64, tied=True, padded=0):
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(types, d), torch.nn.Embedding(positions, d)
        self.up, self.down = torch.nn.Linear(d, wide), torch.nn.Linear(wide, d)
        self.head = torch.nn.Linear(d, types + padded, bias=False)
        if tied:
            self.head.weight = self.tokens.weight


@pytest.mark.parametrize("settings, due", [
    ({}, ["tokens"]), ({"tied": False}, ["tokens", "head"]), ({"wide": 65, "tied": False}, ["tokens", "head"]),
    ({"wide": 65}, ["tokens"]), ({"types": 900, "positions": 20}, ["tokens"])])
def test_token_matrices_are_of_tokens_whatever_else_has_their_width(settings, due):
    model = Characters(**settings)
    assert {id(p) for p in twd.token_matrices(model)} == {id(getattr(model, n).weight) for n in due}
    decayed = {id(p) for p in twd.param_groups(model, 0.1, "body")[0]["params"]}
    assert decayed == {id(p) for p in (model.positions.weight, model.up.weight, model.down.weight)} | (
        {id(model.tokens.weight), id(model.head.weight)} - {id(getattr(model, n).weight) for n in due})


def test_a_padded_head_is_found_and_what_is_unclear_is_told():
    one = torch.nn.Sequential(torch.nn.Embedding(900, 8), torch.nn.Linear(8, 32), torch.nn.Linear(32, 8),
                              torch.nn.Linear(8, 960))
    assert [p.shape[0] for p in twd.token_matrices(one)] == [900, 960]
    unclear = Characters(wide=256, tied=False)
    with pytest.raises(twd.LedgerError, match="tokens, positions may be"):
        twd.token_matrices(unclear)
    named = twd.token_matrices(unclear, ["tokens", "head"])
    assert [id(p) for p in named] == [id(unclear.tokens.weight), id(unclear.head.weight)]
    with pytest.raises(twd.LedgerError, match="no module 'wte'"):
        twd.param_groups(unclear, 0.1, "body", ["wte"])


def test_a_ledger_takes_what_tokenizers_give():
    model, ids = training.gpt(11, 8, 1, 2, 0), torch.arange(24).reshape(4, 6) % 11
    due = twd.TokenLedger(11).measure(model, [ids[:2], ids[2:, :4]]).report(edges=(1, ))
    mask = torch.ones(4, 6, dtype=torch.long)
    mask[2:, 4:] = 0
    found = twd.TokenLedger(11).measure(model, [{"input_ids": ids, "attention_mask": mask}]).report(edges=(1, ))
    assert found.micro == pytest.approx(due.micro, rel=1e-6) and (found.seen == due.seen).all()
    with pytest.raises(twd.LedgerError, match="padded on the left"):
        twd.TokenLedger(11).measure(model, [{"input_ids": ids, "attention_mask": mask.flip(1)}])
    with pytest.raises(twd.LedgerError, match="dictionary with such input_ids"):
        twd.TokenLedger(11).measure(model, [[1, 2, 3]])

    class Letters:
        def encode(self, text):
            return [ord(c) - ord("a") for c in text]
    assert twd.TokenLedger(11).read(model, Letters(), ["abcdefgh"], length=4).report(edges=(1, )).seen.sum() == 7
    assert twd.TokenLedger(4).device is None


def test_rows_decay_by_frequency_and_towards_the_mean():
    model = training.gpt(4, 8, 1, 2, 0)
    before = model.head.weight.detach().clone()
    twd.RowDecay(model, 0.5, "frequency", [16, 4, 1, 0]).step(0.1)
    assert torch.allclose(model.head.weight, before * (1 - 0.05 * torch.tensor([1, 0.5, 0.25, 0])[:, None]))
    before = model.head.weight.detach().clone()
    twd.RowDecay(model, 0.5, "mean").step(1.0)
    assert torch.allclose(model.head.weight, (before + before.mean(0)) / 2, atol=1e-7)


def test_free_features_by_convex_minimisation():
    counts, decay = np.array([40.0, 10.0, 3.0, 1.0]), 0.01
    from scipy.optimize import minimize
    k, total = 4, counts.sum()
    loss = lambda m: np.log1p((k - 1) * np.exp(-m))  # noqa: E731
    best = minimize(lambda m: (counts / total * loss(m) + decay * np.sqrt(counts * (k - 1) / k) * m).sum(), np.ones(4),
                    bounds=[(0, None)] * 4, tol=1e-12)
    assert twd.ufm_loss(counts, decay) == pytest.approx(loss(best.x), abs=1e-4)
    assert theory.optimum(counts, decay) == pytest.approx(best.fun, abs=1e-9)
    n = twd.threshold(total, k, decay)
    at = lambda x: twd.ufm_loss(np.array([x]), decay, (total, k))[0]  # noqa: E731
    assert at(n) == pytest.approx(math.log(k)) == at(n / 2) and at(n * 1.1) < math.log(k) - 0.01


def test_one_matrix_by_descent():
    f = np.array([0.7, 0.25, 0.05])
    assert twd.linear_loss(f, 0.02, 3) == pytest.approx(theory.descend(f, 0.02), abs=1e-7)
    assert theory.descend(f, 0.02)[2] > theory.descend(f, 0.002)[2]


def test_the_most_sensitive_type_is_that_of_finite_differences():
    margin, share = theory.most_sensitive(1000)
    f = np.geomspace(0.05, 5, 400) * twd.front(1000, 1e-4)
    rise = twd.linear_loss(f, 1.01e-4, 1000) - twd.linear_loss(f, 0.99e-4, 1000)
    assert f[rise.argmax()] / twd.front(1000, 1e-4) == pytest.approx(share, rel=0.03) and 3 < margin < 5


def test_table_of_bigrams_without_decay_is_the_counts():
    ids = torch.randint(4, (3000,), generator=torch.Generator().manual_seed(0))
    n = torch.bincount(ids[:-1] * 4 + ids[1:], minlength=16).double().view(4, 4)
    wanted = -(n * (n / n.sum(1, keepdim=True)).log()).sum(0) / n.sum(0)
    assert theory.bigram(ids, 4, (1e-2, 1e-9))[1] == pytest.approx(wanted.numpy(), abs=1e-4)


def test_half_time_is_the_flow():
    from scipy.integrate import solve_ivp
    k, f = 50, 0.03
    pi = lambda d: (k - 1) * np.exp(-d) / (1 + (k - 1) * np.exp(-d))  # noqa: E731
    found = solve_ivp(lambda _, d: k / (k - 1) * f * pi(d), (0, twd.half_time(f, k)), [0.0], rtol=1e-9)
    assert found.y[0, -1] == pytest.approx(math.log(k - 1), rel=1e-6)


def test_adjusted_logits_are_plain_where_all_are_equal():
    z, y = predictions()
    plain = training.objective("plain", 0, np.ones(7))(z, y)
    assert float(training.objective("adjusted", 1.0, np.full(7, 5))(z, y)) == pytest.approx(float(plain), rel=1e-6)
    tilted = training.objective("adjusted", 1.0, np.array([90, 1, 1, 1, 1, 1, 1]))(z, torch.zeros_like(y))
    assert float(tilted) < float(F.cross_entropy(z, torch.zeros_like(y)))


def test_decay_multiplies_what_no_gradient_holds():
    model, plan = training.gpt(11, 8, 1, 2, 0), training.Plan(30, 2, 4, 0.01)
    unused = model.embed.weight.detach()[10].clone()
    training.train(model, torch.arange(40) % 10, plan, torch.Generator().manual_seed(0), twd.param_groups(model, 2.0))
    assert torch.allclose(model.embed.weight[10], unused * np.exp(-2.0 * plan.dose), rtol=0.02)


def test_a_hot_model_is_cooled_on_the_piece_for_choices():
    class Sure(torch.nn.Linear):
        def forward(self, ids):
            return 40.0 * F.one_hot(ids, 5).float()

    ids = torch.randint(5, (400,), generator=torch.Generator().manual_seed(0))
    text = texts.Text(ids, ids, ids, ids.bincount(minlength=5).numpy(), (), list("abcde"))
    plain = experiments.row(experiments.measured(Sure(1, 1), ids, text, 8))[0]
    assert experiments.tempered(Sure(1, 1), text, 8)[0] < plain / 4


def test_parts_that_decay_are_what_they_say():
    model = training.gpt(11, 8, 2, 2, 0)
    sizes = {part: sum(p.numel() for g in experiments.decayed(model, 1.0, part) if g["weight_decay"] for p in g["params"])
             for part in ("everything", "matrices", "body", "tokens", "norms", "tokens and norms")}
    assert sizes["everything"] == sizes["matrices"] + sizes["norms"] == sizes["body"] + sizes["tokens and norms"]
    assert sizes["tokens"] == 2 * 11 * 8 and sizes["norms"] == 5 * 8


def test_words_are_types_of_their_own():
    if not data.have("newsgroups"):
        pytest.skip("data")
    text = texts.words(500, 3, 100)
    assert text.counts[1:].min() >= 0 and text.counts.sum() == 499 and not (text.train == 0).any()
    assert len(text.held) == len(text.choice) == 100 and text.names[int(text.train[1])] in text.names


def test_pieces_decode_to_the_text():
    if not data.have("bbe"):
        pytest.skip("data")
    text = texts.pieces("bbe", 400, 300, 0, 50)
    said = texts.tokenizer("bbe", 400).decode(text.train.tolist())
    assert said.strip() in texts.raw("bbe").replace("\n", "") and len(text.held) == 50 and text.types == 400


@pytest.mark.skipif(not data.have("bbe"), reason="data")
def test_two_processes_train_as_one():
    options = ("--text bbe --types 300 --tokens 4096 --width 32 --layers 2 --heads 4 --steps 12 --batch 8 --length 16 "
               "--rate 0.01 --looks 4 --decay 1").split()
    module = "book.language.token_weight_decay.sharded"
    alone = sharded.main(options)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", module, *options]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert out.returncode == 0, out.stderr[-800:]
    told = json.loads(next(line for line in out.stdout.splitlines() if line.startswith("{")))
    assert told["processes"] == 2 and told["loss"] == pytest.approx(alone, abs=1e-4)
    assert alone[-1] < alone[0]


def test_the_exercise_tells_right_from_wrong():
    def solved(loss, y, types):
        seen = y.bincount(minlength=types)
        return loss.mean(), (loss.new_zeros(types).index_add_(0, y, loss) / seen)[seen > 0].mean()

    def all_types(loss, y, types):
        return loss.mean(), loss.new_zeros(types).index_add_(0, y, loss).div(y.bincount(minlength=types).clamp_min(1)).mean()

    def stub(loss, y, types):
        raise NotImplementedError

    assert exercises.check_means(solved) == "right"
    assert exercises.check_means(stub).startswith("not written")
    assert "never come count" in exercises.check_means(all_types)
    assert "micro" in exercises.check_means(lambda loss, y, types: (loss.sum(), loss.mean()))
    assert "macro" in exercises.check_means(lambda loss, y, types: (loss.mean(), loss.mean()))
    assert "TypeError" in exercises.check_means(lambda loss: loss)


def test_the_gpt_is_causal():
    model = Gpt(20, 16, 2, 2)
    a, b = torch.arange(10)[None], torch.arange(10)[None].clone()
    b[0, 6:] += 1
    assert torch.allclose(model(a)[:, :6], model(b)[:, :6], atol=1e-6)
