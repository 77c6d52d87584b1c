"""The bound by in-degrees against enumeration, closed forms and unrolled matrices; certificates; what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from book.guarantees.sparse_rademacher import complexity, convs, exercises, experiments, trees
from lib import data
from lib.papers import sparse_rademacher as sr
from lib.papers.sparse_rademacher import geometry, spectral
from lib.papers.sparse_rademacher.bounds import published


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@pytest.mark.parametrize("kernel, stride, padding, dilation",
                         [((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (1, 2), (1, 0), (1, 2)),
                          ((3, 3), (2, 1), (1, 2), (2, 1))])
def test_patches_are_those_of_unfold(kernel, stride, padding, dilation):
    x = torch.arange(1.0, 64.0).reshape(1, 1, 7, 9)
    index, out = geometry.reads((7, 9), kernel, stride, padding, padding, dilation)
    want = nn.functional.unfold(x, kernel, dilation, padding, stride)[0].T
    have = torch.cat([x.flatten(), torch.zeros(1)])[torch.as_tensor(index)]
    assert torch.equal(want, have) and math.prod(out) == len(index)


def paths(indices):
    """All paths (j_L, ..., j_1) from the one top node through layers' indices, top first."""
    found = [(0,)]
    for index in indices:
        found = [p + (int(i),) for p in found for i in itertools.compress(index[p[-1]], index[p[-1]] >= 0)]
    return found


def test_the_worst_path_is_the_worst_of_all_paths():
    net = seeded(lambda: nn.Sequential(
        nn.Conv1d(2, 3, 3, 1, 1, bias=False), nn.ReLU(), nn.Conv1d(3, 2, 3, 2, bias=False), nn.ReLU(),
        nn.Conv1d(2, 2, 2, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(10, 1, bias=False)))
    x = seeded(lambda: torch.randn(20, 2, 9), 1)
    layers, s = sr.walk(net, x), sr.sample(net, (x, torch.ones(20)))
    found = sr.worst_path(layers, s.energy, s.m)
    best = 0.0
    for path in paths([v.index for v in reversed(layers)]):  # from the output down to a pixel
        nodes = path[:-1]  # nodes of layers L, ..., 1
        product = math.prod(int((v.index[j] >= 0).sum()) for v, j in zip(reversed(layers[1:]), nodes))
        patch = layers[0].index[nodes[-1]]
        best = max(best, product * s.energy[patch[patch >= 0]].sum())
    assert found.root**2 == pytest.approx(best) and found.active == 3
    assert found.rho == pytest.approx(math.prod(float(p.detach().norm()) for p in net.parameters()), rel=1e-6)


CHAINS = {
    "plain": lambda: nn.Sequential(nn.Conv2d(1, 3, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(
        27, 1, bias=False)), "biases": lambda: nn.Sequential(nn.Conv2d(1, 3, 2, 2), nn.ReLU(), nn.Conv2d(
            3, 2, 2), nn.LeakyReLU(0.3), nn.Flatten(), nn.Linear(2, 1)), "pools": lambda: nn.Sequential(
                nn.Conv2d(1, 4, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 1, bias=False), nn.ReLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1, bias=False)),
    "maxima alone": lambda: nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.MaxPool2d(2), nn.AvgPool2d(
        2), nn.LeakyReLU(-0.5), nn.Flatten(), nn.Linear(4, 1, bias=False)), "batch norm": lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 1, bias=False)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_bound_exceeds_the_complexity_of_many_networks(name):
    """Every sign vector, the largest of many networks of norm product 1 or less and their negatives."""
    x, m = seeded(lambda: torch.randn(8, 1, 4, 4), 5), 8
    outputs, proved = [], []
    for i in range(60):
        net = seeded(CHAINS[name], i).eval()
        layers, s = sr.walk(net, x), sr.sample(net, (x, torch.ones(m)))
        p = sr.worst_path(layers, s.energy, m)
        with torch.no_grad():
            outputs.append((net(x)[:, 0].double() / p.rho).numpy())
        proved.append(p.root / m * (1 + math.sqrt(2 * (p.active * math.log(2) + math.log(p.ends)))))
    outputs = np.array(outputs)
    xi = complexity.signs(m)
    found = np.abs(xi @ outputs.T).max(1).mean() / m
    assert np.ptp(proved) < 1e-9 and 0.01 < found / proved[0] < 1


def test_numbers_of_the_published_formula_and_the_head():
    net = convs.ConvNet(3, 1, 1, 28, 1)
    with torch.no_grad():
        for c in net.convs:
            c.weight = torch.full((1, 1, 2, 2), 0.5)
        net.head.weight.fill_(1 / 25)
    x = torch.ones(400, 1, 28, 28)
    layers, s = sr.walk(net, x), sr.sample(net, (x, torch.ones(400)))
    assert s.margins == pytest.approx(200, rel=1e-4)
    form = experiments.closed_form(3, 28)
    tail = 3 * math.sqrt(math.log(2 * 9 / 0.05) / 800)
    for top, key in ((True, "with"), (False, "without")):
        capacity = published(layers, s, 0.05, top) - tail
        assert capacity == pytest.approx(2**1.5 * 2 * form[key] / 20, rel=1e-6)
    assert form["without"] < form["complexity"] < form["proved"] and form["value"] == 200


def test_a_tree_is_a_module_and_its_factors_are_those_of_the_theorem():
    nets = trees.Trees((2, 4), 5, [0, 1], 8)
    x = torch.randn(30, 8, 8)
    with torch.no_grad():
        assert torch.allclose(nets(x)[1], nets.member(1)(x[:, None])[:, 0], atol=1e-6)
    b = sr.bound(nets.member(1), (x[:, None], x[:, 0, 0].sign()), margin=2.0)
    energy = max(float(x[:, i:i + 2, j:j + 2].double().square().sum()) for i in (0, 2, 4, 6) for j in (0, 2, 4, 6))
    root = math.sqrt(16 * energy) * (1 + math.sqrt(2 * (2 * math.log(2) + math.log(16))))
    assert b.rho == pytest.approx(float(nets.norms()[1].prod()), rel=1e-5)
    assert b.capacity == pytest.approx((b.rho + 1) / 30 * root, rel=1e-6)
    assert b.total == pytest.approx(b.margin_error + b.capacity + b.tail)


def test_the_scale_free_form_ignores_the_scale():
    x, y = trees.stripes(300, 8, 0.1, torch.Generator().manual_seed(0))
    net = trees.Trees((8,), 4, [3], 8).member(0)
    pair = (x[:, None], y)
    before = sr.bound(net, pair).total
    with torch.no_grad():
        net[-1].weight.mul_(1000)
    assert sr.bound(net, pair).total == pytest.approx(before, rel=1e-4)


def test_several_scores_pay_their_root_and_logarithm():
    net = seeded(lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False)))
    x, y = seeded(lambda: (torch.randn(50, 6), torch.randint(3, (50,))))
    b = sr.bound(net, (x, y), margin=1.0)
    with torch.no_grad():
        out = net(x).numpy()
    own = out[np.arange(50), y]
    other = np.where(np.eye(3, dtype=bool)[y], -np.inf, out).max(1)
    assert b.margin_error == pytest.approx((own - other < 1).mean())
    unit = math.sqrt(3 * float(x.double().square().sum())) / 50 * (1 + math.sqrt(2 * (math.log(2) + math.log(3))))
    assert b.capacity == pytest.approx(4 * (b.rho + 1) * unit, rel=1e-6)


@pytest.mark.parametrize("make, shape", [
    (lambda: nn.Conv2d(2, 3, 3, 1, 1), (1, 2, 6, 5)), (lambda: nn.Conv1d(2, 2, 4, 3), (1, 2, 14)),
    (lambda: nn.Conv2d(4, 4, (2, 3), (2, 1), groups=2, dilation=(1, 2)), (1, 4, 6, 7)),
    (lambda: nn.Conv1d(1, 2, 3, padding="same"), (1, 1, 9))])
def test_norms_are_those_of_the_unrolled_matrix(make, shape):
    conv, x = seeded(make).double(), torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        width = conv(x).numel()
    layer = sr.walk(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(width, 1).double()), x)[0]
    T = sr.unrolled(layer)
    with torch.no_grad():
        plain = (conv(x) - conv.bias.reshape(1, -1, *[1] * (x.ndim - 2)))[0].flatten(1).T.flatten()
    assert torch.allclose(T @ x[0].flatten(1).T.flatten(), plain)
    top = float(torch.linalg.matrix_norm(T, 2))
    assert sr.norm(layer) == pytest.approx(top, rel=1e-6) and sr.upper(layer) >= top * (1 - 1e-9)
    assert spectral.frobenius(layer) == pytest.approx(float(T.norm()))


def test_the_fourier_norm_is_that_of_the_circulant_matrix():
    w = seeded(lambda: torch.randn(3, 2, 2, 3, dtype=torch.float64))
    conv = nn.Conv2d(2, 3, (2, 3), padding=0, bias=False).double()
    with torch.no_grad():
        conv.weight.copy_(w)
        basis = torch.eye(2 * 20, dtype=torch.float64).reshape(-1, 2, 4, 5)
        wrapped = nn.functional.pad(basis, (0, 2, 0, 1), mode="circular")
        T = conv(wrapped).flatten(1)
    assert sr.circular(w, (4, 5)) == pytest.approx(float(torch.linalg.matrix_norm(T, 2)), rel=1e-9)
    with pytest.raises(sr.BoundError, match="does not fit"):
        sr.circular(w, (1, 5))


def test_disjoint_patches_need_no_iteration():
    layer = sr.walk(trees.Trees((2, 2), 3, [0], 4).member(0), torch.zeros(1, 1, 4, 4))[0]
    assert sr.upper(layer) == pytest.approx(float(torch.linalg.matrix_norm(sr.unrolled(layer), 2)))


def test_peers_are_ours_with_one_node_a_layer():
    net = seeded(lambda: nn.Sequential(nn.Linear(8, 5, bias=False), nn.ReLU(), nn.Linear(5, 1, bias=False)))
    x = torch.randn(40, 8)
    found = sr.all_bounds(net, (x, x[:, 0].sign()), margin=1.0)
    assert found["golowich"].total == pytest.approx(found["sparse"].total)
    assert {k for k, v in found.items() if v.certificate} == {"sparse", "golowich", "neyshabur"}
    with pytest.raises(sr.BoundError, match="without bias"):
        sr.all_bounds(nn.Sequential(nn.Linear(8, 1)), (x, x[:, 0].sign()))


def test_certificates_without_norms():
    assert sr.hold_out(0, 100, 0.05).total == pytest.approx(1 - 0.05 ** (1 / 100))
    b = sr.hold_out(7, 50, 0.1).total
    assert stats.binom.cdf(7, 50, b) == pytest.approx(0.1) and sr.hold_out(5, 5).total == 1
    net = seeded(lambda: nn.Linear(2, 1))
    kept = [q.detach().clone() for q in net.parameters()]
    with torch.no_grad():
        net.weight.add_(1)
    now = net.weight.detach().clone()
    found = sr.pac_bayes(net, kept, lambda f: 0.0, 10_000, noises=(0.5,), draws=20)
    assert torch.equal(net.weight, now) and found.factors["divergence"] == pytest.approx(2 / (2 * 0.25))
    assert 0 < found.total < 0.4 and found.margin_error == 0
    with pytest.raises(sr.BoundError, match="give all"):
        sr.pac_bayes(net, kept[:1], lambda f: 0.0, 10)
    with pytest.raises(sr.BoundError, match="count again"):
        sr.hold_out(3, 2)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.b(x + self.a(x))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 1)

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.a(-x)


class Channels(nn.Module):
    """A mean over channels, of which there are as many as positions: only the axes tell the two means apart."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 4, 1), nn.Linear(4, 1)

    def forward(self, x):
        return self.b(self.a(x).relu().mean(1))


REFUSED = [
    (Skip(), "skip connection"), (Branches(), "cannot be traced"),
    (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)), "homogeneous"),
    (nn.TransformerEncoderLayer(4, 2), "attends"), (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "end in a linear map"),
    (nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1)), "no layer of the theorem"),
    (nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(2.0), nn.Linear(3, 1)), "slope above 1"),
    (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)).train(), "model.eval"),
    (nn.Sequential(nn.ReLU(), nn.Linear(4, 1)), "no convolution or linear layer precedes"),
    (nn.Sequential(nn.Linear(4, 3), nn.PReLU(), nn.Linear(3, 1)), "trains its slope"),
    (nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.Linear(3, 1)), "model.eval"),
]


@pytest.mark.parametrize(
    "model, shape, why",
    [(Channels(), (4, 4), "all positions"),
     (nn.Sequential(nn.Conv1d(1, 4, 1), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(8, 1)), (1, 4), "all positions"),
     (nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.MaxPool1d(1), nn.Linear(4, 1)),
      (1, 4), "spatial axes"),
     (nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU(), nn.AvgPool1d(1), nn.MaxPool2d(
         (1, 4)), nn.Flatten(), nn.Linear(1, 1)), (1, 4), "spatial axes"),
     (nn.Sequential(nn.Conv2d(1, 2, 1), nn.AvgPool2d(2, divisor_override=1), nn.Flatten(), nn.Linear(2, 1)),
      (1, 2, 2), "no mean"), ])
def test_pools_that_are_no_means_over_positions_are_refused(model, shape, why):
    with pytest.raises(sr.BoundError, match=why):
        sr.walk(model, torch.randn(1, *shape))


class Repeats(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Linear(4, 1)

    def forward(self, x):
        return self.b(x[:, [0, 0, 0, 0]])


def test_repeats_hooks_and_odd_labels_are_refused():
    x = torch.randn(6, 4)
    with pytest.raises(sr.BoundError):
        sr.walk(Repeats(), x)
    hooked = nn.Sequential(nn.Linear(4, 1))
    hooked[0].register_forward_hook(lambda m, i, o: 100 * o)
    with pytest.raises(sr.BoundError, match="hooks"):
        sr.walk(hooked, x)
    net, y = nn.Sequential(nn.Linear(4, 1)), torch.tensor([1.0, -1.0] * 3)
    assert sr.bound(net, (x, y[:, None])).total == sr.bound(net, (x, y)).total
    with pytest.raises(sr.BoundError, match="one number a sample"):
        sr.bound(net, (x, torch.stack([y, y], 1)))
    with pytest.raises(sr.BoundError, match="one shape"):
        sr.bound(nn.Sequential(nn.Conv1d(1, 1, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(1, 1)),
                 [(torch.randn(3, 1, 4), y[:3]), (torch.randn(3, 1, 8), y[3:])])
    batches = [(x[:3], y[:3]), (x[3:], y[3:])]
    assert sr.bound(net, iter(batches)).total == sr.bound(net, batches).total
    inplace, before = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 1)), x.clone()
    with pytest.raises(sr.BoundError):
        sr.walk(inplace, x)
    assert torch.equal(x, before)


def test_a_maximum_pays_the_factor_of_an_activation():
    x = torch.randn(4, 1, 4)
    chain = [nn.Conv1d(1, 2, 1, bias=False), nn.MaxPool1d(2), nn.Conv1d(2, 1, 2, bias=False), nn.Flatten()]
    p = [sr.worst_path(sr.walk(nn.Sequential(*chain[:1], *between, *chain[1:]), x), np.ones(4), 4)
         for between in ((), (nn.ReLU(),))]
    assert p[0].active == p[1].active == 1 and p[0].root == p[1].root


@pytest.mark.parametrize("model, why", REFUSED)
def test_what_the_theorem_does_not_cover_is_refused_with_the_reason(model, why):
    with pytest.raises(sr.BoundError, match=why):
        sr.walk(model, torch.randn(2, 4))


def test_bad_data_and_numbers_are_refused():
    net, x = nn.Linear(4, 1, bias=False), torch.randn(5, 4)
    for kw, y, why in (({"delta": 0.0}, torch.ones(5), "probability"), ({"margin": -1.0}, torch.ones(5), "positive"),
                       ({}, torch.zeros(5), "labels -1 and 1")):
        with pytest.raises(sr.BoundError, match=why):
            sr.bound(net, (x, y), **kw)
    with pytest.raises(sr.BoundError, match="the model has 2 scores"):
        sr.bound(nn.Linear(4, 2), (x, torch.full((5,), 2)))
    with pytest.raises(sr.BoundError, match="NaN"):
        sr.bound(net, (x * torch.nan, torch.ones(5)))
    with pytest.raises(sr.BoundError, match="needs a sample"):
        sr.bound(net, (x[:1], torch.ones(1)))
    with pytest.raises(ValueError, match="do not tile"):
        trees.Trees((2, 2), 3, [0], 8)


def test_batches_of_data_add_up():
    net, x = trees.Trees((4,), 3, [0], 4).member(0), torch.randn(30, 1, 4, 4)
    y = x[:, 0, 0, 0].sign()
    whole, parts = sr.bound(net, (x, y)), sr.bound(net, [(x[i:i + 7], y[i:i + 7]) for i in range(0, 30, 7)])
    assert whole.total == pytest.approx(parts.total, rel=1e-5)


def test_ascents_reach_the_top_of_small_classes():
    gen = torch.Generator().manual_seed(0)
    v, xi = torch.randn(5, 2, 2, generator=gen), torch.tensor(complexity.signs(5)[[3, 17]], dtype=torch.float32)
    angle = torch.linspace(0, 2 * math.pi, 4000)
    u = torch.stack([angle.cos(), angle.sin()])
    total = torch.einsum("tm,mjg->tjg", xi, (v @ u).relu()).square()
    want = total.sum(1).amax(1).sqrt(), total.amax(2).sum(1).sqrt()
    for shared, w in zip((True, False), want):
        found = complexity.largest(v, xi, shared, 12, 80, gen)
        assert torch.allclose(found, w, rtol=2e-3), (found, w)
    low = complexity.ascend(torch.randn(6, 2, 2, generator=gen), (2,), 4, 30, 0.05, [0, 1])
    assert low.shape == (2,) and (low > 0).all()


def test_training_lowers_the_bound_and_streams_agree():
    x, y = experiments.striped(400, 8, 0.3, [0, 1], "cpu", 0)
    nets = trees.Trees((8,), 6, [0, 1], 8)
    before = experiments.judged(nets, x, y, experiments.energies(x))
    trees.train(nets, x, y, 0.1, 0.03, 150, 32, [0, 1], trees.hinge(6.0))
    after = experiments.judged(nets, x, y, experiments.energies(x), ("golowich",))
    assert (after[:, 0] < before[:, 0]).all() and np.allclose(after[:, 0], after[:, 3])
    s = experiments.streamed("stripes", (((8,), 6),), 400, (400, 900), 20, 0.03, 0.1, 0.3, 6.0, [0, 1], chunk=200)
    assert s["total"].shape == (2, 1, 2) and (s["total"][..., 1] < s["total"][..., 0]).all()
    assert s["error"].shape == (2, 1) and (0 <= s["error"]).all() and (s["error"] <= 1).all()


def test_a_collapsed_net_never_counts_as_independent_of_the_width():
    trace = np.ones((3, 2, 2, 6))
    trace[:, 1, -1, 0] = 4, np.inf, np.inf
    trace[2, 0, -1, 0] = np.inf
    assert experiments.widening(trace) == pytest.approx([2, np.log2(experiments.CAP), np.log2(experiments.CAP)])


def test_nested_stripes_are_stripes_within_stripes():
    x, y = trees.nested(300, 8, 0.0, torch.Generator().manual_seed(0))
    assert x.shape == (300, 8, 8) and set(x.unique().tolist()) == {-1.0, 1.0} and set(y.tolist()) == {-1.0, 1.0}
    signs = x
    while signs.shape[1] > 1:  # a square of horizontal stripes has equal neighbours in a row, and opposite ones in a column
        a, b, c, d = (signs[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
        across = (a == b) & (c == d) & (a != c)
        down = (a == c) & (b == d) & (a != b)
        assert (across ^ down).all()
        signs = across * 2.0 - 1
    assert torch.equal(signs[:, 0, 0], y)
    phases = len({tuple(v.flatten().tolist()) for v in x})
    assert phases > 250, "every node draws a phase of its own"


@pytest.mark.skipif(not data.have("animals"), reason="needs the package animal-mnist")
def test_the_family_on_animals():
    r = convs.family("packages", 3, (2,), 1, 28, 1e-2, 0.1, 2, 8, 2, ("golowich", "graf"), [0])
    trace, peers = r["trace"], r["peers"]
    assert trace.shape == (1, 1, 2, 6) and np.isfinite(trace).all() and (trace[..., 1] > trace[..., 2]).all()
    assert peers.shape == (1, 1, 2) and (peers > 0).all()
    deep = experiments.deeper("animals", ((32,), (8, 4)), (8, 16), 2, 5, [0, 1])
    assert deep["found"].shape == (2, 2, 2) and (deep["found"] < deep["proved"]).all()


def test_the_check_fails_the_stub_passes_the_solution_and_rejects_wrong_answers(cell):
    right = cell("sparse-rademacher", "solution-free")["solved_scale_free"]
    stub = cell("sparse-rademacher", "exercise-free")["scale_free"]
    assert exercises.check_scale_free(stub).startswith("not written yet")
    assert exercises.check_scale_free(right) == "right"

    def rounded_down(rho, margin, unit, m, delta):
        return right(rho * 2 ** (-1 / 8), margin, unit, m, delta)

    def no_union(rho, margin, unit, m, delta):
        return right(rho, margin, unit, m, delta)[0], 3 * math.sqrt(math.log(2 / delta) / (2 * m))

    def plus_one(rho, margin, unit, m, delta):
        return 2 * (rho + 1) / margin * unit, right(rho, margin, unit, m, delta)[1]

    for answer, hint in ((rounded_down, "round up"), (no_union, "union"), (plus_one, "capacity")):
        said = exercises.check_scale_free(answer)
        assert said.startswith("wrong") and hint in said, said


def test_every_sign_is_enumerated():
    assert len(complexity.signs(3)) == 8 and set(itertools.chain(*complexity.signs(3))) == {-1.0, 1.0}
    r = complexity.contraction(5, 6, 0.7, 2, range(10))["ratio"]
    assert (r[:, 0] <= 1 + 1e-9).all() and (r[:, 1] <= 2).all() and (r[:, 2] < 1).all()
    assert (complexity.peeling(5, 2, 0.7, 90, range(10))["ratio"] < 1).all()


def test_functions_idle_pooling_and_other_precisions_are_read_as_modules_are():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), nn.Linear(12, 4)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.second(F.leaky_relu(self.first(x), 0.1))), 2)
            return self.last(torch.flatten(F.avg_pool2d(x, 3, stride=3), 1))
    torch.manual_seed(0)
    net = Functional().eval()
    modules = nn.Sequential(net.first, nn.LeakyReLU(0.1), net.second, nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(3, 3),
                            nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), net.last)
    x, y = torch.randint(0, 255, (30, 1, 16, 16), dtype=torch.uint8), torch.randint(0, 4, (30,))
    due = sr.bound(modules, (x.float(), y)).total
    assert sr.bound(net, (x, y)).total == sr.bound(modules, (x.double(), y)).total == due
    steep = Functional()
    steep.forward = lambda x: steep.last(torch.flatten(F.leaky_relu(steep.first(x), 2.0), 1))
    with pytest.raises(sr.BoundError):
        sr.walk(steep, x)
    assert [v.kind for v in sr.walk(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1)),
                                    x)] == ["map", "mean", "map"]


def test_certificates_refuse_impossible_numbers_and_leave_the_network_as_it_was():
    net = nn.Linear(3, 1)
    before = [p.detach().clone() for p in net.parameters()]
    for call in (lambda: sr.hold_out(1, 10, 2.0), lambda: sr.pac_bayes(net, before, lambda m: 0.0, 10, delta=2.0)):
        with pytest.raises(sr.BoundError, match="no probability of failure"):
            call()
    for kw in ({"m": 0}, {"m": 10, "draws": 0}, {"m": 10, "noises": ()}):
        with pytest.raises(sr.BoundError, match="give no bound"):
            sr.pac_bayes(net, before, lambda m: 0.0, **kw)
    with pytest.raises(ZeroDivisionError):
        sr.pac_bayes(net, before, lambda m: 1 / 0, 10)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
