"""The map of notions: which chapter uses which word of the glossary, drawn from the chapters' own links."""

import html
import re

from lib.book.ledger import address
from lib.book.pages import Page
from lib.errors import BookError

LINK = re.compile(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`")  # {term}`word` or {term}`as written <word>`
ENTRY = re.compile(r"(?m)^(\w.*)\n  \S")  # a word and, indented, what it means


class GlossaryError(BookError):
    """A link to a word that the glossary does not have."""


def notions(text: str, pages: list[Page]) -> str:
    """Words of a glossary's text against chapters as one table of HTML, a dot where a chapter links to the word.

    Raises GlossaryError where a chapter links to a word that the glossary does not have.
    """
    words = ENTRY.findall(text)
    used = {p.slug: set(LINK.findall(p.text)) for p in pages}
    for slug, mine in used.items():
        if lacking := sorted(mine - set(words)):
            raise GlossaryError(f"{slug} links to {lacking[0]!r}, which the glossary does not have; add it, or link to "
                                "another word.")
    heads = "".join(f'<th scope="col"><a href="{address(p.relative)}">{p.slug.replace("-", " ")}</a></th>' for p in pages)
    rows = ""
    for word in (w for w in words if any(w in mine for mine in used.values())):
        dots = "".join(f'<td><a href="{address(p.relative)}" aria-label="{html.escape(word)} in {p.slug}">●</a></td>'
                       if word in used[p.slug] else "<td></td>" for p in pages)
        rows += f'<tr><th scope="row">{html.escape(word)}</th>{dots}</tr>'
    return (f'<div class="book-table book-notions" tabindex="0" role="region" aria-label="Chapters by notion"><table>'
            f'<thead><tr><th scope="col">notion</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>')
