"""Figures of the chapter "centered-attention"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import figures, stats

from . import experiments

number = stats.number


def stacks(cosine, rank) -> None:
    """Token cosine and effective rank by layer of two random stacks, plain and centred; both [seed, stack, 2, layer]."""
    layers = np.arange(cosine.shape[-1])
    chart = figures.Chart(2, table={"layer": layers})
    shown = [(0, c) for c in (0, 1)] + [(1, c) for c in (0, 1)]
    for ax, values, what in zip(chart.axes, (cosine, rank), ("Mean token cosine", "Effective rank"), strict=True):
        for i, (kind, c) in enumerate(shown):
            name = f"{experiments.STACKS[kind]}, {('plain', 'centred')[c]}"
            chart.curve(ax, layers, values[:, kind, c], i, name, f"{what}: {name}", marker=False)
        ax.set(xlabel="Layer", ylabel=what)
    chart.axes[0].legend(fontsize=7)
    ends = cosine[:, :2, :, -1].mean(0)
    chart.display(
        f"Two line charts by layer: with a skip the cosine of tokens ends at {number(ends[1, 0])} plain and at "
        f"{number(ends[1, 1])} centred; without one at {number(ends[0, 0])} and {number(ends[0, 1])}, and there the rank "
        "falls to 1 in both.")


def threshold(grid, curves, predicted) -> None:
    """Residual after many layers against the strength of centering, with the predicted threshold; curves [seed, grid]."""
    fig, ax = figures.panels()
    table = {"gamma": grid}
    for i in range(min(3, len(curves))):
        ax.plot(grid, curves[i], **figures.style(i, marker=False), label=f"seed {i + 1}")
        ax.axvline(predicted[i], color=figures.COLOURS[i], linestyle=":", linewidth=1)
        table[f"residual, seed {i + 1}"] = curves[i]
    ax.set(xlabel=r"Strength of centering $\gamma$", ylabel="Residual after the last layer")
    ax.legend()
    figures.display(fig, "Line chart: the residual jumps from 0 to 1 where the strength passes 1 less the second eigenvalue, "
                    f"at {', '.join(number(p) for p in predicted[:3])}.", table, min(3, len(curves)))


def karate(scores, depths: Sequence[int], split) -> None:
    """Leading direction of the iterate at several depths, plain and centred; scores [2, depths, nodes]."""
    fig, axes = figures.panels(2, share="y")
    table = {"node": np.arange(len(split))}
    order = np.argsort(split, kind="stable")
    for ax, rows, name in zip(axes, scores, ("plain", "centred"), strict=True):
        for i, (row, depth) in enumerate(zip(rows, depths, strict=True)):
            ax.plot(np.arange(len(split)), row[order] * len(split)**0.5, label=f"depth {depth}",
                    **(figures.style(i) | {"linestyle": "", "markersize": 4}))
            table[f"{name}, depth {depth}"] = row[order]
        ax.axvline((split == 0).sum() - 0.5, **figures.BASELINE)
        ax.set(xlabel=f"Member, by side of the split, {name}")
    axes[0].set(ylabel="Leading direction")
    axes[1].legend(fontsize=7)
    spread = [float(np.std(rows[-1] * len(split)**0.5)) for rows in scores]
    figures.display(fig, f"Two scatter plots: at the last depth the spread over members is {number(spread[0])} plain and "
                    f"{number(spread[1])} centred, where the two sides have opposite signs.", table, 1)


def depths(methods: Sequence[str], curves: Sequence[tuple[str, Sequence[int], np.ndarray]]) -> None:
    """Test accuracy against depth on several kinds of graph: name, depths, accuracies [seed, method, depth] of each."""
    chart, told = figures.Chart(len(curves), "y", {"depth": list(curves[0][1])}), []
    for ax, (what, layers, values) in zip(chart.axes, curves):
        for i, name in enumerate(methods):
            column = f"{what}: {name}" if len(layers) == len(chart.table["depth"]) else ""
            chart.curve(ax, layers, values[:, i], i, name, column, alpha=0.15)
        ax.set(xscale="log", xlabel=f"Layers, {what} (log)")
        ax.minorticks_off()
        ax.set_xticks(layers, [str(v) for v in layers])
        last = values[:, :, -1].mean(0)
        said = ", ".join(f"{name} has {number(v)}" for name, v in zip(methods, last))
        told.append(f"at {layers[-1]} layers on {what} {said}")
    chart.axes[0].set(ylabel="Test accuracy")
    chart.axes[0].legend(fontsize=6)
    chart.display(f"{len(curves)} line charts; {'; '.join(told)}.")


def segmentation(found) -> None:
    """Intersection over union by seed, plain and centred, beside images, masks and maps of tokens."""
    fig, axes = figures.panels(2)
    for row in found.iou:
        axes[0].plot(range(2), row, color="grey", linewidth=0.7)
    for c in (0, 1):
        axes[0].plot([c] * len(found.iou), found.iou[:, c], **(figures.style(c) | {"linestyle": ""}))
    axes[0].set(ylabel="Mean intersection over union", xlabel="Attention", xlim=(-0.4, 1.4))
    axes[0].set_xticks(range(2), ["plain", "centred"])
    side, scale, rows = found.masks.shape[-1], found.masks.shape[-1] // found.maps.shape[-1], []
    for pictures in (found.images, found.masks[..., None], *found.maps.repeat(scale, -1).repeat(scale, -2)[..., None]):
        flat = pictures[:5].reshape(5, -1)
        low, high = flat.min(1)[:, None], flat.max(1)[:, None]
        unit = ((flat - low) / np.maximum(high - low, 1e-9)).reshape(5, side, side, -1)
        framed = np.pad(unit, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
        rows.append(np.broadcast_to(np.concatenate(list(framed), 1), (side + 2, 5 * (side + 2), 3)))
    axes[1].imshow(np.concatenate(rows), interpolation="nearest")
    middle = (np.arange(5) + 0.5) * (side + 2)
    axes[1].set_xticks(middle, [str(i + 1) for i in range(5)])
    axes[1].set_yticks(middle[:4], ["image", "truth", "plain", "centred"])
    axes[1].set(xlabel="Example", ylabel="What is shown")
    m = found.iou.mean(0)
    figures.display(fig, f"Dots of {len(found.iou)} seeds and five examples: the intersection over union is {number(m[0])} "
                    f"plain and {number(m[1])} centred on average.", {"plain": found.iou[:, 0], "centred": found.iou[:, 1]},
                    len(found.iou))


def pretrained(cosine, rank) -> None:
    """Token cosine and effective rank by layer of a pre-trained language model; both [seed, layer + 1]."""
    layers = np.arange(cosine.shape[1])
    chart = figures.Chart(2, table={"layer": layers})
    for ax, values, what in zip(chart.axes, (cosine, rank), ("Mean token cosine", "Effective rank"), strict=True):
        chart.curve(ax, layers, values, 0, None, what, marker=False)
        ax.set(xlabel="Layer", ylabel=what)
    chart.display(f"Two line charts: {figures.trend(layers, chart.table['Mean token cosine'], 'the cosine of tokens')}; the "
                  f"effective rank is {number(chart.table['Effective rank'].min())} at its lowest.")


def spectrum(found, gammas, start: tuple[int, int]) -> None:
    """Interactive: eigenvalues of I + A - gamma P, and residual by depth, at each strength and depth."""
    layers = list(range(found.residual.shape[1]))
    depths, frames, told = layers[::4], [], []
    for g, gamma in enumerate(gammas):
        frames.append([])
        for depth in depths:
            r, c, e = (float(found[k][g, depth]) for k in ("residual", "cosine", "rank"))
            frames[-1].append([
                {"type": "scatter", "mode": "markers", "x": found["values"][g, :, 0].tolist(), "name": "eigenvalues",
                 "y": found["values"][g, :, 1].tolist(), "marker": {"size": 8, "color": figures.COLOURS[0]}},
                {"type": "scatter", "mode": "lines", "x": layers, "y": found.residual[g].tolist(), "xaxis": "x2",
                 "yaxis": "y2", "name": "residual", "line": {"color": figures.COLOURS[1], "dash": "dash"}},
                {"type": "scatter", "mode": "markers", "x": [depth], "y": [r], "xaxis": "x2", "yaxis": "y2", "name": "here",
                 "marker": {"size": 11, "symbol": "diamond", "color": figures.COLOURS[2]}}])
            told.append(f"Strength {number(gamma)}, depth {depth}: residual {number(r)}, token cosine {number(c)}, effective "
                        f"rank {number(e)}; the mean's eigenvalue is {number(2 - gamma)}.")
    still, axes = figures.panels(2)
    g, at = start
    axes[0].plot(*found["values"][g].T, **(figures.style(0) | {"linestyle": ""}))
    axes[0].set(xlabel="Real part", ylabel="Imaginary part")
    axes[1].plot(layers, found.residual[g], **figures.style(1, marker=False))
    axes[1].set(xlabel="Layer", ylabel="Residual")
    layout = {"height": 420, "xaxis": {"domain": [0, 0.45], "title": {"text": "Real part"}, "range": [0.5, 2.1]},
              "yaxis": {"title": {"text": "Imaginary part"}, "range": [-0.4, 0.4]},
              "xaxis2": {"domain": [0.57, 1], "title": {"text": "Layer"}},
              "yaxis2": {"anchor": "x2", "range": [0, 1.02], "title": {"text": "Residual"}},
              "margin": {"l": 60, "r": 10, "t": 10, "b": 60}, "showlegend": False}
    figures.interactive("fig-spectrum", [{"label": "Strength", "values": [number(v) for v in gammas], "start": g},
                                         {"label": "Depth", "values": [str(d) for d in depths], "start": at}], frames, layout,
                        still, f"Eigenvalues and residual. {told[g * len(depths) + at]}", told,
                        {"layer": layers, "residual": found.residual[g]},
                        "Eigenvalues of one layer with a skip on a graph of two communities, and the residual of tokens by "
                        "depth; text below the sliders gives cosine and effective rank.")
