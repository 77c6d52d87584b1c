"""Instruments and experiments on a device that is not the CPU, and the device itself (``tests/device.py``)."""

import ast
from functools import partial

import numpy as np
import pytest
import torch
from device import NAME, Elsewhere, elsewhere
from torch import nn
from torch.nn import functional as F

from lib import ensemble, models
from lib import run as lib_run
from lib.book import record
from lib.book.pages import Page, chapter, chapters
from lib.source import Scope, module_scope, statements


def asking(page: Page) -> list[str]:
    """Experiments of a page whose function asks for a device; nothing is imported to find them."""
    scope, out = Scope.page([c.source for c in page.cells]), []
    for id, s in record.experiments(page).items():
        asked = next(n.args[1] for n in ast.walk(s.node)
                     if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "experiment")
        if isinstance(asked, ast.Name):
            function = scope.binding(asked.id)[-1].node
        else:
            node = scope.binding(asked.value.id)[-1].node
            module = next(f"{node.module}.{a.name}" for a in node.names if (a.asname or a.name) == asked.value.id)
            function = next(s.node for s in module_scope(module).binding(asked.attr))
        if any(a.arg == "device" for a in ast.walk(function.args) if isinstance(a, ast.arg)):
            out.append(id)
    return out


def computed(page: Page, id: str):
    """Evidence of an experiment at the size of the environment's ``BOOK_SHRINK``, computed on the test's device."""
    last = record.experiments(page)[id]
    names = {"__name__": "__main__", "size": "full", "seed": 0, "device": NAME}
    upto = next(i for i, c in enumerate(page.cells) if any(s.text == last.text for s in statements(c.source)))
    with lib_run.executing([c.source for c in page.cells[:upto + 1]]), elsewhere():
        for s, line in record.plan(page, [id]):
            if not record._is_parameter(s):
                exec(compile(ast.increment_lineno(ast.parse(s.text), line - 1), str(page.path), "exec"), names)
    return names["run"].experiments[id]


@pytest.fixture
def shrunk(tmp_path, monkeypatch):
    """Runs of chapters far below their full size, with a store of their own, on the device of the tests."""
    for k, v in {"BOOK_SHRINK": str(1 / 512), "BOOK_STORE": str(tmp_path), "BOOK_MODE": "compute"}.items():
        monkeypatch.setenv(k, v)
    if NAME != "cuda":
        monkeypatch.setattr(lib_run, "_device", lambda name: name)
        monkeypatch.setattr(lib_run, "device_kind", lambda device: device)
        monkeypatch.setattr(lib_run, "peak_mb", lambda device: 0)


@pytest.fixture
def device():
    """Name of a device that is not the CPU."""
    with elsewhere() as name:
        yield name


# ---- the device itself

def left_on_the_cpu(d):
    return nn.Linear(4, 2)(torch.ones(3, 4, device=d))


PLANTED = {
    "a mixed sum": lambda d: torch.ones(3, device=d) + torch.ones(3),
    "a number of the device with a tensor of the CPU": lambda d: torch.ones((), device=d) + torch.ones(3),
    "a mixed product": lambda d: torch.ones(3, 3, device=d) @ torch.ones(3),
    "a factory without its device": lambda d: F.cross_entropy(torch.ones(3, 4, device=d), torch.arange(3)),
    "a mask without its device": lambda d: torch.ones(3, device=d).masked_fill(torch.ones(3) > 0, 0.0),
    "numbers in one stack": lambda d: torch.stack([torch.ones((), device=d), torch.ones(())]),
    "numpy": lambda d: torch.ones(3, device=d).numpy(),
    "numpy's own functions": lambda d: np.sqrt(torch.ones(3, device=d)),
    "an array of numbers": lambda d: np.array([torch.ones((), device=d)]),
    "the CPU's generator": lambda d: torch.randn(3, device=d, generator=torch.Generator()),
    "the device's generator": lambda d: torch.randn(3, generator=torch.Generator(d)),
    "the CPU's generator in place": lambda d: torch.ones(3, device=d).normal_(generator=torch.Generator()),
    "a module left on the CPU": left_on_the_cpu,
    "a table left on the CPU": lambda d: nn.Embedding(3, 2)(torch.arange(3, device=d)),
    "an index of the device": lambda d: torch.ones(3)[torch.arange(2, device=d)],
    "values from the CPU": lambda d: torch.ones(3, device=d).index_put_((torch.arange(2), ), torch.ones(2)),
    "a mix inside vmap": lambda d: torch.func.vmap(lambda v: v + torch.ones(2))(torch.ones(3, 2, device=d)),
    "a mix inside autograd": lambda d: torch.func.grad(lambda v: (v * torch.ones(2)).sum())(torch.ones(2, device=d)),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug, device):
    with pytest.raises((RuntimeError, TypeError), match="device|indices"):
        PLANTED[bug](device)


def trained(d, make):
    """Weights after some steps of AdamW on cross entropy, and the last gradient."""
    torch.manual_seed(0)
    model, gen = make().to(d), torch.Generator(d).manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(3):
        x, y = torch.randn(6, 1, 8, device=d, generator=gen), torch.randint(3, (6, ), device=d, generator=gen)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return [v for p in model.parameters() for v in (p, p.grad)]


def attended(d):
    x = torch.randn(2, 2, 5, 4, device=d, generator=torch.Generator(d).manual_seed(0)).requires_grad_()
    F.scaled_dot_product_attention(x, x, x, is_causal=True).square().sum().backward()
    return x.grad


def together(d):
    x = torch.randn(12, 8, device=d, generator=torch.Generator(d).manual_seed(0))
    skeleton, start = ensemble.stack(lambda: nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 2)), [1, 2, 3], d)
    params, losses = ensemble.sgd(skeleton, start, F.mse_loss, x, x[:, :2], 4, 3, 0.1, ensemble.generators([1, 2, 3], d), every=1)
    return [*params.values(), losses, ensemble.outputs(skeleton, params, x)]


def second_order(d):
    x = torch.arange(1.0, 4.0, device=d)
    cubes = torch.func.hessian(lambda v: (v**3).sum())(x)
    return [cubes, torch.func.jvp(torch.func.grad(lambda v: v.sin().sum()), (x, ), (x, ))[1]]


def there_and_back(d):
    x = torch.arange(3.0, device=d, requires_grad=True)
    ((x.cpu() * 2).to(d) ** 2).sum().backward()
    return x.grad


def written(d):
    x = torch.zeros(4, 4, device=d)
    row = x[1]
    row += 2
    x[torch.tensor([2, 3]), 1] = 1.0
    x[x > 1] = torch.tensor(5.0)
    x.T[0].add_(torch.eye(4, device=d)[0]).clamp_(max=3)
    torch.mul(x, 2, out=x)
    return [x, row, x.argsort(1), torch.bmm(x[None], x[None]), torch.cdist(x, x), torch.linalg.svdvals(x)]


def numbers(d):
    x = torch.tensor([1.0, 2.0], device=d)
    return [x * torch.tensor(2.0), torch.where(x > 1, x, torch.tensor(0.0)), x.new_tensor([x[1].item(), len(x.tolist())]),
            torch.as_tensor(np.ones(2), dtype=x.dtype, device=x.device), torch.fft.rfft(x).abs(), torch.view_as_real(
                torch.complex(x, x).conj() * 1j)]


CLEAN = {
    "a convolution": partial(trained, make=lambda: nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.GELU(), nn.Flatten(),
                                                                 nn.Linear(24, 3))),
    "a recurrent layer": partial(trained, make=lambda: Last(8, 4)), "attention": attended, "an ensemble": together,
    "second derivatives": second_order, "there and back": there_and_back, "writing in place": written, "numbers": numbers,
}


class Last(nn.Module):
    """An LSTM's last state as scores of three classes."""

    def __init__(self, n: int, d: int):
        super().__init__()
        self.core, self.head = nn.LSTM(n, d, batch_first=True), nn.Linear(d, 3)

    def forward(self, x):
        return self.head(self.core(x)[0][:, -1])


def alike(made, want, place):
    """What a call gives on two devices: tensors that live where they are asked to, and the same numbers."""
    for name, (a, b) in enumerate(zip(made, want, strict=True)) if not isinstance(made, dict) else (
            (k, (made[k], want[k])) for k in want):
        if isinstance(a, torch.Tensor):
            assert a.device.type == place, f"{name} is on {a.device}"
            a, b = a.detach().cpu(), b.detach()
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-4, atol=1e-5, err_msg=str(name))


@pytest.mark.parametrize("code", CLEAN)
def test_clean_code_passes_with_the_numbers_of_the_cpu(code, device):
    made, want = CLEAN[code](device), CLEAN[code]("cpu")
    alike(made if isinstance(made, list) else [made], want if isinstance(want, list) else [want], NAME)


@pytest.mark.skipif(NAME == "cuda", reason="a GPU makes tensors of torch's own class")
def test_gradients_and_parameters_are_of_the_device():
    with elsewhere():
        model = models.Gpt(7, 8, 1, 2).to(NAME)
        model(torch.zeros(1, 3, dtype=torch.long, device=NAME)).sum().backward()
        assert all(isinstance(p, Elsewhere) and isinstance(p.grad, Elsewhere) for p in model.parameters())
    with pytest.raises(RuntimeError):
        torch.Generator(NAME)  # outside, torch's own class is back
