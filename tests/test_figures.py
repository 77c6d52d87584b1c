"""Figures that some reader could not read are refused."""

import numpy as np
import pytest

from lib import figures

GOOD = "Line chart: the error falls from 3 at 1 to 1 at 9."


def figure(labels=True):
    fig, ax = figures.panels()
    ax.plot([1, 2, 3])
    if labels:
        ax.set_xlabel("Step $t$")
        ax.set_ylabel("Error")
    return fig


def test_display_prints_the_text_alternative(capsys):
    figures.display(figure(), GOOD, {"t": [1, 2, 3]})
    assert GOOD in capsys.readouterr().out


@pytest.mark.parametrize("n, least", [(1, 6.6), (2, 8.456), (3, 9.281)])
def test_no_type_is_too_small_to_read_on_the_page(monkeypatch, n, least):
    fig, axes = figures.panels(n)
    ax = np.atleast_1d(axes)[0]
    ax.plot([1, 2], label="a line")
    ax.legend(fontsize=5)
    note = ax.annotate("a note", (1, 1), fontsize=12)
    figures._legible(fig)
    assert note.get_size() == 12 and ax.get_legend().get_texts()[0].get_size() == pytest.approx(least, abs=1e-3)
    assert least * fig.dpi / 72 * figures.COLUMN / (fig.get_figwidth() * fig.dpi) == pytest.approx(figures.SMALLEST, abs=1e-2)


@pytest.mark.parametrize("span, named", [((1e-3, 1e3), []), ((0.15, 4), ["0.2", "0.5", "2"]), ((0.31, 0.42), None)])
def test_names_of_a_logarithmic_axis_do_not_crowd(span, named):
    fig, ax = figures.panels()
    ax.set(xscale="log", xlim=span)
    figures._thin(fig)
    fig.canvas.draw()
    inside = [t.label1.get_text() for t in ax.xaxis.get_minor_ticks() if span[0] < t.get_loc() < span[1]]
    found = list(filter(None, inside))
    assert found == named if named is not None else len(found) > 1


@pytest.mark.parametrize("bars, interval", [(False, "95 % bands of the mean"), (True, "95 % intervals of the mean")])
def test_what_a_chart_draws_enters_its_table_and_its_caption(monkeypatch, bars, interval):
    shown = []
    monkeypatch.setattr(figures.show, "publish", lambda data, facts: shown.append((data, facts)))
    x, values = [1, 2, 9], np.array([[3.0, 2.0, 1.0], [5.0, 4.0, 1.0]])
    chart = figures.Chart(table={"step": x})
    ax = chart.axes[0]
    chart.curve(ax, x, values, 0, "error", bars=bars)
    chart.curve(ax, x, values + 1, 1, "other", "other error", bars=bars)
    chart.curve(ax, x[:2], values[:, :2], 2, "short", "", bars=bars)
    ax.set(xlabel="Step $t$", ylabel="Error")
    assert ax.get_legend_handles_labels()[1] == ["error", "other", "short"]
    chart.display(GOOD)
    assert {k: list(v) for k, v in chart.table.items()} == {"step": x, "error": [4, 3, 1], "other error": [5, 4, 2]}
    assert shown[0][1] == {"kind": "figure", "alt": GOOD, "seeds": 2, "interval": interval}
    assert "other error" in shown[1][0]["text/html"] and "short" not in shown[1][0]["text/html"]


@pytest.mark.parametrize("fig, alt, table, word", [
    (lambda: figure(False), GOOD, {"t": [1]}, "label"), (figure, "A chart.", {"t": [1]}, "sentence"),
    (figure, "A chart of the error over all the steps", {"t": [1]}, "numbers"),
    (figure, GOOD, {"a": [1], "b": [1, 2]}, "length")])
def test_refusals(fig, alt, table, word):
    with pytest.raises(figures.FigureError, match=word):
        figures.display(fig(), alt, table)


def test_trend_tells_ends_and_extremes():
    assert figures.trend([0, 1, 2], [3.0, 9.0, 1.0], "the loss") == \
        "the loss falls from 3 at 0 to 1 at 2, with a peak of 9 at 1"
    assert figures.trend([0, 1], [np.nan, np.nan], "x") == "x has no finite value"


def test_interactive_needs_positions_and_sentences():
    controls = [{"label": "a", "values": ["1", "2"], "start": 0}] * 2
    with pytest.raises(figures.FigureError, match="12 positions"):
        figures.interactive("f", controls, [[[], []], [[], []]], {}, figure(), GOOD, ["s"] * 4, {"t": [1]}, "A map.")
    with pytest.raises(figures.FigureError, match="two or more controls"):
        figures.interactive("f", controls[:1], [[[]]], {}, figure(), GOOD, ["s"], {"t": [1]}, "A map.")
    with pytest.raises(figures.FigureError, match="for each position"):
        figures.interactive("f", [*controls, controls[0]], [[[[]], [[]]], [[[]], [[]]]], {}, figure(), GOOD, ["s"] * 8,
                            {"t": [1]}, "A map.")


def test_colours_keep_their_contrast():
    def luminance(c):
        v = [int(c[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        v = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in v]
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]
    for c in figures.COLOURS:
        white = 1.05 / (luminance(c) + 0.05)
        black = (luminance(c) + 0.05) / (luminance("#121212") + 0.05)
        assert min(white, black) >= 2.99
