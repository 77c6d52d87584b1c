"""Lyapunov spectra of matrices and of torch models in `lib.papers.probabilistic_stability`, against explicit
Hessians.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lib.papers import probabilistic_stability as ps


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny matrix products wait for each other on several threads of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mse(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).mean()


def batches_of(n, size, d_in, d_out, seed=0):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return [(draw(size, *np.atleast_1d(d_in)), draw(size, d_out)) for _ in range(n)]


def block_hessian(model, names_masks, batch, loss=mse):
    """Hessian of the loss in the masked entries, by torch's own reverse-over-reverse on the full parameters."""
    params = {n: p.detach().clone() for n, p in model.named_parameters()}
    index = {n: m.reshape(-1).nonzero()[:, 0] for n, m in names_masks.items()}
    sizes = [i.numel() for i in index.values()]

    def at(theta):
        full = dict(params)
        for (n, i), part in zip(index.items(), theta.split(sizes)):
            full[n] = params[n].reshape(-1).index_copy(0, i, part).reshape(params[n].shape)
        return loss(lambda x: torch.func.functional_call(model, full, (x,)), batch)

    start = torch.cat([params[n].reshape(-1)[i] for n, i in index.items()])
    return torch.autograd.functional.hessian(at, start)


# --- matrices -------------------------------------------------------------------------------------------------------


def test_spectrum_of_diagonal_matrices_is_exact():
    rng = np.random.default_rng(0)
    d = rng.normal(size=(500, 3, 4)) * np.array([4.0, 2.0, 1.0, 0.5])
    spectrum = ps.lyapunov_spectrum(np.stack([np.apply_along_axis(np.diag, 1, row) for row in d]), every=2, burn=0.5)
    exact = np.log(np.abs(d)).mean(axis=0)
    np.testing.assert_allclose(spectrum.exponents, exact, atol=0.35)
    full = ps.lyapunov_spectrum(torch.diag_embed(torch.from_numpy(d)), burn=0.0)
    np.testing.assert_allclose(full.exponents.sum(1), exact.sum(1), rtol=1e-10)  # the determinant
    assert np.all(np.diff(full.exponents, axis=1) < 0)


def test_spectrum_inputs_agree():
    A = torch.randn(60, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    want = ps.lyapunov_spectrum(A, k=2)
    for got in (ps.lyapunov_spectrum(A.numpy(), k=2), ps.lyapunov_spectrum(lambda t: A[t], k=2, n_steps=60)):
        np.testing.assert_allclose(got.exponents, want.exponents)
    np.testing.assert_allclose(ps.lyapunov_spectrum(iter(A), k=2).low, want.low)
    assert want.increments.shape == (54, 2, 2) and want.verdict(1).exponent == want.exponents[1, 0]


def test_saddle_spectrum_equals_the_explicit_matrices():
    rng = np.random.default_rng(0)
    C = rng.normal(size=(90, 4, 3, 5))
    lam = np.array([0.02, 0.1, 0.3, 0.6])
    A = np.zeros((90, 4, 8, 8))
    A[:, :, :3, 3:], A[:, :, 3:, :3] = C, C.swapaxes(2, 3)
    A = np.eye(8) + lam[:, None, None] * A
    for every in (1, 3):
        want = ps.lyapunov_spectrum(A, every=every)
        got = ps.saddle_spectrum(C, lam, every=every)
        np.testing.assert_allclose(got.exponents, want.exponents, atol=1e-12)
        np.testing.assert_allclose(got.increments, want.increments, atol=1e-10)
    streamed = ps.saddle_spectrum((C[a : a + 20] for a in range(0, 90, 20)), lam, every=3)
    np.testing.assert_allclose(streamed.exponents, want.exponents, atol=1e-12)
    np.testing.assert_allclose(ps.saddle_spectrum(C, lam, k=2, every=3).exponents, want.exponents[:, :2], atol=1e-12)


def test_saddle_spectrum_of_one_dimension_is_the_scalar_theory():
    chi = np.random.default_rng(0).normal(0.2, 1.0, size=(4000, 30, 1, 1))
    spectrum = ps.saddle_spectrum(chi, 0.5)
    law = ps.gaussian(0.2, 1.0)
    exact = sorted([law.lyapunov(-0.5), law.lyapunov(0.5)], reverse=True)
    np.testing.assert_allclose(spectrum.exponents.mean(0), exact, atol=5e-3)


def test_noise_repels_in_high_dimension():
    rng = np.random.default_rng(0)
    for d in (3, 6):
        spectrum = ps.saddle_spectrum((rng.normal(size=(500, 64, d, d)) for _ in range(6)), 0.05, k=2)
        assert spectrum.exponents[:, 0].mean() / 0.05**2 == pytest.approx((d - 2) / 2, rel=0.15)


def test_noiseless_saddle_has_as_many_positive_exponents_as_the_signal_has_rank():
    C = np.broadcast_to(np.diag([2.0, 1.5, 1.0, 0.0]), (400, 1, 4, 4))
    assert ps.saddle_spectrum(C, 0.2, burn=0.5).n_positive.tolist() == [3]


# --- models ---------------------------------------------------------------------------------------------------------


def linear_net(bias=False):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5, bias=bias), nn.Linear(5, 2, bias=bias)).double()


@pytest.mark.parametrize("method", ["forward", "reverse"])
def test_model_spectrum_equals_the_explicit_hessian(method):
    model, batches, lr = linear_net(), batches_of(7, 4, 3, 2), 0.3
    masks = {n: torch.ones_like(p, dtype=torch.bool) for n, p in model.named_parameters()}
    H = torch.stack([block_hessian(model, masks, b) for b in batches])
    picks = np.random.default_rng(3).integers(7, size=40)
    A = torch.eye(25, dtype=torch.float64) - lr * H[picks]
    want = ps.lyapunov_spectrum(A[:, None], k=4, seed=3)
    got = ps.model_spectrum(model, mse, batches, lr, k=4, steps=40, seed=3, method=method)
    np.testing.assert_allclose(got.increments, want.increments[:, 0], atol=1e-9)
    np.testing.assert_allclose(got.exponents, want.exponents[0], atol=1e-10)
    assert (got.method, got.n_directions) == (method, 25) and got.verdict.exponent == got.exponents[0]
    assert got.drift > 1e-3 and "gradient" in got.warning  # a random point is not stationary


def test_interpolating_minimum_is_stable_at_small_rates_only():
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False).double()
    x = torch.randn(4000, 1, dtype=torch.float64)
    batches = [(v[None], model(v[None]).detach()) for v in x]
    half = lambda m, b: ((m(b[0]) - b[1]) ** 2).sum() / 2  # noqa: E731
    law = ps.empirical(x[:, 0].numpy() ** 2)
    for lr, label in [(1.0, "stable"), (4.0, "unstable")]:
        got = ps.model_spectrum(model, half, batches, lr, k=1, steps=600)
        assert got.verdict.verdict == label and got.drift < 1e-12 and got.warning == ""
        assert got.low[0] < law.lyapunov(lr) < got.high[0]


@pytest.mark.parametrize("activation", [nn.Identity, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("bias", [False, True])
def test_neuron_signals_are_the_mixed_hessian(activation, bias):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 5, bias=bias), activation(), nn.Linear(5, 2, bias=bias)).double()
    before = {n: p.clone() for n, p in model.named_parameters()}
    batches = batches_of(3, 6, 3, 2)
    C = ps.neuron_signals(model, ("0", "2"), mse, batches, units=[1, 4])
    assert C.shape == (3, 2, 2, 3 + bias)
    for i, unit in enumerate((1, 4)):
        masks = ps.neuron_params(model, ("0", "2"), unit)
        with ps.dead_neuron(model, ("0", "2"), unit):
            for b, batch in enumerate(batches):
                H = block_hessian(model, masks, batch)
                q = 3 + bias  # w, bias, then u
                np.testing.assert_allclose(-H[q:, :q], C[b, i], atol=1e-13)
                np.testing.assert_allclose(H[:q, :q], 0, atol=1e-13)
                np.testing.assert_allclose(H[q:, q:], 0, atol=1e-13)
    for n, p in model.named_parameters():
        assert torch.equal(p, before[n])


def test_neuron_exponent_agrees_with_the_model_spectrum():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2)).double()
    batches = batches_of(6, 4, 3, 2)
    spectrum = ps.neuron_exponent(ps.neuron_signals(model, ("0", "2"), mse, batches, 3), 0.3, steps=300, burn=0.0)
    with ps.dead_neuron(model, ("0", "2"), 3):
        masks = ps.neuron_params(model, ("0", "2"), 3)
        got = ps.model_spectrum(model, mse, batches, 0.3, k=6, params=masks, steps=300, burn=0.0)
    assert got.drift < 1e-12 and got.warning == "" and got.n_directions == 6
    np.testing.assert_allclose(got.exponents.sum(), spectrum.exponents.sum(), atol=1e-10)  # the determinant
    np.testing.assert_allclose(got.exponents, spectrum.exponents[0], atol=0.02)  # two frames, 300 steps
    assert got.verdict.verdict == spectrum.verdict().verdict == "unstable"


class ConvNet(nn.Module):
    def __init__(self, stride=1):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=1, stride=stride)
        self.norm = nn.BatchNorm2d(2)
        self.b = nn.Conv2d(4, 3, 2, stride=2)
        self.head = nn.Linear(3, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        h = nn.functional.silu(self.a(self.norm(x)))
        return self.head(self.drop(self.b(h).tanh().mean((2, 3))))


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_net(stride):
    torch.manual_seed(0)
    model = ConvNet(stride).double()
    batches = batches_of(3, 4, (2, 8, 6), 2)
    C = ps.neuron_signals(model, ("a", "b"), mse, batches, 2)
    assert C.shape == (3, 1, 3 * 4, 2 * 9 + 1)
    masks = ps.neuron_params(model, ("a", "b"), 2)
    with ps.dead_neuron(model, ("a", "b"), 2):
        H = block_hessian(model.eval(), masks, batches[1])
        got = ps.model_spectrum(model.train(), mse, batches, 0.5, k=2, params=masks, steps=10)
    np.testing.assert_allclose(-H[19:, :19], C[1, 0], atol=1e-13)
    assert got.drift == 0 and got.n_directions == 31
    assert model.training and model.norm.num_batches_tracked == 0  # left as it was
    everything = ps.model_spectrum(model, mse, batches, 0.1, k=2, steps=4, params=["a", "head.weight"])
    assert everything.n_directions == 4 * 18 + 4 + 6 and everything.method == "forward"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_hugging_face_transformer(family):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if family == "gpt2":
        config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=29, n_positions=16)
        model, block = transformers.GPT2LMHeadModel(config), "transformer.h.1.mlp"
        modules, unit = (f"{block}.c_fc", f"{block}.c_proj"), 5
    else:
        config = transformers.LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=29
        )
        model, block = transformers.LlamaForCausalLM(config), "model.layers.1.mlp"
        modules, unit = (f"{block}.up_proj", f"{block}.down_proj"), 5
    model = model.double()
    g = torch.Generator().manual_seed(0)
    batches = [torch.randint(29, (2, 7), generator=g) for _ in range(3)]
    loss = lambda m, ids: m(input_ids=ids, labels=ids).loss  # noqa: E731
    C = ps.neuron_signals(model, modules, loss, batches, unit)
    q = 17 if family == "gpt2" else 16
    assert C.shape == (3, 1, 16, q)
    masks = ps.neuron_params(model, modules, unit)
    with ps.dead_neuron(model, modules, unit):
        lr, k = 5.0, 16 + q
        got = ps.model_spectrum(model, loss, batches, lr, k=k, params=masks, steps=6, burn=0.0)
        slow = ps.model_spectrum(model, loss, batches, lr, k=k, params=masks, steps=6, burn=0.0, method="reverse")
    assert got.method == "forward" and got.drift < 1e-12
    np.testing.assert_allclose(got.exponents, slow.exponents, atol=1e-6)  # the model's loss is float32
    same_draws = ps.neuron_exponent(C, lr, steps=6, burn=0.0)
    np.testing.assert_allclose(got.exponents.sum(), same_draws.exponents.sum(), atol=1e-5)
    top = ps.model_spectrum(model, loss, batches, 0.1, k=2, params=[block], steps=3)
    assert np.isfinite(top.exponents).all() and top.warning


def test_falls_back_to_double_backward():
    class Cube(torch.autograd.Function):  # no forward mode, no vmap rule
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            return 3 * ctx.saved_tensors[0] ** 2 * grad

    model, batches = nn.Linear(2, 1).double(), batches_of(3, 4, 2, 1)
    odd = lambda m, b: (Cube.apply(m(b[0])) ** 2).mean()  # noqa: E731
    plain = lambda m, b: (m(b[0]) ** 6).mean()  # noqa: E731
    got, want = (ps.model_spectrum(model, f, batches, 0.1, k=3, steps=5) for f in (odd, plain))
    assert (got.method, want.method) == ("reverse", "forward")
    np.testing.assert_allclose(got.exponents, want.exponents, atol=1e-12)


def test_any_iterable_of_batches():
    model, batches = linear_net(), batches_of(5, 4, 3, 2)
    loader = torch.utils.data.DataLoader([(x, y) for b in batches for x, y in zip(*b)], batch_size=4)
    got = ps.model_spectrum(model, mse, loader, 0.1, k=1, steps=100, burn=0.0)
    assert len(got.increments) == 5


@pytest.mark.parametrize(
    "call",
    [
        lambda m, b: ps.model_spectrum(m, mse, b, lr=-1.0),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, params=["nothing"]),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, params="0.weight"),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, params=[]),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, params={"0.weight": torch.ones(2)}),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, k=26),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, method="magic"),
        lambda m, b: ps.model_spectrum(m, mse, [], 0.1),
        lambda m, b: ps.model_spectrum(m, mse, b, 0.1, steps=3, every=4),
        lambda m, b: ps.model_spectrum(m, lambda m, b: m(b[0]), b, 0.1),
        lambda m, b: ps.model_spectrum(m, lambda m, b: mse(m, b) * torch.nan, b, 0.1),
        lambda m, b: ps.neuron_signals(m, ("0", "none"), mse, b),
        lambda m, b: ps.neuron_signals(m, "0", mse, b),
        lambda m, b: ps.neuron_signals(m, ("0", "1"), mse, b, units=5),
        lambda m, b: ps.neuron_signals(m, ("1", "0"), mse, b),
        lambda m, b: ps.neuron_signals(m, ("0", "1"), mse, []),
        lambda m, b: ps.neuron_signals(nn.Sequential(m[0], nn.ReLU(), m[1]), ("0", "2"), mse, b),
        lambda m, b: ps.neuron_signals(nn.Sequential(m[0], nn.LayerNorm(5).double(), m[1]), ("0", "2"), mse, b),
        lambda m, b: ps.neuron_exponent(np.zeros(3), 0.1),
        lambda m, b: ps.lyapunov_spectrum(np.zeros((5, 3, 3))),
        lambda m, b: ps.lyapunov_spectrum(lambda t: torch.eye(2)[None]),
        lambda m, b: ps.lyapunov_spectrum(np.full((5, 1, 2, 2), np.nan)),
        lambda m, b: ps.saddle_spectrum(np.zeros((5, 3, 3)), 0.1),
        lambda m, b: ps.saddle_spectrum(np.ones((5, 1, 3, 3)), 0.1, k=7),
        lambda m, b: ps.saddle_spectrum(np.ones((5, 2, 3, 3)), np.ones(3)),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError, match=r"^[^\n]{20,220}\.$"):
        call(linear_net(), batches_of(2, 4, 3, 2))
