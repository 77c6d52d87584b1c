"""Experiments of the chapter "autoregressive-trees"; each returns arrays whose first axis is the seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.papers.autoregressive_trees import machines
from lib.papers.autoregressive_trees.ardt import ARDT, Memory
from lib.papers.autoregressive_trees.compilers import bounds, compile_circuit, compile_dfa, compile_tm, configuration
from lib.papers.autoregressive_trees.verification import verify

from . import nets, stories, traces

AUTOMATA = {"parity": machines.parity, "divisible by 7": lambda: machines.divisible(7),
            "contains abba": lambda: machines.contains("abba", "abc"), "identity in A5": machines.alternating}
CIRCUITS = {"parity of 8 bits": lambda: machines.xor_tree(8), "parity of 64 bits": lambda: machines.xor_tree(64),
            "sum of two bytes": lambda: machines.adder(8)}


def automata(lengths: Sequence[int], words: int, seeds: Sequence[int]) -> dict:
    """Automata as trees on random words: ``wrong`` [seed, machine], of state or answer; ``leaves``, ``depth`` [machine, 2].

    The last axis of the latter: of the tree, and what the theorem says.
    """
    made = [[compile_dfa(make(), n) for n in lengths] for make in AUTOMATA.values()]
    wrong = np.zeros((len(seeds), len(made)), int)
    for s, seed in enumerate(seeds):
        gen = np.random.default_rng(seed)
        for m, group in enumerate(made):
            for running, n in zip(group, lengths, strict=True):
                asked = traces.draw(running.machine, n, words, None, gen)
                for word, row in zip(asked, running.write(asked, n + 5), strict=True):
                    states, accepted = running.machine.run(word)
                    due = [*(("state", q) for q in states), "accept" if accepted else "reject"]
                    wrong[s, m] += row != due
    return {"wrong": wrong} | _sizes([group[0] for group in made])


def _sizes(made: list) -> dict[str, np.ndarray]:
    said = [bounds(running) for running in made]
    return {"leaves": np.array([[r.tree.leaves, b["leaves"]] for r, b in zip(made, said, strict=True)]),
            "depth": np.array([[r.tree.depth, b["depth"]] for r, b in zip(made, said, strict=True)])}


def tapes(seeds: Sequence[int], count: int, bits: int, letters: int) -> dict:
    """Turing machines as trees: ``wrong`` [seed, machine] runs whose tape, head, state or number of tokens is not the
    simulator's; ``leaves``, ``depth`` [machine, 2] as in :func:`automata`; ``beaver`` steps and ones of the last beaver.

    Machines: busy beavers of 2, 3 and 4 states on 24 cells, increment of random numbers, palindromes of random words.
    """
    beavers = [machines.Turing.busy(t) for t in machines.BEAVERS.values()]
    made = [compile_tm(m, 24) for m in beavers] + [compile_tm(machines.increment(), bits + 2),
                                                   compile_tm(machines.palindrome(), letters + 3)]
    wrong, last = np.zeros((len(seeds), len(made)), int), (0, 0)
    for s, seed in enumerate(seeds):
        gen = np.random.default_rng(seed)
        for m, running in enumerate(made):
            cells = running.tree.window - 2
            if m < len(beavers):
                inputs, head = [["0"] * cells], 12
            else:
                size, alphabet = (bits, "01") if m == len(beavers) else (letters, "ab")
                rows = gen.integers(0, 2, (count, size))
                if m > len(beavers):
                    rows[: count // 2, size - size // 2:] = rows[: count // 2, : size // 2][:, ::-1]   # half are palindromes
                inputs, head = [["_", *(alphabet[v] for v in row)] + ["_"] * (cells - size - 1) for row in rows], 1
            for tape, written in zip(inputs, running.write(inputs, heads=[head] * len(inputs)), strict=True):
                end, place, state, steps = running.machine.run(tape, head)
                found = configuration(running, written)[-1]
                wrong[s, m] += found != (end, place, state) or len(written) != steps * (cells + 1) + place + 1
                if m == len(beavers) - 1:
                    last = (steps, end.count("1"))
    return {"wrong": wrong, "beaver": np.array(last)} | _sizes(made)


def circuits(seeds: Sequence[int], inputs: int, random: int) -> dict:
    """Circuits as trees: ``wrong`` [seed, circuit] inputs with a gate in error, the last of random gates of three inputs.

    ``leaves``, ``depth`` [circuit, 2] as in :func:`automata`.
    """
    gen = np.random.default_rng(0)
    gates = [(tuple(int(v) for v in gen.choice(10 + j, 3, replace=False)), tuple(int(v) for v in gen.integers(0, 2, 8)))
             for j in range(random)]
    made = [compile_circuit(make()) for make in CIRCUITS.values()] + [compile_circuit(machines.Circuit(10, gates))]
    wrong = np.zeros((len(seeds), len(made)), int)
    for s, seed in enumerate(seeds):
        gen = np.random.default_rng(seed)
        for c, running in enumerate(made):
            asked = gen.integers(0, 2, (inputs, running.machine.inputs)).tolist()
            for bits, row in zip(asked, running.write(asked), strict=True):
                wrong[s, c] += row != [*(str(v) for v in running.machine.run(bits)), "end"]
    return {"wrong": wrong} | _sizes(made)


def cube(n: int) -> tuple[np.ndarray, np.ndarray]:
    """All points [2^n, n] and their parity."""
    x = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return x, x.sum(1) % 2


def parity_trees(n: int, sizes: Sequence[int], seeds: Sequence[int]) -> dict:
    """CART on all points of parity, columns shuffled: ``accuracy``, ``exact`` = 1/2 + S_n/2^(n+1) [seed, size], ``bound``."""
    from sklearn.tree import DecisionTreeClassifier
    x, y = cube(n)
    out: dict[str, list] = {"accuracy": [], "exact": []}
    for seed in seeds:
        order, rows = np.random.default_rng(seed).permutation(n), {k: [] for k in out}
        for size in sizes:
            tree = DecisionTreeClassifier(max_leaf_nodes=size, random_state=int(seed) % 2**31).fit(x[:, order], y)
            t = tree.tree_
            depth = np.zeros(t.node_count, int)
            for node in range(t.node_count):
                for child in (t.children_left[node], t.children_right[node]):
                    if child >= 0:
                        depth[child] = depth[node] + 1
            full = int(((t.children_left < 0) & (depth == n)).sum())
            rows["accuracy"].append(tree.score(x[:, order], y))
            rows["exact"].append(0.5 + full / 2**(n + 1))
        for key in out:
            out[key].append(rows[key])
    return {k: np.array(v) for k, v in out.items()} | {"bound": 0.5 + np.array(sizes) / 2**(n + 1)}


def parity_forests(n: int, members: int, seeds: Sequence[int]) -> dict:
    """Bootstrapped forests fitted to parity: ``correlation`` [seed, 2] on the whole cube at depths n - 1 and n."""
    from sklearn.ensemble import RandomForestRegressor
    x, y = cube(n)
    sign = 1.0 - 2 * y
    return {"correlation": np.array([[float((RandomForestRegressor(members, max_depth=depth, random_state=int(seed) % 2**31)
                                             .fit(x, sign).predict(x) * sign).mean()) for depth in (n - 1, n)]
                                     for seed in seeds])}


def memory(tokens: int, window: int, runs: int, seeds: Sequence[int]) -> dict:
    """Random next-token tables: ``repeat`` [seed], the latest step at which a window was seen again, over so many tables."""
    latest = []
    for seed in seeds:
        gen, most = np.random.default_rng(seed), 0
        for _ in range(runs):
            table, state, seen = gen.integers(0, tokens, tokens**window), 0, set()
            while state not in seen:
                seen.add(state)
                state = state * tokens % tokens**window + int(table[state])
            most = max(most, len(seen))
        latest.append(most)
    return {"repeat": np.array(latest)}


TASKS = {"parity, biased words": (machines.parity, 0.3), "parity, uniform words": (machines.parity, None),
         "divisible by 7": (AUTOMATA["divisible by 7"], None), "contains abba": (AUTOMATA["contains abba"], None)}


def learnt(n: int, counts: Sequence[int], seeds: Sequence[int]) -> dict:
    """Trees learnt from runs: ``cot`` and ``direct`` accuracy, ``leaves``, and ``equal``: is it proven to be the automaton?

    Each [seed, task, count].
    """
    out = {k: np.zeros((len(seeds), len(TASKS), len(counts))) for k in ("cot", "direct", "leaves", "equal")}
    for (s, t, c) in np.ndindex(len(seeds), len(TASKS), len(counts)):
        make, chance = list(TASKS.values())[t]
        found = traces.learn(make(), n, counts[c], chance, int(seeds[s]) % 2**31)
        for key in ("cot", "direct", "leaves"):
            out[key][s, t, c] = found[key]
        out["equal"][s, t, c] = verify(found["tree"]).equal
    return out


def judged(texts: list, told: set) -> list[float]:
    """Shares of texts that are grammatical, consistent, valid up to where, and new."""
    found = np.array([stories.check(t) for t in texts], float).mean(0)
    return [*found, float(np.mean([tuple(t) not in told for t in texts]))]


MEASURES = ("loss", "top", "grammar", "consistency", "valid", "novelty", "parameters")
EPSILON = 0.03  # words less probable are never drawn, by any model


def embedding(told: Sequence[np.ndarray], d: int, size: int) -> np.ndarray:
    """Dense embeddings [size, d]: positive pointwise mutual information of words up to two apart, by singular values."""
    pairs = np.zeros((size, size))
    for text in told:
        for gap in (1, 2):
            np.add.at(pairs, (text[:-gap], text[gap:]), 1)
    pairs = pairs + pairs.T + 1e-9
    with np.errstate(divide="ignore"):
        mutual = np.maximum(np.log(pairs * pairs.sum() / pairs.sum(0) / pairs.sum(1)[:, None]), 0)
    u, s, _ = np.linalg.svd(mutual)
    return u[:, :d] * np.sqrt(s[:d])


def written(kinds: Sequence[tuple], count: int, asked: int, seeds: Sequence[int]) -> dict:
    """Trees fitted to ``count`` stories: :data:`MEASURES` [seed, kind] on ``asked`` new ones and as many written ones.

    A kind is (back-end, decays, window, dense dimension or 0, settings).
    """
    names = stories.words()
    out = {k: np.zeros((len(seeds), len(kinds))) for k in MEASURES}
    for s, seed in enumerate(map(int, seeds)):
        texts, unseen = stories.sample(count, seed), stories.sample(asked, seed + 1)
        told = {tuple(t) for t in texts}
        for k, (backend, decays, window, dense, settings) in enumerate(kinds):
            table = embedding(texts, dense, len(names)) if dense else np.eye(len(names))
            model = ARDT(Memory(table, tuple(decays), window), names.index(stories.END), backend, seed % 2**31,
                         **dict(settings)).fit(texts)
            row = [*model.score(unseen), *judged(model.generate(asked, 200, seed, EPSILON), told), model.parameters]
            for key, value in zip(MEASURES, row, strict=True):
                out[key][s, k] = value
    return out


def curves(kinds: Sequence[tuple], counts: Sequence[int], asked: int, seeds: Sequence[int]) -> dict:
    """:func:`written` from each number of stories: :data:`MEASURES` [seed, kind, count]."""
    found = [written(kinds, count, asked, seeds) for count in counts]
    return {k: np.stack([f[k] for f in found], -1) for k in MEASURES}


def transformers(widths: Sequence[int], counts: Sequence[int], steps: int, batch: int, rates: Sequence[float], asked: int,
                 seeds: Sequence[int], device: str = "cpu") -> dict:
    """Small Transformers of two layers on the same stories: :data:`MEASURES` [seed, width, count].

    The rate is that of the smallest mean loss on other stories, over seeds; parameters count all weights.
    """
    names, length = stories.words(), 128
    size, stop = len(names), names.index(stories.END)
    shape = (len(seeds), len(widths), len(counts), len(rates))
    out, choice = {k: np.zeros(shape) for k in MEASURES}, np.zeros(shape)
    for (s, w, c, r) in np.ndindex(shape):
        seed = int(seeds[s])
        texts, unseen, other = (stories.sample(n, seed + k) for k, n in enumerate((counts[c], asked, asked)))
        told = nets.rows(texts, size, length, device)
        model = nets.Writer(nets.trained(told, size, widths[w], rates[r], steps, batch, seed), size, length, stop)
        choice[s, w, c, r] = model.score(other)[0]
        wrote = model.generate(asked, length, seed, EPSILON)
        row = [*model.score(unseen), *judged(wrote, {tuple(t) for t in texts}), model.parameters]
        for key, value in zip(MEASURES, row, strict=True):
            out[key][s, w, c, r] = value
    best = choice.mean(0).argmin(-1)
    out = {k: np.take_along_axis(v, best[None, ..., None], -1)[..., 0] for k, v in out.items()}
    return out | {"rate": np.array(rates)[best]}
