"""Many models of one shape, trained together: the leading axis ``[S, ...]`` runs over seeds and hyper-parameters.

Each member draws from its own generator, so that a member's numbers do not depend on who trains beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap


def generators(seeds: Sequence[int], device: str = "cpu") -> list[torch.Generator]:
    """One generator a member, seeded with its stream (``run.seeds``)."""
    return [torch.Generator(device).manual_seed(int(s)) for s in seeds]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator, seeded for the block alone: the weights that it draws depend on nothing before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        yield


def draw(gens: Sequence[torch.Generator], shape: Sequence[int], kind: str = "normal",
         dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers [S, *shape], row s from the s-th generator; ``kind`` is ``normal`` or ``uniform`` on [0, 1)."""
    make = {"normal": torch.randn, "uniform": torch.rand}.get(kind)
    if make is None:
        raise ValueError(f"kind={kind!r} is not known; choose \"normal\" or \"uniform\".")
    return torch.stack([make(*shape, generator=g, device=g.device, dtype=dtype) for g in gens])


def batches(gens: Sequence[torch.Generator], n: int, batch: int) -> Tensor:
    """Indices [S, batch] of one mini-batch a member, drawn with replacement from 0..n-1."""
    return torch.stack([torch.randint(n, (batch,), generator=g, device=g.device) for g in gens])


def stack(make: Callable[[], nn.Module], seeds: Sequence[int], device: str = "cpu") -> tuple[nn.Module, dict]:
    """S models of one shape as one: a skeleton and its parameters {name: [S, ...]}.

    ``make`` builds one model from torch's global generator; it is seeded with the member's stream for the call alone,
    and the generator's state is put back. Models with buffers that training changes (batch norm) are refused.
    """
    models = []
    for s in seeds:
        with seeded(s):
            models.append(make())
    if any(b.numel() for b in models[0].buffers()):
        raise ValueError("models with buffers (batch norm) cannot be trained as an ensemble; use layer or group norm.")
    params, _ = stack_module_state(models)
    skeleton = models[0].to("meta")
    return skeleton, {k: v.detach().clone().to(device) for k, v in params.items()}


def sgd(skeleton: nn.Module, params: dict, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor,
        n_steps: int, batch: int, lr: Tensor | float, gens: Sequence[torch.Generator],
        weight_decay: Tensor | float = 0.0, every: int = 0, own_data: bool = False) -> tuple[dict, Tensor]:
    """Train S models by SGD with mini-batches of their own.

    Parameters
    ----------
    skeleton, params : from :func:`stack`; ``params`` is not changed.
    loss : ``loss(output, target)`` of one model on one mini-batch, a scalar.
    x, y : data [n, ...] shared by all members; with ``own_data`` one set a member, [S, n, ...].
    n_steps, batch : steps, and samples a step drawn with replacement.
    lr, weight_decay : numbers, or one a member [S].
    gens : one generator a member.
    every : keep the losses of each ``every``-th step; 0 keeps none.

    Returns
    -------
    Parameters {name: [S, ...]} after training, and losses [S, n_kept].
    """
    S = len(gens)
    if own_data and (x.shape[0] != S or y.shape[0] != S):
        raise ValueError(f"with own_data, x and y need a leading axis of {S} members, not {x.shape[0]} and {y.shape[0]}.")
    n = x.shape[1] if own_data else x.shape[0]
    step = vmap(grad_and_value(lambda p, xb, yb: loss(functional_call(skeleton, p, (xb,)), yb)))
    like = next(iter(params.values()))
    lr, weight_decay = (torch.as_tensor(v, dtype=like.dtype, device=like.device).expand(S) for v in (lr, weight_decay))
    kept = []
    member = torch.arange(S, device=x.device)[:, None]
    for t in range(n_steps):
        i = batches(gens, n, batch).to(x.device)  # [S, batch]
        xb, yb = (x[member, i], y[member, i]) if own_data else (x[i], y[i])
        grads, value = step(params, xb, yb)
        params = {k: p - _like(lr, p) * (grads[k] + _like(weight_decay, p) * p) for k, p in params.items()}
        if every and t % every == 0:
            kept.append(value)
    return params, torch.stack(kept, 1) if kept else torch.empty(S, 0)


def _like(v: Tensor, p: Tensor) -> Tensor:
    return v.view(-1, *[1] * (p.ndim - 1))


def outputs(skeleton: nn.Module, params: dict, x: Tensor) -> Tensor:
    """Outputs [S, n, ...] of all members on the same inputs [n, ...]."""
    return vmap(lambda p: functional_call(skeleton, p, (x,)))(params)


def member(make: Callable[[], nn.Module], params: dict, s: int) -> nn.Module:
    """The s-th model as an ordinary module."""
    model = make()
    model.load_state_dict({k: v[s].cpu() for k, v in params.items()})
    return model
