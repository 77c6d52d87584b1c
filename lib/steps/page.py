"""A derivation as HTML for the page and as plain text for the tests."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from lib.steps.result import Row
from lib.words import inline, math


@dataclass(frozen=True)
class Sheet:
    """What a page shows of a derivation.

    Attributes
    ----------
    title : str
        What is derived; may hold ``$...$``.
    given : sequence of str
        The sentences of the domain.
    latex, text : str
        The first expression as LaTeX and as plain text.
    rows : sequence of Row
        The steps.
    notes : sequence of str
        The lines below them: the mutants and the assumptions.
    """

    title: str
    given: Sequence[str]
    latex: str
    text: str
    rows: Sequence[Row]
    notes: Sequence[str]

    def as_html(self) -> str:
        """A captioned table: number, formula, reason, check; below it the notes."""
        heads = "".join(f'<th scope="col">{word}</th>' for word in ("Step", "Formula", "Reason", "Check"))
        given = f"; for {html.escape('; '.join(self.given))}" if self.given else ""
        rows = [f'<tr><th scope="row">0</th><td>{math(self.latex)}</td><td>start</td><td></td></tr>']
        for row in self.rows:
            rows.append(
                f'<tr class="{html.escape(row.evidence.replace(" ", "-"))}"><th scope="row">{row.number}</th>'
                f"<td>{math(row.latex)}</td><td>{inline(row.reason)}</td><td>{inline(row.check)}</td></tr>"
            )
        notes = "".join(f'<p class="derivation-note">{html.escape(line)}</p>' for line in self.notes)
        return (
            f'<div class="derivation"><table><caption>{inline(self.title)}{given}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{notes}</div>"
        )

    def as_text(self) -> str:
        """Readable rows without timings, the same on every machine."""
        lines = [self.title]
        if self.given:
            lines.append("for " + "; ".join(self.given))
        lines.append(f"  0.     {self.text}")
        for row in self.rows:
            lines.append(f"  {row.number}. {row.relation:<3} {row.text}   [{row.reason}; {row.check}]")
        return "\n".join([*lines, *self.notes])
