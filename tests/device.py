"""A device that is not the CPU, without a GPU: tensors kept in memory that count as another device.

torch's backend for devices of one's own (``PrivateUse1``) gives the name and the way of factory calls;
a tensor there wraps one of the CPU, and each operation on it is done on what it wraps, after a look at
whether all its arguments are on one device. As on CUDA, a mix is refused, as is ``.numpy()``, a
generator of another device, and an index of the device into a tensor of the CPU; a number in a CPU
tensor without axes may enter elementwise operations. Random numbers are the CPU's, so that results
equal a run on the CPU.

Not seen: copies that no one asks for, speed, memory, streams and kernels written for CUDA; sparse
tensors pass products only; a generator's device is looked at in calls of the test's own thread.
Where there is a GPU, ``NAME`` is ``"cuda"`` and the same tests run on it.
"""

from contextlib import contextmanager
from functools import cache, partial, wraps
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._pytree import tree_iter, tree_map

NAME = "cuda" if torch.cuda.is_available() else "elsewhere"

# An index may be on the CPU; a copy goes from one device to another; the last take a number from a CPU
# tensor without axes.
ATEN = torch.ops.aten
INDEXING = {ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_, ATEN._unsafe_index}
COPYING = {ATEN.copy_, ATEN.copy, ATEN._to_copy}
FILLING = {
    ATEN.masked_fill,
    ATEN.masked_fill_,
    ATEN.fill,
    ATEN.fill_,
    ATEN.index_fill,
    ATEN.index_fill_,
}

# Tensors that torch leaves unevaluated have no numbers to wrap.
PLAIN = {
    ATEN._efficientzerotensor: ATEN.zeros,
    ATEN._conj: ATEN.conj_physical,
    ATEN._neg_view: ATEN.neg,
}


class Elsewhere(torch.Tensor):
    """A tensor of the other device; ``inner`` holds its numbers on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    is_cuda = True  # what is written for GPUs is taken here too
    layout = property(lambda self: self.inner.layout)
    is_sparse = property(lambda self: self.inner.is_sparse)

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        place = (inner.stride(), inner.storage_offset()) if inner.layout == torch.strided else ()
        self = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, *place, dtype=inner.dtype, device=torch.device(NAME, 0)
        )
        self.inner = inner
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        # In inference mode composite operations come whole, with devices among their arguments.
        out = (
            func.decompose(*args, **(kwargs or {}))
            if torch.is_inference_mode_enabled()
            else NotImplemented
        )
        return _run(func, *args, **(kwargs or {})) if out is NotImplemented else out

    def numpy(self, *, force: bool = False):
        """Refused as on CUDA; with ``force`` a copy."""
        if not force:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                "to host memory first."
            )
        return self.detach().cpu().numpy()

    def tolist(self):
        """Numbers, as of any tensor."""
        return self.detach().cpu().tolist()

    def new_tensor(self, data, **kwargs):
        """A tensor on this one's device, of its type."""
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device} | kwargs)

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)

    def __repr__(self) -> str:
        return f"{self.inner!r} on {self.device}"


def _stripped(v, seen: list):
    """An argument with what its wrappers hold; the tensors in it are added to ``seen``."""
    if isinstance(v, torch.Tensor):
        seen.append(v)
        return v.inner if isinstance(v, Elsewhere) else v
    return [_stripped(w, seen) for w in v] if isinstance(v, list | tuple) else v


def _run(func, *args, **kwargs):
    """One operation on or to the other device, done on the CPU after a look at its arguments."""
    seen, asked = [], kwargs.get("device")
    plain = [_stripped(v, seen) for v in args]
    named = {k: _stripped(v, seen) for k, v in kwargs.items()}
    there = {id(v.inner): v for v in seen if isinstance(v, Elsewhere)}
    if there and len(there) < len(seen):
        _refuse_mixes(func, args, seen)
    ours = bool(there) if asked is None else torch.device(asked).type == NAME
    if asked is not None and ours:
        named["device"] = "cpu"
    out = PLAIN.get(func.overloadpacket, func)(*plain, **named)
    if any(v.inner.shape != v.shape for v in there.values()):
        raise NotImplementedError(
            f"{func} changes a shape in place, which the device of the tests cannot."
        )
    if not ours or any(
        out is v for v in seen
    ):  # the second: a copy from the other device into a tensor of the CPU
        return out
    return _wrapped(out, there)


def _wrapped(v, there: dict):
    """A result on the other device; what an operation in place returns is its argument itself."""
    if isinstance(v, torch.Tensor):
        return there[id(v)] if id(v) in there else Elsewhere(v)
    return type(v)(_wrapped(w, there) for w in v) if isinstance(v, list | tuple) else v


def _refuse_mixes(func, args, tensors) -> None:
    """Raise what CUDA would where arguments are on two devices."""
    packet = func.overloadpacket
    if packet in COPYING:
        return
    if packet in INDEXING:
        if not isinstance(args[0], Elsewhere):
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
            )
        tensors = [v for v in (args[0], *args[2:3]) if isinstance(v, torch.Tensor)]
    number = torch.Tag.pointwise in func.tags or packet in FILLING or packet in INDEXING
    if any(not isinstance(v, Elsewhere) and not (number and v.dim() == 0) for v in tensors):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and cpu! (when checking arguments of {func})"
        )


class Generator(torch.Generator):
    """``torch.Generator`` that can be of the other device, where it draws what the CPU's would."""

    def __new__(cls, device="cpu"):
        place = torch.device(device)
        self = super().__new__(cls, "cpu" if place.type == NAME else place)
        self.place = place
        return self

    @property
    def device(self) -> torch.device:
        return self.place


class _Calls(TorchFunctionMode):
    """Calls of torch that show what its inside does not: whose generator is given."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        gen = next((v for v in (*args, *kwargs.values()) if isinstance(v, torch.Generator)), None)
        if gen is not None and not isinstance(getattr(func, "__self__", None), torch.Generator):
            asked = kwargs.get("device") or next(
                (v.device for v in args if isinstance(v, torch.Tensor)), "cpu"
            )
            if torch.device(asked).type != gen.device.type:
                raise RuntimeError(
                    f"Expected a '{asked}' device type for generator but found '{gen.device}'"
                )
        if getattr(func, "__name__", "") == "lstm" and isinstance(args[0], Elsewhere):
            # Its fused cell exists on known devices only.
            _refuse_mixes(
                ATEN.lstm.input, args, [v for v in tree_iter(args) if isinstance(v, torch.Tensor)]
            )
            return tree_map(
                lambda v: v.to(NAME),
                func(*tree_map(lambda v: v.cpu() if isinstance(v, Elsewhere) else v, args)),
            )
        return func(*args, **kwargs)


def _made(make):
    """``torch.tensor`` or ``torch.as_tensor`` that can make tensors of the other device, in any thread."""

    @wraps(make)
    def on_any(data, **kwargs):
        if torch.device(kwargs.get("device") or "cpu").type != NAME:
            return make(data, **kwargs)
        if isinstance(data, torch.Tensor):
            return data.to(**kwargs)
        leaf = kwargs.pop("requires_grad", False)
        return make(data, **kwargs | {"device": "cpu"}).to(kwargs["device"]).requires_grad_(leaf)

    return on_any


@cache
def _register() -> tuple:
    """Make the device known to torch, once for the process; returns what must be kept alive."""
    module = backend_registration._DummyBackendModule()
    module.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    module.get_rng_state = lambda device: torch.get_rng_state()
    module.set_rng_state = lambda state, device: torch.set_rng_state(state)
    backend_registration._setup_privateuseone_for_python_backend(NAME, module)
    every, made = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    every.fallback(_run, "PrivateUse1")
    # Kernels of these in torch's own way would change a shape in place.
    for op in (ATEN.arange.default, ATEN.arange.start, ATEN.arange.start_step, ATEN.eye.default, ATEN.eye.m):
        made.impl(op.name().removeprefix("aten::"), partial(_run, op), "PrivateUse1")
    return every, made


@contextmanager
def elsewhere():
    """Inside, ``NAME`` is a device that torch knows and watches; yields its name."""
    if NAME == "cuda":
        yield NAME
        return
    _register()
    ours = {
        "Generator": Generator,
        "tensor": _made(torch.tensor),
        "as_tensor": _made(torch.as_tensor),
    }
    # Backward in this thread: autograd counts devices, for its own threads, at the first backward.
    with _Calls(), torch.autograd.set_multithreading_enabled(False), patch.multiple(torch, **ours):
        with patch.object(torch.cuda, "synchronize", lambda device=None: None):
            yield NAME
