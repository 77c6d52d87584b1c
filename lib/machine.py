"""The machine that a run uses: its device, memory and checkout."""

import os
import platform
import re
import subprocess
import sys

from lib import paths
from lib.errors import ParameterError


def device(name: str) -> str:
    """A device of this machine by its name, ``"auto"`` a GPU where there is one; ParameterError where there is none."""
    if name == "cpu":
        return name
    import torch
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cuda(:\d+)?", str(name)):
        raise ParameterError(f"device={name!r} is not known; choose \"auto\", \"cpu\", \"cuda\" or \"cuda:1\".")
    if not torch.cuda.is_available():
        raise ParameterError(f"device={name!r} needs an NVIDIA GPU and a CUDA build of torch, and none is found here; "
                             "choose device=\"cpu\" or \"auto\".")
    if ":" in name and int(name.split(":")[1]) >= torch.cuda.device_count():
        raise ParameterError(f"device={name!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s).")
    return name


def device_kind(device: str) -> str:
    """Kind of device as it enters local keys."""
    if device == "cpu":
        return f"cpu {platform.machine()}"
    import torch
    return torch.cuda.get_device_name(device)


def device_words(device: str) -> str:
    """The device as a reader would name it."""
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)" if device == "cpu" else device_kind(device)


def peak_mb(device: str) -> int:
    """Peak memory in MB: of the GPU where one is used, else of this process."""
    if device != "cpu":
        import torch
        return round(torch.cuda.max_memory_allocated(device) / 1e6)
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def commit() -> str:
    """Commit of the checkout, with a ``+`` where files differ from it; ``unknown`` outside a checkout."""
    if paths.root() is None:
        return "unknown"
    try:
        out = subprocess.run(["git", "-C", str(paths.root()), "describe", "--always", "--dirty=+", "--abbrev=10"],
                             capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return out.stdout.strip()
