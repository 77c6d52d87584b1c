"""Figures of the chapter "probabilistic-stability": each shows theory over measurement and tells its own trend."""

from __future__ import annotations

import numpy as np
from matplotlib import colors

from lib import figures, stats
from lib.papers.probabilistic_stability.exponents import critical_exponent, stable_intervals, thresholds
from lib.papers.probabilistic_stability.laws import squared_gaussian

PHASES = ("Ib", "Ia", "II", "III", "IV")
MEANING = ("Ib learns", "Ia learns in probability", "II wrong sign", "III collapses", "IV unstable")
FILL = ("#0173b2", "#7fbbe0", "#cc78bc", "#404040", "#e8e0d0")
number = stats.number


def palette() -> colors.ListedColormap:
    """Colours of the phases, in the order of ``PHASES``."""
    return colors.ListedColormap(list(FILL))


def paths(log_distance: np.ndarray, descent: float) -> None:
    """Runs of log10|theta_t| [n, T + 1], their median, and gradient descent's line of slope ``descent``."""
    t = np.arange(log_distance.shape[1])
    middle = np.median(log_distance, 0)
    fig, ax = figures.panels()
    ax.plot(t, log_distance[:12].T, color=figures.BLUE, alpha=0.35, linewidth=0.9)
    ax.plot(t, middle, color=figures.BLUE, label=f"SGD, median of {len(log_distance)} runs")
    ax.plot(t, descent * t, **figures.BASELINE, label="gradient descent")
    ax.set(xlabel="Step $t$", ylabel=r"Distance to the minimum, $\log_{10}|\theta_t|$", ylim=(-40, 40))
    ax.legend()
    alt = (f"Line chart: {figures.trend(t, middle, 'the median of log10 distance under SGD')}; "
           f"{figures.trend(t, descent * t, 'that of gradient descent')}.")
    figures.display(fig, alt, {"step": t, "median SGD": middle, "gradient descent": descent * t}, len(log_distance))


def moments(law, rates, slope: np.ndarray) -> None:
    """Moment functions of a law at each rate, with measured slopes at 0 [seed, rate] and the critical exponents."""
    orders = np.linspace(0, 2.2, 45)
    curves = np.array([[law.moment(o, r) if o else 0.0 for o in orders] for r in rates])
    kappas = critical_exponent(law, np.array(rates))
    fig, ax = figures.panels()
    for i, r in enumerate(rates):
        ax.plot(orders, curves[i], **figures.style(i, marker=False), label=rf"$\lambda={r}$")
        ax.plot([0, 0.35], [0, 0.35 * slope[:, i].mean()], color=figures.COLOURS[i], linewidth=4, alpha=0.4)
        if 0 < kappas[i] < 2.2:
            ax.plot(kappas[i], 0, marker=figures.MARKERS[i], color=figures.COLOURS[i], markersize=8)
    ax.axhline(0, **figures.THEORY)
    ax.set(xlabel="Order $p$", ylabel=r"Moment function $\varphi(p)$", ylim=(-0.8, 2))
    ax.legend()
    told = (f"at rate {r} the slope is {number(slope[:, i].mean())} and the value at 2 is {number(law.moment(2.0, r))}"
            for i, r in enumerate(rates))
    figures.display(fig, f"Line chart of {len(rates)} convex curves from 0: {'; '.join(told)}.",
                    {"order": orders, **{f"rate {r}": c for r, c in zip(rates, curves)}}, len(slope))


def phases(p: np.ndarray, rates: np.ndarray, labels: np.ndarray, sign: np.ndarray, exponent: np.ndarray) -> None:
    """Map of the phases [rate, p], and the share of runs whose sum shrinks with the theory's boundary."""
    fig, (left, right) = figures.panels(2, "xy")
    codes = np.select([labels == k for k in PHASES], range(5))
    left.pcolormesh(p, rates, codes, cmap=palette(), vmin=-0.5, vmax=4.5, rasterized=True)
    for k, x, y, colour in (("Ib", 0.85, 0.5, "white"), ("Ia", 0.8, 1.25, "black"), ("II", 0.15, 0.7, "black"),
                            ("III", 0.5, 0.7, "white"), ("IV", 0.5, 1.9, "black")):
        left.text(x, y, k, color=colour, ha="center", fontweight="bold")
    image = right.pcolormesh(p, rates, (sign < 0).mean(0), cmap=figures.ORDERED, rasterized=True)
    right.contour(p, rates, exponent, [0], colors="white", linestyles="--", linewidths=1.6)
    fig.colorbar(image, ax=right, label="Share of runs with shrinking $u+w$")
    for ax in (left, right):
        ax.set(xlabel="Probability $p$ of a positive signal", ylabel=r"Learning rate $\lambda$")
    areas = {k: float((labels == k).mean()) for k in PHASES}
    told = ", ".join(f"phase {k} takes {number(100 * v)} percent" for k, v in areas.items())
    figures.display(fig, f"Two maps over signal probability and learning rate: {told}; in the second map the measured "
                    "share jumps where the dashed theory line lies.",
                    {"phase": list(areas), "share of the map": list(areas.values())}, len(sign))


def nonlinear(p: np.ndarray, rates: np.ndarray, end: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> None:
    """Share of nonlinear runs at the saddle [rate, p], with the zero lines of both exponents."""
    fig, ax = figures.panels()
    share = (end == 0).mean(0)
    image = ax.pcolormesh(p, rates, share, cmap=figures.ORDERED, rasterized=True)
    for exponent in (plus, minus):
        ax.contour(p, rates, exponent, [0], colors="white", linestyles="--", linewidths=1.8)
    fig.colorbar(image, ax=ax, label="Share of runs at the saddle")
    ax.set(xlabel="Probability $p$ of a positive signal", ylabel=r"Learning rate $\lambda$")
    width = (share > 0.5).mean(1)
    figures.display(fig, f"Map: {figures.trend(rates, width, 'the width of the collapsed wedge, as a share of the axis,')}; "
                    "the dashed theory lines follow its edge.",
                    {"rate": rates, "share collapsed at p = 1/2": share[:, len(p) // 2], "width of the wedge": width},
                    len(end))


def batch(sizes, found: np.ndarray, predicted, second_order) -> None:
    """Critical rate against batch size: measured [seed, batch] with 95 % intervals, exact and second-order theory."""
    mean, low, high = stats.band(found)
    fig, ax = figures.panels()
    ax.errorbar(sizes, mean, [mean - low, high - mean], color=figures.BLUE, marker="o", linestyle="none", capsize=3,
                label="measured")
    ax.plot(sizes, predicted, **figures.THEORY, label=r"root of $\Lambda_+$")
    ax.plot(sizes, second_order, **figures.BASELINE, label="second order")
    ax.set(xscale="log", yscale="log", xlabel="Batch size $S$ (log)", ylabel=r"Critical learning rate $\lambda_c$ (log)")
    ax.set_xticks(sizes, [str(b) for b in sizes])
    ticks = [v for v in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if mean.min() / 1.5 < v < mean.max() * 1.5]
    ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
    ax.minorticks_off()
    ax.legend()
    figures.display(fig, f"Log-log chart: {figures.trend(sizes, mean, 'the measured critical rate')}; "
                    f"{figures.trend(sizes, predicted, 'the root of the exponent')}.",
                    {"batch": sizes, "measured": mean, "theory": predicted, "second order": second_order},
                    len(found), "95 % interval")


def rank(rates, noises, ranks: np.ndarray, positive: np.ndarray, d: int) -> None:
    """Heat maps [rate, noise] of the mean rank (-1 diverged) and of the count of positive exponents."""
    alive = ranks >= 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(alive.mean(0) < 0.5, np.nan, np.where(alive, ranks, 0).sum(0) / alive.sum(0))
    counts = positive.mean(0)
    fig, axes = figures.panels(2, "xy")
    for ax, grid in zip(axes, (mean, counts)):
        image = ax.imshow(grid, origin="lower", aspect="auto", cmap=figures.ORDERED, vmin=0, vmax=d)
        for (i, k), v in np.ndenumerate(grid):
            ax.text(k, i, "×" if np.isnan(v) else f"{v:.1f}", ha="center", va="center", fontsize=8.5,
                    color="black" if np.isnan(v) or v > 0.6 * d else "white")
        ax.set_xticks(range(len(noises)), [f"{v:g}" for v in noises])
        ax.set_yticks(range(len(rates)), [f"{v:g}" for v in rates])
        ax.grid(False)
        ax.set(xlabel=r"Label noise $\sigma$", ylabel=r"Learning rate $\lambda$")
    fig.colorbar(image, ax=list(axes), label="Rank (left), positive exponents (right)")
    figures.display(fig, f"Two heat maps over noise and rate: the rank is {number(mean[0, 0])} at the lowest rate without "
                    f"noise and {number(np.nanmin(mean))} at its lowest; the count of positive exponents runs from "
                    f"{number(counts.max())} to {number(counts.min())}.",
                    {"rate": np.repeat(rates, len(noises)), "noise": np.tile(noises, len(rates)),
                     "rank": mean.ravel(), "positive exponents": counts.ravel()}, len(ranks))


def collapse(noises, rates, dead: np.ndarray) -> None:
    """Share of runs at the origin against noise, one line a rate; dead [seed, rate, noise]."""
    fig, ax = figures.panels()
    share = dead.mean(0)
    for i, r in enumerate(rates):
        ends = [stats.proportion(int(dead[:, i, k].sum()), len(dead), 0.05) for k in range(len(noises))]
        ax.plot(noises, share[i], **figures.style(i), label=rf"$\lambda={r}$")
        ax.fill_between(noises, [e.low for e in ends], [e.high for e in ends], color=figures.COLOURS[i], alpha=0.2)
    ax.set(xlabel=r"Label noise $\sigma$", ylabel="Share of collapsed nets", ylim=(-0.03, 1.03))
    ax.legend()
    told = "; ".join(figures.trend(noises, share[i], f"at rate {r} the share") for i, r in enumerate(rates))
    figures.display(fig, f"Line chart: {told}.", {"noise": noises, **{f"rate {r}": share[i] for i, r in enumerate(rates)}},
                    len(dead), "95 % band")


def islands(finite, limit) -> None:
    """Exponent of a finite law against the learning rate, its stable intervals hatched, and the limit law."""
    grid = np.geomspace(0.2, 60, 1500)
    fig, ax = figures.panels()
    ax.plot(grid, finite.lyapunov(grid), color=figures.BLUE, label=f"{finite.values.size} samples")
    ax.plot(grid, limit.lyapunov(grid), **figures.THEORY, label=r"$N=\infty$")
    found = stable_intervals(finite)
    for low, high in found:
        ax.axvspan(max(low, 0.2), min(max(high, low * 1.004), 60), **figures.HATCH)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(xscale="log", ylim=(-2, 3), xlabel=r"Learning rate $\lambda$ (log)", ylabel=r"Exponent $\Lambda$")
    ax.legend()
    edge = thresholds(squared_gaussian(1)).prob_edge
    figures.display(fig, f"Line chart, logarithmic axis: {len(found)} separate stable intervals for {finite.values.size} "
                    f"samples, the last near rate {number(found[-1][1])}; one interval up to {number(edge)} in the limit.",
                    {"from": [a for a, _ in found], "to": [b for _, b in found]})


def planted(decays, E) -> None:
    """Measured growth of planted neurons against the exponents [net, seed, decay] read off beforehand."""
    fig, ax = figures.panels()
    measured = np.maximum(E["measured"], E["predicted"].min() * 1.5) * 1e3
    predicted = E["predicted"] * 1e3
    for i, name in enumerate(("conv net", "attention net")):
        ax.errorbar(predicted[i].ravel(), measured[i].ravel(),
                    xerr=1e3 * np.stack([(E["predicted"] - E["low"])[i].ravel(), (E["high"] - E["predicted"])[i].ravel()]),
                    marker=figures.MARKERS[i], linestyle="none", elinewidth=0.6, color=figures.COLOURS[i], label=name)
    ends = np.array([predicted.min(), predicted.max()])
    ax.plot(ends, ends, **figures.THEORY, label="equal")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.axvline(0, color="black", linewidth=0.6)
    ax.set(xlabel=r"Predicted exponent ($10^{-3}$ per step)", ylabel=r"Measured growth rate ($10^{-3}$ per step)")
    ax.legend()
    share = 100 * (np.sign(E["predicted"]) == np.sign(E["measured"])).mean()
    figures.display(fig, f"Scatter chart: {number(share)} percent of {predicted.size} planted neurons have the predicted "
                    f"sign; predictions run from {number(ends[0])} to {number(ends[1])} per thousand steps.",
                    {"net": np.repeat(["conv net", "attention net"], predicted[0].size),
                     "decay": np.tile(decays, 2 * predicted.shape[1]), "predicted": E["predicted"].ravel(),
                     "measured": measured.ravel() / 1e3}, predicted.shape[1], "99.9 % intervals")


def phase_map(table: np.ndarray, sizes, signals, noise: np.ndarray, rate: np.ndarray, octave: int) -> None:
    """Interactive map of the phases over noise and rate; ``table`` [batch, sigma / m, lambda m] on shared log grids."""
    def cut(b: int, m: int) -> np.ndarray:
        r, q = (len(signals) - 1 - m) * octave, m * octave
        return table[b, r:r + len(noise), q:q + len(rate)].T

    scale = [[(i + j) / 5, c] for i, c in enumerate(FILL) for j in (0, 1)]
    grids = [[cut(b, m) for m in range(len(signals))] for b in range(len(sizes))]
    frames = [[[{"type": "heatmap", "x": [round(v, 3) for v in noise.tolist()],
                 "y": [round(v, 5) for v in rate.tolist()], "z": g.tolist(), "zmin": -0.5, "zmax": 4.5,
                 "colorscale": scale, "colorbar": {"tickvals": [0, 1, 2, 3, 4], "ticktext": MEANING},
                 "hovertemplate": "noise %{x}<br>rate %{y}<extra></extra>"}] for g in row] for row in grids]
    told = [f"Batch {size}, signal {m}: {number(100 * np.mean(grids[b][k] == 3))} percent of the map collapses, "
            f"{number(100 * np.mean(grids[b][k] == 4))} percent is unstable."
            for b, size in enumerate(sizes) for k, m in enumerate(signals)]
    still, ax = figures.panels()
    ax.pcolormesh(noise, rate, grids[0][1], cmap=palette(), vmin=-0.5, vmax=4.5)
    ax.set(xscale="log", yscale="log", xlabel=r"Label noise $\sigma$ (log)", ylabel=r"Learning rate $\lambda$ (log)")
    layout = {"xaxis": {"type": "log", "title": {"text": "Label noise σ (log)"}}, "height": 430,
              "yaxis": {"type": "log", "title": {"text": "Learning rate λ (log)"}},
              "margin": {"l": 70, "r": 10, "t": 10, "b": 50}}
    figures.interactive(
        "fig-phase-map",
        [{"label": "Batch size S", "values": [str(v) for v in sizes], "start": 0},
         {"label": "Signal m", "values": [str(v) for v in signals], "start": 1}],
        frames, layout, still, f"Map of phases over label noise and learning rate. {told[1]}", told,
        {"batch": np.repeat(sizes, len(signals)), "signal": np.tile(signals, len(sizes)),
         "share collapsed": [np.mean(g == 3) for row in grids for g in row],
         "share unstable": [np.mean(g == 4) for row in grids for g in row]},
        "Phases of the two-layer saddle for Gaussian data, from exact exponents. Move the batch size and the signal.")
