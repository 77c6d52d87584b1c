"""The shape of graph data."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Graph:
    """An undirected graph: ``edges`` [2, m] (each once), words ``x`` [n, v], labels ``y`` [n] (-1: none) of ``classes``."""

    edges: np.ndarray
    x: np.ndarray
    y: np.ndarray
    classes: list[str]
