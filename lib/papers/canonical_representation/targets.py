"""The linear maps of a torch model that the probe can read, each as one matrix between vectors."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from .sums import Sums


class ProbeError(ValueError):
    """A model or a stream of batches that the probe cannot read."""


class Target:
    """One linear map of the model: how to read its weight [out, in], and its sums."""

    def __init__(self, name: str, weight: Callable[[], Tensor], rows: Callable[[Tensor], Tensor] | None = None,
                 columns: Callable[[Tensor], Tensor] | None = None):
        self.name, self.weight = name, weight
        self.rows = rows or (lambda x: x.flatten(0, -2))
        self.columns = columns or (lambda y: y.flatten(0, -2))
        self.sums: dict[str, Sums] = {}
        self.seen = self.calls = 0


def _patches(conv: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """Patches [n * positions, in * k * k] that a convolution reads."""
    if conv.groups != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ProbeError("a convolution with groups, or with padding other than zeros given as numbers, is no single matrix; "
                         "leave it out with layers=[...].")

    def rows(x: Tensor) -> Tensor:
        return F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride).transpose(1, 2).flatten(0, 1)

    return rows


def targets_of(name: str, module: nn.Module) -> list[Target]:
    if isinstance(module, nn.Linear):
        return [Target(name, lambda: module.weight)]
    if isinstance(module, nn.Conv2d):
        return [Target(name, lambda: module.weight.flatten(1), _patches(module),
                        lambda y: y.flatten(2).transpose(1, 2).flatten(0, 1))]
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # GPT-2 of Hugging Face keeps [in, out]
        return [Target(name, lambda: module.weight.mT)]
    if isinstance(module, nn.MultiheadAttention):
        if module.in_proj_weight is None:
            raise ProbeError(f"{name} reads keys of another width than queries; leave it out with layers=[...].")
        d = module.embed_dim
        pieces = [Target(f"{name}.{p}_proj", lambda i=i: module.in_proj_weight[i * d:(i + 1) * d])
                  for i, p in enumerate("qkv")]
        return [*pieces, Target(f"{name}.out_proj", lambda: module.out_proj.weight)]
    return []
