"""The book on paper: each page printed by a headless Chromium, and all of them bound into one PDF."""

from importlib.util import find_spec
from pathlib import Path

from lib.book import browser

BOUND = "deep-learning-theory-executed.pdf"
FOOTER = ('<div style="font: 8px sans-serif; width: 100%; margin: 0 14mm; display: flex; justify-content: space-between">'
          '<span class="title"></span><span class="pageNumber"></span></div>')


def write(names: list[str], folder: Path) -> Path:
    """Print rendered pages, such as ``book/index``, into a folder and bind them in their order; returns the bound PDF.

    Raises BrowserError where Chromium or a package is missing; what was printed before then stands.
    """
    if find_spec("pypdf") is None:
        raise browser.BrowserError("pages are bound by pypdf, which is not installed; run `pip install -e .[dev]`.")
    from pypdf import PdfWriter
    folder.mkdir(parents=True, exist_ok=True)
    bound = PdfWriter()
    with browser.view() as tab:
        for name in names:
            browser.visit(tab, name)
            file = folder / f"{name.rpartition('/')[2]}.pdf"
            tab.pdf(path=file, format="A4", print_background=True, prefer_css_page_size=True, display_header_footer=True,
                    header_template="<span></span>", footer_template=FOOTER)
            bound.append(file, outline_item=tab.locator("main h1").first.inner_text().rstrip("#"))
            print(f"printed {file.name}", flush=True)
    whole, part = folder / BOUND, folder / f"{BOUND}.part"
    with part.open("wb") as f:
        bound.write(f)
    part.replace(whole)
    return whole
