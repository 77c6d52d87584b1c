"""The front page: a picture of all assertions by verdict, and a card a chapter, both made from the ledger."""

import base64
import html
import io
import re

from lib.book import ledger, results
from lib.book.pages import Page, chapters
from lib.show import inline

MARKS = {"upheld": "✓", "refuted": "✗", "in part": "~", "open": "?"}
THUMB = 480  # pixels across, for cards of half that width on dense screens


def markup(found: dict) -> str:
    """Picture, counts in words and cards, as one block of HTML; ``found`` is the ledger."""
    pages = {p.slug: p for p in chapters()}
    cards = "".join(card(ch, pages[ch["slug"]]) for ch in found["chapters"])
    return (f'{picture(found)}<p class="book-counts">{html.escape(ledger.headline(found))}</p>'
            f'<div class="book-cards">{cards}</div>')


def address(chapter: dict) -> str:
    """The rendered page of a chapter, from the front page."""
    return chapter["page"].removeprefix("book/").removesuffix(".md") + ".html"


def picture(found: dict) -> str:
    """All assertions of the book, one square each, a row a chapter; colour and sign tell the verdict."""
    rows, said = "", []
    for ch in found["chapters"]:
        mine = [a["verdict"] for a in ch["assertions"]]
        said += mine
        squares = "".join(f'<span class="book-square book-badge {ledger.style(a["verdict"])}" '
                          f'title="{html.escape(a["id"] + " " + a["verdict"] + ": " + a["statement"], quote=True)}">'
                          f'{MARKS[a["verdict"]]}</span>' for a in ch["assertions"])
        words = ledger.in_words(mine) or "no assertion is declared"
        rows += (f'<tr><th scope="row"><a href="{address(ch)}">{html.escape(ch["title"])}</a></th>'
                 f'<td><span role="img" aria-label="{words}">{squares}</span></td></tr>')
    if not said:
        return ""
    keys = ", ".join(f'<span class="book-square book-badge {ledger.style(v)}" aria-hidden="true">{m}</span> {v}'
                     for v, m in MARKS.items() if v in said)
    return (f'<figure class="book-map"><table>{rows}</table><figcaption>What {len(found["chapters"])} papers assert, one '
            f'square an assertion: {keys}.</figcaption></figure>')


def card(chapter: dict, page: Page) -> str:
    """One chapter as a card: its question, its paper, the first assertion that is decided, and its counts."""
    link = address(chapter)
    decided = next((a for a in chapter["assertions"] if a["verdict"] != "open"), None)
    answer = (f'<p>{ledger.badge(decided)} {inline(decided["statement"])} <small>{inline(decided["number"])}.</small></p>'
              if decided else "")
    counts = ledger.in_words([a["verdict"] for a in chapter["assertions"]])
    claims = ledger.in_words([ledger.best(c)["verdict"] for c in chapter["claims"]])
    lines = ([f"Of {len(chapter['assertions'])} assertions {counts}."] if counts else []) + \
        [f"Of {len(chapter['claims'])} claims {claims}."]
    return (f'<div class="book-card">{thumbnail(page)}'
            f'<p class="book-question"><a href="{link}">{html.escape(chapter["title"])}</a></p>'
            f'<p class="book-paper">{html.escape(paper(page))}</p>{answer}<p><small>{" ".join(lines)}</small></p></div>')


def paper(page: Page) -> str:
    """Title of the paper that a chapter tells: the first words in italics below its heading."""
    found = re.search(r"^# .*\n\s*\*([^*]+)\*", page.text, flags=re.M)
    return " ".join(found.group(1).split()) if found else ""


def thumbnail(page: Page) -> str:
    """The first figure of a chapter made small, from today's results; nothing where there is none."""
    found = [r for size in reversed(results.SIZES) if (r := results.find(page, size))]
    first = next((o for r in found for _, o in results.outputs(r.notebook)
                  if results.facts(o).get("kind") == "figure" and "image/png" in o["data"]), None)
    if first is None:
        return ""
    from PIL import Image
    picture = Image.open(io.BytesIO(base64.b64decode(first["data"]["image/png"]))).convert("RGB")
    picture.thumbnail((THUMB, THUMB), Image.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(64).save(buffer, format="png", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = html.escape(results.facts(first)["alt"], quote=True)
    return f'<img class="book-thumb" loading="lazy" alt="{alt}" src="data:image/png;base64,{data}">'
