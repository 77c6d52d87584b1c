"""Features by class, of any encoder: their means, spreads and class-distance normalised variance (CDNV).

Features are tensors [classes, samples, p], or [N, p] with labels [N]. What cannot be answered raises FeaturesError.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lib.errors import BookError


class FeaturesError(BookError):
    """Features, labels or settings for which the question has no answer."""


@dataclass(frozen=True)
class Moments:
    """Plug-in moments of C classes in p dimensions, for all ordered pairs (i, j); the diagonal means nothing.

    ``mean`` [C, p]; ``var`` [C], the trace of each covariance; ``d2`` [C, C], squared distances of means;
    ``along`` [C, C], the variance of class i along mean i - mean j, times ``d2``; ``traces`` [C, C], tr(S_i S_j).
    Variances divide by the number of samples, as in the papers.
    """

    mean: Tensor
    var: Tensor
    d2: Tensor
    along: Tensor
    traces: Tensor

    @property
    def V(self) -> Tensor:
        """One-sided CDNV [C, C]: variance of class i over the squared distance."""
        return self.var[:, None] / self.d2

    @property
    def directional(self) -> Tensor:
        """Directional CDNV [C, C]: variance of class i along the line of means, over the squared distance."""
        return self.along / self.d2**2


def by_class(features, labels) -> Tensor:
    """Features [N, p] with labels [N] as [C, m, p]; m is the size of the smallest class, later samples are left out."""
    features, labels = torch.as_tensor(features), torch.as_tensor(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise FeaturesError(f"features {tuple(features.shape)} and labels {tuple(labels.shape)} do not fit: [N, p] and [N].")
    groups = [features[labels == c] for c in labels.unique()]
    return checked(torch.stack([g[:min(map(len, groups))] for g in groups]) if groups else features)


def checked(z: Tensor, samples: int = 2, classes: int = 2) -> Tensor:
    """Features [C, m, p] that the instruments can use; FeaturesError says what is missing."""
    if not isinstance(z, Tensor) or z.ndim != 3:
        raise FeaturesError(f"features by class are a tensor [classes, samples, p], not {getattr(z, 'shape', type(z))}.")
    if not torch.isfinite(z).all():
        raise FeaturesError("features hold NaN or infinity; look at the encoder before its features.")
    if z.shape[0] < classes:
        raise FeaturesError(f"{z.shape[0]} classes are too few; at least {classes} are needed here.")
    if z.shape[1] < samples:
        raise FeaturesError(f"{z.shape[1]} samples a class are too few; at least {samples} are needed here.")
    return z


def centred(z: Tensor) -> Tensor:
    """Features around their mean, scaled to at most 1, float64 where they were and float32 else.

    Distances keep their order, and none overflows.
    """
    w = z.double()
    for _ in range(2):
        w = w / w.abs().max().clamp_min(1e-300)
        w = w - w.mean((0, 1))
    return w if z.dtype == torch.float64 else w.float()


def moments(z: Tensor) -> Moments:
    """Moments of features by class [C, m, p]; raises FeaturesError where two class means coincide."""
    z = checked(z).double()
    C, m, p = z.shape
    mean = z.mean(1)
    r = z - mean[:, None]
    d2 = torch.cdist(mean, mean, compute_mode="donot_use_mm_for_euclid_dist")**2
    off = ~torch.eye(C, dtype=torch.bool, device=z.device)
    scale = mean.square().sum(1).max() + r.square().sum(2).mean()
    if not bool((d2[off] > 1e-24 * scale).all()):
        i, j = ((d2 <= 1e-24 * scale) & off).nonzero()[0].tolist()
        raise FeaturesError(f"the means of classes {i} and {j} coincide, so that no bound by distance exists; drop one.")
    s = torch.einsum("cmi,cmj->cij", r, r) / m
    own = torch.einsum("cmp,cp->cm", r, mean)
    along = ((own[:, :, None] - torch.einsum("cmp,jp->cmj", r, mean))**2).mean(1)
    flat = s.reshape(C, -1)
    return Moments(mean, r.square().sum(2).mean(1), d2.masked_fill(~off, 1.0), along, flat @ flat.T)


def cdnv(features, labels=None) -> Tensor:
    """Class-distance normalised variance of all pairs [C, C], (var_i + var_j) / 2 d_ij^2, NaN on the diagonal.

    ``features`` [C, m, p], or [N, p] with ``labels`` [N]. Its mean over pairs is the papers' average; half of what is
    called CDNV where the factor 2 is left out.
    """
    m = moments(checked(features) if labels is None else by_class(features, labels))
    return ((m.V + m.V.T) / 2).fill_diagonal_(torch.nan)


def directional_cdnv(features, labels=None) -> Tensor:
    """Variance of class i along the line of means over the squared distance, ordered pairs [C, C], NaN on the diagonal."""
    m = moments(checked(features) if labels is None else by_class(features, labels))
    return m.directional.fill_diagonal_(torch.nan)


def pairs(x: Tensor) -> Tensor:
    """The entries off the diagonal of [C, C], as a vector."""
    return x[~torch.eye(len(x), dtype=torch.bool)]
