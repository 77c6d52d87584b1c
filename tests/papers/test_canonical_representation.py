"""The instrument against closed forms, autograd and plain loops; what it refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from book.dynamics.canonical_representation import exercises, experiments, linear
from lib import models
from lib.papers import canonical_representation as cr
from lib.papers.canonical_representation import factorial, nets, tasks

cross_entropy = nn.functional.cross_entropy
X, Y = torch.randn(48, 6, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 3


def small(bias=False):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5, bias), nn.Tanh(), nn.Linear(5, 3, bias)).double()


def loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def halves(x, y):
    return [(x[i:i + 12], y[i:i + 12]) for i in range(0, 48, 12)]


# ---- comparing matrices

def test_alignment_is_one_for_proportional_matrices_and_ignores_a_constant():
    A = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 3.0]])
    assert cr.alignment(A, 3 * A + 2) == pytest.approx(1) and cr.alignment(A, -A) == pytest.approx(-1)
    B = A + np.diag([5.0, -3, 1])
    assert cr.alignment(A, B, diagonal=False) == pytest.approx(1) and cr.alignment(A, B) < 1
    many = cr.alignment(np.stack([A, B]), A)
    assert many.shape == (2,) and many[0] == pytest.approx(1)


@pytest.mark.parametrize("A, B, words", [
    (np.ones((2, 3)), np.ones((2, 2)), "square"), (np.eye(2), np.eye(3), "no common entries"),
    (np.full((2, 2), np.nan), np.eye(2), "NaN"), (np.ones((2, 2)), np.eye(2), "all equal")])
def test_alignment_refuses_what_has_no_correlation(A, B, words):
    with pytest.raises(ValueError, match=words):
        cr.alignment(A, B)


def test_the_baseline_is_that_of_random_turns():
    rng = np.random.default_rng(0)
    A, B = (np.diag(np.linspace(0.1, 2, 50) ** p) for p in (1, 3))
    turned = []
    for _ in range(60):
        Q = np.linalg.qr(rng.standard_normal((50, 50)))[0]
        turned.append(cr.alignment(A, Q @ B @ Q.T))
    assert cr.random_baseline(A, B) == pytest.approx(np.mean(turned), abs=0.01)
    n, d = 64, 64
    wishart = [X.T @ X for X in rng.standard_normal((2, n, d))]
    assert cr.random_baseline(*wishart) == pytest.approx(n * (d - 1) / (n * (d - 1) + d * (d + 1)), abs=0.01)
    with pytest.raises(ValueError, match="two rows"):
        cr.random_baseline(np.eye(1), np.eye(1))


def test_participation_ratio_counts_equal_directions():
    assert cr.participation_ratio(np.diag([2.0, 2, 2, 0])) == pytest.approx(3)


def test_exponents_are_found_exactly_and_refused_without_modes():
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    z = np.geomspace(1, 50, 8)
    Z, X = Q @ np.diag(z) @ Q.T, 7 * Q @ np.diag(z**-1.5) @ Q.T
    e = cr.exponent(X, Z)
    assert (e.slope, e.r, e.n_modes) == (pytest.approx(-1.5), pytest.approx(-1), 8)
    with pytest.raises(ValueError, match="three modes"):
        cr.exponent(np.eye(4), np.diag([1.0, 1e-6, 1e-6, 1e-6]))
    with pytest.raises(ValueError, match="three modes"):
        cr.exponent(np.eye(4), np.eye(4))


def test_the_phase_table_and_its_degenerate_pairs():
    table = cr.phase_table()
    assert table["f-RGA", "b-RWA"] == (1, 2, 3, 2) and table["f-RGA", "b-GWA"] == (-1, 0, 1, 0)
    assert cr.degenerate() == [("f-RGA", "b-RGA"), ("f-RWA", "b-RWA"), ("f-GWA", "b-GWA")]
    W = np.random.default_rng(2).standard_normal((5, 7))
    Za, Zb = W.T @ W, W @ W.T
    assert np.allclose(W @ Za @ W.T, Zb @ Zb) and np.allclose(W.T @ Zb @ Zb @ W, np.linalg.matrix_power(Za, 3))
    assert np.allclose(W @ np.linalg.pinv(Za) @ W.T, np.eye(5))


# ---- ensembles

@pytest.mark.parametrize("act, residual", [("relu", nets.cross_entropy), ("tanh", nets.cross_entropy),
                                           ("tanh", nets.squares)])
def test_the_backward_pass_is_that_of_autograd(act, residual):
    W = [w.requires_grad_() for w in nets.start([6, 5, 4, 3], [0, 1], dtype=torch.float64)]
    x, y = X.double(), Y if residual is nets.cross_entropy else torch.randn(48, 3, dtype=torch.float64)
    h = nets.forward(W, x, act)
    g = nets.backward(W, h, residual(h[-1], y), act)
    f = h[-1]
    total = sum(cross_entropy(f[s], y, reduction="sum") if y.ndim == 1 else 0.5 * ((f[s] - y) ** 2).sum() for s in (0, 1))
    for w, gb, ha, true in zip(W, g, h, torch.autograd.grad(total, W)):
        assert torch.allclose(-torch.bmm(gb.mT, ha), true, atol=1e-12), w.shape


def test_a_step_is_the_lemma_and_members_do_not_depend_on_company():
    x = X.double()
    alone = nets.start([6, 5, 3], [7], dtype=torch.float64)
    nets.Sgd(alone, x, Y, nets.cross_entropy, 0.1, 0.01, 4, [7]).run(300)
    company = nets.start([6, 5, 3], [3, 7, 7], dtype=torch.float64)
    nets.Sgd(company, x, Y, nets.cross_entropy, 0.1, torch.tensor([0.5, 0.01, 0.0]), 4, [3, 7, 7]).run(300)
    for a, b in zip(alone, company):
        assert torch.allclose(a[0], b[1], atol=1e-12) and not torch.allclose(a[0], b[2], atol=1e-3)
    W = nets.start([6, 5, 3], [7], dtype=torch.float64)
    sgd = nets.Sgd(W, x, Y, nets.cross_entropy, 0.1, 0.01, 0, [7])
    before = [w.clone() for w in W]
    _, _, push = sgd.step()
    for w, v, p in zip(W, before, push):
        assert torch.allclose(w, 0.999 * v + 0.1 * p, atol=1e-15)


def test_noisy_labels_have_the_share_that_is_asked_for():
    label = torch.zeros(20000, dtype=torch.long)
    noisy = nets.noisy_labels(label, 0.8, 10, torch.Generator().manual_seed(0))
    assert (noisy != 0).double().mean().item() == pytest.approx(0.72, abs=0.01)


def test_linear_nets_reach_the_exponents_of_the_theorem():
    A = linear.targets(np.linspace(3, 1.2, 5), [0, 1])
    W = linear.descend(A, 3, 0.05, 0.05, 6000, [0, 1])
    for i, want in ((1, (0, 1, 2, 1)), (2, (1, 2, 1, 0)), (3, (2, 3, 0, -1))):
        assert np.allclose(linear.exponents(A, W, i), want, atol=1e-6)
        assert linear.reciprocal(A, W, i, 0.05).max() < 1e-10
    assert linear.reciprocal(A, linear.descend(A, 3, 0.05, 0.05, 50, [0, 1]), 1, 0.05).min() > 1e-3


def test_the_account_of_the_gram_matrix_closes():
    E = experiments.balance((1e-2,), 60, 20, 0.1, 8, 16, 3, [0, 1], "cpu")
    assert E["miss"].max() < 1e-10 and np.allclose(E["trace"].sum(-1), 0, atol=1e-10)


def test_glyph_tasks_share_no_letter():
    g = tasks.data.glyphs()
    inside, outside = tasks.glyph_split(g, 4000, 1000)
    assert len(inside) == 4000 and len(outside) > 900 and not set(g.y[inside]) & set(g.y[outside])


# ---- designs

def test_effects_recover_a_planted_design():
    levels = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 4, indexing="ij"))
    y = 0.3 + 0.2 * levels[0] - 0.1 * levels[2] + 0.4 * levels[1] * levels[3]
    e = cr.effects(np.stack([y, y + 1]))
    assert np.allclose(e["weight decay"], 0.2) and np.allclose(e["relaxation"], -0.1) and np.allclose(e["width"], 0)
    assert np.allclose(e["batch size x width"], 0.2) and np.allclose(e["weight decay x width"], 0) and len(e) == 10
    with pytest.raises(ValueError, match="two levels"):
        cr.effects(np.zeros((2, 2, 2)))


@pytest.mark.parametrize("arch", ["conv", "attention"])
def test_networks_of_the_design_are_trained_and_read(arch):
    out = factorial.network(arch, (1e-2, 4e-2), (4, 8), (0.01, 0.02), (16, 32), 0.3, [5, 6], "cpu")["alpha"]
    assert out.shape == (2, 2, 2, 2, 2) and np.isfinite(out).all() and np.ptp(out[0]) > 1e-4


# ---- the probe

def naive(model, layer, x, y):
    """The six matrices by autograd on whole tensors, with the activations kept."""
    kept = {}
    handle = layer.register_forward_hook(lambda m, a, o: kept.update(h=a[0].detach(), o=o))
    out = cross_entropy(model(x), y, reduction="sum")
    g = -torch.autograd.grad(out, kept["o"])[0]
    handle.remove()
    W = layer.weight.detach()
    hb = kept["o"].detach() - (layer.bias.detach() if layer.bias is not None else 0)
    flat = [v.flatten(0, -2) for v in (kept["h"], hb, g @ W, g)]
    return nets.moments_of(*(v[None] for v in flat), W[None], True), nets.moments_of(*(v[None] for v in flat), W[None], False)


@pytest.mark.parametrize("bias", [False, True])
def test_the_probe_streams_what_autograd_gives(bias):
    model = small(bias)
    with cr.attach(model) as probe:
        probe.run(halves(X.double(), Y), loss)
    for k in ("0", "2"):
        for want, normalised in zip(naive(model, model[int(k)], X.double(), Y), (True, False)):
            got = probe.moments(k, normalised)
            assert all(np.allclose(got[m], want[m][0], atol=1e-10) for m in want), (k, normalised)
    assert probe.report()["0"].n_samples == 48


def test_convolutions_are_matrices_on_patches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)).double()
    x = torch.randn(48, 2, 4, 4, dtype=torch.float64)
    with cr.attach(model, ["0"]) as probe:
        probe.run(halves(x, Y), loss)
    conv = model[0]
    patches = nn.functional.unfold(x, 3, 1, 1, 2).transpose(1, 2).flatten(0, 1)
    W = conv.weight.detach().flatten(1)
    z = (patches @ W.T).requires_grad_()
    image = (z + conv.bias.detach()).unflatten(0, (48, 4)).transpose(1, 2).unflatten(2, (2, 2))
    g = -torch.autograd.grad(cross_entropy(model[3](image.relu().flatten(1)), Y, reduction="sum"), z)[0]
    want = nets.moments_of(patches[None], (patches @ W.T)[None], (g @ W)[None], g[None], W[None], True)
    some = g[g.norm(dim=1) > 0][None]  # a patch whose outputs are all cut off has no gradient
    want |= {k: v for k, v in nets.moments_of(some, some, some @ W, some, W[None], True).items() if k in ("Ga", "Gb")}
    got = probe.moments("0")
    assert all(np.allclose(got[m], want[m][0], atol=1e-9) for m in want)


def test_attention_is_read_inside_torchs_module():
    torch.manual_seed(0)
    mha, head = nn.MultiheadAttention(4, 2, batch_first=True).double(), nn.Linear(4, 3).double()
    model = nn.ModuleDict({"mha": mha, "head": head})
    x = torch.randn(48, 5, 4, dtype=torch.float64)

    def through(m, batch):
        return cross_entropy(m["head"](m["mha"](batch[0], batch[0], batch[0], need_weights=False)[0].mean(1)), batch[1])

    linear_before = torch.nn.functional.linear
    with cr.attach(model) as probe:
        probe.run(halves(x, Y), through)
    assert torch.nn.functional.linear is linear_before
    assert {t.name for t in probe.targets} == {"mha.q_proj", "mha.k_proj", "mha.v_proj", "mha.out_proj", "head"}
    q, k, v = (nn.Linear(4, 4).double() for _ in range(3))
    for i, m in enumerate((q, k, v)):
        m.weight.data, m.bias.data = mha.in_proj_weight.data[4 * i:4 * i + 4], mha.in_proj_bias.data[4 * i:4 * i + 4]

    class Spelled(nn.Module):
        """The same attention in plain modules."""

        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.out, self.head = q, k, v, mha.out_proj, head

        def forward(self, x):
            a, b, c = (m(x).unflatten(2, (2, 2)).transpose(1, 2) for m in (self.q, self.k, self.v))
            h = nn.functional.scaled_dot_product_attention(a, b, c).transpose(1, 2).flatten(2)
            return self.head(nn.functional.linear(h, self.out.weight, self.out.bias).mean(1))

    spelled = Spelled()
    for name, layer in (("mha.q_proj", q), ("mha.v_proj", v)):
        want = naive(spelled, layer, x, Y)[0]
        got = probe.moments(name)
        assert all(np.allclose(got[m], want[m][0], atol=1e-9) for m in want), name


def test_hugging_face_models_are_read():
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(0)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0,
                                     eos_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)).double()
    ids = torch.randint(32, (8, 6))
    with cr.attach(gpt) as probe:
        probe.run([ids[:4], ids[4:]], lambda m, b: cross_entropy(m(input_ids=b).logits.flatten(0, 1), b.flatten()))
    report = probe.report()
    assert report["transformer.h.0.attn.c_attn"].d_out == 24 and report["lm_head"].d_in == 8
    assert np.isfinite(report["transformer.h.0.mlp.c_proj"].alpha).all() and "lm_head" in repr(report)


def test_a_detached_probe_leaves_no_trace():
    model, other = small(), small()
    probe = cr.attach(model)
    probe.run(halves(X.double(), Y), loss)
    assert all(p.grad is None for p in model.parameters())
    for m in (model, other):
        loss(m, (X.double(), Y)).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), other.parameters()))
    probe.run(halves(X.double(), Y), loss)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), other.parameters()))
    probe.detach()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(model(X.double()), other(X.double()))


def test_it_works_under_autocast_and_with_fewer_rows():
    model = small().float()
    with cr.attach(model, max_rows=24) as probe:
        with torch.autocast("cpu", torch.bfloat16):
            probe.run([(X, Y)] * 70, loss)  # more batches than are kept in single precision
    full = cr.attach(model)
    full.run([(X[::2], Y[::2])], loss)
    for m in ("Ha", "Gb"):
        assert np.allclose(probe.moments("0")[m], full.moments("0")[m], atol=0.02)
    report = full.report()["0"]
    assert np.isnan(report.low).all() and np.isfinite(probe.report()["0"].low).all()


def test_intervals_hold_the_estimate_and_sampling_can_pause():
    model = small()
    probe = cr.attach(model, raw=False)
    probe.enabled = False
    probe.run(halves(X.double(), Y), loss)
    with pytest.raises(cr.ProbeError, match="never called"):
        probe.report()
    probe.enabled = True
    rng = np.random.default_rng(0)
    draws = [torch.tensor(rng.standard_normal((40, 6))) for _ in range(16)]
    probe.run([(x, (x[:, 0] > 0).long()) for x in draws], loss)
    r = probe.report()["0"]
    assert (r.low <= r.alpha + 0.05).all() and (r.alpha <= r.high + 0.05).all() and (r.high - r.low < 0.6).all()
    with pytest.raises(cr.ProbeError, match="raw=True"):
        probe.moments("0", normalised=False)


@pytest.mark.parametrize("model, layers, words", [
    (nn.Sequential(nn.ReLU()), None, "no linear map"), (small(), ["9"], "has no layer 9"), (small(), ["1"], "is a Tanh")])
def test_what_cannot_be_attached(model, layers, words):
    with pytest.raises(cr.ProbeError, match=words):
        cr.attach(model, layers)


def test_zero_gradients_have_no_direction_and_keywords_are_read():
    model = small()
    mask = torch.arange(48) % 3 != 0

    def masked(m, b):
        h = m[2](m[1](m[0](input=b[0])))
        return (cross_entropy(h, b[1], reduction="none") * mask).sum() / 48

    with cr.attach(model, blocks=1) as probe:
        probe.run([(X.double(), Y)], masked)
    with cr.attach(model, blocks=1) as kept:
        kept.run([(X[mask].double(), Y[mask])], loss)
    assert np.allclose(probe.moments("0")["Gb"], kept.moments("0")["Gb"], atol=1e-10)
    assert np.allclose(probe.moments("0", False)["Gb"], kept.moments("0", False)["Gb"] * 2 / 3, atol=1e-10)


def test_what_cannot_be_measured():
    model = small()
    with cr.attach(model) as probe:
        model[0](X.double())
        with pytest.raises(cr.ProbeError, match="received no gradient"):
            probe.report()
    with cr.attach(model) as probe:
        probe.run([(X[:1].double(), Y[:1])], loss)
        with pytest.raises(cr.ProbeError, match="saw 1 sample"):
            probe.report()
        with pytest.raises(cr.ProbeError, match="no layer 7"):
            probe.moments("7")
    with cr.attach(model) as probe, pytest.raises(cr.ProbeError, match="NaN or infinite"):
        probe.run(halves(X.double(), Y), lambda m, b: loss(m, b) * float("inf"))
    for p in model[2].parameters():
        p.requires_grad_(False)
    with cr.attach(model, ["2"]) as probe, pytest.raises(cr.ProbeError, match="no gradient reaches"):
        with torch.no_grad():
            h = model[1](model[0](X.double()))
        model[2](h)
    with pytest.raises(cr.ProbeError, match="blocks=0"):
        cr.attach(model, blocks=0)
    with pytest.raises(cr.ProbeError, match="reduction"):
        cr.attach(model, reduction="none")
    with pytest.raises(cr.ProbeError, match="part of the attention"):
        cr.attach(nn.TransformerEncoderLayer(4, 2, 8), ["self_attn.out_proj"])
    with pytest.raises(cr.ProbeError, match="groups"):
        cr.attach(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)))


# ---- models and exercises

def test_the_small_models_have_the_shapes_they_say():
    assert models.ResNet(3, 7, (8, 16), 1)(torch.randn(2, 3, 8, 8)).shape == (2, 7)
    assert models.RowTransformer(4, 6, 5)(torch.randn(2, 24)).shape == (2, 5)
    gpt = models.Gpt(11, 16, 1, 2)
    ids = torch.randint(11, (2, 9))
    assert gpt(ids).shape == (2, 9, 11)
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 11
    assert torch.allclose(gpt(ids)[:, :-1], gpt(changed)[:, :-1], atol=1e-6)  # no look into the future


def test_the_check_fails_the_stub_passes_the_solution_and_rejects_wrong_answers(cell):
    stub = cell("canonical-representation", "exercise-baseline")["baseline_of"]
    assert exercises.check_baseline(stub).startswith("not written yet")
    solution = cell("canonical-representation", "solution-baseline")["solved_baseline_of"]
    assert exercises.check_baseline(solution) == "right"
    wrong = [(lambda A, B: float(cr.alignment(A, B)), "as it stands"), (lambda A, B: 0.0, "without diagonals"),
             (lambda A, B: float(cr.random_baseline(A, A)), "another value")]
    for answer, hint in wrong:
        said = exercises.check_baseline(answer)
        assert said.startswith("wrong") and hint in said, said


def test_one_narrow_layer_does_not_lose_the_report_of_the_others():
    gen = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 1))
    batches = [(torch.randn(64, 5, generator=gen), torch.randn(64, 1, generator=gen)) for _ in range(4)]
    with cr.attach(model) as probe:
        report = probe.run(batches, lambda m, b: (m(b[0]) - b[1]).square().mean()).report()
    assert [r.name for r in report.layers] == ["0"] and report.narrow == ["2"] and np.isfinite(report["0"].alpha).all()
    assert "of one input or output: 2" in repr(report)
    for name, why in (("2", "one input or output"), ("typo", "is not in the report")):
        with pytest.raises(cr.ProbeError, match=why):
            report[name]


def test_an_exponent_of_what_is_no_second_moment_is_refused():
    with pytest.raises(ValueError, match="no second moment"):
        cr.exponent(np.diag([1.0, 2.0, 4.0, -1.0]), np.diag([1.0, 2.0, 4.0, 8.0]))
