"""Figures of the chapter "few-shot-collapse"; CDNV is (var_i + var_j) / 2 d_ij^2 throughout, averaged over pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import figures, stats
from lib.papers.few_shot_collapse import theorems

number = stats.number
LIMITS = ("Hoeffding", "empirical Bernstein", "entropy, pairs", "entropy, episodes")


def clouds(points) -> None:
    """Three source and three new classes on two principal axes before and after pretraining; points [2, 6, m, 2]."""
    fig, axes = figures.panels(2)
    for ax, f, name in zip(axes, points, ("before", "after"), strict=True):
        for c in range(6):
            kind = {"markerfacecolor": "none"} if c >= 3 else {}
            ax.plot(*f[c].T, linestyle="", marker=figures.MARKERS[c % 3], markersize=5, color=figures.COLOURS[c % 3],
                    label=("source " if c < 3 else "new ") + str(c % 3 + 1) if name == "after" else None, **kind)
        ax.set(xlabel=f"First axis, {name}", ylabel="Second axis")
    axes[1].legend(fontsize=7, ncols=2)
    within = [float(f.var(1).sum(-1).mean() / f.mean(1).var(0).sum()) for f in points]
    figures.display(
        fig, "Two scatter plots of six classes on two axes: the spread within classes over the spread of their means "
        f"falls from {number(within[0])} to {number(within[1])}.",
        {"panel": ["before", "after"], "spread within over between": within}, 1)


def pairs(error, found, draws: int) -> None:
    """Error of random Gaussian pairs [N] against two bounds and the approximation; found [N, 5]."""
    fig, axes = figures.panels(2)
    few = slice(None, None, max(1, len(error) // 400))
    error, found, floor = error[few], found[few], 0.5 / draws
    shown = np.maximum(error, floor)
    for i, (k, name) in enumerate(((0, "distance"), (1, "direction"))):
        axes[0].plot(shown, found[:, k], **(figures.style(i) | {"linestyle": "", "markersize": 4}), label=name)
    axes[1].plot(shown, np.maximum(found[:, 4], floor), **(figures.style(2) | {"linestyle": "", "markersize": 4}),
                 label="approximation")
    for ax, what in zip(axes, ("Bound", "Approximation"), strict=True):
        ax.plot([floor, 1], [floor, 1], **figures.THEORY, label="equal")
        ax.set(xscale="log", yscale="log", xlabel="Measured error (log)", ylabel=f"{what} (log)")
        ax.legend()
    seen = error > 1e-3
    loose = [float(np.median(found[seen, k] / error[seen])) for k in (0, 1, 4)]
    figures.display(
        fig, f"Two scatter plots: where errors exceed .001 the bound by distance is {number(loose[0])} times the error "
        f"at the median, that by direction {number(loose[1])}, the approximation {number(loose[2])}.",
        {"error": error, "distance": found[:, 0], "direction": found[:, 1], "approximation": found[:, 4]})


def training(steps: Sequence[int], V, pixels) -> None:
    """CDNV while the net trains, [seed, checkpoint, 3]."""
    chart = figures.Chart(table={"step": list(steps)})
    ax = chart.axes[0]
    for i, name in enumerate(("source, training images", "source, fresh images", "new classes")):
        chart.curve(ax, steps, V[..., i], i, name)
    ax.axhline(pixels, **figures.BASELINE)
    ax.text(steps[-1], pixels, "pixels, new classes", ha="right", va="bottom", fontsize=8)
    ax.set(xlabel="Step", ylabel="Average CDNV (log)", yscale="log")
    ax.legend()
    chart.display(f"Line chart: {figures.trend(steps, chart.table['new classes'], 'the CDNV of new classes')}.")


def classes(counts: Sequence[int], V, error) -> None:
    """CDNV [seed, count, 3] and few-shot error [seed, count, 2] against the number of source classes."""
    chart = figures.Chart(2, table={"source classes": list(counts)})
    axes, table = chart.axes, chart.table
    for ax, values, names, what in ((axes[0], V, ("training images", "fresh images", "new classes"), "Average CDNV"),
                                    (axes[1], error, ("1 shot", "5 shots"), "5-way error on new classes")):
        for i, name in enumerate(names):
            chart.curve(ax, counts, values[..., i], i, name)
        ax.set(xscale="log", yscale="log", xlabel="Source classes $l$ (log)", ylabel=f"{what} (log)")
        ax.legend(fontsize=8)
    axes[0].fill_between(counts, V[..., 1].mean(0), V[..., 2].mean(0), **figures.HATCH)
    chart.display(
        "Two line charts at a fixed number of images: "
        f"{figures.trend(counts, table['new classes'], 'the CDNV of new classes')}; "
        f"{figures.trend(counts, table['training images'], 'that of the training images')}; "
        f"{figures.trend(counts, table['1 shot'], 'the one-shot error')}.")


def scatter(rows) -> None:
    """Error of pairs of new classes against CDNV and the approximation; rows [6, pairs] of ``experiments.pretrained``."""
    V, _, e1, e5, a1, a5 = rows
    fig, axes = figures.panels(2, share="y")
    floor = 1e-4
    for i, (e, n) in enumerate(((e1, 1), (e5, 5))):
        dots = figures.style(i) | {"linestyle": "", "markersize": 3}
        axes[0].plot(V, np.maximum(e, floor), **dots, label=f"{n} shot{'s' * (n > 1)}")
        axes[1].plot(np.maximum((a1, a5)[i], floor), np.maximum(e, floor), **dots)
    grid = np.geomspace(V.min(), V.max(), 50)
    for n, line in ((1, "-"), (5, "--")):
        axes[0].plot(grid, np.minimum(theorems.constant(n) * grid, 1), color="black", linestyle=line, label=f"bound, n = {n}")
    axes[1].plot([floor, 0.5], [floor, 0.5], **figures.THEORY)
    axes[0].set(xscale="log", yscale="log", xlabel="CDNV of the pair (log)", ylabel="Two-way error (log)")
    axes[1].set(xscale="log", yscale="log", xlabel="Gaussian approximation (log)")
    axes[0].legend(fontsize=7)
    figures.display(
        fig, f"Two scatter plots of {len(V)} pairs of new classes: one-shot errors have mean {number(e1.mean())}, five-shot "
        f"errors {number(e5.mean())}, and the bound by distance is {number(theorems.constant(5) * V.min())} or more.",
        {"CDNV": V, "error, 1 shot": e1, "error, 5 shots": e5, "approximation, 1": a1, "approximation, 5": a5}, 1)


def certificates(counts: Sequence[int], limits, error) -> None:
    """Certified 5-way 1-shot error against the classes certified on; limits [seed, count, 4], error [seed] on new classes."""
    fig, ax = figures.panels()
    table = {"classes": list(counts)}
    for i, name in enumerate(LIMITS):
        m = limits[..., i].mean(0)
        ax.plot(counts, m, **figures.style(i), label=name)
        table[name] = m
    ax.axhline(error.mean(), **figures.BASELINE, label="error on new classes")
    ax.axhline(0.8, **figures.THEORY, label="chance")
    ax.set(xscale="log", yscale="log", xlabel="Classes to certify on (log)", ylabel="Certified 5-way 1-shot error (log)")
    ax.legend(fontsize=8)
    figures.display(
        fig, f"Line chart: {figures.trend(counts, table[LIMITS[3]], 'the certificate by episodes')}, while the error on "
        f"new classes is {number(error.mean())}.", table, len(limits), "means")


def judged(counts: Sequence[int], shots: Sequence[int], values, ways: int, start: tuple[int, int]) -> None:
    """Interactive: measured error, approximation and two bounds, times ways - 1; values [seed, count, shots, 5]."""
    mean = values.mean(0) * (ways - 1)
    names = ("measured", "Gaussian", "direction", "distance")
    order, frames, told = (0, 3, 2, 4), [], []
    for i, l_ in enumerate(counts):
        frames.append([])
        for j, n in enumerate(shots):
            bars = [float(mean[i, j, k]) for k in order]
            frames[-1].append([{
                "type": "bar", "x": list(names), "y": bars,
                "marker": {"color": list(figures.COLOURS[:4]), "pattern": {"shape": ["", "/", ".", "x"]}}
            }])
            told.append(
                f"{l_} source classes, {n} shot{'s' * (n > 1)}: {ways - 1} times the two-way error on new classes is "
                f"{number(bars[0])}, the approximation {number(bars[1])}, the bound by direction {number(bars[2])}, by "
                f"distance {number(bars[3])}.")
    bars = mean[start[0], start[1], list(order)]
    still, ax = figures.panels()
    ax.bar(names, bars, color=figures.COLOURS[:4])
    ax.axhline(1, **figures.BASELINE)
    ax.set(yscale="log", xlabel="What", ylabel=f"Sum over {ways - 1} wrong classes (log)")
    ax.tick_params(axis="x", labelsize=8)
    layout = {
        "height": 420, "yaxis": {
            "type": "log", "range": [-3, 2], "exponentformat": "power",
            "title": {"text": f"Sum over {ways - 1} wrong classes (log)"}
        }, "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "line": {"dash": "dot"}}],
        "margin": {"l": 70, "r": 10, "t": 10, "b": 60}, "showlegend": False
    }
    figures.interactive(
        "fig-judged", [{"label": "Source classes", "values": [str(v) for v in counts], "start": start[0]},
                       {"label": "Shots", "values": [str(v) for v in shots], "start": start[1]}], frames, layout, still,
        f"Bar chart of an error and its bounds. {told[start[0] * len(shots) + start[1]]}", told,
        {"what": list(names), "value": bars},
        "Measured few-shot error of new classes beside its Gaussian approximation and the bounds by direction and by "
        "distance; the dotted line is 1.")
