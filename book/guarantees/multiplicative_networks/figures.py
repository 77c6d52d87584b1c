"""Figures of the chapter "multiplicative-networks": counts and errors of built and trained networks."""

from __future__ import annotations

import numpy as np
import torch

from lib import figures, stats
from lib.papers.multiplicative_networks.emulate import square_network

number = stats.number


def counts(degrees, every, one, shared, least) -> None:
    """Gates against degree for all T_k, one T_n, any polynomial, and the bound by dimension."""
    fig, ax = figures.panels()
    for i, (g, name) in enumerate(((every, "all of $T_0,\\dots,T_n$"), (shared, "any polynomial"), (one, "$T_n$ alone"))):
        ax.plot(degrees, g, **figures.style(i), label=name)
    ax.plot(degrees, least, **figures.THEORY, label="needed for any polynomial")
    ax.set(xscale="log", yscale="log", xlabel="Degree $n$ (log)", ylabel="Product gates (log)")
    ax.legend()
    alt = (f"Line chart: {figures.trend(degrees, every, 'gates for all Chebyshev polynomials')}; "
           f"{figures.trend(degrees, shared, 'gates for any polynomial')}; {figures.trend(degrees, one, 'gates for one')}.")
    figures.display(fig, alt, {"degree": degrees, "all": every, "any polynomial": shared, "one": one, "needed": least})


def sawtooth(levels) -> None:
    """The interpolations f_m of x^2 and their errors times 4^(m+1)."""
    x = torch.linspace(0, 1, 1025, dtype=torch.float64)[:, None]
    fig, axes = figures.panels(2)
    table = {"x": x[::64, 0].numpy()}
    for i, m in enumerate(levels):
        with torch.no_grad():
            f = square_network(m)(x)[:, 0].numpy()
        axes[0].plot(x, f, **figures.style(i, marker=False), label=f"$m={m}$")
        axes[1].plot(x, (f - x[:, 0].numpy() ** 2) * 4 ** (m + 1), **figures.style(i, marker=False), label=f"$m={m}$")
        table[f"error, m = {m}"] = (f - x[:, 0].numpy() ** 2)[::64]
    axes[0].plot(x, x**2, **figures.THEORY, label="$x^2$")
    axes[0].set(xlabel="$x$", ylabel="$f_m(x)$")
    axes[1].set(xlabel="$x$", ylabel=r"Error times $4^{m+1}$")
    axes[0].legend()
    figures.display(fig, f"Two charts: interpolations of the square at levels {', '.join(map(str, levels))}; the error is 0 "
                    "at every multiple and its scaled peak is 1 at each level.", table)


def cosine(found, R) -> None:
    """Error against size for cos(R t): gates of the product network and units of its emulation; found [eps, 6 + 2]."""
    gates, units, err, emulated = found[:, 1], found[:, 4], found[:, 6], found[:, 7]
    fig, axes = figures.panels(2, share="y")
    for ax, (a, b, what) in zip(axes, ((gates, units, "Gates or units"), (found[:, 2], found[:, 5], "Depth"))):
        ax.plot(a, err, **figures.style(0), label="product gates")
        ax.plot(b, emulated, **figures.style(1), label="ReLU emulation")
        ax.set(xscale="log", yscale="log", xlabel=f"{what} (log)", ylabel="Largest error (log)")
    axes[0].legend()
    alt = (f"Two charts for the cosine of {R:g} t: the error falls from {number(err[0])} to {number(err[-1])} as gates rise "
           f"from {number(gates[0])} to {number(gates[-1])}, while the ReLU emulation needs {number(units[0])} to "
           f"{number(units[-1])} units.")
    figures.display(fig, alt, {"gates": gates, "depth": found[:, 2], "error": err, "units": units, "ReLU depth": found[:, 5],
                               "ReLU error": emulated})


def sampling(sizes, error, dimensions, spread: float) -> None:
    """Error of sums of random ridges against their number, one line a dimension; error [seed, dimension, N]."""
    fig, ax = figures.panels()
    for j, d in enumerate(dimensions):
        mean, low, high = stats.band(error[:, j])
        ax.plot(sizes, mean, **figures.style(j), label=f"$d={d}$")
        ax.fill_between(sizes, low, high, color=figures.COLOURS[j], alpha=0.2)
    ax.plot(sizes, spread / np.sqrt(sizes), **figures.THEORY, label=r"spread over $\sqrt{N}$")
    ax.set(xscale="log", yscale="log", xlabel="Ridges $N$ (log)", ylabel="$L_2$ error (log)")
    ax.legend()
    told = "; ".join(figures.trend(sizes, error[:, j].mean(0), f"in dimension {d} the error")
                     for j, d in enumerate(dimensions))
    figures.display(fig, f"Line chart: {told}.", {"ridges": sizes, **{f"d = {d}": error[:, j].mean(0) for j, d in
                                                                     enumerate(dimensions)}}, len(error), "95 % bands")


def trained(error, kinds, layers, title: str, dimension: int) -> None:
    """Relative test error by kind and number of layers at equal parameters; error [seed, kind, layer]."""
    fig, ax = figures.panels()
    for i, kind in enumerate(kinds):
        mean, low, high = (np.exp(v) for v in stats.band(np.log(error[:, i])))
        at = np.arange(len(layers)) + 0.06 * (i - (len(kinds) - 1) / 2)
        ax.errorbar(at, mean, [mean - low, high - mean], **figures.style(i), capsize=3, label=kind)
    ax.set(yscale="log", xticks=range(len(layers)), xticklabels=layers, xlabel="Hidden layers",
           ylabel=f"Relative test error (log), {title}")
    ax.legend()
    told = "; ".join(f"{k}: " + ", ".join(f"{number(np.exp(np.log(error[:, i, j]).mean()))} at {n} layers"
                                          for j, n in enumerate(layers)) for i, k in enumerate(kinds))
    figures.display(fig, f"Interval chart of the geometric mean of test errors on {title} targets in dimension {dimension}. "
                    f"{told}.",
                    {"layers": np.tile(layers, len(kinds)), "kind": np.repeat(kinds, len(layers)),
                     "error": [np.exp(np.log(error[:, i, j]).mean()) for i in range(len(kinds)) for j in range(len(layers))]},
                    len(error), "95 % intervals of the mean logarithm")


def ball(d: int, m: int) -> int:
    """Number of multi-indices in N^d with Euclidean norm at most m."""
    squares = np.zeros(m * m + 1)
    squares[np.arange(m + 1) ** 2] = 1
    have = np.zeros(m * m + 1)
    have[0] = 1
    for _ in range(d):
        new = np.zeros_like(have)
        for v in range(m + 1):
            new[v * v:] += have[:len(have) - v * v]
        have = new
    return int(have.sum())


def budget(dimensions, accuracies, smoothness) -> None:
    """Interactive: gates and ReLU units that reach an accuracy on a Sobolev-type ball, against its smoothness."""
    def sizes(d: int, eps: float) -> list[tuple[int, int]]:
        out = []
        for r in smoothness:
            m = int(np.ceil((eps / 2) ** (-1 / r)))  # half of the accuracy for the truncation, half for the emulation
            gates = max(ball(d, m) - 1 - d, 1)
            levels = max(1, int(np.ceil(np.log(2 * gates * max(m, 2) ** 2 / eps) / np.log(4))))
            out.append((gates, gates * (2 * levels + 2)))
        return out

    frames, told = [], []
    for eps in accuracies:
        row = []
        for d in dimensions:
            found = sizes(d, eps)
            bars = ((0, "product gates", figures.BLUE, ""), (1, "ReLU units", figures.VERMILION, "/"))
            row.append([{"type": "bar", "x": [f"r = {r}" for r in smoothness], "y": [f[k] for f in found], "name": name,
                         "marker": {"color": c, "pattern": {"shape": p}}} for k, name, c, p in bars])
            told.append(f"Accuracy {eps:g}, dimension {d}: {found[0][0]} gates or {found[0][1]} units at smoothness "
                        f"{smoothness[0]}, {found[-1][0]} or {found[-1][1]} at {smoothness[-1]}.")
        frames.append(row)
    i, j = len(accuracies) // 2, 1
    found = sizes(dimensions[j], accuracies[i])
    still, ax = figures.panels()
    at = np.arange(len(smoothness))
    ax.bar(at - 0.2, [f[0] for f in found], 0.38, color=figures.BLUE, label="product gates")
    ax.bar(at + 0.2, [f[1] for f in found], 0.38, color=figures.VERMILION, hatch="//", label="ReLU units")
    ax.set(yscale="log", xticks=at, xticklabels=smoothness, xlabel="Smoothness $r$", ylabel="Gates or units (log)")
    ax.legend()
    layout = {"barmode": "group", "height": 420, "yaxis": {"type": "log", "title": {"text": "Gates or units (log)"}},
              "xaxis": {"title": {"text": "Smoothness"}}, "margin": {"l": 70, "r": 10, "t": 10, "b": 50}}
    figures.interactive(
        "fig-budget", [{"label": "Accuracy", "values": [f"{e:g}" for e in accuracies], "start": i},
                       {"label": "Dimension", "values": [str(d) for d in dimensions], "start": j}],
        frames, layout, still, f"Bar chart of sizes against smoothness. {told[i * len(dimensions) + j]}", told,
        {"smoothness": smoothness, "gates": [f[0] for f in found], "units": [f[1] for f in found]},
        "Gates for a Sobolev-type ball, and units of their emulation (an upper count). Move accuracy and dimension.")
