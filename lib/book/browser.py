"""Rendered pages in a headless Chromium, from disk and without a network."""

import os
import shutil
from contextlib import contextmanager
from importlib.util import find_spec

from lib.book.render import html
from lib.errors import BookError

NAMES = ("chromium", "google-chrome", "chrome", "chromium-browser")


class BrowserError(BookError):
    """Pages that cannot be opened in a browser here."""


def chromium() -> str | None:
    """The browser that ``CHROMIUM`` names, else the one on the path, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def view(width: int = 1400, height: int = 900):
    """A tab of playwright's; raises BrowserError where Chromium or playwright is missing."""
    if find_spec("playwright") is None:
        raise BrowserError("pages are opened by playwright, which is not installed; run `pip install -e .[dev]`.")
    if chromium() is None:
        raise BrowserError("pages are opened in Chromium, which is not here; install it, or set CHROMIUM to its path.")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            tab = browser.new_context(offline=True, color_scheme="light",
                                      viewport={"width": width, "height": height}).new_page()
            tab.set_default_timeout(180_000)
            yield tab
        finally:
            browser.close()


def visit(tab, name: str) -> None:
    """Open a page such as ``book/index`` and wait for its formulas and its pictures, those below the screen included."""
    tab.goto((html() / f"{name}.html").as_uri())
    tab.wait_for_function("!window.MathJax || (MathJax.startup && MathJax.startup.promise)")
    tab.evaluate("() => window.MathJax && MathJax.startup.promise")
    tab.evaluate("() => Promise.all([...document.querySelectorAll('main img')].map(i => { i.loading = 'eager'; "
                 "return i.decode().catch(() => 0); })).then(() => 0)")
