"""Built networks against closed forms and counts; pieces, emulation, training; what is refused."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev
from torch import nn

from book.guarantees.multiplicative_networks import exercises, experiments, language, training
from lib import data
from lib.papers import multiplicative_networks as mn
from lib.papers.multiplicative_networks.builders import ridge_coefficients, split_coefficients
from lib.papers.multiplicative_networks.circuits import Builder, combine

X = torch.linspace(-1, 1, 301, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("n, gates, depth", [(1, 0, 0), (2, 1, 1), (3, 2, 2), (8, 7, 3), (33, 32, 6), (64, 63, 6)])
def test_all_chebyshev_polynomials_with_their_counts(n, gates, depth):
    net = mn.chebyshev_network(n)
    c = mn.count(net)
    assert (c.gates, c.depth, c.units) == (gates, depth, 0)
    want = np.cos(np.arange(n + 1) * np.arccos(X.numpy()))
    assert np.abs(net(X).detach().numpy() - want).max() < n**2 * 1e-14


@pytest.mark.parametrize("n", [2, 7, 100, 255, 256])
def test_one_polynomial_takes_two_gates_a_doubling(n):
    net = mn.chebyshev_network(n, one=True)
    assert mn.count(net).gates <= 2 * np.floor(np.log2(n))
    assert np.abs(net(X).detach().numpy()[:, 0] - np.cos(n * np.arccos(X.numpy()[:, 0]))).max() < n**2 * 1e-14
    assert mn.count(mn.chebyshev_network(256, one=True)).gates == 8


@pytest.mark.parametrize("n", [0, 1, 2, 5, 16, 64, 100])
def test_any_polynomial_by_baby_and_giant_steps(n):
    c = np.random.default_rng(n).standard_normal(n + 1)
    net = mn.polynomial_network(c)
    want = chebyshev.chebval(X.numpy()[:, 0], c)
    assert np.abs(net(X).detach().numpy()[:, 0] - want).max() < 1e-12 * np.abs(c).sum()
    assert np.abs(net.evaluate(X[:, 0], block=100).numpy() - want).max() < 1e-12 * np.abs(c).sum()
    assert mn.count(net).gates <= max(2 * np.sqrt(2 * (n + 1)) - 2, 0)
    assert mn.count(mn.polynomial_network(c, p=len(c))).gates == max(n - 1, 0)


def test_the_split_is_an_identity():
    c = np.random.default_rng(0).standard_normal(23)
    A = split_coefficients(c, 5)
    t = np.cos(np.linspace(0, np.pi, 50))
    inner = np.cos(np.arange(5)[:, None] * np.arccos(t))
    outer = np.cos(5 * np.arange(len(A))[:, None] * np.arccos(t))
    assert np.allclose(((A @ inner) * outer).sum(0), chebyshev.chebval(t, c))


@pytest.mark.parametrize("d, m, kind", [(1, 4, "euclid"), (2, 8, "cross"), (3, 4, "total_degree"), (4, 4, "euclid")])
def test_products_over_index_sets_take_one_gate_each(d, m, kind):
    indices = getattr(mn, kind)(d, m)
    net, x = mn.sobolev_network(indices), torch.rand(20, d, dtype=torch.float64) * 2 - 1
    c = mn.count(net)
    assert c.gates == len(indices) - 1 - d and c.depth <= np.ceil(np.log2(m)) + np.ceil(np.log2(d))
    want = np.stack([np.cos(np.array(k) * np.arccos(x.numpy())).prod(1) for k in indices], 1)
    assert np.abs(net(x).detach().numpy() - want).max() < 1e-13
    one = mn.sobolev_network(indices, np.arange(len(indices)))
    assert np.allclose(one(x).detach().numpy()[:, 0], want @ np.arange(len(indices)))


def test_bandlimited_networks_reach_their_accuracy():
    rng = np.random.default_rng(0)
    w, a, phase = rng.uniform(-2, 2, (6, 3)), rng.standard_normal(6), rng.uniform(0, 6, 6)
    x = rng.random((200, 3))
    for eps in (1e-2, 1e-8):
        net = mn.bandlimited_network(w, a, phase, eps)
        assert np.abs(net(torch.tensor(x)).detach().numpy()[:, 0] - np.cos(x @ w.T + phase) @ a).max() < eps
    assert mn.count(mn.bandlimited_network(w, a, phase, 1e-2, share=False)).gates > mn.count(net).gates / 2
    t = np.linspace(-1, 1, 99)
    for R in (1.0, 9.0):
        n = mn.ridge_degree(R, 1e-6)
        assert np.abs(chebyshev.chebval(t, ridge_coefficients(R, 0.4, n)) - np.cos(R * t + 0.4)).max() < 1e-6


@pytest.mark.parametrize("m", [1, 2, 5])
def test_the_square_is_interpolated_by_m_units(m):
    net = mn.square_network(m)
    c = mn.count(net)
    assert (c.units, c.depth, c.gates) == (m, m, 0) and len(mn.pieces(net)) - 1 == 2**m
    grid = torch.linspace(0, 1, 2**m + 1, dtype=torch.float64)[:, None]
    middle = (grid[1:] + grid[:-1]) / 2
    assert torch.allclose(net(grid), grid**2, atol=1e-15)
    assert torch.allclose(net(middle) - middle**2, torch.full_like(middle, 4.0 ** -(m + 1)), atol=1e-15)


@pytest.mark.parametrize("n, m", [(3, 2), (8, 4), (17, 6)])
def test_the_emulation_keeps_its_bound(n, m):
    net = mn.chebyshev_network(n)
    relu = mn.relu_emulation(net, m, X)
    assert (relu(X) - net(X)).abs().max().item() <= (n * n - 1) * 4.0 ** -(m + 1)
    c = mn.count(relu)
    assert c.gates == 0 and c.units <= (n - 1) * (2 * m + 2) + 2 * n
    scaled = mn.polynomial_network(np.random.default_rng(0).standard_normal(n + 1))  # factors beyond 1
    assert (mn.relu_emulation(scaled, 14, X)(X) - scaled(X)).abs().max().item() < 1e-4


def test_pieces_are_counted_exactly():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64)[:, None]
    slope = (net(x)[1:] - net(x)[:-1]).detach()[:, 0]
    fine = int(((slope[1:] - slope[:-1]).abs() > 1e-9).sum())
    found = len(mn.pieces(net)) - 1
    assert found <= 4**2 and abs(found - 1 - fine / 2) <= fine / 2 + 1 and found - 1 <= fine
    assert len(mn.pieces(nn.Sequential(nn.Linear(1, 1)).double())) == 2
    with pytest.raises(ValueError, match="ReLU networks"):
        mn.pieces(mn.chebyshev_network(4))


def test_counting_walks_the_module():
    layered = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), mn.ProductLayer(5, 4), nn.Linear(4, 1))
    c = mn.count(layered)
    assert (c.gates, c.units, c.depth) == (4, 5, 2) and c.parameters == sum(p.numel() for p in layered.parameters())
    b = Builder(2)
    unused = b.gate({0: 1.0}, {1: 1.0})
    b.gate(unused, unused)
    net = b.network([combine((3.0, unused), (1.0, {-1: 2.0}))])
    assert mn.count(net).gates == 2 and mn.count(net).depth == 1  # depth of what is read
    assert float(net(torch.tensor([2.0, 5.0], dtype=torch.float64))) == 32
    with pytest.raises(ValueError, match="Conv2d"):
        mn.count(nn.Sequential(nn.Conv2d(1, 1, 1)))
    with pytest.raises(ValueError, match="cannot be counted"):
        mn.count(nn.Linear(1, 1))


def test_gradients_flow_and_single_precision_works():
    net = mn.polynomial_network([0.0, 1.0, 0.5]).float()
    x = torch.tensor([[0.3]], requires_grad=True)
    net(x).sum().backward()
    assert x.grad.item() == pytest.approx(1 + 0.5 * 4 * 0.3, rel=1e-6) and net.layers[0].left.weight.grad is not None
    single = mn.relu_emulation(mn.chebyshev_network(3).float(), 4, X)
    assert torch.equal(single(X), mn.relu_emulation(mn.chebyshev_network(3), 4, X)(X))
    square = mn.square_network(3)
    assert len(mn.pieces(square.float())) == len(mn.pieces(square.double())) == 9


def test_the_fast_evaluation_refuses_weights_that_have_changed():
    net = mn.polynomial_network([0.0, 1.0, 2.0, 3.0])
    for same in (net, copy.deepcopy(net).float(), pickle.loads(pickle.dumps(net))):
        x = X[:, 0].to(same.A)
        assert torch.allclose(same.evaluate(x), same(x[:, None])[:, 0], atol=1e-5)
    net(X).sum().backward()
    torch.optim.SGD(net.parameters(), 1e-3).step()
    with pytest.raises(mn.BuildError, match="call the network itself"):
        net.evaluate(X[:, 0])


def test_the_fast_evaluation_reads_whole_numbers_and_half_precision():
    net = mn.polynomial_network([0.8, 1.5])
    assert net.evaluate(torch.tensor([0, 1])).tolist() == pytest.approx([0.8, 2.3])
    half = copy.deepcopy(net).half()
    assert torch.allclose(half.evaluate(torch.tensor([0.5]).half()).float(), torch.tensor([1.55]), atol=1e-2)
    with pytest.raises(mn.BuildError, match="no list of numbers"):
        net.evaluate(X)


@pytest.mark.parametrize("call, words", [
    (lambda: mn.chebyshev_network(0), "no degree"), (lambda: mn.polynomial_network([1.0, np.nan]), "finite"),
    (lambda: mn.polynomial_network([1.0, 2.0], p=9), "baby steps"), (lambda: mn.square_network(0), "levels"),
    (lambda: mn.ridge_degree(1.0, 1e-20), "below rounding"), (lambda: mn.ridge_degree(1.0, -1), "not positive"),
    (lambda: mn.bandlimited_network(np.ones((2, 2)), np.ones(3), np.ones(2), 0.1), "do not fit"),
    (lambda: mn.bandlimited_network(np.ones((20000, 2)), np.ones(20000), np.ones(20000), 0.1), "memory"),
    (lambda: mn.sobolev_network([(0, 0), (1, 1)]), "downward closed"),
    (lambda: mn.bandlimited_network([[5.0]], [1.0], [0.0], 1e-3, M=1.0), "does not bound frequencies up to 5"),
    (lambda: mn.bandlimited_network([[np.nan]], [1.0], [0.0], 1e-3), "not finite"),
    (lambda: mn.sobolev_network([(0,), (1,)], [1.0, np.nan]), "a finite one for each"),
    (lambda: mn.relu_emulation(mn.chebyshev_network(2), 3, X * np.nan), "not finite"),
    (lambda: mn.sobolev_network([]), "no multi-index"), (lambda: mn.sobolev_network([(0,), (0, 0)]), "several lengths"),
    (lambda: mn.sobolev_network([(0,), (1,)], [1.0]), "1 coefficients do not go with 2"),
    (lambda: mn.relu_emulation(mn.chebyshev_network(2), 3, X[:, 0]), "give points"),
    (lambda: mn.relu_emulation(mn.square_network(2), 3, X), "no layer of gates"),
    (lambda: mn.relu_emulation(mn.chebyshev_network(2), 0, X), "levels")])
def test_what_cannot_be_built(call, words):
    with pytest.raises(mn.BuildError, match=words):
        call()


@pytest.mark.parametrize("kind", training.KINDS)
def test_nets_of_every_kind_learn_and_keep_their_budget(kind):
    width = training.width_for(kind, 2, 2, 900)
    nets = training.Nets(kind, 2, width, 2, [1, 2], "cpu")
    size = sum(t[0].numel() for t in nets.tensors())
    assert size == training.parameters(kind, 2, width, 2) <= 900
    x, y, *_ = experiments.targets("smooth", 2, (512, 8, 8), [1, 2], "cpu")
    before = training.error(nets, x, y)
    training.train(nets, x, y, torch.tensor([5e-3, 5e-3]), 150, 64, [1, 2])
    assert (training.error(nets, x, y) < 0.8 * before).all()


def test_members_do_not_depend_on_company():
    out = []
    for seeds in ([5], [4, 5]):
        nets = training.Nets("product", 2, 4, 2, seeds, "cpu")
        x, y, *_ = experiments.targets("kinks", 2, (64, 8, 8), seeds, "cpu")
        training.train(nets, x, y, torch.full((len(seeds),), 1e-2), 20, 16, seeds)
        out.append(nets.last[0][-1])
    assert torch.allclose(*out, atol=1e-6)
    with pytest.raises(ValueError, match="not known"):
        training.Nets("tanh", 2, 4, 2, [1], "cpu")


def test_feeds_have_equal_parameters_and_known_degrees():
    sizes = {k: sum(p.numel() for p in language.gpt(k, 20, 24, 2, 2).parameters()) for k in language.FEEDS}
    assert max(sizes.values()) - min(sizes.values()) <= 24 * 4
    h = torch.randn(40, 6)
    cubic = language.degrees(lambda z: z.double() ** 3, h.double())
    assert cubic[4:].sum() < 1e-8 and cubic[1:4].sum() == pytest.approx(1)
    torch.manual_seed(0)
    block = language.Block(8, 2, "bilinear")
    assert language.degrees(block.double().feed, torch.randn(20, 8, dtype=torch.float64))[3:].sum() < 1e-8


def test_signals_are_what_they_were():
    assert data.signal("ecg").shape == (1024,) and data.signal("sst").shape == (264,)
    assert data.signal("camera").shape == (128, 128) and data.signal("camera").dtype == np.float32
    with pytest.raises(data.DataMissing, match="no signal"):
        data.signal("seismogram")


def test_the_check_fails_the_stub_passes_the_solution_and_rejects_wrong_answers(cell):
    stub = cell("multiplicative-networks", "exercise-cosine", Builder=Builder, combine=combine)["even_cosine"]
    assert exercises.check_cosine(stub).startswith("not written yet")
    right = cell("multiplicative-networks", "solution-cosine", Builder=Builder, combine=combine)["solved_even_cosine"]
    assert exercises.check_cosine(right) == "right"
    wrong = [(lambda R, n: mn.polynomial_network(ridge_coefficients(R, 0.0, n), p=n + 1), "gates"),
             (lambda R, n: mn.polynomial_network(ridge_coefficients(R, 0.0, n - 2)), "differs"),
             (lambda R, n: mn.polynomial_network(ridge_coefficients(R, 0.1, n)), "differs"),
             (lambda R, n: None, "returns NoneType"), (lambda R, n: 1 / 0, "raises ZeroDivisionError")]
    for answer, hint in wrong:
        said = exercises.check_cosine(answer)
        assert said.startswith("wrong") and hint in said, said
