"""Contestants that take turns: how the benchmarks of the book measure time."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable

import torch

ROUNDS = 5


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


def command(doc: str, measure: Callable[[], dict], table: Callable[[dict], Iterable[str]], argv: list[str] | None = None,
            plot: Callable[[dict, str], None] | None = None) -> dict:
    """The command line of a benchmark: measure, print the lines of ``table`` (or JSON), return what was found."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    if plot:
        parser.add_argument("--plot", metavar="FILE", help="draw what was found")
    args = parser.parse_args(argv)
    found = measure()
    if plot and args.plot:
        plot(found, args.plot)
    print(json.dumps(found, indent=1) if args.json else "\n".join(table(found)))
    return found


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
