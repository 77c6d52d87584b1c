"""Figures of the chapter "autoregressive-trees"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import figures, stats
from lib.papers.autoregressive_trees.compilers import Running, configuration
from lib.papers.autoregressive_trees.tree import Tree
from lib.stats import number


def layout(tree: Tree) -> np.ndarray:
    """Places [nodes, 2] to draw a tree: leaves side by side, depth downwards."""
    at, depth = np.zeros((len(tree.left), 2)), np.zeros(len(tree.left), int)
    order = 0
    for i in range(len(tree.left)):                                    # numbered from the root, left before right
        for child in (tree.left[i], tree.right[i]):
            if child >= 0:
                depth[child] = depth[i] + 1
        if tree.left[i] < 0:
            at[i, 0], order = order, order + 1
    for i in reversed(range(len(tree.left))):
        if tree.left[i] >= 0:
            at[i, 0] = (at[tree.left[i], 0] + at[tree.right[i], 0]) / 2
    at[:, 1] = -depth
    return at


def edges(tree: Tree, at: np.ndarray, nodes: Sequence[int] | None = None) -> tuple[list, list]:
    """Lines of all edges, or of a path, broken by None."""
    if nodes is not None:
        return at[nodes, 0].tolist(), at[nodes, 1].tolist()
    x: list = []
    y: list = []
    for i in range(len(tree.left)):
        for child in (tree.left[i], tree.right[i]):
            if tree.left[i] >= 0:
                x += [at[i, 0], at[child, 0], None]
                y += [at[i, 1], at[child, 1], None]
    return x, y


def leaves(lengths: Sequence[int], plain, circuit, automaton) -> None:
    """Leaves of trees for parity against the number of bits: at once, by a circuit, by an automaton."""
    fig, ax = figures.panels()
    for i, (name, values) in enumerate((("at once", plain), ("writing gates", circuit), ("writing states", automaton))):
        ax.plot(lengths, values, **figures.style(i), label=name)
    ax.set(xlabel="Bits $n$", ylabel="Leaves (log)", yscale="log")
    ax.legend()
    figures.display(fig, f"Line chart: at {lengths[-1]} bits {number(float(plain[-1]))} leaves at once, {circuit[-1]} by "
                    f"gates and {automaton[-1]} by states.",
                    {"bits": list(lengths), "at once": plain, "gates": circuit, "states": automaton}, 1)


def spacetime(running: Running, written: Sequence) -> None:
    """Configurations that a Turing machine's tree wrote, one row each, with the head marked."""
    rows = configuration(running, written)
    symbols = running.machine.symbols
    image = np.array([[symbols.index(a) for a in tape] for tape, _, _ in rows])
    fig, ax = figures.panels()
    ax.imshow(image, cmap="Greys", aspect="auto", interpolation="nearest", vmin=0, vmax=1.6)
    heads = [head for _, head, _ in rows]
    ax.plot(heads, range(len(rows)), color=figures.VERMILION, marker=".", markersize=3, linewidth=0.8, label="head")
    ax.set(xlabel="Cell", ylabel="Configuration")
    ax.legend()
    figures.display(fig, f"Image of {len(rows)} configurations of {len(image[0])} cells: the head wanders, and the last tape "
                    f"holds {int(image[-1].sum())} ones.",
                    {"configuration": list(range(len(rows))), "head": heads, "ones": image.sum(1).tolist()}, 1)


def learning(tasks: Sequence[str], counts: Sequence[int], cot, direct) -> None:
    """Accuracy on new words against the number of runs learnt from; both [seed, task, count]."""
    chart = figures.Chart(2, "y", {"runs": list(counts)})
    axes = chart.axes
    for ax, values, what in ((axes[0], cot, "every state shown"), (axes[1], direct, "answer only")):
        for i, task in enumerate(tasks):
            chart.curve(ax, counts, values[:, i], i, task, f"{what}: {task}", alpha=0.15)
        ax.set(xscale="log", xlabel=f"Runs learnt from, {what} (log)")
        ax.minorticks_off()
        ax.set_xticks(counts, [str(c) for c in counts])
    axes[0].set(ylabel="Words answered rightly")
    axes[0].legend(fontsize=7)
    said = ", ".join(f"{t} {number(cot[:, i, -1].mean())} against {number(direct[:, i, -1].mean())}"
                     for i, t in enumerate(tasks))
    chart.display(f"Two line charts: from {counts[-1]} runs {said}.")


def memories(decays: Sequence[float], top, grammar, consistency) -> None:
    """What one decay does to a tree that writes; each [seed, decay]."""
    chart = figures.Chart(table={"decay": list(decays)})
    ax, table = chart.axes[0], chart.table
    shares = {"most probable word right": top, "grammatical": grammar, "consistent": consistency}
    for i, (name, values) in enumerate(shares.items()):
        chart.curve(ax, decays, values, i, name, alpha=0.15)
    ax.set(xlabel=r"Decay $\alpha$", ylabel="Share")
    ax.legend()
    best = decays[int(np.argmax(table["consistent"]))]
    chart.display(f"Line chart: consistency is highest at a decay of {number(best)}: {number(max(table['consistent']))}.")


def sizes(trees, names: Sequence[str], nets, widths: Sequence[int], floor: float) -> None:
    """Loss against parameters: trees [seed, kind] and Transformers [seed, width]."""
    fig, ax = figures.panels()
    table: dict[str, list] = {"model": [], "parameters": [], "loss": []}
    for group, labels, i in ((trees, names, 0), (nets, [f"width {w}" for w in widths], 1)):
        p, m = group.parameters.mean(0).ravel(), group.loss.mean(0).ravel()
        ax.plot(p, m, **(figures.style(i) | {"linestyle": ""}), label=("trees", "Transformers")[i])
        table["model"] += list(labels)
        table["parameters"] += p.tolist()
        table["loss"] += m.tolist()
    points = list(zip(table["parameters"], table["loss"], table["model"], strict=True))
    for x, y, label in points:
        crowded = any(0 < v - y < 0.06 and abs(np.log(u / x)) < 0.4 for u, v, _ in points)  # another stands just above
        side, where = (-3, "right") if x > 1.5e4 else (3, "left")
        ax.annotate(label, (x, y), fontsize=6, xytext=(side, -8 if crowded else 3), ha=where, textcoords="offset points")
    ax.axhline(floor, **figures.THEORY)
    ax.set(xscale="log", xlabel="Parameters (log)", ylabel="Loss, nats a word")
    ax.legend()
    figures.display(fig, "Scatter chart of loss against parameters: "
                    + ", ".join(f"{n} {number(v)}" for n, v in zip(table["model"], table["loss"], strict=True))
                    + f"; the grammar's own is {number(floor)}.", table, len(trees.loss))


def learnt(running: Running) -> None:
    """A tree that was learnt, with its tests and what its leaves write."""
    tree = running.tree
    at, n = layout(tree), tree.window
    fig, ax = figures.panels()
    x, y = edges(tree, at)
    ax.plot(np.array(x, float), np.array(y, float), color=figures.GREY, linewidth=1)
    told = []
    for i in range(len(tree.left)):
        if tree.left[i] < 0:
            name = tree.names[tree.token[i]]
            text = f"write {name[1]}" if isinstance(name, tuple) else str(name)
        else:
            slot = "newest" if tree.slot[i] == n - 1 else "oldest" if tree.slot[i] == 0 else f"slot {tree.slot[i]}"
            code = tree.codes[:, tree.coordinate[i]]
            low = [tree.names[t] for t in np.flatnonzero(code <= tree.threshold[i])][:-1 or None]
            text = f"{slot}: code {tree.coordinate[i]} ≤ {number(tree.threshold[i])}?"
            told.append(f"{text} {len(low)} tokens pass")
        ax.text(*at[i], text, fontsize=8, ha="center", va="center", bbox={"facecolor": "white", "edgecolor": figures.GREY})
    ax.set(xlabel="Leaves, from left (yes) to right (no)", ylabel="Depth", xlim=(-0.7, tree.leaves - 0.3),
           ylim=(-tree.depth - 0.5, 0.5))
    ax.set_yticks(-np.arange(tree.depth + 1), [str(v) for v in range(tree.depth + 1)])
    ax.grid(False)
    figures.display(fig, f"A tree of {tree.leaves} leaves: {'; '.join(told)}.",
                    {"node": list(range(len(tree.left))), "slot": tree.slot, "left": tree.left, "right": tree.right}, 1)


def curves(counts: Sequence[int], models: dict[str, tuple], floor: float) -> None:
    """Loss and consistency against stories learnt from; each model as two arrays [seed, count]; ``floor`` the least loss."""
    fig, axes = figures.panels(2)
    table = {"stories": list(counts)}
    for i, (name, pair) in enumerate(models.items()):
        for ax, values, what in zip(axes, pair, ("loss", "consistent"), strict=True):
            m, low, high = stats.band(values)
            ax.plot(counts, m, **figures.style(i), label=name)
            if what == "consistent":                                     # a share
                low, high = np.maximum(low, 0), np.minimum(high, 1)
            ax.fill_between(counts, low, high, color=figures.COLOURS[i], alpha=0.15, linewidth=0)
            table[f"{name}: {what}"] = m
    axes[0].axhline(floor, color=figures.GREY, linestyle="--", linewidth=1)
    for ax, what in zip(axes, ("Loss, nats a word", "Consistent stories"), strict=True):
        ax.set(xscale="log", xlabel="Stories learnt from (log)", ylabel=what)
        ax.minorticks_off()
        ax.set_xticks(counts, [str(c) for c in counts])
    axes[0].legend(fontsize=7)
    said = ", ".join(f"{name} {number(pair[0][:, -1].mean())}" for name, pair in models.items())
    figures.display(fig, f"Two line charts: from {counts[-1]} stories the losses are {said}; the least possible is "
                    f"{number(floor)}.", table, len(next(iter(models.values()))[0]), "95 % bands of the mean")


def answers(tasks: Sequence[str], readers: dict[str, np.ndarray]) -> None:
    """Accuracy of each reader [seed, task] on each task, with intervals."""
    fig, ax = figures.panels()
    table, gap = {"task": list(tasks)}, 0.8 / len(readers)
    for i, (name, values) in enumerate(readers.items()):
        m, low, high = stats.band(values)
        at = np.arange(len(tasks)) + (i - (len(readers) - 1) / 2) * gap
        ax.errorbar(at, m, [np.maximum(m - low, 0), np.maximum(high - m, 0)], fmt=figures.style(i)["marker"],
                    color=figures.COLOURS[i], label=name, capsize=2)
        table[name] = m
    ax.axhline(0.5, color=figures.GREY, linestyle="--", linewidth=1)
    ax.set(xlabel="Task", ylabel="Questions answered rightly", ylim=(0.25, 1.04))
    ax.set_xticks(range(len(tasks)), tasks)
    ax.legend(fontsize=7, loc="lower right")
    said = "; ".join(f"{task}: " + ", ".join(f"{name} {number(v[:, i].mean())}" for name, v in readers.items())
                     for i, task in enumerate(tasks))
    figures.display(fig, f"Dot chart of accuracies. {said}.", table, len(values), "95 % intervals of the mean")


def stepper(machines: Sequence[tuple[str, Running, list, int]], frames_each: int, start: tuple[int, int]) -> None:
    """Interactive: a Turing machine's tree at work; the configurations so far, the window, and the path of the next token.

    A machine is its name, its tree, its tape and the place of its head.
    """
    frames, told = [], []
    for name, running, tape, head in machines:
        tree, at = running.tree, layout(running.tree)
        prompt = running.prompt(tape, head)
        tokens = [*prompt, *tree.write([prompt], 100_000)[0].tolist()]
        period, lines = tree.window - 1, edges(tree, at)
        frames.append([])
        for k in np.linspace(len(prompt), len(tokens) - 1, frames_each).astype(int):
            rows = [[tree.names[t] for t in tokens[1 + r:1 + r + period - 1]] for r in range(0, k - 1, period)]
            shade = lambda n: None if n in ("#", "end") else float(running.machine.symbols.index(n[0]))  # noqa: B023, E731
            pixels = [[shade(n) for n in row] + [None] * (period - 1 - len(row)) for row in rows]
            heads = [(c, r) for r, row in enumerate(rows) for c, n in enumerate(row) if isinstance(n, tuple)]
            path = tree.path(tokens[:k])
            px, py = edges(tree, at, path)
            frames[-1].append([
                {"type": "heatmap", "z": pixels, "colorscale": [[0, "#ffffff"], [1, "#222222"]], "showscale": False,
                 "zmin": 0, "zmax": 2.2, "name": "tape"},
                {"type": "scatter", "mode": "markers", "x": [c for c, _ in heads], "y": [r for _, r in heads], "name": "head",
                 "marker": {"size": 6, "color": figures.COLOURS[1]}},
                {"type": "scatter", "mode": "lines", "x": lines[0], "y": lines[1], "xaxis": "x2", "yaxis": "y2",
                 "name": "tree", "line": {"color": figures.GREY, "width": 1}},
                {"type": "scatter", "mode": "lines+markers", "x": px, "y": py, "xaxis": "x2", "yaxis": "y2", "name": "path",
                 "line": {"color": figures.COLOURS[1], "width": 3}}])
            read = ", ".join(_said(tree.names[tokens[j]]) for j in (k - period - 1, k - period, k - period + 1))
            told.append(f"{name}, token {k - len(prompt) + 1} of {len(tokens) - len(prompt)}: the three oldest slots hold "
                        f"{read}; after {len(path) - 1} tests the tree writes {_said(tree.names[tokens[k]])}.")
    m, k = start
    name, running, tape, head = machines[m]
    still, ax = figures.panels()
    at = layout(running.tree)
    x, y = edges(running.tree, at)
    ax.plot(np.array(x, float), np.array(y, float), color=figures.GREY, linewidth=1)
    ax.plot(frames[m][k][3]["x"], frames[m][k][3]["y"], **figures.style(1))
    ax.set(xlabel="Leaves", ylabel="Depth")
    ax.set_yticks(-np.arange(running.tree.depth + 1), [str(v) for v in range(running.tree.depth + 1)])
    shape = {"height": 430, "xaxis": {"domain": [0, 0.45], "title": {"text": "Cell"}},
             "yaxis": {"title": {"text": "Configuration"}, "autorange": "reversed"},
             "xaxis2": {"domain": [0.55, 1], "title": {"text": "Leaves, root above"}},
             "yaxis2": {"anchor": "x2", "showticklabels": False},
             "margin": {"l": 60, "r": 10, "t": 10, "b": 60}, "showlegend": False}
    sliders = [{"label": "Machine", "values": [name for name, *_ in machines], "start": m},
               {"label": "Time", "values": [str(i) for i in range(frames_each)], "start": k}]
    figures.interactive("fig-stepper", sliders, frames, shape, still,
                        f"A tree and the path of one token. {told[m * frames_each + k]}", told,
                        {"x": frames[m][k][3]["x"], "y": frames[m][k][3]["y"]},
                        "A Turing machine run by a tree: the configurations written so far, and the path that the next token "
                        "takes; text below the sliders tells what is read and written.")


def _said(name) -> str:
    return f"{name[0]} with the head in {name[1]}" if isinstance(name, tuple) else str(name)
