"""The look of the book's figures, and how one is shown: with text alternative and table of the plotted numbers.

Theory is a black dashed line, measurement is coloured, a baseline is grey, a forbidden region is hatched. The colours
keep a contrast of 3:1 or better on white, and on near-black where the dark scheme turns lightness round.
"""

import base64
import html
import io
import json
import math
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from lib import show
from lib.errors import BookError
from lib.stats import band, number

BLUE, VERMILION, GREEN, GREY, MAUVE = "#0173b2", "#d55e00", "#029e73", "#949494", "#cc78bc"
COLOURS = (BLUE, VERMILION, GREEN, MAUVE, GREY)
DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")
THEORY = {"color": "black", "linestyle": "--", "linewidth": 1.6, "zorder": 4}
BASELINE = {"color": GREY, "linestyle": ":", "linewidth": 1.4}
HATCH = {"facecolor": "none", "edgecolor": GREY, "hatch": "///", "linewidth": 0.0}
ORDERED, SIGNED = "viridis", "vlag"
DPI = 150
COLUMN, SMALLEST = 768, 11  # pixels: width of a page's column on a wide screen, and the smallest type in it


class FigureError(BookError):
    """A figure that some reader could not read."""


def theme() -> None:
    """Set the book's look; importing this module does it."""
    sns.set_theme(context="notebook", style="ticks", palette=list(COLOURS), rc={
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd",
        "grid.linewidth": 0.6, "font.size": 10.5, "axes.labelsize": 10.5, "legend.fontsize": 9.5,
        "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "legend.frameon": False, "figure.facecolor": "white",
        "axes.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 100, "svg.hashsalt": "book",
        "figure.constrained_layout.use": True, "lines.linewidth": 1.8, "lines.markersize": 5})


def panels(n: int = 1, share: str = "", **kw) -> tuple:
    """A figure with ``n`` panels in a row at the book's size; ``share`` holds ``x`` and ``y`` for shared axes."""
    width, height = {1: (6.4, 4.0), 2: (8.2, 3.7)}.get(n, (9.0, 3.4))
    fig, axes = plt.subplots(1, n, figsize=kw.pop("figsize", (width, height)), sharex="x" in share,
                             sharey="y" in share, **kw)
    return fig, axes


def style(i: int, marker: bool = True) -> dict:
    """Colour, dash and marker of the i-th line of a figure."""
    out = {"color": COLOURS[i % 5], "linestyle": DASHES[i % 5]}
    return out | {"marker": MARKERS[i % 5]} if marker else out


def trend(x, y, name: str, unit: str = "") -> str:
    """A sentence fragment on a curve: where it starts, where it ends, its extremes if they lie inside."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    keep = np.isfinite(y)
    x, y = x[keep], y[keep]
    if len(y) == 0:
        return f"{name} has no finite value"
    verb = "rises" if y[-1] > y[0] else "falls" if y[-1] < y[0] else "stays"
    out = f"{name} {verb} from {number(y[0])}{unit} at {number(x[0])} to {number(y[-1])}{unit} at {number(x[-1])}"
    for word, k in (("peak", int(y.argmax())), ("low", int(y.argmin()))):
        if 0 < k < len(y) - 1 and y[k] not in (y[0], y[-1]):
            out += f", with a {word} of {number(y[k])}{unit} at {number(x[k])}"
    return out


def _check(fig, alt: str, table: dict) -> None:
    for ax in fig.axes:
        if ax.get_label() != "<colorbar>" and ax.axison and not (ax.get_xlabel() and ax.get_ylabel()):
            siblings = ax.get_subplotspec() and not ax.get_subplotspec().is_first_col() and ax.get_xlabel()
            if not siblings:
                raise FigureError("an axis has no label; set_xlabel and set_ylabel in words, symbol and unit.")
    if len(alt.split()) < 6 or not re.search(r"\d", alt):
        raise FigureError("the text alternative must be a sentence with the trend and its numbers.")
    if len({len(np.atleast_1d(v)) for v in table.values()}) != 1:
        raise FigureError("the columns of the table of plotted numbers differ in length.")


def _legible(fig) -> None:
    """Let no type be smaller than ``SMALLEST`` pixels where the figure fills the column of a page."""
    least = SMALLEST * 72 * fig.get_figwidth() / COLUMN
    for text in fig.findobj(mpl.text.Text):
        text.set_size(max(text.get_size(), least))


def _thin(fig) -> None:
    """Where a logarithmic axis has fewer than two powers of ten, name 2 and 5 between them alone; elsewhere nothing."""
    for axis in (a for ax in fig.axes for a in (ax.xaxis, ax.yaxis)):
        if axis.get_scale() != "log" or not axis.isDefault_minfmt:
            continue
        low, high = sorted(axis.get_view_interval())
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        powers, between = (sum(low <= k * 10.0**e <= high for e in exponents for k in ks) for ks in ((1,), (2, 5)))
        if powers + between > 1:  # a shorter axis keeps what matplotlib names
            axis.set_minor_formatter(lambda v, _, few=powers < 2: number(v) if few and f"{v:e}"[0] in "25" else "")


def display(fig, alt: str, table: dict, seeds: int | None = None, interval: str = "") -> None:
    """Show a figure with its text alternative and, behind a fold, the numbers that it plots.

    Parameters
    ----------
    fig : matplotlib figure; it is closed.
    alt : a sentence with the trend and numbers, computed from the data (see :func:`trend`).
    table : column name -> values, all of one length: the plotted numbers.
    seeds, interval : number of seeds and meaning of the bands, appended to the caption.
    """
    _check(fig, alt, table)
    _thin(fig)
    _legible(fig)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(fig)
    facts = {"kind": "figure", "alt": alt, "seeds": seeds, "interval": interval}
    image = base64.b64encode(buffer.getvalue()).decode()
    show.publish({"image/png": image, "text/plain": alt} if show.shell() else {"text/plain": alt}, facts)
    show.publish(_fold(table), {"kind": "table"})


class Chart:
    """A figure of means over seeds. What is drawn enters the table of plotted numbers and the caption as well.

    Parameters
    ----------
    n, share : panels in a row, as in :func:`panels`; they are ``axes``.
    table : the first columns of the table of plotted numbers, such as what stands on the horizontal axis.
    """

    def __init__(self, n: int = 1, share: str = "", table: dict | None = None):
        self.fig, axes = panels(n, share)
        self.axes = list(np.atleast_1d(axes))
        self.table = dict(table or {})
        self._seeds: int | None = None
        self._interval = ""

    def curve(self, ax, x, values, i: int, label: str | None, column: str | None = None, marker: bool = True,
              alpha: float = 0.2, bars: bool = False) -> None:
        """Draw the mean of ``values`` [seed, x] in the i-th style with its 95 % band, or with bars.

        ``column`` names the means in the table, by default as the legend does; they stay out where it is empty.
        """
        m, low, high = band(values)
        if bars:
            ax.errorbar(x, m, [m - low, high - m], **style(i, marker), capsize=3, label=label)
        else:
            ax.plot(x, m, **style(i, marker), label=label)
            ax.fill_between(x, low, high, color=COLOURS[i % 5], alpha=alpha, linewidth=0)
        name = label if column is None else column
        if name:
            self.table[name] = m
        self._seeds, self._interval = len(values), f"95 % {'intervals' if bars else 'bands'} of the mean"

    def display(self, alt: str) -> None:
        """Show the figure with its text alternative and the table; see :func:`display`."""
        display(self.fig, alt, self.table, self._seeds, self._interval)


def _fold(table: dict, limit: int = 60) -> dict:
    columns = {k: np.atleast_1d(np.asarray(v)) for k, v in table.items()}
    n = len(next(iter(columns.values())))
    rows = range(n) if n <= limit else np.unique(np.linspace(0, n - 1, limit).astype(int))
    body = [[_cell(c[i]) for c in columns.values()] for i in rows]
    note = f"Plotted numbers ({len(body)} of {n} rows)" if len(body) < n else "Plotted numbers"
    bundle = show.table(list(columns), body, note)
    return {"text/plain": note, "text/html": f'<details class="book-fold"><summary>{note}</summary>'
                                             f'{bundle["text/html"]}</details>'}


def _cell(v) -> str:
    if isinstance(v, bool | np.bool_):
        return "yes" if v else "no"
    return str(v) if isinstance(v, str | np.str_) else number(v)


def _filled(frames: list, shape: list[int]) -> bool:
    return len(frames) == shape[0] and (len(shape) == 1 or all(_filled(row, shape[1:]) for row in frames))


def _at(frames: list, position: list[int]) -> list:
    for i in position:
        frames = frames[i]
    return frames


def interactive(name: str, controls: list[dict], frames: list, layout: dict, still, alt: str, describe: list[str],
                table: dict, caption: str) -> None:
    """A figure that moves without a kernel and without the network.

    Parameters
    ----------
    name : id of the figure in the page.
    controls : two or more of ``{"label", "values": [words...], "start": index}``.
    frames : ``frames[i][j]...`` is the list of Plotly traces at position i of the first control, j of the second, and so on.
    layout : Plotly layout, shared by all frames.
    still : matplotlib figure shown where scripts do not run; it is closed.
    alt : text alternative of the still picture.
    describe : one sentence a position, the last control's moving fastest, read out when a control moves.
    table : plotted numbers of the still picture.
    caption : what is plotted, in at most 25 words.
    """
    shape = [len(c["values"]) for c in controls]
    if len(controls) < 2 or not _filled(frames, shape):
        raise FigureError("an interactive figure needs two or more controls and one list of traces for each position.")
    if math.prod(shape) < 12 or len(describe) != math.prod(shape):
        raise FigureError("an interactive figure needs at least 12 positions, each with its sentence.")
    _check(still, alt, table)
    _thin(still)
    _legible(still)
    buffer = io.BytesIO()
    still.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(still)
    picture = base64.b64encode(buffer.getvalue()).decode()
    spec = json.dumps({"controls": controls, "frames": frames, "layout": layout, "describe": describe},
                      separators=(",", ":")).replace("</", "<\\/")
    markup = (f'<figure class="book-plotly" id="{html.escape(name)}" role="group" aria-label="{html.escape(alt)}">'
              f'<img class="book-still" alt="{html.escape(alt)}" src="data:image/png;base64,{picture}">'
              f'<script type="application/json">{spec}</script>'
              f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    start = [c["start"] for c in controls]
    steps = [{"label": v, "method": "animate",
              "args": [[str(i)], {"mode": "immediate", "frame": {"duration": 0}, "transition": {"duration": 0}}]}
             for i, v in enumerate(controls[0]["values"])]
    native = {"data": _at(frames, start),
              "layout": {**layout, "sliders": [{"active": start[0], "steps": steps,
                                                "currentvalue": {"prefix": controls[0]["label"] + " "}}]},
              "frames": [{"name": str(i), "data": _at(row, start[1:])} for i, row in enumerate(frames)]}
    show.publish({"application/vnd.plotly.v1+json": native, "text/html": markup, "text/plain": alt},
                 {"kind": "interactive", "alt": alt})
    show.publish(_fold(table), {"kind": "table"})


mpl.use("agg") if show.shell() is None else None
theme()
