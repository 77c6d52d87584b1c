"""Figures of the chapter "distributed-speculative-inference"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import figures, stats
from lib.papers.distributed_speculative_inference import forms

from . import virtual

number = stats.number
LOOKS = {"drafts": (figures.BLUE, ""), "verifications": (figures.GREEN, "."), "thrown away": (figures.VERMILION, "/")}


def staircase(accepts, k: int, t_target: float, t_draft: float) -> None:
    """Tokens that are certain against time, on one path: plain decoding, SI, DSI."""
    n = len(accepts)
    runs = {
        "plain decoding": np.arange(1, n + 1) * t_target, f"SI, lookahead {k}": forms.si_times(
            accepts, k, t_target, t_draft), f"DSI, lookahead {k}": forms.dsi_times(accepts, k, t_target, t_draft)
    }
    fig, ax = figures.panels()
    for i, (name, times) in enumerate(runs.items()):
        ax.step(np.r_[0, times], np.r_[0, np.arange(1, n + 1)], where="post", **figures.style(i, False), label=name)
    for i in np.flatnonzero(~np.asarray(accepts[:-1], bool)):
        ax.axhline(i + 1, **figures.BASELINE)
    ax.set(xlabel="Time, in target forwards", ylabel="Tokens certain")
    ax.legend()
    told = "; ".join(f"{name} ends at {number(t[-1])}" for name, t in runs.items())
    figures.display(fig, f"Step chart of {n} tokens: {told}.", {"token": np.arange(1, n + 1), **runs})


def heat_maps(c, a, ratios: dict) -> None:
    """Ratios of latencies over drafter latency and acceptance, one panel each; ratios [a, c]."""
    fig, axes = figures.panels(len(ratios), share="y")
    told, table = [], {}
    for ax, (name, grid) in zip(axes, ratios.items()):
        image = ax.pcolormesh(c, a, np.log2(grid), cmap=figures.SIGNED, vmin=-1.5, vmax=1.5, rasterized=True)
        ax.plot([0, 1], [0, 1], **figures.THEORY)
        ax.set(xlabel="Drafter latency $t_1/t_2$", title=name, xlim=(0, 1), ylim=(0, 1))
        ax.grid(False)
        i, j = np.unravel_index(grid.argmax(), grid.shape)
        told.append(f"{name} from {number(grid.min())} to {number(grid.max())}, at acceptance {number(a[i])} and latency "
                    f"{number(c[j])}")
        table[name] = grid[::10, ::10].ravel()
    axes[0].set_ylabel("Acceptance $a$")
    fig.colorbar(image, ax=axes, label=r"$\log_2$ of the ratio")
    A, C = np.meshgrid(a[::10], c[::10], indexing="ij")
    figures.display(fig, f"Heat maps of latency ratios: {'; '.join(told)}.",
                    {"acceptance": A.ravel(), "drafter latency": C.ravel(), **table})


def queues(servers: Sequence[int], latency, k: int, si: float) -> None:
    """Latency a token against servers: latency [seed, servers, 2], at a fixed and at the least lookahead."""
    fig, ax = figures.panels()
    table = {"servers": list(servers)}
    for i, name in enumerate((f"lookahead {k}", "least lookahead that the servers bear")):
        mean, low, high = stats.band(latency[..., i])
        ax.plot(servers, mean, **figures.style(i), label=f"DSI, {name}")
        ax.fill_between(servers, low, high, color=figures.COLOURS[i], alpha=0.2)
        table[name] = mean
    ax.axhline(si, **figures.THEORY, label="SI at its best lookahead")
    ax.set(xlabel="Servers", ylabel="Latency a token, in target forwards", ylim=(0, None))
    ax.legend()
    figures.display(
        fig, f"Line chart: {figures.trend(servers, latency[..., 0].mean(0), 'latency at a fixed lookahead')}; "
        f"{figures.trend(servers, latency[..., 1].mean(0), 'at the least lookahead')}; SI needs {number(si)}.", table,
        len(latency), "95 % bands")


def pairs(rows: Sequence[tuple], closed, habits) -> None:
    """The ten pairs: closed form, the published simulator's habits, and what was reported; closed [pair], habits [pair]."""
    names = [f"{r[0]}, {r[2]}" for r in rows]
    y, reported = np.arange(len(rows)), np.array([r[6] for r in rows])
    fig, ax = figures.panels(figsize=(7.6, 4.4))
    for i, (x, name) in enumerate(((closed, "closed form, long run"), (habits, "with the simulator's habits"),
                                   (reported, "reported"))):
        ax.plot(x, y, **(figures.style(i) | {"linestyle": ""}), label=name)
    ax.axvline(1, **figures.BASELINE)
    ax.set(yticks=y, yticklabels=names, xlabel="Latency of SI over that of DSI", ylabel="Target and data")
    ax.invert_yaxis()
    ax.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    figures.display(
        fig, f"Dot chart of ten pairs: closed forms from {number(closed.min())} to {number(closed.max())}, reported "
        f"from {number(reported.min())} to {number(reported.max())}.",
        {"pair": names, "closed form": closed, "habits": habits, "reported": reported})


def price(accept: Sequence[float], t_draft: float, looks: Sequence[int]) -> None:
    """Target forwards a token against latency a token, DSI and SI over lookaheads, by acceptance."""
    fig, ax = figures.panels()
    table: dict = {"acceptance": [], "lookahead": [], "method": [], "latency": [], "forwards": []}
    for i, a in enumerate(accept):
        for name, rate, work, dash in (("DSI", forms.dsi_rate, forms.dsi_forwards(a, np.array(looks), 1.0, t_draft), "-"),
                                       ("SI", forms.si_rate, forms.si_forwards(a, np.array(looks)), ":")):
            x = rate(a, np.array(looks), 1.0, t_draft)
            ax.plot(x, work, **(figures.style(i) | {"linestyle": dash}), label=f"{name}, $a={a}$")
            for k, v, w in zip(looks, x, work):
                for key, value in zip(table, (a, k, name, v, w)):
                    table[key].append(value)
    ax.plot([1], [1], "k*", markersize=10, label="plain decoding")
    ax.set(xlabel="Latency a token, in target forwards", ylabel="Target forwards a token (log)", yscale="log")
    ax.legend(fontsize=8.5, ncols=2)
    figures.display(
        fig, f"Curves of target forwards against latency over lookaheads {looks[0]} to {looks[-1]}: at acceptance "
        f"{accept[-1]} DSI needs from {number(min(table['latency'][-2 * len(looks):-len(looks)]))} target forwards of "
        "time a token, and more forwards than SI.", table)


def regrets(accept: Sequence[float], cost) -> None:
    """Cost a token at each fixed lookahead, and of the adaptive planner; cost [seed, a, most + 1], adaptive last."""
    fig, ax = figures.panels(figsize=(7.6, 4.0))
    looks, table = np.arange(1, cost.shape[2]), {}
    for i, a in enumerate(accept):
        mean = cost[:, i].mean(0)
        ax.plot(looks, mean[:-1], **figures.style(i), label=f"fixed, $a={a}$")
        ax.axhline(mean[-1], color=figures.COLOURS[i], linestyle=(0, (1, 1)), label="adaptive")
        table[f"a = {a}"] = mean
    ax.set(xlabel="Lookahead", ylabel="Cost a token: latency plus price (log)", yscale="log")
    ax.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1.02, 0.5))
    told = "; ".join(f"at acceptance {a} the best fixed lookahead costs {number(np.nanmin(cost[:, i, :-1].mean(0)))} and the "
                     f"adaptive planner {number(cost[:, i, -1].mean())}" for i, a in enumerate(accept))
    figures.display(fig, f"Line chart of cost against lookahead: {told}.",
                    {"lookahead": [*map(str, looks), "adaptive"], **table}, len(cost), "means")


def timeline(accepts_of: dict, latencies: Sequence[float], lookaheads: Sequence[int], servers: Sequence[int],
             still_at: tuple[int, int, int, int]) -> None:
    """Interactive: who computes what when; ``accepts_of`` is a path by acceptance, ``latencies`` are the drafter's."""
    told: list[str] = []

    def frame(a: float, t: float, k: int, n: int) -> list[dict]:
        line = virtual.on_path(accepts_of[a], k, 1.0, t, n)
        spans: dict = {name: [] for name in LOOKS}
        for who, begin, end, what, _ in line.work:
            spans[_outcome(what)].append((_who(who), round(begin, 4), round(end - begin, 4)))
        si = forms.si_times(accepts_of[a], k, 1.0, t)[-1]
        told.append(f"Acceptance {a}, drafter latency {t}, lookahead {k}, servers {n}: {len(accepts_of[a])} tokens in "
                    f"{number(line.certain[-1])} target forwards of time, against {number(si)} for SI and "
                    f"{len(accepts_of[a])} for plain decoding; {line.forwards} forwards of the target.")
        bars = [{"type": "bar", "orientation": "h", "name": name, "y": [w for w, _, _ in of], "base": [b for _, b, _ in of],
                 "x": [x for _, _, x in of]} for name, of in spans.items()]
        return [*bars, {"type": "scatter", "mode": "markers", "name": "token certain",
                        "x": [round(c, 4) for c in line.certain], "y": ["answer"] * len(line.certain)}]

    frames = [[[[frame(a, t, k, n) for n in servers] for k in lookaheads] for t in latencies] for a in accepts_of]
    grid = (list(accepts_of), list(latencies), list(lookaheads), list(servers))
    a, t, k, n = (values[i] for values, i in zip(grid, still_at, strict=True))
    line = virtual.on_path(accepts_of[a], k, 1.0, t, n)
    still, ax = figures.panels(figsize=(8.2, 3.4))
    names = ["answer", *[_who(s) for s in range(n - 1, -1, -1)], "drafter"]
    for who, begin, end, what, _ in line.work:
        colour, hatch = LOOKS[_outcome(what)]
        ax.barh(names.index(_who(who)), end - begin, left=begin, color=colour, hatch=hatch, edgecolor="white", height=0.7)
    ax.plot(line.certain, [0] * len(line.certain), "D", color=figures.GREY)
    ax.set(yticks=range(len(names)), yticklabels=names, xlabel="Time, in target forwards", ylabel="Who computes")
    layout = {
        "height": 380, "barmode": "overlay",
        "template": {"data": {
            "bar": [{"marker": {"color": colour, "pattern": {"shape": shape}, "line": {"width": 0.5, "color": "white"}}}
                    for colour, shape in LOOKS.values()],
            "scatter": [{"marker": {"color": figures.GREY, "symbol": "diamond", "size": 8}}]
        }},
        "xaxis": {"title": {"text": "Time, in target forwards"}, "rangemode": "tozero"}, "yaxis": {
            "type": "category", "categoryorder": "array",
            "categoryarray": ["answer", *[_who(s) for s in range(max(servers) - 1, -1, -1)], "drafter"]
        }, "margin": {"l": 80, "r": 10, "t": 10, "b": 50}, "legend": {"orientation": "h", "y": -0.25}
    }
    labels = ("Acceptance", "Drafter latency", "Lookahead", "Servers")
    figures.interactive(
        "fig-timeline", [{"label": label, "values": [str(v) for v in values], "start": i}
                         for label, values, i in zip(labels, grid, still_at, strict=True)],
        frames, layout, still,
        f"Gantt chart of a drafter and its servers. {told[np.ravel_multi_index(still_at, [len(v) for v in grid])]}", told,
        {"token": np.arange(1, len(line.certain) + 1), "certain at": line.certain},
        "Who computes which part of an answer, what is thrown away, and when tokens are certain.")


def _outcome(what: str) -> str:
    if what in ("stale", "cancelled", "unfinished"):
        return "thrown away"
    return "drafts" if what == "draft" else "verifications"


def _who(name) -> str:
    return name if name == "drafter" else f"server {name + 1}"


def engine(seconds) -> None:
    """Measured against predicted wall-clock times of the engine; seconds [seed, strength, configuration, 6]."""
    fig, ax = figures.panels()
    ends = [seconds[..., 1:5].min() * 0.9, seconds[..., 1:5].max() * 1.1]
    ax.plot(ends, ends, **figures.THEORY, label="equal")
    for i, (name, measured, closed) in enumerate((("SI", 1, 3), ("DSI", 2, 4))):
        ax.plot(seconds[..., closed].ravel(), seconds[..., measured].ravel(), **(figures.style(i) | {"linestyle": ""}),
                label=name)
    ax.set(xscale="log", yscale="log", xlabel="Predicted seconds (log)", ylabel="Measured seconds (log)")
    ax.legend()
    over = seconds[..., 2] / seconds[..., 4]
    figures.display(
        fig, f"Scatter of measured against predicted seconds: DSI lies between {number(over.min())} and "
        f"{number(over.max())} times its prediction.", {
            "predicted SI": seconds[..., 3].ravel(), "measured SI": seconds[..., 1].ravel(),
            "predicted DSI": seconds[..., 4].ravel(), "measured DSI": seconds[..., 2].ravel()
        }, len(seconds), "all runs")
