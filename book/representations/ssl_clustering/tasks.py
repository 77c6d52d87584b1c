"""Images under a true hierarchy that no loss is told of: letters by style and script, emoji by vendor and subgroup."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lib import data
from lib.papers.ssl_clustering.errors import ClusteringError

SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN")
HELD_STYLES = (2, 7, 9)  # typefaces on which held-out accuracy is measured


@dataclass(frozen=True)
class Task:
    """Images ``x`` [n, channels, s, s] in [0, 1], and their labels [n] at each level, finest first.

    The first level is ``sample``: each image a class of its own. ``style`` [n] is the typeface or vendor.
    """

    x: Tensor
    levels: dict[str, Tensor]
    style: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def first(self, per_class: int) -> Task:
        """The first ``per_class`` images of each class of the second level."""
        own = list(self.levels.values())[1]
        place = torch.cat([torch.arange(int(n)) for n in own.bincount()])[own.argsort(stable=True).argsort()]
        kept = place < per_class
        levels = {k: v[kept].unique(return_inverse=True)[1] for k, v in self.levels.items()}
        return Task(self.x[kept], levels, self.style[kept])


def _task(x: Tensor, names: tuple[str, ...], labels: list[np.ndarray], style: np.ndarray) -> Task:
    levels = {"sample": torch.arange(len(x))}
    for name, values in zip(names, labels, strict=True):
        levels[name] = torch.as_tensor(np.unique(values, return_inverse=True)[1])
    return Task(x, levels, torch.as_tensor(style))


def letters(per_script: int) -> Task:
    """Letters of five scripts in twelve typefaces: sample, letter, script; always the same ``per_script`` letters.

    Typefaces are those of DejaVu; letters that lack one are left out.
    """
    d = data.glyphs()
    full, rng, kept = np.bincount(d.y) == d.style.max() + 1, np.random.default_rng(0), []
    for script in SCRIPTS:
        pool = np.flatnonzero(full & (d.parent == d.parents.index(script)))
        if len(pool) < per_script:
            raise ClusteringError(f"{script} has {len(pool)} letters in all typefaces, not {per_script}; ask for fewer.")
        kept.append(rng.permutation(pool)[:per_script])
    rows = np.flatnonzero(np.isin(d.y, np.concatenate(kept)))
    rows = rows[np.lexsort((d.style[rows], d.y[rows]))]
    x = torch.tensor(d.x[rows]).float()[:, None] / 255
    return _task(x, ("letter", "script"), [d.y[rows], d.parent[d.y[rows]]], d.style[rows])


def emoji(per_subgroup: int) -> Task:
    """Emoji by three vendors in colour, 24 x 24: sample, name, subgroup, group; ``per_subgroup`` names of each subgroup.

    Subgroups with fewer names are left out.
    """
    d = data.emoji(24)
    rng, kept = np.random.default_rng(0), []
    for subgroup in range(len(d.parents)):
        pool = np.flatnonzero(d.parent == subgroup)
        if len(pool) >= per_subgroup:
            kept.append(rng.permutation(pool)[:per_subgroup])
    if len(kept) < 2:
        raise ClusteringError(f"no two subgroups have {per_subgroup} names; ask for fewer.")
    rows = np.flatnonzero(np.isin(d.y, np.concatenate(kept)))
    rows = rows[np.lexsort((d.style[rows], d.y[rows]))]
    subgroup = d.parent[d.y[rows]]
    group = np.array([d.parents[s].split(" / ")[0] for s in subgroup])
    x = torch.tensor(d.x[rows]).float().permute(0, 3, 1, 2) / 255
    return _task(x, ("name", "subgroup", "group"), [d.y[rows], subgroup, group], d.style[rows])


def cifar100(per_class: int) -> Task:
    """CIFAR-100 from the hub: sample, class, superclass; the first ``per_class`` images of each class, 32 x 32."""
    x, y, parent = data.cifar100()
    rows = np.concatenate([np.flatnonzero(y == c)[:per_class] for c in range(len(parent))])
    return _task(torch.tensor(x[rows]).float() / 255, ("class", "superclass"), [y[rows], parent[y[rows]]],
                 np.zeros(len(rows), np.int64))


TASKS = {"letters": letters, "emoji": emoji, "cifar100": cifar100}
