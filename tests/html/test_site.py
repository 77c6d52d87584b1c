"""The rendered book in a browser: from disk, without network, by keyboard, in the dark, on a phone, with axe."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.book.pages import chapters

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
PAGES = [p.relative.removesuffix(".md") + ".html" for p in chapters()]
ALL = ["book/index.html", "book/how-to-read.html", "book/ledger.html", "book/instruments.html", "book/bibliography.html",
       *PAGES]
NOISE = ("Got invalid theme mode", "THEBE_JS_URL")  # the theme's own, harmless
EXCEPTIONS = {"book/bibliography.html": {"aria-required-children", "aria-allowed-role", "aria-deprecated-role"}}  # docutils

NEEDED = bool(os.environ.get("CI"))  # where CI runs, a missing browser is a failure
pytestmark = pytest.mark.skipif(CHROMIUM is None and not NEEDED, reason="no Chromium: install it or set CHROMIUM")


@pytest.fixture(scope="module")
def site():
    """The rendered book; built first where it is missing."""
    if not (HTML / "index.html").is_file():
        subprocess.run([sys.executable, "-m", "lib.book", "build"], cwd=ROOT, check=True)
    return HTML


@pytest.fixture(scope="module")
def browser():
    """System Chromium, headless."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield b
        b.close()


class Visit:
    """A page opened from disk with the network off; remembers what went wrong."""

    def __init__(self, browser, site, page, width=1400, scheme="light"):
        self.context = browser.new_context(offline=True, viewport={"width": width, "height": 1000}, color_scheme=scheme)
        self.page, self.errors, self.outside = self.context.new_page(), [], []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("requestfailed", lambda r: self.errors.append(f"failed: {r.url}"))
        self.page.on("request", lambda r: self.outside.append(r.url)
                     if not r.url.startswith(("file:", "data:", "blob:")) else None)
        name, _, query = page.partition("?")
        self.page.goto((site / name).as_uri() + (f"?{query}" if query else ""))
        self.page.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
        self.page.evaluate("() => window.MathJax && MathJax.startup.promise")
        # fonts and fades change colours and sizes after the page has loaded
        self.page.evaluate("() => Promise.all([document.fonts.ready, ...document.getAnimations().filter("
                           "a => a.effect.getTiming().iterations !== Infinity).map(a => a.finished.catch(() => 0))])"
                           ".then(() => 0)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


@pytest.mark.parametrize("page", ALL)
def test_offline_without_errors_and_with_all_mathematics(browser, site, page):
    with Visit(browser, site, page) as v:
        assert not v.outside
        assert not [e for e in v.errors if not any(n in e for n in NOISE)]
        assert v.page.locator("mjx-merror").count() == 0
        raw = v.page.evaluate("() => [...document.querySelectorAll('main .math')].filter(e => !e.querySelector("
                              "'mjx-container') && !e.closest('details:not([open]), .toggle-hidden')).length")
        assert raw == 0


@pytest.mark.parametrize("page", ALL)
def test_every_picture_is_there_and_says_what_it_shows(browser, site, page):
    with Visit(browser, site, page) as v:
        pictures = v.page.evaluate("() => [...document.querySelectorAll('main img')].map(i => [i.alt, i.complete && "
                                   "i.naturalWidth > 0, i.src])")
        assert all(alt.strip() and loaded for alt, loaded, _ in pictures), pictures
        if page in PAGES:
            assert len(pictures) >= 5 and all(len(alt.split()) > 5 for alt, _, _ in pictures)


@pytest.mark.parametrize("page", PAGES)
def test_the_interactive_figure_moves_by_keyboard_and_by_mouse(browser, site, page):
    with Visit(browser, site, page) as v:
        figure = v.page.locator("figure.book-plotly[data-ready]").first
        figure.wait_for(timeout=20_000)
        said = figure.locator(".book-describe")
        shown = lambda: v.page.evaluate("() => JSON.stringify(document.querySelector('.js-plotly-plot')"  # noqa: E731
                                        ".data.map(d => [d.x, d.y, d.z, d.marker]))")
        for slider in figure.locator("input[type=range]").all():
            before, words = shown(), said.inner_text()
            slider.focus()
            v.page.keyboard.press("ArrowRight")
            assert shown() != before and said.inner_text() != words
            assert slider.get_attribute("aria-valuetext") in slider.locator("..").inner_text()
        before = shown()
        slider = figure.locator("input[type=range]").first
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        far = 0.02 if slider.input_value() == slider.get_attribute("max") else 0.98
        v.page.mouse.click(box["x"] + box["width"] * far, box["y"] + box["height"] / 2)
        assert shown() != before
        assert len(json.loads(figure.locator("script").inner_text())["describe"]) >= 12


@pytest.mark.parametrize("page", ALL)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, site, page, scheme):
    from axe_playwright_python.sync_playwright import Axe
    with Visit(browser, site, page, scheme=scheme) as v:
        assert v.page.evaluate("() => document.documentElement.dataset.theme") == scheme
        found = Axe().run(v.page).response["violations"]
        bad = [(f["id"], f["nodes"][0]["html"][:200]) for f in found if f["impact"] in ("serious", "critical")
               and f["id"] not in EXCEPTIONS.get(page, set())]
        assert not bad


@pytest.mark.parametrize("page", ALL)
def test_a_phone_needs_no_sideways_scrolling(browser, site, page):
    with Visit(browser, site, page, width=400) as v:
        width = v.page.evaluate("() => document.scrollingElement.scrollWidth")
        assert width <= 402


def test_search_works_from_disk(browser, site):
    with Visit(browser, site, "search.html?q=lyapunov") as v:
        v.page.wait_for_selector("#search-results li", timeout=15_000)
        assert v.page.locator("#search-results li").count() >= 1 and not v.outside


@pytest.mark.parametrize("page", PAGES)
def test_the_executed_notebook_lies_beside_the_page(browser, site, page):
    import nbformat
    with Visit(browser, site, page) as v:
        links = v.page.evaluate("() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    file = next(x for x in links if x and x.endswith(".ipynb"))
    notebook = nbformat.read((site / page).parent / file, as_version=4)
    nbformat.validate(notebook)
    assert all(c.metadata.get("name") for c in notebook.cells if c.cell_type == "code")
    assert any(o.get("data", {}).get("image/png") for c in notebook.cells for o in c.get("outputs", []))


@pytest.mark.parametrize("page", PAGES)
def test_both_sizes_of_every_claim_stand_on_the_page_and_in_the_ledger(site, page):
    text, ledger = (site / page).read_text(), (site / "book/ledger.html").read_text()
    rows = re.findall(r'<th scope="row"><a href="#verdict-(C\w+)-reduced">.*?</tr>', text, flags=re.S)
    assert len(rows) >= 5
    for id in rows:
        row = re.search(rf'href="#verdict-{id}-reduced".*?</tr>', text, flags=re.S)[0]
        assert row.count("book-badge") == 2
        assert f"#verdict-{id}-reduced" in ledger
        assert f'id="verdict-{id}-reduced"' in text


def test_no_script_from_elsewhere():
    for file in HTML.rglob("*.html"):
        found = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', file.read_text())
        assert not found, (file, found)
