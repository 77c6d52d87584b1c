"""The graph of parts of WordNet 3.1: nouns joined to what they are part, member or substance of."""

import re
from collections import Counter

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

VERSION = 1
MEMBER = "nlptoolkit_wordnet-1.0.26/WordNet/data/english_wordnet_version_31.xml"
PARTS = {f"{what}_{end}" for what in ("PART", "MEMBER", "SUBSTANCE") for end in ("MERONYM", "HOLONYM")}
DEPTH, FEWEST, WORDS, COMMON = 4, 800, 1500, 0.1


def _synsets(text: str) -> dict[str, tuple[str, str, list[tuple[str, str]]]]:
    """Nouns by id: first name, definition, relations (other id, type)."""
    found = {}
    for m in re.finditer(r"<SYNSET><ID>(ENG31-\d+-n)</ID>(.*?)</SYNSET>", text, re.S):
        body = m[2]
        name, meaning = re.search(r"<LITERAL>([^<]*)", body), re.search(r"<DEF>([^<]*)", body)
        found[m[1]] = (name[1] if name else "", meaning[1] if meaning else "",
                       re.findall(r"<SR>(ENG31-\d+-n)<TYPE>(\w+)</TYPE>", body))
    return found


def read(text: str) -> dict[str, np.ndarray]:
    """Edges [2, m] (each once), labels [n], words of the definition [n, 1500], names of classes and nodes.

    A node's label is its ancestor four steps below the root, where at least 800 nouns have it; nodes without one are left
    out, and so is all but the largest component. Words that a tenth of the definitions hold are no features.
    """
    nouns = _synsets(text)
    above = {i: next((j for j, kind in links if kind in ("HYPERNYM", "INSTANCE_HYPERNYM")), None)
             for i, (_, _, links) in nouns.items()}

    def ancestor(i: str) -> str | None:
        path = [i]
        while above.get(path[-1]) is not None and len(path) < 40:
            path.append(above[path[-1]])
        return path[-1 - DEPTH] if len(path) > DEPTH else None

    label = {i: ancestor(i) for i in nouns}
    sizes = Counter(v for v in label.values() if v is not None)
    kinds = sorted(k for k, count in sizes.items() if count >= FEWEST)
    ids = [i for i in nouns if label[i] in set(kinds)]
    at = {i: k for k, i in enumerate(ids)}
    pairs = sorted({tuple(sorted((at[i], at[j]))) for i in ids for j, kind in nouns[i][2]
                    if kind in PARTS and j in at and j != i})
    edges = np.array(pairs, np.int64).T
    n = len(ids)
    component = connected_components(coo_matrix((np.ones(edges.shape[1]), edges), (n, n)), directed=False)[1]
    kept = np.flatnonzero(component == np.bincount(component).argmax())
    place = np.full(n, -1)
    place[kept] = np.arange(len(kept))
    edges = place[edges[:, place[edges[0]] >= 0]]
    bags = [set(re.findall("[a-z]+", nouns[ids[k]][1].lower())) for k in kept]
    often = Counter(w for bag in bags for w in bag)
    words = sorted((w for w, c in often.items() if c < COMMON * len(kept)), key=lambda w: (-often[w], w))[:WORDS]
    column = {w: c for c, w in enumerate(words)}
    x = np.zeros((len(kept), len(words)), np.uint8)
    for row, bag in enumerate(bags):
        x[row, [column[w] for w in bag if w in column]] = 1
    y = np.array([kinds.index(label[ids[k]]) for k in kept], np.int64)
    present = np.unique(y)
    return {"edges": edges, "y": np.searchsorted(present, y), "x": x,
            "classes": np.array([nouns[kinds[c]][0] for c in present])}
