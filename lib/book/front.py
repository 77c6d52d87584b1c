"""First screens: of the front page all assertions by verdict and a card a chapter, of a chapter the picture for it."""

import base64
import html
import io
import re

from lib.book import ledger, results
from lib.book.pages import Page, chapters
from lib.show import inline

MARKS = {"upheld": "✓", "refuted": "✗", "in part": "~", "open": "?"}
THUMB = 480  # pixels across, for cards of half that width on dense screens
HERO = 1350  # the same for the first screen of a chapter


def markup(found: dict) -> str:
    """Picture, counts in words and cards, as one block of HTML; ``found`` is the ledger."""
    pages = {p.slug: p for p in chapters()}
    cards = "".join(card(ch, pages[ch["slug"]]) for ch in found["chapters"])
    return (f'{picture(found)}<p class="book-counts">{html.escape(ledger.headline(found))}</p>'
            f'<div class="book-cards">{cards}</div>')


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
        rows += (f'<tr><th scope="row"><a href="{ledger.address(ch["page"])}">{html.escape(ch["title"])}</a></th>'
                 f'<td><span role="img" aria-label="{words}">{squares}</span></td></tr>')
    if not said:
        return ""
    keys = ", ".join(f'<span class="book-square book-badge {ledger.style(v)}" aria-hidden="true">{m}</span> {v}'
                     for v, m in MARKS.items() if v in said)
    return (f'<figure class="book-map"><table>{rows}</table><figcaption>What {len(found["chapters"])} papers assert, one '
            f'square an assertion: {keys}.</figcaption></figure>')


def card(chapter: dict, page: Page) -> str:
    """One chapter as a card: its question, its paper, the first assertion that is decided, and its counts."""
    link = ledger.address(chapter["page"])
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


def telling(page: Page) -> tuple[str, dict] | None:
    """The figure that stands for a chapter, its name and its output, from today's results; None where there is none.

    It is that of the cell with the tag ``hero``, else the first, at full size where there is one.
    """
    figures = {c.name: c.figure for c in page.cells if c.figure}
    marked = [c.name for c in page.cells if "hero" in c.tags and c.figure]
    for result in filter(None, (results.find(page, size) for size in reversed(results.SIZES))):
        for cell, out in results.outputs(result.notebook):
            name = cell["metadata"].get("name")
            if results.facts(out).get("kind") == "figure" and "image/png" in out["data"] and name in (marked or figures):
                return figures[name], out
    return None


def thumbnail(page: Page) -> str:
    """The figure that stands for a chapter made small; nothing where there is none."""
    found = telling(page)
    return image(found[1], THUMB, "book-thumb") if found else ""


def image(output: dict, pixels: int, kind: str, loading: str = "lazy") -> str:
    """The picture of a figure's output, at most so many pixels wide, as an element of HTML."""
    from PIL import Image
    picture = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"]))).convert("RGB")
    picture.thumbnail((pixels, pixels), Image.LANCZOS)
    buffer = io.BytesIO()
    picture.quantize(64).save(buffer, format="png", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = html.escape(results.facts(output)["alt"], quote=True)
    return f'<img class="{kind}" loading="{loading}" alt="{alt}" src="data:image/png;base64,{data}">'


def opening(page: Page, chapter: dict) -> str:
    """What a chapter's first screen shows below its title: the figure that stands for it, and what came of the abstract."""
    found = telling(page)
    if found is None:
        return ""
    name, output = found
    verdicts = " ".join(f'<span><a href="#assertion-{a["id"]}" title="{html.escape(a["statement"], quote=True)}">'
                        f'{a["id"]}</a> {ledger.badge(a)}</span>' for a in chapter["assertions"])
    said = f'<span class="book-said">What the paper asserts: {verdicts}</span>' if verdicts else ""
    return (f'<figure class="book-hero"><a href="#{name}">{image(output, HERO, "book-picture", "eager")}</a>'
            f"<figcaption>{said}</figcaption></figure>")
