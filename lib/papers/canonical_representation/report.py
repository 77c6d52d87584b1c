"""What the probe says of each layer, and the table that shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib import show, stats

from .moments import RELATIONS, Exponent
from .targets import ProbeError


@dataclass(frozen=True)
class LayerReport:
    """What the probe says of one layer.

    ``alpha``, ``low``, ``high``, ``off_diagonal``, ``baseline`` are [6] in the order of ``RELATIONS``, from normalised
    covariances (``low`` and ``high`` are NaN where one block of batches was streamed); ``x``, ``y`` are exponents of Ha
    against Za and of Gb against Zb, None where fewer than three modes live; ``ratio`` holds participation ratios of the
    six matrices.
    """

    name: str
    d_in: int
    d_out: int
    n_samples: int
    alpha: np.ndarray
    low: np.ndarray
    high: np.ndarray
    off_diagonal: np.ndarray
    baseline: np.ndarray
    x: Exponent | None
    y: Exponent | None
    ratio: dict[str, float]


class Report:
    """Reports of all layers; a notebook shows them as a table. ``report["name"]`` gives one.

    ``narrow`` names layers of one input or one output, which have no alignment: every 1 x 1 matrix is proportional to every
    other.
    """

    def __init__(self, layers: list[LayerReport], narrow: list[str]):
        self.layers, self.narrow = layers, narrow

    def __getitem__(self, name: str) -> LayerReport:
        found = next((r for r in self.layers if r.name == name), None)
        if found is None:
            why = "has one input or output, so that it has no alignment" if name in self.narrow else "is not in the report"
            raise ProbeError(f"layer {name} {why}; the report holds {', '.join(r.name for r in self.layers)}.")
        return found

    def _table(self) -> show.Table:
        def words(e: Exponent | None) -> str:
            return "few modes" if e is None else f"{stats.number(round(e.slope, 2))} (r {stats.number(round(e.r, 2))})"
        rows = [[f"`{r.name}`", *(f"{a:.2f} ± {h / 2 - l / 2:.2f} ({b:.2f})" for a, l, h, b in
                                  zip(r.alpha, r.low, r.high, r.baseline)),
                 f"{r.off_diagonal.mean():.2f}", words(r.x), words(r.y)] for r in self.layers]
        return show.Table(["layer", *RELATIONS, "mean without diagonal", "$x$", "$y$"], rows,
                          "Alignment by layer with its block-bootstrap interval, in brackets that of unrelated matrices of "
                          "the same spectra" + (f"; left out, of one input or output: {', '.join(self.narrow)}"
                                                if self.narrow else ""))

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_mimebundle_(self, **kw) -> dict:
        return self._table()._repr_mimebundle_(**kw)
