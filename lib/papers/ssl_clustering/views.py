"""Random views of images, in batches and on the images' device: no loop over images."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import ClusteringError

GREY = (0.299, 0.587, 0.114)


def augment(x: Tensor, gen: torch.Generator) -> Tensor:
    """One random view of each image: moved, of another thickness or colour, and noisy.

    Rotation to 25 degrees, shear to .3, zoom .6 to 1.15, aspect .8 to 1.25, shift to 9 % of the side. Then for one channel
    (bright ink on 0) a random dilation or erosion and a gain of .5 to 1; for three channels gain and contrast of .6 to
    1.4, saturation 0 to 1.5, colours in another order for half of the images, inverted for a fifth. Noise of .15, or .05.

    Parameters
    ----------
    x : images [n, channels, s, s] between 0 and 1, one or three channels.
    gen : generator on the images' device.

    Returns
    -------
    Views [n, channels, s, s].
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ClusteringError(f"images of shape {tuple(x.shape)} have no views here; give [n, 1 or 3, s, s].")
    r = torch.rand(12, len(x), generator=gen, device=x.device)
    moved = _moved(x, r[:6])
    return _ink(moved, r[6:], gen) if x.shape[1] == 1 else _colours(moved, r[6:], gen)


def _between(r: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * r


def _moved(x: Tensor, r: Tensor) -> Tensor:
    """Images under random affine maps; r [6, n] uniform. What comes from outside repeats the border."""
    angle, shear = _between(r[0], -25, 25) * math.pi / 180, _between(r[1], -0.3, 0.3)
    zoom, aspect = 1 / _between(r[2], 0.6, 1.15), _between(r[3], 0.8, 1.25)
    c, s = zoom * angle.cos(), zoom * angle.sin()
    dx, dy = (_between(k, -0.18, 0.18) for k in r[4:])
    maps = torch.stack([aspect * c, shear * c - s, dx, aspect * s, shear * s + c, dy], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False, padding_mode="zeros" if x.shape[1] == 1 else "border")


def _noise(x: Tensor, scale: float, gen: torch.Generator) -> Tensor:
    return x + scale * torch.randn(x.shape, generator=gen, device=x.device)


def _ink(x: Tensor, r: Tensor, gen: torch.Generator) -> Tensor:
    """Another thickness and gain; r [6, n] uniform."""
    k, gain = _between(r[0], -1, 1)[:, None, None, None], _between(r[1], 0.5, 1)[:, None, None, None]
    thick, thin = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
    x = x + k.clamp(min=0) * (thick - x) + 0.6 * (-k).clamp(min=0) * (thin - x)
    return _noise(gain * x, 0.15, gen)


def _colours(x: Tensor, r: Tensor, gen: torch.Generator) -> Tensor:
    """Another gain, contrast, saturation, order and sign of colours; r [6, n] uniform."""
    r = r[..., None, None, None]
    grey = (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    x = grey + _between(r[0], 0, 1.5) * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = _between(r[1], 0.6, 1.4) * (mean + _between(r[2], 0.6, 1.4) * (x - mean))
    order = torch.rand(len(x), 3, generator=gen, device=x.device).argsort(1)[..., None, None].expand_as(x)
    x = torch.where(r[3] < 0.5, x.gather(1, order), x)
    return _noise(torch.where(r[4] < 0.2, 1 - x, x), 0.05, gen)
