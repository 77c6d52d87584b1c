"""What all benchmarks share: contestants that take turns, one row a contestant, and one command line.

A benchmark has ``measure()``, which returns tables as ``{title: rows}``; a row is a dictionary from the name of a column to
a word or a number, and a column whose name begins with "share" is shown in percent.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `lib` of this checkout, installed or not

ROUNDS = 5
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def race(contestants: dict[str, Callable[[], object]], seconds_at_most: float = 6.0) -> dict[str, float]:
    """Median seconds of each contestant; they take turns, after one round that does not count (2 to ROUNDS that do)."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    begin = time.perf_counter()
    for i in range(ROUNDS + 1):
        if i > 2 and time.perf_counter() - begin > seconds_at_most:
            break
        for name, call in contestants.items():
            _wait()
            start = time.perf_counter()
            call()
            _wait()
            if i:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(s) for name, s in seconds.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compared(seconds: dict[str, float], unit: str = "", work: float | dict[str, float] = 1.0, **facts) -> list[dict]:
    """One row a contestant: milliseconds, or units of ``work`` a second, and its time over that of the first.

    ``work`` is what each contestant did in its seconds, by name where it differs; ``facts`` are columns before these.
    """
    done = work if isinstance(work, dict) else dict.fromkeys(seconds, work)
    each = {name: s / done[name] for name, s in seconds.items()}
    first = next(iter(each))
    return [{**facts, "contestant": name, **({f"{unit}/s": 1 / s} if unit else {"ms": 1e3 * s}),
             "time over the first": s / each[first]} for name, s in each.items()]


def table(rows: list[dict]) -> list[str]:
    """Lines of a table: the names of the columns, then the rows; words to the left, numbers to the right."""
    head = list(rows[0])
    cells = [[_cell(name, row[name]) for name in head] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells)]
    is_word = [isinstance(rows[0][name], str) for name in head]
    return ["  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, is_word)).rstrip()
            for line in (head, *cells)]


def _cell(name: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return ""
    return f"{value:.3g}" if not name.startswith("share") else f"{value:.1%}" if abs(value) >= 1e-3 else f"{100 * value:.1e}%"


def main(doc: str, measure: Callable[[], dict[str, list[dict]]], plot: Callable[[dict, str], None] | None = None) -> None:
    """The command line of a benchmark: measure, then print the tables (or JSON), or draw them besides."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    if plot:
        parser.add_argument("--plot", metavar="FILE", help="draw what was found")
    args = parser.parse_args()
    found = measure()
    if plot and args.plot:
        plot(found, args.plot)
    if args.json:
        print(json.dumps({"torch": torch.__version__, "device": DEVICE, "threads": torch.get_num_threads(),
                          "tables": found}, indent=1))
        return
    print(f"torch {torch.__version__} on {DEVICE}, {torch.get_num_threads()} threads")
    for title, rows in found.items():
        print("", title, *table(rows), sep="\n")
