"""Trees and ensembles of scikit-learn, XGBoost and LightGBM: how they are made, and their nodes as plain arrays.

In the arrays a test goes left where the float32 feature is at most the threshold. Trees that count words hold a law in
each node; boosted trees hold one number in each leaf, which is added to one of several scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import TreeError

COUNTING, BOOSTED = ("tree", "forest"), ("xgboost", "xgboost-embedding", "lightgbm")
BACKENDS = COUNTING + BOOSTED
UNKNOWN = -1e9  # score of a word that no text held


@dataclass(frozen=True)
class Nodes:
    """Arrays over the nodes of all trees, and what becomes of their sum.

    Attributes
    ----------
    feature, threshold, left, right : arrays [nodes]; ``left`` is -1 at a leaf.
    value : law [nodes, words] of counting trees, already divided by their number; or [nodes, 1] of boosted ones.
    roots : array [trees]; ``output`` [trees] the score that a boosted tree adds to, empty for counting trees.
    base : array [scores] that the scores start from, empty for counting trees.
    codes : array [words, d] where scores are a point and a word is the likelier the nearer its code, else [0, 0].
    entries : numbers stored: two for each test, and those of leaves that are not zero.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    roots: np.ndarray
    output: np.ndarray
    base: np.ndarray
    codes: np.ndarray
    entries: int


def estimator(backend: str, seed: int, settings: dict):
    """An estimator of scikit-learn's interface with the defaults of this package, which ``settings`` overrule."""
    if backend == "tree":
        from sklearn.tree import DecisionTreeClassifier
        return DecisionTreeClassifier(**{"min_samples_leaf": 4, "random_state": seed} | settings)
    if backend == "forest":
        from sklearn.ensemble import RandomForestClassifier
        return RandomForestClassifier(**{"n_estimators": 20, "max_features": 0.5, "min_samples_leaf": 2,
                                         "random_state": seed} | settings)
    if backend not in BACKENDS:
        raise TreeError(f"there is no back-end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    try:
        if backend == "lightgbm":
            from lightgbm import LGBMClassifier
            return LGBMClassifier(**{"n_estimators": 20, "learning_rate": 0.3, "num_leaves": 15, "reg_lambda": 1.0,
                                     "min_child_samples": 5, "min_child_weight": 0.1, "random_state": seed, "n_jobs": 1,
                                     "verbose": -1} | settings)
        from xgboost import XGBClassifier, XGBRegressor
        if backend == "xgboost":
            return XGBClassifier(**{"n_estimators": 20, "max_depth": 6, "max_bin": 64, "random_state": seed,
                                    "n_jobs": 1} | settings)
        return XGBRegressor(**{"n_estimators": 60, "max_depth": 6, "max_bin": 64, "random_state": seed,
                               "n_jobs": 1} | settings)
    except ImportError:
        package = backend.split("-")[0]
        raise TreeError(f"{package} is not installed; `pip install {package}` or choose tree or forest.") from None


def counting(members: list, known: np.ndarray, size: int, shrink: float, floor: float) -> Nodes:
    """Fitted classification trees of scikit-learn; the law of a node is drawn to its parent's with weight ``shrink``."""
    parts, roots, entries = [], [], 0
    for member in members:
        t, base = member.tree_, sum(len(p["left"]) for p in parts)
        roots.append(base)
        count = t.value[:, 0] * t.weighted_n_node_samples[:, None]
        law = count / count.sum(1, keepdims=True)
        entries += 2 * int((t.children_left >= 0).sum()) + int((t.value[t.children_left < 0] > 0).sum())
        for node in range(t.node_count):                                # parents come before their children
            for child in (t.children_left[node], t.children_right[node]):
                if child >= 0:
                    law[child] = (count[child] + shrink * law[node]) / (count[child].sum() + shrink)
        wide = np.zeros((t.node_count, size))
        wide[:, known[member.classes_.astype(int)]] = law
        parts.append({"feature": t.feature, "threshold": t.threshold, "value": wide,
                      "left": np.where(t.children_left < 0, -1, t.children_left + base),
                      "right": np.where(t.children_right < 0, -1, t.children_right + base)})
    whole = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    whole["value"] = ((1 - floor) * whole["value"] + floor / size) / len(members)
    return Nodes(**whole, roots=np.array(roots), output=np.empty(0, int), base=np.empty(0), codes=np.empty((0, 0)),
                 entries=entries)


def _xgboost(model) -> list[dict[str, np.ndarray]]:
    """Trees of a fitted XGBoost model, in order; it goes left where x < t, that is x <= the float32 below t."""
    raw = json.loads(model.get_booster().save_raw("json"))["learner"]["gradient_booster"]["model"]
    out = []
    for t, group in zip(raw["trees"], raw["tree_info"], strict=True):
        left = np.array(t["left_children"])
        split = np.array(t["split_conditions"], np.float32)
        out.append({"feature": np.array(t["split_indices"]), "left": left, "right": np.array(t["right_children"]),
                    "threshold": np.nextafter(split, np.float32(-np.inf)).astype(float),
                    "value": np.where(left < 0, split, 0).astype(float), "output": group})
    return out


def _lightgbm(model) -> list[dict[str, np.ndarray]]:
    """Trees of a fitted LightGBM classifier, in order."""
    raw, out = model.booster_.dump_model(), []
    for t in raw["tree_info"]:
        rows: list[list] = []

        def visit(node: dict, rows: list = rows) -> int:
            at = len(rows)
            rows.append([0, 0.0, -1, -1, node.get("leaf_value", 0.0)])
            if "split_feature" in node:
                left = visit(node["left_child"])
                rows[at] = [node["split_feature"], node["threshold"], left, visit(node["right_child"]), 0.0]
            return at

        visit(t["tree_structure"])
        table = {k: np.array(v) for k, v in zip(("feature", "threshold", "left", "right", "value"), zip(*rows), strict=True)}
        out.append(table | {"output": t["tree_index"] % raw["num_tree_per_iteration"]})
    return out


def boosted(backend: str, model, known: np.ndarray, codes: np.ndarray, x: np.ndarray,
            walk: Callable[[Nodes, np.ndarray], np.ndarray]) -> Nodes:
    """Fitted boosted trees; ``codes`` [words, d] of the dictionary, ``x`` [1, features] any row, ``walk`` sums its leaves.

    What the model adds to the leaves is read off its own prediction at ``x``.
    """
    trees = _lightgbm(model) if backend == "lightgbm" else _xgboost(model)
    point = backend == "xgboost-embedding"
    scores = np.arange(codes.shape[1]) if point else known               # which score the k-th output of the model is
    if not point and len(known) == 2:
        scores = known[1:]                                               # of two words only the second has a score
    roots = np.cumsum([0, *(len(t["left"]) for t in trees)])[:-1]
    whole = {k: np.concatenate([t[k] for t in trees]) for k in ("feature", "threshold", "value")}
    for side in ("left", "right"):
        whole[side] = np.concatenate([np.where(t["left"] < 0, -1, t[side] + r) for t, r in zip(trees, roots, strict=True)])
    base = np.zeros(codes.shape[1]) if point else np.full(len(codes), UNKNOWN)
    base[known if not point else scores] = 0
    leaves = int((whole["left"] < 0).sum())
    nodes = Nodes(**whole | {"value": whole["value"][:, None]}, roots=roots, base=base,
                  output=scores[np.array([t["output"] for t in trees])], codes=codes if point else np.empty((0, 0)),
                  entries=2 * (len(whole["left"]) - leaves) + leaves)
    if point:
        said = model.predict(x)
    else:
        said = model.predict(x, **({"raw_score": True} if backend == "lightgbm" else {"output_margin": True}))
    base[scores] = np.ravel(said) - walk(nodes, x)[0][scores]
    return nodes
