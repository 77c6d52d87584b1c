"""Trees on representations of a Transformer: the experiment on tasks of reasoning."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from lib import data
from lib.papers.autoregressive_trees.compilers import Running, compile_dfa

from . import reasoning, traces

VIEWS = ("counts of words", "words in order", "MiniLM", "SmolLM2")
READERS = ("tree", "forest", "boosted trees", "linear probe")
LAYERS = (10, 20, 30)  # of SmolLM2; one is chosen on a quarter of the examples


def reader(name: str, seed: int, members: int):
    """One of :data:`READERS` in scikit-learn's interface; a forest has so many members."""
    if name == "tree":
        from sklearn.tree import DecisionTreeClassifier
        return DecisionTreeClassifier(min_samples_leaf=4, random_state=seed)
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier
        return RandomForestClassifier(members, random_state=seed)
    if name == "boosted trees":
        from xgboost import XGBClassifier
        return XGBClassifier(n_estimators=50, max_depth=4, random_state=seed, n_jobs=1)
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    return make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 6, 13)))


@torch.no_grad()
def hidden(model, tokenizer, shots: str, questions: Sequence[str], answers: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """States of the last token [questions, layers, width] after answered examples, and the logit of the first answer less
    that of the second [questions]."""
    pick = [tokenizer(f" {a}").input_ids[0] for a in answers]
    ids = torch.tensor([tokenizer(shots).input_ids], device=model.device)
    start = model(ids, use_cache=True).past_key_values
    states, leans = [], []
    for question in questions:
        ids = torch.tensor([tokenizer(f"Question: {question}\nAnswer:").input_ids], device=model.device)
        out = model(ids, past_key_values=copy.deepcopy(start), output_hidden_states=True)
        states.append(torch.stack([out.hidden_states[k][0, -1] for k in LAYERS]).cpu().numpy())
        leans.append(float(out.logits[0, -1, pick[0]] - out.logits[0, -1, pick[1]]))
    return np.stack(states), np.array(leans)


@torch.no_grad()
def sentences(model, tokenizer, questions: Sequence[str]) -> np.ndarray:
    """Mean of the last states over tokens of each question, [questions, width]."""
    return np.stack([model(**tokenizer(q, return_tensors="pt").to(model.device)).last_hidden_state[0].mean(0).cpu().numpy()
                     for q in questions])


def answered(name: str, seed: int, members: int, layers: np.ndarray, y: np.ndarray, train: int) -> float:
    """Accuracy after the first ``train`` examples, on the layer that is best on the last quarter of these."""
    part = max(2, train - train // 4)

    def score(k: int, fit: slice, ask: slice) -> float:
        return reader(name, seed, members).fit(layers[fit, k], y[fit]).score(layers[ask, k], y[ask])

    found = [score(k, slice(part), slice(part, train)) for k in range(layers.shape[1])]
    return float(score(int(np.argmax(found)), slice(train), slice(train, None)))


def threshold(leans: np.ndarray, y: np.ndarray) -> float:
    """The number above which most examples are answered rightly by "yes"."""
    places = np.concatenate([[-np.inf], np.sort(leans)])
    return float(places[int(np.argmax([((leans > p) == y).mean() for p in places]))])


def probe(train: int, asked: int, shots: int, members: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Answers to ``asked`` questions of each task after ``train`` examples.

    ``accuracy`` [seed, task, view, reader], ``own`` [seed, task, 2]: of SmolLM2's own answers after ``shots`` examples, as
    they are and with the best threshold on the training examples; ``writing`` [seed, task]: of a tree that writes states,
    learnt from the same examples; ``states``: the share of states that it writes rightly.
    """
    tasks, models = reasoning.tasks(), {"MiniLM": data.minilm(), "SmolLM2": data.smollm()}
    for model, _ in models.values():
        model.to(device)
    shape = (len(seeds), len(tasks))
    out = {"accuracy": np.zeros((*shape, len(VIEWS), len(READERS))), "own": np.zeros((*shape, 2)), "writing": np.zeros(shape),
           "states": np.zeros(shape)}
    for (s, k) in np.ndindex(shape):
        task, seed = tasks[k], int(seeds[s]) % 2**31
        words, y = task.sample(shots + train + asked, seed)
        told = "".join(f"Question: {task.ask(w)}\nAnswer: {task.answers[int(not a)]}\n\n" for w, a in zip(words[:shots], y))
        words, y = words[shots:], y[shots:]
        questions, symbols = [task.ask(w) for w in words], task.machine.symbols
        code = np.array([[symbols.index(v) for v in w] for w in words])[..., None] == np.arange(len(symbols))
        states, leans = hidden(*models["SmolLM2"], told, questions, task.answers)
        views = (code.sum(1), code.reshape(len(words), -1), sentences(*models["MiniLM"], questions), states)
        for v, view in enumerate(views):
            layers = (view if view.ndim == 3 else view[:, None]).astype(np.float32)
            for r, name in enumerate(READERS):
                out["accuracy"][s, k, v, r] = answered(name, seed, members, layers, y, train)
        for j, mark in enumerate((0.0, threshold(leans[:train], y[:train]))):
            out["own"][s, k, j] = ((leans[train:] > mark) == y[train:]).mean()
        out["writing"][s, k], out["states"][s, k] = writing(task, words[:train], words[train:], y[train:], seed)
    return out


def writing(task: reasoning.Task, words: Sequence, asked: Sequence, y: np.ndarray, seed: int) -> tuple[float, float]:
    """Accuracy of a tree that learnt to write the states of the task's automaton, and its share of right states."""
    from sklearn.tree import DecisionTreeClassifier
    running = compile_dfa(task.machine, task.n)
    fitted = DecisionTreeClassifier(random_state=seed).fit(*traces.windows(running, words))
    rows = Running(traces.tree_of(fitted, running.tree), task.machine).write(asked, task.n + 1)
    states = [sum(a == ("state", q) for a, q in zip(row, task.machine.run(w)[0])) / task.n for row, w in zip(rows, asked)]
    return float(np.mean([(row[-1] == "accept") == a for row, a in zip(rows, y)])), float(np.mean(states))
