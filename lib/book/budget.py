"""What a page asks of its reader against the book's budgets: source lines, words and screens outside folds, first picture."""

from lib.book import browser
from lib.book.pages import Page

LIMITS = {"source lines": 700, "words": 9000, "screens": 30, "picture ends at, px": 900}
# words and height of what stands in no closed fold
MEASURE = """() => {
  const main = document.querySelector("main article"), picture = main.querySelector("img");
  return [main.innerText.split(/\\s+/).filter((w) => /\\w/.test(w)).length, main.scrollHeight / innerHeight,
          picture ? picture.getBoundingClientRect().bottom : Infinity];
}"""


def measure(pages: list[Page]) -> list[list]:
    """Rows of chapter, source lines, words, screens of 1400 x 900, and where the first picture ends, of rendered pages.

    Raises BrowserError where no browser can open them.
    """
    rows = []
    with browser.view(1400, 900) as tab:
        for page in pages:
            browser.visit(tab, page.relative.removesuffix(".md"))
            words, screens, picture = tab.evaluate(MEASURE)
            rows.append([page.slug, page.text.count("\n"), words, round(screens, 1), round(picture, 0)])
    return rows


def table(pages: list[Page]) -> str:
    """The measured rows as text, with a mark where a budget is exceeded."""
    said = [["chapter", *(f"{name} (to {limit})" for name, limit in LIMITS.items())]]
    for slug, *values in measure(pages):
        said.append([slug, *(f"{v:g}{' !' if v > limit else ''}" for v, limit in zip(values, LIMITS.values(), strict=True))])
    widths = [max(map(len, column)) for column in zip(*said)]
    return "\n".join("  ".join(x.ljust(w) for x, w in zip(row, widths)).rstrip() for row in said)
