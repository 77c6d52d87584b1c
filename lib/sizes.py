"""The table of a chapter's sizes: reduced, full, and full but shrunk."""

from dataclasses import dataclass

from lib import show
from lib.errors import ParameterError

SIZES = ("reduced", "full")


@dataclass(frozen=True)
class Sizes:
    """The table of a chapter's sizes; a row is read as an attribute (``S.n_seeds``)."""

    rows: dict
    values: dict
    size: str

    def __getattr__(self, name: str):
        if name.startswith("_") or name not in self.values:
            raise AttributeError(f"the table of sizes has no row `{name}`")
        return self.values[name]

    def _repr_mimebundle_(self, **_) -> dict:
        head = ["name", "meaning", "reduced", "full"]
        body = [[k, r[2], _short(r[0]), _short(r[1])] for k, r in self.rows.items()]
        if self.size == "full" and any(self.values[k] != r[1] for k, r in self.rows.items()):
            head, body = head + ["shrunk"], [b + [_short(self.values[b[0]])] for b in body]
        return show.table(head, body, f"Sizes of this chapter (this run: {self.size})")


def _short(value) -> str:
    if isinstance(value, list | tuple | range):
        items = [f"{v:g}" if isinstance(v, float) else str(v) for v in value]
        return ", ".join(items if len(items) < 9 else items[:3] + ["…", items[-1]])
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def shrunk(value, factor: float):
    """A full-size entry of a table of sizes, made small: counts times ``factor``, lists thinned, floats kept."""
    if isinstance(value, bool) or not isinstance(value, int | list | tuple | range):
        return value
    if isinstance(value, int):
        return max(min(value, 2), round(value * factor))
    n = max(2, round(len(value) * factor))
    return [value[round(i * (len(value) - 1) / (n - 1))] for i in range(n)] if len(value) > n else value


def sized(table: dict[str, tuple], size: str, shrink: float) -> Sizes:
    """A table of sizes, ``{name: (reduced, full, meaning)}``, read at one size.

    Below a ``shrink`` of 1, counts become small and lists are thinned; a fourth entry of a row is the least that makes sense.
    """
    column = SIZES.index(size)
    values = {}
    for name, row in table.items():
        if len(row) not in (3, 4):
            raise ParameterError(f"row `{name}` of the table of sizes must be (reduced, full, meaning[, least]).")
        value = row[column]
        if shrink < 1:
            small = shrunk(value, shrink)
            value = max(small, row[3]) if len(row) == 4 and isinstance(small, int) else small
        values[name] = value
    return Sizes(table, values, size)
