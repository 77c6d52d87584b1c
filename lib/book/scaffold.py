"""A new chapter from the template: page, instrument, test, entry in the table of contents."""

import re

from lib import paths
from lib.errors import BookError
from lib.modules import LIB

TEMPLATE = LIB / "book" / "template.md"
PARTS = {"dynamics": "How training moves", "representations": "What is learned", "guarantees": "What is possible",
         "language": "Language models"}


class ScaffoldError(BookError):
    """A chapter that cannot be created."""


def create(part: str, slug: str) -> list:
    """Create a chapter that runs, builds and passes its tests; returns the files that were written."""
    if part not in PARTS:
        raise ScaffoldError(f"there is no part {part}; choose {', '.join(PARTS)}.")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        raise ScaffoldError(f"{slug!r} is no slug; use small letters, digits and single hyphens.")
    root, module = paths.home(), slug.replace("-", "_")
    page = root / "book" / part / f"{slug}.md"
    instrument = root / "lib" / "papers" / f"{module}.py"
    test = root / "tests" / "papers" / f"test_{module}.py"
    for file in (page, instrument, test):
        if file.exists():
            raise ScaffoldError(f"{file.relative_to(root)} exists already; choose another slug or remove it.")
    title = slug.replace("-", " ").capitalize()
    files = {
        page: TEMPLATE.read_text().replace("@slug@", slug).replace("@title@", title),
        instrument: f'"""Instrument of the chapter "{slug}"."""\n',
        test: f'"""Tests of lib.papers.{module}."""\n\nfrom lib.papers import {module}\n\n\n'
              f'def test_it_says_what_it_is():\n    assert "{slug}" in {module}.__doc__\n',
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    enter(root / "_toc.yml", part, slug)
    return list(files)


def enter(toc, part: str, slug: str) -> None:
    """Add the chapter to its part in the table of contents, creating the part before the book's own account."""
    lines = toc.read_text().splitlines()
    entry, caption = f"      - file: book/{part}/{slug}", f"  - caption: {PARTS[part]}"
    if caption in lines:
        i = lines.index(caption) + 2
        while i < len(lines) and lines[i].startswith("      - file:"):
            i += 1
        lines.insert(i, entry)
    else:
        own = next((i for i, x in enumerate(lines) if "The book's own account" in x), len(lines))
        lines[own:own] = [caption, "    chapters:", entry]
    toc.write_text("\n".join(lines) + "\n")
