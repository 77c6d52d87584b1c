"""Figures of the chapter "canonical-representation": theory over measurement, each telling its own trend."""

from __future__ import annotations

import numpy as np

from lib import figures, show, stats
from lib.papers.canonical_representation.factorial import FACTORS, effects
from lib.papers.canonical_representation.moments import RELATIONS
from lib.papers.canonical_representation.phases import BACKWARD, FORWARD, phase_table

number = stats.number
CORNERS = {"R": (0.5, 0.87), "W": (0.0, 0.0), "G": (1.0, 0.0)}
EDGES = {"RGA": ("R", "G"), "RWA": ("R", "W"), "GWA": ("G", "W")}


def relations(panels: dict[str, np.ndarray]) -> None:
    """Six alignments as triangles R, W, G, forward and backward, one pair of triangles a panel; values [6]."""
    fig, axes = figures.panels(2 * len(panels), figsize=(9.0, 2.8))
    for k, (title, alpha) in enumerate(panels.items()):
        for half, side in enumerate(("forward", "backward")):
            ax = axes[2 * k + half]
            for name, value in zip(RELATIONS[3 * half:3 * half + 3], alpha[3 * half:3 * half + 3]):
                a, b = (np.array(CORNERS[c]) for c in EDGES[name[2:]])
                ax.plot(*zip(a, b), color=figures.BLUE, linewidth=1 + 8 * max(value, 0), alpha=0.25 + 0.7 * max(value, 0),
                        solid_capstyle="round")
                ax.annotate(f"{value:.2f}", (a + b) / 2, ha="center", va="center", fontsize=10,
                            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})
            for c, (u, v) in CORNERS.items():
                ax.annotate(c, (u, v), ha="center", va="center", fontsize=13, fontweight="bold",
                            bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": "black"})
            ax.set(xlim=(-0.2, 1.2), ylim=(-0.2, 1.1), aspect="equal")
            ax.set_xlabel(f"{title},\n{side}")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(False)
            ax.spines[:].set_visible(False)
            ax.set_ylabel("Alignment on the edges" if not 2 * k + half else " ")
    told = "; ".join(f"{t}: " + ", ".join(f"{n} {v:.2f}" for n, v in zip(RELATIONS, a)) for t, a in panels.items())
    figures.display(fig, f"Triangles with corners R, W, G whose edges carry the alignments. {told}.",
                    {"relation": list(RELATIONS), **panels})


def baseline(n: np.ndarray, measured: np.ndarray, off: np.ndarray, d: int, theory: np.ndarray) -> None:
    """Alignment of unrelated Wishart matrices against their degrees of freedom n; measured and off [draw, n]."""
    fig, ax = figures.panels()
    for i, (values, name) in enumerate(((measured, "all entries"), (off, "without the diagonals"))):
        mean, low, high = stats.band(values)
        ax.plot(n, mean, **figures.style(i), label=name)
        ax.fill_between(n, low, high, color=figures.COLOURS[i], alpha=0.2)
    ax.plot(n, theory, **figures.THEORY, label="closed form")
    ax.set(xscale="log", ylim=(-0.1, 1), xlabel="Degrees of freedom $n$ (log)", ylabel=r"Alignment $\alpha$")
    ax.legend(loc="center right")
    alt = (f"Line chart at width {d}: {figures.trend(n, measured.mean(0), 'the alignment of unrelated matrices')}; "
           f"without diagonals it stays at {number(off.mean())}.")
    figures.display(fig, alt, {"n": n, "all entries": measured.mean(0), "without diagonals": off.mean(0),
                               "closed form": theory}, len(measured), "95 % bands")


def linear(found: dict[int, np.ndarray]) -> None:
    """Fitted exponents of Hb and Gb by layer for each depth; ``found[D]`` is [seed, layer, 4] in order Ha, Hb, Ga, Gb."""
    fig, axes = figures.panels(2, share="xy")
    longest = max(found)
    layers = np.arange(1, longest + 1)
    for ax, column, name, law in ((axes[0], 1, "$H_b$", layers), (axes[1], 3, "$G_b$", 2 - layers)):
        ax.plot(layers, law, **figures.THEORY, label="theory")
        for i, (D, e) in enumerate(found.items()):
            ax.plot(layers[:D] + 0.06 * (i - 1), e[:, :, column].mean(0), color=figures.COLOURS[i], linestyle="none",
                    marker=figures.MARKERS[i], markersize=8, label=f"$D={D}$")
        ax.set(xlabel="Layer $i$", ylabel=f"Exponent of {name} against $Z_b$", xticks=layers)
    axes[0].legend()
    error = max(float(np.abs(e[:, :, 1] - layers[:D]).max()) for D, e in found.items())
    rows = [(D, i + 1, *e[:, i].mean(0)) for D, e in found.items() for i in range(D)]
    table = {k: [r[j] for r in rows] for j, k in enumerate(("depth", "layer", "Ha", "Hb", "Ga", "Gb"))}
    figures.display(fig, f"Two charts: the exponent of Hb rises by one a layer from 1 to {longest}, that of Gb falls by one "
                    f"from 1 to {2 - longest}; measurement differs from theory by at most {number(error)}.", table,
                    len(next(iter(found.values()))))


def trajectories(times, decays, panels: dict[str, np.ndarray]) -> None:
    """Mean alignment without diagonal against training time, one line a decay; values [seed, decay, time]."""
    fig, axes = figures.panels(len(panels), share="xy")
    table = {"step": np.asarray(times)}
    told = []
    for ax, (name, alpha) in zip(np.atleast_1d(axes), panels.items()):
        for j, gamma in enumerate(decays):
            mean, low, high = stats.band(alpha[:, j])
            ax.plot(np.maximum(times, 10), mean, **figures.style(j), label=rf"$\gamma={gamma:g}$")
            ax.fill_between(np.maximum(times, 10), low, high, color=figures.COLOURS[j % 5], alpha=0.15)
            table[f"{name}, decay {gamma:g}"] = mean
        ax.set(xscale="log", xlabel=f"Step $t$ (log), {name}", ylabel=r"Mean of six $\alpha$, no diagonal", ylim=(0, 1))
        told.append(f"{name}: {figures.trend(times, alpha[:, -1].mean(0), f'at decay {decays[-1]:g} the mean alignment')}, "
                    f"and to {number(alpha[:, 0, -1].mean())} at decay {decays[0]:g}")
    np.atleast_1d(axes)[0].legend()
    figures.display(fig, f"Line charts. {'; '.join(told)}.", table, len(alpha), "95 % bands")


def relaxation(decays, equal_time: np.ndarray, equal_relaxation: np.ndarray, horizon: float) -> None:
    """Mean alignment against decay at one training time and at one relaxation; both [seed, decay]."""
    fig, ax = figures.panels()
    for i, (v, name) in enumerate(((equal_time, "equal time $T$"), (equal_relaxation, rf"equal $\eta\gamma T={horizon:g}$"))):
        mean, low, high = stats.band(v)
        ax.errorbar(decays, mean, [mean - low, high - mean], **figures.style(i), capsize=3, label=name)
    ax.set(xscale="log", xlabel=r"Weight decay $\gamma$ (log)", ylabel=r"Mean of six $\alpha$, no diagonal", ylim=(0, 1))
    ax.legend(loc="lower right")
    alt = (f"Line chart: {figures.trend(decays, equal_time.mean(0), 'at equal time the mean alignment')}; "
           f"{figures.trend(decays, equal_relaxation.mean(0), 'at equal relaxation it')}.")
    figures.display(fig, alt, {"decay": np.asarray(decays), "equal time": equal_time.mean(0),
                               "equal relaxation": equal_relaxation.mean(0)}, len(equal_time), "95 % intervals")


def balance(trace: np.ndarray, decays) -> None:
    """Traces of signal, noise, decay and drift over that of decay, by layer; [seed, decay, layer, 4]."""
    share = trace / np.abs(trace[..., 2:3])
    fig, axes = figures.panels(len(decays), share="y")
    depth, names = trace.shape[2], ("signal", "noise", "decay", "less drift")
    for ax, j in zip(axes, range(len(decays))):
        for k, name in enumerate(names):
            mean, low, high = stats.band(share[:, j, :, k])
            ax.bar(np.arange(1, depth + 1) + 0.2 * (k - 1.5), mean, 0.18, yerr=[mean - low, high - mean], label=name,
                   color=figures.COLOURS[k], edgecolor="black", hatch=("", "//", "..", "xx")[k])
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel=rf"Layer, $\gamma={decays[j]:g}$", ylabel="Trace over that of decay", xticks=np.arange(1, depth + 1))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    told = "; ".join(f"at decay {g:g} noise makes up {number(share[:, j, :, 1].mean())} and signal "
                     f"{number(share[:, j, :, 0].mean())} of the balance" for j, g in enumerate(decays))
    rows = [(g, l + 1, *share[:, j, l].mean(0)) for j, g in enumerate(decays) for l in range(depth)]
    figures.display(fig, f"Bar charts: {told}.", {k: [r[i] for r in rows] for i, k in enumerate(("decay", "layer", *names))},
                    len(trace), "95 % intervals")


def flow(decays, E, layers) -> None:
    """Paths of hidden layers in the plane of exponents (x, y), the phases marked; E.x, E.y [seed, decay, time, layer]."""
    fig, ax = figures.panels(figsize=(6.4, 5.2))
    for (f, b), found in phase_table().items():
        if found is not None:
            at = (float(found[0]), float(found[3]))
            ax.plot(*at, marker="*", color="black", markersize=13, zorder=3)
            ax.annotate(f"{f}, {b}", at, xytext=(6, -13), textcoords="offset points", fontsize=8)
    columns = {k: [] for k in ("decay", "layer", "x", "y")}
    for j, gamma in enumerate(decays):
        for i, l in enumerate(layers):
            x, y = (np.nanmean(E[k][:, j, :, l], 0) for k in ("x", "y"))
            ax.plot(x, y, color=figures.COLOURS[j % 5], linestyle=figures.DASHES[i], alpha=0.9)
            ax.plot(x[-1], y[-1], color=figures.COLOURS[j % 5], marker=figures.MARKERS[i], markersize=8, linestyle="none",
                    label=rf"$\gamma={gamma:g}$, layer {l + 1}")
            for k, v in zip(columns, (gamma, l + 1, x[-1], y[-1])):
                columns[k].append(v)
    ax.set(xlabel=r"Exponent $x$ of $H_a$ against $Z_a$", ylabel=r"Exponent $y$ of $G_b$ against $Z_b$", xlim=(-1.3, 2.9),
           ylim=(-1.5, 2.4))
    ax.legend(fontsize=8, loc="upper left")
    told = "; ".join(f"decay {g:g}, layer {l}: ({x:.2f}, {y:.2f})" for g, l, x, y in zip(*columns.values()))
    figures.display(fig, f"Paths in the plane of exponents from near (0, 0) with the six phases marked; they end at {told}.",
                    columns, len(E["x"]))


def drivers(designs: dict[str, np.ndarray]) -> None:
    """Main effects of the factors on alignment with 95 % intervals, a colour an architecture; designs [seed, 2, 2, 2, 2]."""
    fig, ax = figures.panels()
    columns = {k: [] for k in ("architecture", "factor", "effect", "low", "high")}
    for i, (name, y) in enumerate(designs.items()):
        found = [stats.mean(effects(y)[f], 0.05) for f in FACTORS]
        at = np.arange(len(FACTORS)) + 0.15 * (i - (len(designs) - 1) / 2)
        ax.errorbar([e.value for e in found], at, xerr=[[e.value - e.low for e in found], [e.high - e.value for e in found]],
                    color=figures.COLOURS[i], marker=figures.MARKERS[i], linestyle="none", capsize=3, label=name)
        for f, e in zip(FACTORS, found):
            for k, v in zip(columns, (name, f, e.value, e.low, e.high)):
                columns[k].append(v)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(yticks=range(len(FACTORS)), yticklabels=FACTORS, xlabel=r"Effect on the mean of six $\alpha$, no diagonal",
           ylabel="Factor, low to high")
    ax.invert_yaxis()
    ax.legend()
    told = "; ".join(f"{n}, {f}: {e:+.3f}" for n, f, e in zip(*list(columns.values())[:3]))
    figures.display(fig, f"Interval chart of {len(columns['effect'])} main effects on alignment. {told}.", columns,
                    len(next(iter(designs.values()))), "95 % intervals")


def large_table(resnet, gpt) -> show.Table:
    """Alignments before and after training, baselines and exponents of the layers of a residual net and of a GPT."""
    layers = [(f"GPT `{n}`", gpt.alpha[:, 0, k], gpt.alpha[:, 1, k], gpt.slopes[:, 1, k]) for k, n in enumerate(gpt.layers)]
    layers += [(f"residual net, {n}", resnet.alpha[:, 1, 0, k], resnet.alpha[:, 1, -1, k], resnet.slopes[:, 1, k])
               for k, n in enumerate(("last convolution", "hidden", "last"))]
    rows = [[name, *(f"{v.mean():.2f}" for v in (before[:, 0], after[:, 0], after[:, 2], after[:, 1])),
             *(f"{np.nanmean(e[:, q]):.2f} ({np.nanmean(e[:, q + 1]):.2f})" for q in (0, 2))]
            for name, before, after, e in layers]
    return show.Table(["layer", "alignment before", "after", "baseline", "no diagonal", "$x$ ($r$)", "$y$ ($r$)"],
                      rows, "A GPT on the King James Bible and a residual net on glyphs: mean of six")


def phases(table: dict) -> show.Table:
    """Exponents for each pair of relations, as a table of forward against backward."""
    def words(pair: tuple[str, str]) -> str:
        return "all six; equal singular values" if table[pair] is None else f"$({', '.join(map(str, table[pair]))})$"
    return show.Table(["", *FORWARD], [[b, *(words((f, b)) for f in FORWARD)] for b in BACKWARD],
                      "Exponents of $(H_a,H_b,G_a,G_b)$ against $Z$ for each pair of relations")


def effects_table(designs: dict[str, np.ndarray], caption: str) -> show.Table:
    """Main effects and interactions of two-level designs [seed, 2, 2, 2, 2] with 95 % intervals."""
    rows = [[name, f, *(number(round(v, 3)) for v in (e.value, e.low, e.high))] for name, y in designs.items()
            for f, e in ((f, stats.mean(v, 0.05)) for f, v in effects(y).items())]
    return show.Table(["net", "factor", "effect", "low", "high"], rows, caption)


def moving(E, decays, times) -> None:
    """Interactive: the six relations and the modes of a hidden layer over training time and weight decay."""
    alpha = E["alpha"][:, :, :, 1, :, :].mean(0)  # [decay, time, kind, relation], second layer

    def traces(j: int, k: int) -> list[dict]:
        z, h, g = (v[np.isfinite(v) & (v > 0)].astype(float) for v in E["spectra"][j, k])
        h, g = h[-len(z):], g[-len(z):]
        bars = [{"type": "bar", "x": list(RELATIONS), "y": [round(float(v), 3) for v in alpha[j, k, kind]], "name": name,
                 "marker": {"color": colour, "pattern": {"shape": shape}}}
                for kind, name, colour, shape in ((0, "all entries", figures.BLUE, ""), (1, "no diagonal", figures.VERMILION,
                                                                                      "/"))]
        points = [{"type": "scatter", "mode": "markers", "x": [float(f"{v:.3g}") for v in z],
                   "y": [float(f"{v:.3g}") for v in values], "name": name, "xaxis": "x2", "yaxis": "y2",
                   "marker": {"color": colour, "symbol": symbol}}
                  for values, name, colour, symbol in ((h / h.max(), "H", figures.GREEN, "circle"),
                                                       (g / g.max(), "G", figures.MAUVE, "diamond"))]
        return bars + points

    frames = [[traces(j, k) for j in range(len(decays))] for k in range(len(times))]
    told = [f"Step {t}, decay {g:g}: mean alignment {number(alpha[j, k, 0].mean())}, without diagonals "
            f"{number(alpha[j, k, 1].mean())}." for k, t in enumerate(times) for j, g in enumerate(decays)]
    layout = {"barmode": "group", "height": 440, "margin": {"l": 60, "r": 10, "t": 10, "b": 60},
              "xaxis": {"domain": [0, 0.5]}, "yaxis": {"range": [-0.2, 1], "title": {"text": "Alignment"}},
              "xaxis2": {"domain": [0.6, 1], "type": "log", "anchor": "y2", "title": {"text": "Eigenvalue of Z (log)"}},
              "yaxis2": {"type": "log", "anchor": "x2", "title": {"text": "Along its eigenvectors (log)"}},
              "legend": {"orientation": "h", "y": -0.25}}
    still, ax = figures.panels()
    j, k = len(decays) - 2, len(times) // 2  # both sliders can move either way
    ax.bar(np.arange(6) - 0.2, alpha[j, k, 0], 0.38, color=figures.BLUE, label="all entries")
    ax.bar(np.arange(6) + 0.2, alpha[j, k, 1], 0.38, color=figures.VERMILION, hatch="//", label="no diagonal")
    ax.set(xticks=range(6), xticklabels=RELATIONS, xlabel="Relation", ylabel=r"Alignment $\alpha$")
    ax.legend()
    figures.interactive(
        "fig-moving", [{"label": "Step", "values": [str(t) for t in times], "start": k},
                       {"label": "Weight decay", "values": [f"{g:g}" for g in decays], "start": j}],
        frames, layout, still, f"Bar chart of the six alignments. {told[k * len(decays) + j]}", told,
        {"step": np.repeat(times, len(decays)), "decay": np.tile(decays, len(times)),
         "all entries": alpha[:, :, 0].mean(2).T.ravel(), "no diagonal": alpha[:, :, 1].mean(2).T.ravel()},
        "Six relations and the modes of the second layer of a digits net. Move training time and weight decay.")
