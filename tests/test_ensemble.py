"""S models at once are S models one after another."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lib import ensemble


def make():
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def mse(out, y):
    return ((out - y) ** 2).mean()


def data(n=40):
    g = torch.Generator().manual_seed(7)
    return torch.randn(n, 3, generator=g), torch.randn(n, 2, generator=g)


def alone(seed, lr, decay, steps=30, batch=4):
    x, y = data()
    torch.manual_seed(seed)
    model = make()
    g = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        i = torch.randint(len(x), (batch,), generator=g)
        loss = mse(model(x[i]), y[i])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, q in zip(model.parameters(), grads):
                p -= lr * (q + decay * p)
    return model


def test_together_is_the_same_as_one_by_one():
    seeds, lr, decay = [100, 101, 102], torch.tensor([0.1, 0.05, 0.2]), torch.tensor([0.0, 0.1, 0.01])
    skeleton, params = ensemble.stack(make, seeds)
    trained, losses = ensemble.sgd(skeleton, params, mse, *data(), n_steps=30, batch=4, lr=lr,
                                   gens=ensemble.generators(seeds), weight_decay=decay, every=10)
    x, _ = data()
    out = ensemble.outputs(skeleton, trained, x)
    assert losses.shape == (3, 3)
    for s, seed in enumerate(seeds):
        single = alone(seed, lr[s], decay[s])
        torch.testing.assert_close(out[s], single(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ensemble.member(make, trained, s)(x), out[s])


def test_a_member_does_not_depend_on_its_neighbours():
    def train(seeds):
        skeleton, params = ensemble.stack(make, seeds)
        out, _ = ensemble.sgd(skeleton, params, mse, *data(), n_steps=5, batch=4, lr=0.1,
                              gens=ensemble.generators(seeds))
        return out["0.weight"]
    torch.testing.assert_close(train([100, 101])[1], train([101, 105, 109])[0])


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ensemble.stack(make, [1, 2])
    assert torch.equal(torch.get_rng_state(), before)


def test_own_data_for_each_member():
    x = torch.stack([data()[0], data()[0] + 1])
    y = torch.stack([data()[1], data()[1] - 1])
    skeleton, params = ensemble.stack(make, [1, 2])
    out, _ = ensemble.sgd(skeleton, params, mse, x, y, 3, 4, 0.1, ensemble.generators([1, 2]), own_data=True)
    i = torch.randint(40, (4,), generator=torch.Generator().manual_seed(2))
    p = {k: v[1].clone().requires_grad_() for k, v in params.items()}
    g = torch.autograd.grad(mse(functional_call(skeleton, p, (x[1][i],)), y[1][i]), list(p.values()))
    assert all(torch.isfinite(v).all() for v in out.values()) and len(g) == 4


def test_draws_and_refusals():
    a = ensemble.draw(ensemble.generators([1, 2]), (3,), "uniform")
    assert a.shape == (2, 3) and (a >= 0).all() and (a < 1).all()
    with pytest.raises(ValueError, match="normal"):
        ensemble.draw(ensemble.generators([1]), (3,), "cauchy")
    with pytest.raises(ValueError, match="batch norm"):
        ensemble.stack(lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), [1])
