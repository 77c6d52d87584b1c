"""Seeds in blocks: an experiment names the axes of what it returns, is computed a few seeds at a time, and joined.

An array with the axis ``seed`` is joined along it; an array without it is the same in all blocks, bit by bit.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lib.evidence.recipe import EvidenceError

SEED = "seed"


def sizes(n: int, block: int) -> tuple[int, ...]:
    """Numbers of seeds in the blocks of ``n`` seeds: ``block`` each, and what is left."""
    return (block,) * (n // block) + ((n % block,) if n % block else ())


def fit(id: str, arrays: Mapping[str, np.ndarray], axes: Mapping[str, Sequence[str]], n: int | None) -> None:
    """Raise EvidenceError where the arrays of ``n`` seeds (None: unknown) do not have the axes that were declared."""
    if set(arrays) != set(axes):
        odd = sorted(set(arrays) ^ set(axes))
        raise EvidenceError(f"experiment {id} returned {', '.join(arrays)}, and its axes name {', '.join(axes)}; "
                            f"declare the axes of what it returns ({', '.join(odd)} is in one list only).")
    for name, a in arrays.items():
        if np.ndim(a) != len(axes[name]):
            raise EvidenceError(f"experiment {id} returned `{name}` with {np.ndim(a)} axes, and declares "
                                f"{len(axes[name])} ({', '.join(axes[name]) or 'none'}); mend the declaration.")
        if n is not None and SEED in axes[name] and a.shape[tuple(axes[name]).index(SEED)] != n:
            raise EvidenceError(f"experiment {id} returned `{name}` with {a.shape[tuple(axes[name]).index(SEED)]} rows along "
                                f"its axis `{SEED}` for {n} seeds; return one a seed, or name the axis otherwise.")


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """True when two arrays have the same type, shape and bits."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def joined(id: str, blocks: Sequence[Mapping[str, np.ndarray]], axes: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """The arrays of all seeds from those of the blocks; raises EvidenceError where blocks do not fit together."""
    out = {}
    for name, names in axes.items():
        arrays = [b[name] for b in blocks]
        if SEED not in names:
            odd = next((i for i, a in enumerate(arrays) if not equal(a, arrays[0])), None)
            if odd is not None:
                raise EvidenceError(f"experiment {id} returned another `{name}` in block {odd + 1} than in block 1, and it "
                                    f"has no axis `{SEED}`; return one a seed, or the same from all seeds.")
            out[name] = arrays[0]
            continue
        axis = tuple(names).index(SEED)
        odd = next((i for i, a in enumerate(arrays) if np.delete(a.shape, axis).tolist()
                    != np.delete(arrays[0].shape, axis).tolist() or a.dtype.kind != arrays[0].dtype.kind), None)
        if odd is not None:
            raise EvidenceError(f"experiment {id} returned `{name}` {list(arrays[odd].shape)} {arrays[odd].dtype} in block "
                                f"{odd + 1} and {list(arrays[0].shape)} {arrays[0].dtype} in block 1; blocks must have one "
                                "shape but for their seeds.")
        out[name] = np.concatenate(arrays, axis)
    return out


def cut(arrays: Mapping[str, np.ndarray], axes: Mapping[str, Sequence[str]], start: int, stop: int) -> dict[str, np.ndarray]:
    """The arrays of the seeds from ``start`` up to ``stop``: the inverse of :func:`joined`."""
    return {name: a.take(range(start, stop), tuple(axes[name]).index(SEED)) if SEED in axes[name] else a
            for name, a in arrays.items()}
