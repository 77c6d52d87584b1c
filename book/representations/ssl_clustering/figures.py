"""Figures of the chapter "ssl-clustering". Accuracies leave the judged image out of its centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import figures, stats

number = stats.number
BANDS = ("superclass", "class", "sample")


def views(task, gen) -> None:
    """A class in several styles above, views of its first image below."""
    from lib.papers.ssl_clustering.views import augment
    own = list(task.levels.values())[1]
    rows = (own == 0).nonzero()[:8, 0]
    x = task.x[rows]
    seen = augment(x[:1].expand(len(x), -1, -1, -1), gen)
    fig, axes = figures.plt.subplots(2, len(x), figsize=(8.0, 2.3))
    for row, images in zip(axes, (x, seen), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image[0] if len(image) == 1 else image.permute(1, 2, 0).clamp(0, 1), cmap="gray_r", vmin=0, vmax=1)
            ax.set_axis_off()
    styles, spread = (float(v.std(0).mean()) for v in (x, seen))
    figures.display(
        fig, f"Two rows of {len(x)} small images: one letter in {len(x)} typefaces, whose pixels spread by {number(styles)} "
        f"around their mean, and {len(x)} random views of the first, which spread by {number(spread)}.",
        {"row": ["typefaces", "views"], "standard deviation of a pixel": [styles, spread]})


def water(names: Sequence[str], measured, predicted) -> None:
    """Shares of the variance by level, free embeddings [seed, setup, 3] beside the theorem [setup, 3]."""
    fig, ax = figures.panels(figsize=(7.6, 4.0))
    at, mean = np.arange(len(names)), measured.mean(0)
    bottom = np.zeros((2, len(names)))
    for i, name in enumerate(BANDS):
        for k, (values, shift) in enumerate(((predicted[:, i], -0.2), (mean[:, i], 0.2))):
            hatch = {"hatch": "//", "edgecolor": "white"} if k == 0 else {}
            label = name if k else None
            ax.bar(at + shift, values, 0.36, bottom[k], color=figures.COLOURS[i], label=label, linewidth=0, **hatch)
            bottom[k] += values
    ax.set_xticks(at, names, fontsize=8)
    ax.set(xlabel="Setup $d;\\ \\lambda, \\mu, \\nu$ (hatched: theorem; plain: descent)", ylabel="Share of the variance")
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    gap = np.abs(mean - predicted).max(1)
    figures.display(
        fig, f"Stacked bars of three shares for {len(names)} setups: theorem and descent differ by at most "
        f"{number(np.sort(gap)[-2])} in all setups but one, and by {number(gap.max())} in that one.",
        {"setup": list(names)} | {f"{b}, {w}": v[:, i] for w, v in (("theorem", predicted), ("descent", mean))
                                  for i, b in enumerate(BANDS)}, len(measured), "means")


def levels(steps: Sequence[int], accuracy, names: Sequence[str]) -> None:
    """Accuracy at each level while the net trains [seed, look, levels + 4], with random labels and groups."""
    chart = figures.Chart(3, table={"step": list(steps)})
    shown, k = [max(s, 5) for s in steps], len(names)
    for i, (ax, name) in enumerate(zip(chart.axes, names, strict=True)):
        chance = {1: [(accuracy[..., k], "random labels", 4)], 2: [(accuracy[..., k + 1], "random groups", 4)]}
        lines = [(accuracy[..., i], f"{name}s", 0), *chance.get(i, [])]
        for values, label, colour in lines:
            chart.curve(ax, shown, values, colour, label)
        ax.set(xscale="log", xlabel="Step (log; 5 stands for 0)", ylabel="Accuracy of nearest centres" if not i else "")
        ax.set_ylim(bottom=0)
        ax.legend(fontsize=8)
    told = [figures.trend(steps, chart.table[f"{n}s"], f"accuracy by {n}") for n in names]
    chart.display(f"Three line charts: {'; '.join(told)}.")


def depth(values, names: Sequence[str]) -> None:
    """Accuracy after each layer, before and after training [seed, 2, layer, levels + 4]."""
    layers = np.arange(1, values.shape[2] + 1)
    chart = figures.Chart(len(names), table={"layer": layers})
    for i, (ax, name) in enumerate(zip(chart.axes, names, strict=True)):
        for j, when in enumerate(("before", "after")):
            chart.curve(ax, layers, values[:, j, :, i], j, f"{when} training", f"{name}, {when}")
        ax.set(xlabel="Layer", ylabel="Accuracy of nearest centres" if not i else "", title=f"{name}s", xticks=layers)
        ax.set_ylim(bottom=0)
    chart.axes[0].legend(fontsize=8)
    told = [figures.trend(layers, chart.table[f"{names[1]}, {when}"], f"accuracy by {names[1]} {when} training")
            for when in ("before", "after")]
    chart.display(f"Three line charts over layers: {'; '.join(told)}.")


def shares(steps: Sequence[int], values, names: Sequence[str]) -> None:
    """Shares of the features' variance while the net trains [seed, look, levels + 1], coarsest level first."""
    fig, ax = figures.panels()
    mean, shown = values.mean(0), [max(s, 5) for s in steps]
    words = [f"between {names[-1]}s", *(f"{a}s of a {b}" for a, b in zip(names[-2::-1], names[:0:-1], strict=True)), "views"]
    ax.stackplot(shown, mean.T, labels=words, colors=figures.COLOURS, alpha=0.85)
    for i, edge in enumerate(np.cumsum(mean, 1).T[:-1]):
        ax.plot(shown, edge, color="black", linestyle=figures.DASHES[i], linewidth=1)
    ax.set(xscale="log", xlabel="Step (log; 5 stands for 0)", ylabel="Share of the variance", ylim=(0, 1))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2, fontsize=8)
    figures.display(
        fig, f"Stacked areas of {len(words)} shares of the variance: "
        f"{figures.trend(steps, mean[:, -1], 'the share within images')}, and "
        f"{figures.trend(steps, mean[:, -3], f'that {words[-3]}')}.",
        {"step": list(steps)} | dict(zip(words, mean.T, strict=True)), len(values), "means")


def strengths(strength: Sequence[float], accuracy, terms) -> None:
    """Class accuracy [seed, strength] and VICReg's terms [seed, strength, 3] at the end, by the regulariser's strength."""
    fig, axes = figures.panels(2)
    at = np.arange(len(strength))
    m, low, high = stats.band(accuracy)
    axes[0].errorbar(at, m, [m - low, high - m], **figures.style(0), capsize=3)
    axes[0].set(ylabel="Accuracy of nearest centres, letters")
    axes[0].set_ylim(bottom=0)
    table = {"strength": list(strength), "accuracy": m}
    for i, name in enumerate(("invariance $s$", "hinge $v$", "covariance $c$")):
        t, low, high = stats.band(terms[..., i])
        axes[1].plot(at, np.maximum(t, 1e-6), **figures.style(i), label=name)
        table[name.split(" $")[0]] = t
    axes[1].set(yscale="log", ylabel="Term of the loss (log)")
    axes[1].legend(fontsize=8)
    for ax in axes:
        ax.set_xticks(at, [number(s) for s in strength])
        ax.set_xlabel("Strength of the regulariser")
    figures.display(
        fig, f"Two line charts over the strength: {figures.trend(strength, m, 'accuracy by letter')}; "
        f"{figures.trend(strength, table['invariance'], 'the invariance term')}.", table, len(accuracy),
        "95 % intervals of the mean")


def phases(dims: Sequence[int], nus: Sequence[float], values, names: Sequence[str]) -> None:
    """Shares of the embeddings' variance over nu, one panel a dimension: forecast dashed, trained with its points.

    ``values`` [seed, d, nu, 2, levels + 1], coarsest level first, views last.
    """
    fig, axes = figures.panels(len(dims), share="y")
    mean = values.mean(0)
    hits = mean[:, :, 0].argmax(-1) == mean[:, :, 1].argmax(-1)
    for i, (ax, d) in enumerate(zip(axes, dims, strict=True)):
        for k, name in enumerate(names):
            ax.plot(nus, mean[i, :, 0, k], color=figures.COLOURS[k], linestyle="--", linewidth=1.2)
            ax.plot(nus, mean[i, :, 1, k], color=figures.COLOURS[k], marker=figures.MARKERS[k], label=name)
        for nu, hit in zip(nus, hits[i], strict=True):
            ax.text(nu, 0.92, "✓" if hit else "✗", ha="center", fontsize=11)
        ax.set(xscale="log", xlabel=f"$\\nu$ (log), $d={d}$", ylabel="Share of the variance" if not i else "", ylim=(0, 1))
    axes[0].legend(fontsize=7, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.82))
    grid = [(d, nu) for d in dims for nu in nus]
    flat = mean.reshape(len(grid), 2, len(names))
    table = {"d": [d for d, _ in grid], "nu": [nu for _, nu in grid]}
    table |= {f"{n}, {w}": flat[:, j, k] for k, n in enumerate(names) for j, w in enumerate(("forecast", "trained"))}
    last = flat[-len(nus):, :, -1].T
    who = "the forecast share of views", "the trained one"
    told = [figures.trend(nus, y, name) for y, name in zip(last, who, strict=True)]
    figures.display(
        fig, f"Line charts of {len(names)} shares over nu for {len(dims)} dimensions: the largest share is the forecast one "
        f"in {int(hits.sum())} of {hits.size} cells; at d = {dims[-1]} {', and '.join(told)}.", table, len(values), "means")


def ranks(series: Sequence, names: Sequence[str]) -> None:
    """Effective rank of the embeddings, trained against forecast [seed, d, nu, 2]."""
    fig, ax = figures.panels()
    table: dict = {"graph": [], "forecast": [], "trained": []}
    for i, (values, name) in enumerate(zip(series, names, strict=True)):
        mean = values.mean(0).reshape(-1, 2)
        ax.plot(mean[:, 0], mean[:, 1], **(figures.style(i) | {"linestyle": ""}), label=name)
        table["graph"] += [name] * len(mean)
        table["forecast"] += list(mean[:, 0])
        table["trained"] += list(mean[:, 1])
    ends = [0.9, max(table["forecast"]) * 1.2]
    ax.plot(ends, ends, **figures.THEORY, label="equal")
    ax.set(xscale="log", yscale="log", xlabel="Forecast effective rank (log)", ylabel="After training (log)")
    ax.legend(fontsize=8)
    figures.display(
        fig, f"Scatter plot of {len(table['forecast'])} cells: forecast ranks run from {number(min(table['forecast']))} to "
        f"{number(max(table['forecast']))}, trained ones from {number(min(table['trained']))} to "
        f"{number(max(table['trained']))}.", table, series[0].shape[0], "means")


def explore(strength: Sequence[float], steps: Sequence[int], clouds, accuracy, terms, names: Sequence[str]) -> None:
    """Interactive: features of six letters on two axes beside the accuracies, over strength, step and colouring.

    ``clouds`` [strength, look, 6, styles, 2] of one seed, ``accuracy`` [seed, strength, look, levels + 4], ``terms``
    [seed, strength, look, 3].
    """
    colourings = (f"{names[1]}", f"{names[2]}", "typeface")
    mean, t, k = accuracy.mean(0), terms.mean(0), clouds.shape[3]
    of_letter = np.repeat(np.arange(6), k)
    kinds = {names[1]: of_letter, names[2]: of_letter // 2, "typeface": np.tile(np.arange(k), 6)}
    marks = ("circle", "square", "diamond", "cross", "x", "triangle-up")
    shown = [max(s, 5) for s in steps]
    frames, told = [], []
    for i, s in enumerate(strength):
        frames.append([])
        for j, step in enumerate(steps):
            frames[-1].append([])
            for c in colourings:
                xy = clouds[i, j].reshape(-1, 2)
                group = kinds[c]
                few = int(group.max()) + 1
                traces = [{
                    "type": "scatter", "mode": "markers", "x": [round(float(v), 2) for v in xy[:, 0]],
                    "y": [round(float(v), 2) for v in xy[:, 1]], "showlegend": False,
                    "marker": {"size": 7, "color": [int(g) for g in group], "colorscale": "Viridis", "cmin": 0,
                               "cmax": few - 1, "symbol": [marks[int(g) % 6] for g in group]}
                }]
                traces += [{
                    "type": "scatter", "mode": "lines+markers", "x": shown[:j + 1], "xaxis": "x2", "yaxis": "y2",
                    "y": [round(float(v), 3) for v in mean[i, :j + 1, n]], "name": f"{name}s",
                    "line": {"color": figures.COLOURS[n], "dash": ("solid", "dash", "dashdot")[n]}
                } for n, name in enumerate(names)]
                frames[-1][-1].append(traces)
                told.append(f"Strength {number(s)}, step {step}, coloured by {c}: accuracy "
                            f"{', '.join(f'by {name} {number(mean[i, j, n])}' for n, name in enumerate(names))}; invariance "
                            f"{number(t[i, j, 0])}, hinge {number(t[i, j, 1])}.")
    start = (max(0, len(strength) - 2), max(0, len(steps) - 2), 0)
    still, axes = figures.panels(2)
    for c in range(6):
        axes[0].plot(*clouds[start[0], start[1], c].T, linestyle="", marker=figures.MARKERS[c % 5], markersize=4,
                     color=figures.COLOURS[c % 5], markerfacecolor="none" if c == 5 else None)
    axes[0].set(xlabel="First axis", ylabel="Second axis")
    for n, name in enumerate(names):
        axes[1].plot(shown, mean[start[0], :, n], **figures.style(n), label=f"{name}s")
    axes[1].set(xscale="log", xlabel="Step (log; 5 stands for 0)", ylabel="Accuracy of nearest centres")
    axes[1].legend()
    layout = {
        "height": 430, "margin": {"l": 50, "r": 10, "t": 30, "b": 50}, "legend": {"x": 1, "y": 1.08, "xanchor": "right",
                                                                                  "orientation": "h"},
        "xaxis": {"domain": [0, 0.46], "range": [-2.2, 2.2], "title": {"text": "First axis"}},
        "yaxis": {"range": [-2.2, 2.2], "title": {"text": "Second axis"}},
        "xaxis2": {"domain": [0.58, 1], "type": "log", "range": [0.6, float(np.log10(shown[-1])) + 0.1], "anchor": "y2",
                   "title": {"text": "Step (log; 5 stands for 0)"}},
        "yaxis2": {"range": [0, float(mean[..., :len(names)].max()) * 1.1], "anchor": "x2",
                   "title": {"text": "Accuracy of nearest centres"}}
    }
    at = (start[0] * len(steps) + start[1]) * len(colourings) + start[2]
    figures.interactive(
        "fig-explore", [{"label": "Strength", "values": [number(s) for s in strength], "start": start[0]},
                        {"label": "Step", "values": [str(s) for s in steps], "start": start[1]},
                        {"label": "Colour by", "values": list(colourings), "start": start[2]}], frames, layout, still,
        f"Scatter plot of six letters beside curves. {told[at]}", told,
        {"step": list(steps)} | {f"{n}s": mean[start[0], :, i] for i, n in enumerate(names)},
        "Features of six letters of three scripts on their two principal axes, one seed, and accuracy at three levels.")
