"""What the library displays in a notebook: boxes, tables, lines, each with a plain-text twin.

Machine-readable facts travel in the *metadata* of an output under the key ``book``.
"""

import os
import re
import sys

from lib.modules import is_ours
from lib.words import inline


def shell():
    """The running IPython shell, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def place() -> str:
    """The cell (or file and line) from which the library was called: what tells two places from one run again."""
    ip = shell()
    if ip is not None:
        if os.environ.get("BOOK_MODE") == "replay":  # each cell runs once: two cells with one text are two places
            return f"execution {ip.execution_count}"
        parent = getattr(ip, "parent_header", None) or {}
        cell = (parent.get("metadata") or {}).get("cellId")
        if cell:
            return f"cell {cell}"
    frame = sys._getframe(1)
    while frame and is_ours(str(frame.f_globals.get("__name__", ""))):
        frame = frame.f_back
    if frame is None:
        return "unknown"
    name = frame.f_code.co_filename
    return name if ip is not None else f"{name}:{frame.f_lineno}"


def publish(data: dict, facts: dict | None = None) -> None:
    """Display a bundle of MIME types with facts for the machine in its metadata; outside a notebook print the text."""
    if shell() is None:
        print(data["text/plain"])
        return
    from IPython.display import publish_display_data
    publish_display_data(data, metadata={"book": facts} if facts else {})


def box(text: str, kind: str, **facts) -> None:
    """Display one line in a box; ``kind`` is a verdict, ``pending`` or ``note``."""
    publish({"text/plain": text, "text/html": f'<div class="book-box book-{kind}">{inline(text)}</div>'},
            {"kind": kind, **facts})


def table(head: list[str], rows: list[list[str]], caption: str, raw: bool = False) -> dict:
    """Bundle of a table; cells are words with `code` and $mathematics$, or HTML where ``raw``."""
    cell = (lambda x: x) if raw else inline
    lines = "".join("<tr>" + "".join(f"<td>{cell(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    heads = "".join(f'<th scope="col">{inline(h)}</th>' for h in head)
    markup = (f'<div class="book-table"><table><caption>{inline(caption)}</caption><thead><tr>{heads}</tr></thead>'
              f"<tbody>{lines}</tbody></table></div>")
    words = [[re.sub(r"<[^>]+>", "", str(c)) for c in row] for row in rows]
    plain = "\n".join([caption, " | ".join(head), *(" | ".join(row) for row in words)])
    return {"text/plain": plain, "text/html": markup}


class Table:
    """A table that a cell displays as its last expression: head, rows of words with `code` and $mathematics$."""

    def __init__(self, head: list[str], rows: list[list], caption: str):
        self.bundle = table(head, rows, caption)

    def __repr__(self) -> str:
        return self.bundle["text/plain"]

    def _repr_mimebundle_(self, **_) -> dict:
        return self.bundle


def state(evidence) -> str:
    """Whether today's text made the evidence: fresh, stale, or checked the same, with what was shown."""
    if evidence.stale:
        return "stale"
    said = [f"the text of {t['text of']} gives the same bits at shrink {t['shrink']} from {t['seeds']} seeds"
            + (" and in a whole block" if t.get("block") else "")
            + (f", {', '.join(t['aside'])} aside" if t.get("aside") else "") + (f", in {t['by']}" if t.get("by") else "")
            for t in evidence.info.get("same", [])]
    return f"checked the same: {'; '.join(said)}" if said else "fresh"


def provenance(run) -> Table:
    """Where the evidence of a run comes from, and the credits of the data it declares."""
    from lib.data import credits
    rows = [[i, e.info["device"], e.info["seconds"], e.info["commit"], e.info["made"], state(e)]
            for i, e in run.experiments.items() if e is not None]
    words = f"Where the evidence of the {run.size} size comes from" + "".join(f". {c.rstrip('.')}" for c in credits(run.data))
    return Table(["experiment", "device", "seconds", "commit", "made", "state"], rows, words)


class Together:
    """Several displayable things, one below the other, as the last expression of a cell."""

    def __init__(self, *things):
        self.bundles = [t._repr_mimebundle_() for t in things]

    def __repr__(self) -> str:
        return "\n\n".join(b["text/plain"] for b in self.bundles)

    def _repr_mimebundle_(self, **_) -> dict:
        return {k: joint.join(b[k] for b in self.bundles) for k, joint in (("text/plain", "\n\n"), ("text/html", "\n"))}
