"""Checks of the chapter's coding exercise: they fail the stub, pass the solution, and name what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lib.papers.autoregressive_trees.compilers import compile_tm, configuration
from lib.papers.autoregressive_trees.errors import TreeError
from lib.papers.autoregressive_trees.machines import Turing


def check_rows(rows: Callable[[], Sequence[tuple]]) -> str:
    """Check ``unary_double()``: rows of a machine that turns n ones into 2 n, started at the first of them in state "go".

    Returns one line: "right", "not written yet", or where it is wrong.
    """
    try:
        table = rows()
    except NotImplementedError:
        return "not written yet: replace the body of unary_double and run this cell again"
    try:
        machine = Turing.of(table, "go")
        for n in (0, 1, 2, 5):
            running = compile_tm(machine, 4 * n + 6)
            tape = ["_"] * (4 * n + 6)
            start = n + 2
            tape[start:start + n] = ["1"] * n
            written = running.write([tape], limit=200_000, heads=[start])[0]
            if written[-1] != "end":
                return f"wrong for {n}: it does not halt within 200,000 tokens"
            ones = configuration(running, written)[-1][0].count("1")
            if ones != 2 * n:
                return f"wrong for {n}: the tape ends with {ones} ones, not {2 * n}"
    except (TreeError, TypeError, ValueError, IndexError) as e:
        return f"wrong: {e}"
    return "right"
