"""The rendered book in a browser: from disk, without network, by keyboard, in the dark, on a phone, with axe.

Loading a page and typesetting its mathematics costs seconds, so one visit makes all checks and then says all faults.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.book import browser as headless
from lib.book import budget, pdf
from lib.book.pages import chapters

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
CHROMIUM = headless.chromium()
PAGES = [p.relative.removesuffix(".md") + ".html" for p in chapters()]
ALL = [*PAGES, "book/index.html", "book/how-to-read.html", "book/notation.html", "book/glossary.html", "book/ledger.html",
       "book/instruments.html", "book/bibliography.html"]
NOISE = ("Got invalid theme mode",)  # the theme's own, harmless
EXCEPTIONS = {"book/bibliography.html": {"aria-required-children", "aria-allowed-role", "aria-deprecated-role"}}  # docutils

ROWS = ".book-ledger tbody tr"  # of the ledger page
NEEDED = bool(os.environ.get("CI"))  # where CI runs, a missing browser is a failure
pytestmark = pytest.mark.skipif(CHROMIUM is None and not NEEDED, reason="no Chromium: install it or set CHROMIUM")


@pytest.fixture(scope="session")
def site():
    """The rendered book; built first where it is missing."""
    if not (HTML / "index.html").is_file():
        subprocess.run([sys.executable, "-m", "lib.book", "build"], cwd=ROOT, check=True)
    return HTML


@pytest.fixture(scope="session")
def browser():
    """System Chromium, headless, one a worker."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield b
        b.close()


class Visit:
    """A page opened from disk with the network off; remembers what the browser complained of."""

    def __init__(self, browser, site, address, **options):
        self.context = browser.new_context(offline=True, viewport={"width": 1400, "height": 1000}, **options)
        self.page, self.errors, self.outside = self.context.new_page(), [], []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("requestfailed", lambda r: self.errors.append(f"failed: {r.url}"))
        self.page.on("request", lambda r: self.outside.append(r.url)
                     if not r.url.startswith(("file:", "data:", "blob:")) else None)
        name, mark, rest = re.fullmatch(r"([^?#]*)([?#]?)(.*)", address).groups()
        self.page.goto((site / name).as_uri() + mark + rest)
        if options.get("java_script_enabled") is False:
            return
        self.page.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
        self.page.evaluate("() => window.MathJax && MathJax.startup.promise")

    def settle(self):
        """Wait for fonts and fades, which change colours and sizes after the page has loaded or turned."""
        self.page.evaluate("() => Promise.all([document.fonts.ready, ...document.getAnimations().filter("
                           "a => a.effect.getTiming().iterations !== Infinity).map(a => a.finished.catch(() => 0))])"
                           ".then(() => 0)")

    def turn(self, scheme):
        """Turn the reader's system to a colour scheme; returns the one that the theme then shows."""
        self.page.emulate_media(color_scheme=scheme)
        # what depends on the scheme is computed before the next frame is drawn; fades begin with it
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.settle()
        return self.page.evaluate("() => document.documentElement.dataset.theme")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


@pytest.mark.parametrize("address", ALL)
def test_a_page_offline_in_both_schemes_and_on_a_phone(browser, site, address):
    """All that must hold of one page; a line for each fault says the page, the colour scheme and what is wrong."""
    faults = []
    with Visit(browser, site, address) as v:
        for scheme in ("light", "dark"):
            shown = v.turn(scheme)
            found = [] if shown == scheme else [f"the theme stays {shown}; it must follow the reader's system"]
            if scheme == "light":
                found += first_screen(v.page) if address in PAGES else []
                found += mathematics(v.page) + pictures(v.page, address in PAGES)
                found += figure(v.page) if address in PAGES else []
            found += barriers(v.page, EXCEPTIONS.get(address, set()), of_colour=scheme == "dark")
            faults += [f"{address} ({scheme}): {x}" for x in found]
        faults += [f"{address} (400 px wide): {x}" for x in phone(v.page)]
        if address in PAGES:
            faults += [f"{address}: {x}" for x in download(v.page, (site / address).parent)]
        faults += [f"{address}: asks the network for {x}; serve it from the book itself" for x in v.outside]
        faults += [f"{address}: the browser's console says: {e}" for e in v.errors if not any(n in e for n in NOISE)]
    assert not faults, "mend these and build again:\n" + "\n".join(faults)


def first_screen(page):
    """What of a chapter's picture and of its assertions' verdicts is not on the first screen of 1400 x 900."""
    found = page.evaluate("() => ['.book-hero img', '.book-hero .book-said'].map(s => document.querySelector(s)"
                          "?.getBoundingClientRect().bottom)")
    dead = page.evaluate("() => [...document.querySelectorAll('.book-hero a')].map(a => a.getAttribute('href'))"
                         ".filter(h => !document.getElementById(h.slice(1)))")
    return [f"{what} ends at {y} px" for what, y in zip(("the picture", "the line of assertions"), found)
            if y is None or y > 900] + [f"nothing on the page is named {h}" for h in dead]


def mathematics(page):
    """Formulas that MathJax refuses, leaves as text or puts into the way of the keyboard."""
    wrong = page.evaluate("() => [...document.querySelectorAll('mjx-merror')].map(e => e.innerText)")
    raw = page.evaluate("() => [...document.querySelectorAll('main .math')].filter(e => !e.querySelector('mjx-container') "
                        "&& !e.closest('details:not([open]), .toggle-hidden')).map(e => e.innerText)")
    stops = page.evaluate("() => document.querySelectorAll('mjx-container[tabindex=\"0\"]').length")
    return [f"MathJax refuses a formula: {x}" for x in wrong] + [f"a formula is not typeset: {x}" for x in raw] + \
        ([f"{stops} formulas stop the keyboard on its way from link to link"] if stops else [])


def pictures(page, chapter):
    """Pictures that are missing or do not say what they show."""
    # those below the screen are lazy: ask for them, and wait until each has come or failed
    page.evaluate("() => Promise.all([...document.querySelectorAll('main img')].map(i => { i.loading = 'eager'; "
                  "return i.decode().catch(() => 0); })).then(() => 0)")
    found = page.evaluate("() => [...document.querySelectorAll('main img')].map(i => [i.alt, i.complete && "
                          "i.naturalWidth > 0, i.src.slice(-80)])")
    said = [f"the picture {src} has no alt text" for alt, _, src in found if not alt.strip()]
    said += [f"the picture {src} does not load" for _, loaded, src in found if not loaded]
    if chapter:
        said += [f"the alt text of {src} has five words or fewer: {alt!r}" for alt, _, src in found if len(alt.split()) <= 5]
        said += [f"has {len(found)} pictures; a chapter shows five at least"] if len(found) < 5 else []
    return said


def figure(page):
    """What does not move, or does not speak, in the interactive figure under keyboard and mouse."""
    page.locator("figure.book-plotly").first.scroll_into_view_if_needed()  # it wakes when a reader comes near
    found = page.locator("figure.book-plotly[data-ready]").first
    found.wait_for(timeout=20_000)
    words, wrong = found.locator(".book-describe"), []

    def state():
        return page.evaluate("() => JSON.stringify(document.querySelector('.js-plotly-plot')"
                             ".data.map(d => [d.x, d.y, d.z, d.marker]))")
    # each control by keyboard: back from its end where a visit before this one left it there
    for slider in found.locator("input[type=range]").all():
        before, said = state(), words.inner_text()
        slider.focus()
        page.keyboard.press("ArrowLeft" if slider.input_value() == slider.get_attribute("max") else "ArrowRight")
        name = slider.locator("..").inner_text()
        wrong += [] if state() != before else [f"the control `{name}` moves nothing by keyboard"]
        wrong += [] if words.inner_text() != said else [f"the control `{name}` does not change what the figure says"]
        wrong += [] if slider.get_attribute("aria-valuetext") in name else [f"the control `{name}` tells a screen reader "
                                                                            "another value than it shows"]
    # the first control by mouse, to its far end
    before = state()
    slider = found.locator("input[type=range]").first
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    far = 0.02 if slider.input_value() == slider.get_attribute("max") else 0.98
    page.mouse.click(box["x"] + box["width"] * far, box["y"] + box["height"] / 2)
    wrong += [] if state() != before else ["the first control moves nothing by mouse"]
    places = len(json.loads(found.locator("script").inner_text())["describe"])
    return wrong + ([f"the interactive figure has {places} positions; give it 12 at least"] if places < 12 else [])


# axe judges the contrast of every element with text by itself, 2 ms each, and a chapter has 14,000 of them, nearly all
# in code, tables, lists of functions and formulas, where a few looks repeat. In one such block this keeps the first of
# each look (colours, font, all grounds behind it) that is visible and marks the others, which axe judges alike. All other
# rules see all elements.
MARK_REPEATED_LOOKS = """() => {
  const numbers = new Map(), grounds = new Map(), seen = new Map();
  const number = (key) => numbers.get(key) ?? numbers.set(key, numbers.size).get(key);
  const ground = (e) => {
    if (!e) return "";
    if (!grounds.has(e)) {
      const s = getComputedStyle(e);
      const own = [s.backgroundColor, s.backgroundImage, s.opacity, s.mixBlendMode, s.filter, s.position, s.zIndex];
      grounds.set(e, number([ground(e.parentElement), ...own].join("|")));
    }
    return grounds.get(e);
  };
  for (const e of document.querySelectorAll("pre *, table *, dl *, mjx-container *")) {
    e.removeAttribute("data-repeated-look");
    if (![...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.nodeValue.trim())) continue;
    if (!e.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const s = getComputedStyle(e), block = e.closest("pre, table, dl, mjx-container");
    const look = [ground(e), s.color, s.fontSize, s.fontWeight, s.textShadow, s.clip, s.clipPath].join("|");
    if (!seen.has(block)) seen.set(block, new Set());
    if (seen.get(block).has(look)) e.setAttribute("data-repeated-look", "");
    seen.get(block).add(look);
  }
}"""


def barriers(page, excepted, of_colour=False):
    """Serious and critical findings of axe, each with the first element that shows it; or those of its rules on colour."""
    from axe_playwright_python.base import AXE_SCRIPT
    page.evaluate(AXE_SCRIPT)
    page.evaluate(MARK_REPEATED_LOOKS)
    # with `preload` axe would fetch the style sheets, which a page from disk may not, for a rule that is off by default
    found = page.evaluate("""(only) => {
      axe.configure({rules: [{id: "color-contrast", selector: "*:not([data-repeated-look])"}]});
      return axe.run(document, {preload: false, resultTypes: ["violations"], ...only}).then(r => r.violations.map(
        f => [f.id, f.impact, f.help, f.nodes.length, f.nodes[0].html.slice(0, 200), f.nodes[0].failureSummary]));
    }""", {"runOnly": ["color-contrast", "link-in-text-block"]} if of_colour else {})
    return [f"axe: {id} ({impact}), {n} times: {help}; first {html}: {why}" for id, impact, help, n, html, why in found
            if impact in ("serious", "critical") and id not in excepted]


def phone(page):
    """How much wider than a phone the page is."""
    from playwright.sync_api import TimeoutError
    page.set_viewport_size({"width": 400, "height": 1000})
    try:  # what listens to the size of the window answers a moment later
        page.wait_for_function("() => document.scrollingElement.scrollWidth <= 402", timeout=5_000)
    except TimeoutError:
        wide = page.evaluate("() => [...document.querySelectorAll('main *')].find(e => e.getBoundingClientRect().right > 402)"
                             "?.outerHTML.slice(0, 200)")
        width = page.evaluate("() => document.scrollingElement.scrollWidth")
        return [f"the page is {width} px wide and scrolls sideways; the first that sticks out is {wide}"]
    return []


def download(page, folder):
    """What is wrong with the executed notebook beside the page."""
    import nbformat
    links = page.evaluate("() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    file = next((x for x in links if x and x.endswith(".ipynb")), None)
    if file is None:
        return ["no link leads to the notebook"]
    notebook = nbformat.read(folder / file, as_version=4)
    nbformat.validate(notebook)
    unnamed = [c.source[:60] for c in notebook.cells if c.cell_type == "code" and not c.metadata.get("name")]
    said = [f"{file} has a cell without a name: {x!r}" for x in unnamed]
    if not any(o.get("data", {}).get("image/png") for c in notebook.cells for o in c.get("outputs", [])):
        said.append(f"{file} holds no picture, so it was not executed")
    return said


def test_search_works_from_disk(browser, site):
    with Visit(browser, site, "search.html?q=lyapunov") as v:
        v.page.wait_for_selector("#search-results li", timeout=15_000)
        assert v.page.locator("#search-results li").count() >= 1, "the search finds nothing; is searchindex.js there?"
        assert not v.outside, f"the search asks the network for {v.outside}; serve it from the book itself"


def test_search_finds_a_symbol_by_its_name_and_claims_by_their_words(browser, site):
    with Visit(browser, site, "search.html?q=weight+decay") as v:
        row = v.page.locator("#search-results li a[href*='notation.html#symbol-']").first
        row.wait_for(timeout=15_000)
        row.click()
        name = v.page.url.partition("#")[2]
        assert "weight decay" in v.page.locator(f"tr[id='{name}']").inner_text()
    with Visit(browser, site, "search.html?q=weight+decay") as v:
        v.page.get_by_role("link", name="Assertions and claims that say").click()
        v.page.wait_for_selector("#book-filter form")
        found = v.page.locator(f"{ROWS}:visible").evaluate_all("rows => rows.map(r => r.textContent.toLowerCase())")
        assert found and all("weight" in t and "decay" in t for t in found)


def test_no_script_runs_that_the_page_did_not_come_with(browser, site):
    with Visit(browser, site, PAGES[0]) as v:
        for way in ("const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.head.append(s)",
                    "document.body.setAttribute('onclick', 'window.hit = 1'); document.body.click()"):
            v.page.evaluate(f"() => {{ {way}; }}")
        assert v.page.evaluate("() => window.hit") is None
        assert any("Content Security Policy" in e for e in v.errors)
    bare = [f for f in site.rglob("*.html") if "<script" in f.read_text() and "_static" not in f.parts
            and "Content-Security-Policy" not in f.read_text()]
    assert not bare, f"{bare[0]} has no policy for its scripts"


def test_plotly_is_loaded_by_who_comes_near_it(browser, site):
    with Visit(browser, site, PAGES[0]) as v:
        assert not v.page.evaluate("() => 'Plotly' in window")
        v.page.locator("figure.book-plotly").first.scroll_into_view_if_needed()
        v.page.wait_for_function("() => 'Plotly' in window", timeout=20_000)


def test_a_chapter_prints_without_navigation_and_with_open_folds(browser, site):
    with Visit(browser, site, PAGES[0]) as v:
        folds = v.page.locator("main .book-why")
        closed = folds.evaluate_all("x => x.filter(e => !e.open).length")
        v.page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
        v.page.emulate_media(media="print")
        assert closed and folds.evaluate_all("x => x.filter(e => !e.open).length") == 0
        for way in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".prev-next-footer"):
            assert not v.page.locator(f"{way}:visible").count(), f"{way} is printed"
        v.page.set_viewport_size({"width": 690, "height": 1000})  # A4 less its margins
        wide = v.page.locator("main pre, main .book-table").evaluate_all(
            "x => x.filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.outerHTML.slice(0, 200))")
        assert not wide, f"{len(wide)} blocks are cut on paper; the first is {wide[0]}"
        v.page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
        assert folds.evaluate_all("x => x.filter(e => !e.open).length") == closed


def apart(f, *given):
    """Call what opens a browser of its own in a thread of its own: playwright allows one a thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(f, *given).result()


def test_the_book_is_printed_and_bound(site, tmp_path, monkeypatch, capsys):
    from pypdf import PdfReader
    bound = PdfReader(apart(pdf.write, ["book/glossary", "book/notation"], tmp_path))
    assert [x.title for x in bound.outline] == ["Glossary", "Notation"]
    assert len(bound.pages) == sum(len(PdfReader(tmp_path / f"{n}.pdf").pages) for n in ("glossary", "notation")) >= 3
    assert [round(x) for x in bound.pages[0].mediabox[2:]] == [595, 842]                     # A4
    text = "".join(p.extract_text() for p in bound.pages)
    assert "Class-distance normalized variance" in text and "learning rate" in text and "Search" not in text
    monkeypatch.setattr(headless, "chromium", lambda: None)
    with pytest.raises(headless.BrowserError, match="install it, or set CHROMIUM"):
        pdf.write(["book/notation"], tmp_path)
    assert (tmp_path / pdf.BOUND).is_file()


def test_budgets_are_measured_on_the_rendered_page(site):
    page = min(chapters(), key=lambda p: len(p.text))
    (slug, lines, words, screens, picture), = apart(budget.measure, [page])
    assert slug == page.slug and lines == page.text.count("\n") and 2_000 < words < 40_000 and 5 < screens < 90
    assert picture <= budget.LIMITS["picture ends at, px"]
    head, row = apart(budget.table, [page]).splitlines()
    over = lines > 700 or words > 9000 or screens > 30
    assert head.startswith("chapter") and row.startswith(slug) and ("!" in row) == over


def test_the_ledger_filters_by_keyboard_and_its_address_can_be_shared(browser, site):
    with Visit(browser, site, "book/ledger.html") as v:
        every = v.page.locator(ROWS).count()
        assert v.page.locator(f"{ROWS}:visible").count() == every
        order = v.page.locator(ROWS).evaluate_all("rows => rows.map(r => r.dataset.chapter + r.cells[0].textContent)")
        verdict = v.page.locator("[name=verdict]")
        verdict.focus()
        v.page.keyboard.type("fails")  # a list of choices takes the first that begins with what is typed
        chapter = v.page.locator(f"{ROWS}:visible").first.get_attribute("data-chapter")
        v.page.locator("[name=chapter]").select_option(chapter)
        found = v.page.locator(f"{ROWS}:visible").evaluate_all("rows => rows.map(r => ({...r.dataset}))")
        assert found and len(found) < every and {r["chapter"] for r in found} == {chapter}
        assert all("fails" in (r["reduced"], r["full"]) for r in found)
        assert f"{len(found)} of" in v.page.locator("#book-filter [role=status]").inner_text()
        shared = v.page.url
        v.page.locator("[name=verdict]").select_option("")
        v.page.locator("[name=chapter]").select_option("")
        v.page.locator("[name=sort]").select_option("verdict")
        sorted_ = v.page.locator(ROWS).evaluate_all("rows => rows.map(r => r.dataset.best).filter(Boolean)")
        assert sorted_ == sorted(sorted_, key=list(dict.fromkeys(sorted_)).index) and len(set(sorted_)) > 1
        v.page.locator("[name=sort]").select_option("")
        assert order == v.page.locator(ROWS).evaluate_all("rows => rows.map(r => r.dataset.chapter + r.cells[0].textContent)")
    with Visit(browser, site, "book/ledger.html#" + shared.partition("#")[2]) as v:
        assert v.page.locator(f"{ROWS}:visible").count() == len(found)
        assert v.page.locator("[name=chapter]").input_value() == chapter


def test_the_ledger_shows_every_row_where_scripts_do_not_run(browser, site):
    with Visit(browser, site, "book/ledger.html#verdict=fails", java_script_enabled=False) as v:
        assert v.page.locator(f"{ROWS}:visible").count() == v.page.locator(ROWS).count() > 0
        assert not v.page.locator("#book-filter select").count()


@pytest.mark.parametrize("width", [1280, 400])
def test_no_table_of_claims_is_clipped(browser, site, width):
    for address in (PAGES[0], "book/ledger.html"):
        with Visit(browser, site, address) as v:
            v.page.set_viewport_size({"width": width, "height": 1000})
            wide = v.page.locator(".book-ledger").evaluate_all("x => x.map(e => e.scrollWidth - e.clientWidth)")
            assert wide and max(wide) <= 1, f"{address}: a table is {max(wide)} px wider than its place at {width} px"


@pytest.mark.parametrize("page", PAGES)
def test_both_sizes_of_every_claim_stand_on_the_page_and_in_the_ledger(site, page):
    text, ledger = (site / page).read_text(), (site / "book/ledger.html").read_text()
    rows = re.findall(r'<th scope="row"><a href="#verdict-(C\w+)-reduced">(.*?)</tr>', text, flags=re.S)
    assert len(rows) >= 5, f"{page} shows {len(rows)} claims in its table; a chapter has five at least"
    for id, row in rows:
        assert row.count("book-badge") == 2, f"{page}: the row of {id} must show its verdict at both sizes"
        assert f"#verdict-{id}-reduced" in ledger, f"the ledger does not link to {id} of {page}"
        assert f'id="verdict-{id}-reduced"' in text, f"{page}: nothing stands where the links to {id} lead"


def test_no_script_from_elsewhere(site):
    for file in site.rglob("*.html"):
        found = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', file.read_text())
        assert not found, f"{file} loads {found} from elsewhere; serve it from the book itself"
