"""Figures of the chapter "token-weight-decay". Losses in nats; bins hold types by their occurrences in the training text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import figures, stats
from lib.papers.token_weight_decay.theory import front, linear_loss, threshold, ufm_loss, zipf

from .experiments import EDGES

number = stats.number
BINS = tuple(f"{a}-{b - 1}" for a, b in zip(EDGES, EDGES[1:])) + (f"{EDGES[-1]}+",)


def law(names: Sequence[str], rank, frequency, sizes: Sequence[int], bpe) -> None:
    """Frequency by rank [text, 60], and the share of types below the mean frequency by size of vocabulary [text, size, 3]."""
    fig, axes = figures.panels(2)
    table: dict = {"rank": rank[0]}
    for i, name in enumerate(names):
        axes[0].plot(rank[i], frequency[i], **(figures.style(i) | {"marker": ""}), label=name)
        axes[1].plot(sizes, bpe[i, :, 0], **figures.style(i), label=name)
        table |= {f"rank, {name}": rank[i], f"frequency, {name}": frequency[i]}
    axes[0].plot(rank[0], frequency[0, 0] / rank[0] * 2, **figures.THEORY, label="1 / rank")
    axes[0].set(xscale="log", yscale="log", xlabel="Rank of a type (log)", ylabel="Share of all tokens (log)")
    axes[1].set(xscale="log", xlabel="Types in the vocabulary (log)", ylabel="Types below the mean frequency", ylim=(0.5, 1))
    axes[0].legend()
    axes[1].legend()
    told = [figures.trend(sizes, bpe[i, :, 0], f"the share of rare types of {n}") for i, n in enumerate(names)]
    figures.display(fig, f"Two line charts: frequency falls with rank, and {'; '.join(told)}.", table)


def price(types: int, total: int, decays: Sequence[float]) -> None:
    """Loss by count in both solvable models, Zipf's frequencies, with thresholds."""
    fig, axes = figures.panels(2, share="y")
    f = zipf(types)
    n = f * total
    table: dict = {"occurrences": n, "frequency": f}
    for i, decay in enumerate(decays):
        free, one = ufm_loss(n, decay / np.sqrt(total)), linear_loss(f, decay ** 2, types)
        for ax, x, y in zip(axes, (n, f), (free, one), strict=True):
            ax.plot(x, y, **(figures.style(i) | {"marker": ""}), label=number(decay if ax is axes[0] else decay ** 2))
        for ax, x in zip(axes, (threshold(total, types, decay / np.sqrt(total)), front(types, decay ** 2)), strict=True):
            ax.axvline(x, color=figures.COLOURS[i], linewidth=0.8, linestyle=":")
        table |= {f"free features, {number(decay)}": free, f"one matrix, {number(decay ** 2)}": one}
    axes[0].set(xscale="log", xlabel="Occurrences $n_k$ (log)", ylabel="Loss of the type, nats", title="free features")
    axes[1].set(xscale="log", xlabel="Frequency $f_k$ (log)", title="one matrix")
    axes[0].legend(title="$\\sqrt{N}\\lambda$")
    axes[1].legend(title="$\\lambda$")
    dead = [int((n <= threshold(total, types, d / np.sqrt(total))).sum()) for d in decays]
    figures.display(fig, f"Two line charts of loss falling with frequency: with decays {', '.join(map(number, decays))} the "
                    f"number of types that are never learned is {', '.join(map(str, dead))} of {types}.", table)


def bins(decays: Sequence[float], train, held, guess: float) -> None:
    """Loss by bin against decay, on the text that was read and on text held out, [seed, decay, 7]; dotted, guessing."""
    fig, axes = figures.panels(2)
    at, table = np.arange(len(decays)), {"decay": list(decays)}
    for ax, values, where in zip(axes, (train, held), ("read", "held out"), strict=True):
        shades = figures.plt.get_cmap("viridis")(np.linspace(0, 0.85, len(BINS)))
        for b, name in enumerate(BINS):
            m, low, high = stats.band(values[..., b + 2])
            ax.plot(at, m, color=shades[b], marker=figures.MARKERS[b], label=f"{name} times", linewidth=1.3)
            ax.fill_between(at, low, high, color=shades[b], alpha=0.2, linewidth=0)
            table[f"{where}, {name}"] = m
        for k, (name, colour, dash) in enumerate((("micro", "black", "-"), ("macro", "#cc0000", "--"))):
            table[f"{where}, {name}"] = values[..., k].mean(0)
            ax.plot(at, table[f"{where}, {name}"], color=colour, linestyle=dash, linewidth=2.5, label=f"{name} mean")
        ax.set_xticks(at, [number(d) for d in decays])
        ax.set(xlabel="Weight decay $\\lambda$", ylabel="Loss, nats" if ax is axes[0] else "", title=f"text {where}")
        ax.set_ylim(bottom=0)
    axes[1].axhline(guess, color="black", linestyle=":", linewidth=1.2, label="guessing, $\\log K$")
    axes[1].legend(fontsize=7, ncols=2)
    told = [figures.trend(decays, table[k], k)
            for k in (f"read, {BINS[0]}", f"read, {BINS[-1]}", f"held out, {BINS[0]}")]
    figures.display(fig, f"Two charts of loss over decay: {'; '.join(told)}.", table, len(train), "95 % bands of the mean")


def scaling(decays: Sequence[float], rise, mean, through: int) -> None:
    """Rise of the training loss by mean count of a bin [seed, decay, bin], with the law of free features, slope -1/2.

    The law is drawn through the line ``through``; means below a hundredth of a nat are left out.
    """
    fig, ax = figures.panels()
    x = mean.mean(0)
    table: dict = {"mean count": x}
    for i, decay in enumerate(decays):
        m, low, high = stats.band(rise[:, i])
        table[f"rise, {number(decay)}"] = m
        ok = m > 0.01
        if ok.any():
            ax.errorbar(x[ok], m[ok], [(m - np.maximum(low, 1e-3))[ok], (high - m)[ok]], **figures.style(i), capsize=3,
                        label=f"$\\lambda={number(decay)}$")
    top = float(rise[:, through, 0].mean())
    ax.plot(x, top * (x / x[0]) ** -0.5, **figures.THEORY, label="$n^{-1/2}$")
    ax.set(xscale="log", yscale="log", xlabel="Mean occurrences of the bin's types (log)",
           ylabel="Rise of the loss, nats (log)")
    ax.legend()
    ax.set_ylim(bottom=5e-3)
    last = table[f"rise, {number(decays[-1])}"]
    told = figures.trend(x, last, "the rise of the loss at the strongest decay")
    figures.display(fig, f"Line chart: {told}, by mean count.", table, len(rise),
                    "95 % intervals of the mean")


def speeds(decays: Sequence[float], speed) -> None:
    """Learning speed by bin [seed, decay, bin]."""
    chart, at = figures.Chart(table={"occurrences": list(BINS)}), np.arange(len(BINS))
    ax = chart.axes[0]
    some = np.unique(np.linspace(0, len(decays) - 1, min(len(decays), 5)).round().astype(int))
    decays, speed = [decays[i] for i in some], speed[:, some]
    for i, decay in enumerate(decays):
        chart.curve(ax, at, speed[:, i], i, f"$\\lambda={number(decay)}$", f"decay {number(decay)}", bars=True)
    ax.set_xticks(at, BINS)
    ax.set(xlabel="Occurrences of the type", ylabel="Learning speed $s_k$")
    ax.legend()
    told = [f"with decay {number(d)} from {number(m[0])} to {number(m[-1])}"
            for d, m in zip(decays, speed.mean(0), strict=True)]
    chart.display(f"Line chart of speed rising with frequency: {', '.join(told)}.")


def placement(names: Sequence[str], rise) -> None:
    """Heat map of the rise of the loss by bin and by what decays [seed, arm, bin]."""
    fig, ax = figures.panels(figsize=(7.2, 2.6))
    m = rise.mean(0)
    shown = ax.imshow(m, cmap="cividis", aspect="auto")
    for (i, j) in np.ndindex(m.shape):
        ax.text(j, i, number(round(float(m[i, j]), 2)), ha="center", va="center", fontsize=9,
                color="white" if m[i, j] < (m.min() + m.max()) / 2 else "black")
    ax.set_xticks(range(len(BINS)), BINS)
    ax.set_yticks(range(len(names)), names)
    ax.grid(False)
    ax.set(xlabel="Occurrences of the type", ylabel="Decay of")
    fig.colorbar(shown, label="Rise, nats")
    figures.display(fig, "Heat map: the loss of the rarest types rises by "
                    f"{', '.join(f'{number(v)} with decay of {n}' for n, v in zip(names, m[:, 0], strict=True))}.",
                    {"decay of": list(names)} | {f"{b} times": m[:, j] for j, b in enumerate(BINS)}, len(rise), "means")


def regimes(passes: Sequence[float], train, held) -> None:
    """Change of the macro and micro loss from no decay to decays [seed, amount, decay, 4], by passes over the text."""
    chart = figures.Chart(2, "y", {"passes": list(passes)})
    axes, table = chart.axes, chart.table
    for ax, values, where in zip(axes, (train, held), ("read", "held out"), strict=True):
        for j, what in enumerate(("micro", "macro")):
            for i, decay in enumerate(("0.3", "1")):
                chart.curve(ax, passes, values[:, :, i + 1, j] - values[:, :, 0, j], 2 * j + i,
                            f"{what}, $\\lambda={decay}$", f"{where}, {what}, {decay}", bars=True)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xscale="log", xlabel="Passes over the text (log)", title=f"text {where}",
               ylabel="Change by decay, nats" if ax is axes[0] else "")
    axes[1].legend(fontsize=8)
    told = [figures.trend(passes, table[f"{w}, macro, 1"], f"the change of the macro loss on text {w}")
            for w in ("read", "held out")]
    chart.display(f"Two line charts over passes: {'; '.join(told)}.")


def trade(names: Sequence[str], micro, macro) -> None:
    """Held-out micro and macro loss of each remedy less those of plain decay [seed, remedy]."""
    fig, ax = figures.panels()
    table: dict = {"remedy": list(names), "micro": micro.mean(0), "macro": macro.mean(0)}
    for i, name in enumerate(names):
        (x, x0, x1), (y, y0, y1) = stats.band(micro[:, i]), stats.band(macro[:, i])
        ax.errorbar(x, y, [[y - y0], [y1 - y]], [[x - x0], [x1 - x]], **(figures.style(i) | {"linestyle": ""}), capsize=3,
                    label=name)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel="Micro loss less plain decay's, nats", ylabel="Macro loss less plain decay's, nats")
    ax.legend(fontsize=8)
    best = int(np.argmin(table["macro"]))
    figures.display(fig, f"Scatter plot of {len(names)} remedies: {names[best]} has the lowest macro loss, "
                    f"{number(table['macro'][best])} from plain decay, with {number(table['micro'][best])} of micro loss.",
                    table, len(micro), "95 % intervals of the mean")


def explore(decays: Sequence[float], steps: Sequence[int], train, held, start) -> None:
    """Interactive: loss by frequency over decay and training time, read and held out, [seed, decay, look, 7]."""
    mean = {"read": train.mean(0), "held out": held.mean(0)}
    begin, frames, told = start.mean(0)[2:], [], []
    for i, decay in enumerate(decays):
        frames.append([])
        for j, step in enumerate(steps):
            traces = [{"type": "scatter", "mode": "lines", "x": list(BINS), "y": [round(float(v), 3) for v in begin],
                       "name": "before training", "line": {"color": "#777777", "dash": "dot"}}]
            for k, (where, values) in enumerate(mean.items()):
                traces.append({"type": "scatter", "mode": "lines+markers", "x": list(BINS), "name": f"text {where}",
                               "y": [round(float(v), 3) for v in values[i, j, 2:]],
                               "line": {"color": figures.COLOURS[k], "dash": ("solid", "dash")[k]}})
            frames[-1].append(traces)
            r, h = mean["read"][i, j], mean["held out"][i, j]
            told.append(f"Decay {number(decay)}, step {step}: on the text read the rarest types lose {number(r[2])} nats and "
                        f"the most frequent {number(r[-1])}, micro {number(r[0])}, macro {number(r[1])}; held out the rarest "
                        f"lose {number(h[2])}, micro {number(h[0])}, macro {number(h[1])}.")
    first = (len(decays) // 2, len(steps) // 2)
    still, ax = figures.panels()
    for k, (where, values) in enumerate(mean.items()):
        ax.plot(BINS, values[(*first, slice(2, None))], **figures.style(k), label=f"text {where}")
    ax.set(xlabel="Occurrences of the type", ylabel="Loss, nats")
    ax.legend()
    high = max(float(np.nanmax(v[..., 2:])) for v in mean.values())
    layout = {"height": 400, "margin": {"l": 50, "r": 10, "t": 30, "b": 50},
              "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.1},
              "xaxis": {"title": {"text": "Occurrences of the type"}, "type": "category"},
              "yaxis": {"title": {"text": "Loss, nats"}, "range": [0, 1.05 * high]}}
    figures.interactive(
        "fig-explore-decay", [{"label": "Weight decay", "values": [number(d) for d in decays], "start": first[0]},
                              {"label": "Step", "values": [str(s) for s in steps], "start": first[1]}], frames, layout, still,
        f"Two lines of loss by frequency. {told[first[0] * len(steps) + first[1]]}", told,
        {"occurrences": list(BINS)} | {f"text {w}": v[(*first, slice(2, None))] for w, v in mean.items()},
        "Loss by how often a type occurs in the training text, mean over seeds, for each decay and training time.")
