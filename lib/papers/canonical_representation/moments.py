"""Second moments of a layer and how they are compared: alignment, its random baseline, exponents.

Source: arXiv:2410.03006. A layer reads ``h_a`` and gives ``h_b = W h_a``; ``g`` is minus the gradient of a sample's loss.
``H``, ``G`` are second moments, ``Z_a = W^T W`` and ``Z_b = W W^T``. Arrays may carry leading axes (members of an
ensemble) before the two of the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RELATIONS = ("f-RGA", "f-RWA", "f-GWA", "b-RGA", "b-RWA", "b-GWA")
PAIRS = (("Hb", "Gb"), ("Hb", "Zb"), ("Gb", "Zb"), ("Ha", "Ga"), ("Ha", "Za"), ("Ga", "Za"))


def _square(A, what: str = "a matrix") -> np.ndarray:
    A = np.asarray(A, dtype=float)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"{what} must be square in its last two axes, not of shape {A.shape}.")
    if not np.isfinite(A).all():
        raise ValueError(f"{what} holds NaN or infinity; look for a diverged run or a zero gradient.")
    return A


def _centred(A: np.ndarray, diagonal: bool) -> np.ndarray:
    """Entries less their mean; without the diagonal, zeros stand there."""
    if diagonal:
        return A - A.mean((-2, -1), keepdims=True)
    d = A.shape[-1]
    off = A.sum((-2, -1), keepdims=True) - np.trace(A, axis1=-2, axis2=-1)[..., None, None]
    return np.where(np.eye(d, dtype=bool), 0.0, A - off / (d * (d - 1)))


def alignment(A, B, diagonal: bool = True) -> np.ndarray:
    """Pearson correlation of the entries of two matrices [..., d, d]; the paper's alpha.

    Parameters
    ----------
    A, B : symmetric matrices of one shape.
    diagonal : False leaves the diagonals out, whose size alone makes unrelated matrices look alike.

    Returns
    -------
    [...], dimensionless, in [-1, 1]; 1 exactly when ``A = c B + c' 1 1^T`` with c > 0.

    Raises
    ------
    ValueError : shapes differ, an entry is not finite, or a matrix has equal entries, for which it is not defined.
    """
    A, B = _square(A, "A"), _square(B, "B")
    if A.shape[-2:] != B.shape[-2:]:
        raise ValueError(f"matrices of shapes {A.shape} and {B.shape} have no common entries.")
    a, b = _centred(A, diagonal), _centred(B, diagonal)
    size = np.sqrt((a * a).sum((-2, -1)) * (b * b).sum((-2, -1)))
    if (size == 0).any():
        raise ValueError("alignment is not defined for a matrix whose entries are all equal.")
    return (a * b).sum((-2, -1)) / size


def participation_ratio(A) -> np.ndarray:
    """Number of directions that carry a positive semidefinite matrix [..., d, d]: ``(tr A)^2 / tr A^2``, in [1, d]."""
    A = _square(A)
    return np.trace(A, axis1=-2, axis2=-1) ** 2 / (A * A).sum((-2, -1))


def random_baseline(A, B) -> np.ndarray:
    """Alignment that two matrices of the spectra of A and B have when both have uniformly random eigenvectors.

    The ratio of means over such rotations, exact up to fluctuations of order 1/d. Source: chapter
    "canonical-representation", "What alpha is for unrelated matrices". Only the participation ratios enter:
    ``(d - 1) / sqrt((d^2 / PR_A - 1) (d^2 / PR_B - 1))``.
    """
    d = _square(A).shape[-1]
    if d < 2:
        raise ValueError("a baseline needs matrices of at least two rows.")
    return (d - 1) / np.sqrt((d * d / participation_ratio(A) - 1) * (d * d / participation_ratio(B) - 1))


def six(moments: dict, diagonal: bool = True) -> np.ndarray:
    """The six alignments of a layer [..., 6] in the order of ``RELATIONS``.

    ``moments`` holds Ha, Hb, Ga, Gb, Za, Zb, each [..., d, d].
    """
    return np.stack([alignment(moments[p], moments[q], diagonal) for p, q in PAIRS], -1)


def six_baselines(moments: dict) -> np.ndarray:
    """Random baselines of the six alignments [..., 6], of full matrices."""
    return np.stack([random_baseline(moments[p], moments[q]) for p, q in PAIRS], -1)


@dataclass(frozen=True)
class Exponent:
    """Slope of a power law between matrices, its correlation ``r`` on logarithms, the number of modes behind it, and the
    root mean square distance of logarithms from the line (0.69 is a factor of two)."""

    slope: float
    r: float
    n_modes: int
    scatter: float


def modes(X, Z, floor: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of Z above ``floor`` times the largest, and what X has along their eigenvectors, both [n_modes]."""
    z, V = np.linalg.eigh(_square(Z, "Z"))
    keep = z > floor * z[-1]
    return z[keep], np.einsum("ik,ij,jk->k", V[:, keep], _square(X, "X"), V[:, keep])


def exponent(X, Z, floor: float = 1e-3) -> Exponent:
    """Exponent p of ``X ~ Z^p``: slope of ``log v_k^T X v_k`` on ``log z_k`` over the live modes of Z [d, d].

    Raises ValueError where fewer than three modes live, where they do not differ, or where X is no second moment.
    """
    z, x = modes(X, Z, floor)
    if len(x) and x.min() < -1e-6 * np.abs(x).max():
        raise ValueError("X is negative along a mode of Z, so that it is no second moment; give moments of one layer.")
    z, x = z[x > 0], x[x > 0]
    if len(z) < 3 or np.ptp(np.log(z)) < 1e-9:
        raise ValueError(f"an exponent needs at least three modes of different size, and {len(z)} live.")
    u, v = np.log(z), np.log(x)
    u, v = u - u.mean(), v - v.mean()
    r = float(u @ v / np.sqrt((u @ u) * (v @ v))) if v @ v > 0 else 0.0
    slope = float(u @ v / (u @ u))
    return Exponent(slope, r, len(z), float(np.sqrt(np.mean((v - slope * u) ** 2))))


def phase(moments: dict, floor: float = 1e-3) -> tuple[Exponent, Exponent]:
    """The two free exponents of a layer: x of ``Ha ~ Za^x`` and y of ``Gb ~ Zb^y``.

    The other two follow exactly: ``Hb ~ Zb^(x+1)`` and ``Ga ~ Za^(y+1)``.
    """
    return exponent(moments["Ha"], moments["Za"], floor), exponent(moments["Gb"], moments["Zb"], floor)
