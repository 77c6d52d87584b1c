"""A derivation as HTML for the page and as plain text for the tests."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.steps.chain import Derivation


def math(latex: str) -> str:
    """A formula that MathJax typesets, in the book and in JupyterLab."""
    return rf'<span class="math notranslate nohighlight">\({html.escape(latex, quote=False)}\)</span>'


def prose(text: str) -> str:
    """Escaped text in which ``$...$`` is a formula."""
    parts = re.split(r"\$([^$]+)\$", text)
    return "".join(math(part) if i % 2 else html.escape(part) for i, part in enumerate(parts))


def as_html(d: Derivation) -> str:
    """A captioned table: number, formula, reason, check; below it the mutants and the assumptions."""
    heads = "".join(f'<th scope="col">{word}</th>' for word in ("Step", "Formula", "Reason", "Check"))
    given = f"; for {html.escape('; '.join(g.text for g in d.domain.given))}" if d.domain.given else ""
    rows = [f'<tr><th scope="row">0</th><td>{math(d.start_latex)}</td><td>start</td><td></td></tr>']
    for row in d.proved:
        rows.append(
            f'<tr class="{html.escape(row.evidence.replace(" ", "-"))}"><th scope="row">{row.number}</th>'
            f"<td>{math(row.latex)}</td><td>{prose(row.reason)}</td><td>{prose(row.check)}</td></tr>"
        )
    notes = "".join(f'<p class="derivation-note">{html.escape(line)}</p>' for line in d.notes)
    return (
        f'<div class="derivation"><table><caption>{prose(d.title)}{given}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{notes}</div>"
    )


def as_text(d: Derivation) -> str:
    """Readable rows without timings, the same on every machine."""
    lines = [d.title]
    if d.domain.given:
        lines.append("for " + "; ".join(g.text for g in d.domain.given))
    lines.append(f"  0.     {d.start_text}")
    for row in d.proved:
        lines.append(f"  {row.number}. {row.relation:<3} {row.text}   [{row.reason}; {row.check}]")
    return "\n".join([*lines, *d.notes])
