"""Figures of the chapter "sparse-rademacher"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lib import figures, stats
from lib.papers.sparse_rademacher.bounds import PEERS, Sample, sparse
from lib.papers.sparse_rademacher.geometry import reads
from lib.papers.sparse_rademacher.walk import Layer, walk

number = stats.number
NAMES = {"sparse": "in-degrees (ours)", "golowich": "Golowich et al.", "neyshabur": "Neyshabur et al.",
         "bartlett": "Bartlett et al.*", "graf": "Graf et al.*", "ledent": "Ledent et al.*",
         "long_sedghi": "Long and Sedghi*"}


def one_path(kernel: int, stride: int, n: int, depth: int) -> None:
    """The graph of a one-dimensional conv net, one path from the output to an input patch, and in-degrees along it."""
    indices, size = [], n
    for _ in range(depth):
        index, (size,) = reads((size,), (kernel,), (stride,), (0,), (0,), (1,))
        indices.append(index)
    indices.append(np.arange(size)[None])
    fig, ax = figures.panels(figsize=(7.2, 3.6))
    widths = [n] + [len(i) for i in indices]
    at = [np.linspace(0, 1, w + 2)[1:-1] if w > 1 else np.array([0.5]) for w in widths]
    for level, index in enumerate(indices):
        for j, row in enumerate(index):
            for i in row:
                ax.plot([at[level][i], at[level + 1][j]], [level, level + 1], color=figures.GREY, lw=0.6, zorder=1)
    j, product, told = 0, 1, []
    for level in range(len(indices) - 1, -1, -1):
        row = indices[level][j]
        degree = len(row)
        if level:
            product *= degree
        told.append(f"{degree}")
        ax.annotate(f"reads {degree}" + ("" if level else " (its energy counts)"), (at[level + 1][j], level + 1),
                    xytext=(8, 4), textcoords="offset points", fontsize=9.5)
        i = row[0] if level else row
        for t in np.atleast_1d(i):
            ax.plot([at[level][t], at[level + 1][j]], [level, level + 1], color=figures.VERMILION, lw=2.4, zorder=2)
        j = int(np.atleast_1d(i)[0])
    for level, places in enumerate(at):
        ax.scatter(places, np.full(len(places), level), s=42, color=figures.BLUE, zorder=3)
    ax.set(yticks=range(len(at)), yticklabels=["input", *[f"conv {i + 1}" for i in range(depth)], "output"],
           xlabel="Position", ylabel="Layer $l$", xticks=[])
    ax.grid(False)
    figures.display(fig, f"Graph of a conv net with {depth} layers of kernel {kernel} and stride {stride}: one path from the "
                    f"output to a patch passes in-degrees {', '.join(told)}; the product without the last is {product}.",
                    {"layer": list(range(len(widths))), "positions": widths})


def slack(found, proved, names: Sequence[str]) -> None:
    """Complexities found against complexities proved: a vector of outcomes and a number for each class."""
    fig, ax = figures.panels()
    mean, low, high = (np.array(v) for v in zip(*(stats.band(f) for f in found)))
    for i, name in enumerate(names):
        ax.errorbar(proved[i], mean[i], [[mean[i] - low[i]], [high[i] - mean[i]]], capsize=3, label=name,
                    **(figures.style(i) | {"linestyle": ""}))
    ends = np.array([min(mean.min(), proved.min()) * 0.7, proved.max() * 1.4])
    ax.plot(ends, ends, **figures.THEORY, label="equal")
    ax.fill_between(ends, ends, ends[1], **figures.HATCH)
    ax.set(xscale="log", yscale="log", xlabel="Proved complexity (log)", ylabel="Complexity found (log)", xlim=ends)
    ax.legend(ncols=2, fontsize=8.5)
    figures.display(fig, f"Scatter of complexities found against those proved: all {len(names)} lie below the diagonal, by "
                    f"factors from {number((proved / mean).min())} to {number((proved / mean).max())}.",
                    {"class": list(names), "found": mean, "proved": proved}, min(map(len, found)), "95 % intervals")


def training(trace, test, widths: Sequence[int], every: int) -> None:
    """Total bound and norm product while trees train; trace [seed, width, reading, 3]."""
    steps = np.arange(trace.shape[2]) * every
    fig, axes = figures.panels(2)
    for i, w in enumerate(widths):
        for ax, k in zip(axes, (0, 2)):
            mean, low, high = (np.exp(v) for v in stats.band(np.log(trace[:, i, :, k])))
            ax.plot(steps, mean, **figures.style(i), label=f"$H={w}$")
            ax.fill_between(steps, low, high, color=figures.COLOURS[i], alpha=0.2)
    axes[0].axhline(1, **figures.BASELINE, label="says nothing above")
    axes[0].set(yscale="log", xlabel="Step", ylabel="Bound on the error (log)")
    axes[1].set(yscale="log", xlabel="Step", ylabel=r"Norm product $\rho$ (log)")
    axes[0].legend()
    told = "; ".join(figures.trend(steps, np.exp(np.log(trace[:, i, :, 0]).mean(0)), f"the bound at width {w}")
                     for i, w in enumerate(widths))
    figures.display(fig, f"Two line charts over training: {told}; largest test error {number(test.max())}.",
                    {"step": steps, **{f"{name}, H = {w}": np.exp(np.log(trace[:, i, :, k]).mean(0))
                                       for i, w in enumerate(widths) for name, k in (("bound", 0), ("norms", 2))}},
                    len(trace), "95 % bands of the mean logarithm")


def family(traces: dict, widths: dict, steps: int) -> None:
    """Conv nets while they train: the bound at each width, and the gap between test and training error beneath it.

    ``traces`` [seed, width, reading, 6] and ``widths`` by net, see :func:`convs.family`.
    """
    fig, axes = figures.panels(len(traces), share="y")
    columns, told = {}, []
    for ax, (name, trace) in zip(axes, traces.items()):
        when = np.linspace(0, steps, trace.shape[2]).astype(int)
        for i, w in enumerate(widths[name]):
            mean, low, high = (np.exp(v) for v in stats.band(np.log(trace[:, i, :, 0])))
            gap = np.maximum((trace[:, i, :, 5] - trace[:, i, :, 4]).mean(0), 1e-4)
            ax.plot(when, mean, **figures.style(i), label=f"bound, $H={w}$")
            ax.fill_between(when, low, high, color=figures.COLOURS[i], alpha=0.2)
            ax.plot(when, gap, **(figures.style(i) | {"linestyle": ":"}), label=f"gap, $H={w}$")
            columns |= {f"{name}, bound, H = {w}": mean, f"{name}, gap, H = {w}": gap}
            told.append(figures.trend(when, mean, f"{name}, {w} channels: the bound"))
        ax.axhline(1, **figures.BASELINE)
        ax.set(yscale="log", xlabel="Step", title=name)
        ax.set_ylabel("Bound and gap (log)" if ax is axes[0] else "")
    axes[-1].legend(ncols=1, fontsize=8.5, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figures.display(fig, f"Two line charts over training: {'; '.join(told)}; the gap of test over training error stays far "
                    "below.", {"step": when, **columns}, len(trace), "95 % bands of the mean logarithm")


def growth(ms, bounds) -> None:
    """Total bound against the size of the sample; bounds [seed, m]."""
    fig, ax = figures.panels()
    mean, low, high = (np.exp(v) for v in stats.band(np.log(bounds)))
    ax.plot(ms, mean, **figures.style(0), label="bound")
    ax.fill_between(ms, low, high, color=figures.BLUE, alpha=0.2)
    ax.plot(ms, mean[0] * np.sqrt(ms[0] / np.asarray(ms, float)), **figures.THEORY, label=r"$m^{-1/2}$")
    ax.axhspan(1, max(2.0, mean.max() * 1.2), **figures.HATCH)
    ax.set(xscale="log", yscale="log", xlabel="Samples $m$ (log)", ylabel="Bound on the error (log)")
    ax.legend()
    figures.display(fig, f"Line chart: {figures.trend(ms, mean, 'the bound on the error')}, near one over the root.",
                    {"samples": ms, "bound": mean, "low": low, "high": high}, len(bounds), "95 % band of the mean logarithm")


def certificates(found, tasks: Sequence[str]) -> None:
    """Three certificates and the test error, on a log axis; found [seed, task, 4]."""
    names = ("norms and in-degrees", "PAC-Bayes", "hold-out test", "test error")
    fig, axes = figures.panels(len(tasks), share="y")
    floor = 1e-4
    for ax, task, values in zip(axes, tasks, np.moveaxis(found, 1, 0)):
        mean = np.maximum(values.mean(0), floor)
        ax.barh(range(4), mean, color=[figures.BLUE, figures.MAUVE, figures.GREEN, figures.GREY],
                hatch=None, left=0, height=0.6)
        for bar, hatch in zip(ax.patches, ("", "//", "..", "xx")):
            bar.set_hatch(hatch)
        ax.axvline(1, **figures.THEORY)
        ax.set(xscale="log", xlim=(floor, 30), yticks=range(4), yticklabels=names, xlabel=f"Error on {task} (log)")
        ax.set_ylabel("Certificate" if ax is axes[0] else "")
        ax.invert_yaxis() if ax is axes[0] else None
    told = "; ".join(f"{t}: " + ", ".join(f"{n} {number(v)}" for n, v in zip(names, found[:, i].mean(0)))
                     for i, t in enumerate(tasks))
    figures.display(fig, f"Bar chart of certified errors. {told}.",
                    {"certificate": list(names) * len(tasks), "task": np.repeat(tasks, 4),
                     "value": [v for i in range(len(tasks)) for v in found[:, i].mean(0)]}, len(found), "means")


def unit_tree(depth: int, kernel: int, width: int) -> list[Layer]:
    """A tree on the square of side ``kernel ** depth`` with random filters of norm 1."""
    layers: list[nn.Module] = []
    gen = torch.Generator().manual_seed(depth * 100 + kernel * 10 + width)
    for i in range(depth):
        conv = nn.Conv2d(width if i else 1, width, kernel, kernel, bias=False)
        layers += [conv, nn.ReLU()]
    head = nn.Linear(width, 1, bias=False)
    net = nn.Sequential(*layers, nn.Flatten(), head)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=gen))
            p.div_(p.norm())
    return walk(net, torch.zeros(1, 1, kernel**depth, kernel**depth))


def anatomy(depths: Sequence[int], kernels: Sequence[int], widths: Sequence[int], m: int, rho: float) -> None:
    """Interactive: all bounds on trees with filters of norm 1, inputs of signs, ``rho`` over the margin given."""
    kinds = {"sparse": sparse, **PEERS}
    frames, told, kept = [], [], {}
    for L in depths:
        row = []
        for k in kernels:
            side, values = k**L, {n: [] for n in kinds}
            s = Sample(m, np.full(side * side, float(m)), float(m) * side**2, float(side**2), np.ones(m), 1)
            for w in widths:
                layers = unit_tree(L, k, w)
                for n, f in kinds.items():
                    values[n].append(float(f(layers, s, 0.05, 1 / rho).total))
            kept[L, k] = values
            row.append([{"type": "scatter", "mode": "lines+markers", "x": [str(w) for w in widths], "y": v, "name": NAMES[n],
                         "line": {"color": figures.COLOURS[i % 5], "dash": "solid" if n in ("sparse", "golowich", "neyshabur")
                                  else "dot"}, "marker": {"symbol": i}} for i, (n, v) in enumerate(values.items())])
            told.append(f"{L} convolutions of side {k} on {side} x {side} pixels: ours {number(values['sparse'][0])} at "
                        f"every width; Golowich et al. {number(values['golowich'][0])}; Ledent et al. from "
                        f"{number(values['ledent'][0])} to {number(values['ledent'][-1])}.")
        frames.append(row)
    i, j = min(2, len(depths) - 1), 0
    values = kept[depths[i], kernels[j]]
    still, ax = figures.panels()
    for n_, (n, v) in enumerate(values.items()):
        ax.plot(range(len(widths)), v, **figures.style(n_), label=NAMES[n])
    ax.axhline(1, **figures.BASELINE)
    ax.set(yscale="log", xticks=range(len(widths)), xticklabels=widths, xlabel="Channels $H$",
           ylabel="Bound on the error (log)")
    ax.legend(fontsize=8, ncols=2)
    layout = {"height": 460, "yaxis": {"type": "log", "exponentformat": "power",
                                        "title": {"text": "Bound on the error (log)"}},
              "xaxis": {"title": {"text": "Channels H"}, "type": "category"}, "margin": {"l": 70, "r": 10, "t": 10, "b": 50}}
    figures.interactive(
        "fig-anatomy", [{"label": "Convolutions", "values": [str(d) for d in depths], "start": i},
                        {"label": "Kernel side", "values": [str(k) for k in kernels], "start": j}],
        frames, layout, still, f"Line chart of seven bounds against width. {told[i * len(kernels) + j]}", told,
        {"channels": list(widths), **{NAMES[n]: v for n, v in values.items()}},
        "Seven bounds on trees with filters of norm 1; a star marks constants that prove nothing here. Move both.")
