"""A new chapter from the template: page, its code, instrument, test, entry in the table of contents."""

import re

from lib import paths
from lib.errors import BookError
from lib.modules import LIB

TEMPLATE = LIB / "book" / "template.md"
EXPERIMENT = '''"""Experiments of the chapter "@slug@"; each returns arrays whose first axis is the seed."""

import numpy as np


def draw(seeds) -> dict:
    """One shifted normal number a seed: ``x`` [seed]."""
    return {"x": np.array([np.random.default_rng(s).normal() + 3 for s in seeds])}
'''
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
    code = root / "book" / part / module / "experiments.py"
    instrument = root / "lib" / "papers" / f"{module}.py"
    test = root / "tests" / "papers" / f"test_{module}.py"
    for file in (page, code, instrument, test):
        if file.exists():
            raise ScaffoldError(f"{file.relative_to(root)} exists already; choose another slug or remove it.")
    title = slug.replace("-", " ").capitalize()
    files = {
        page: TEMPLATE.read_text(),
        code.parent / "__init__.py": f'"""Code of the chapter "{slug}": its experiments, figures and exercises."""\n',
        code: EXPERIMENT,
        instrument: f'"""Instrument of the chapter "{slug}"."""\n',
        test: f'"""Tests of lib.papers.{module}."""\n\nfrom lib.papers import {module}\n\n\n'
              f'def test_it_says_what_it_is():\n    assert "{slug}" in {module}.__doc__\n',
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        for mark, word in (("@slug@", slug), ("@title@", title), ("@code@", f"book.{part}.{module}")):
            text = text.replace(mark, word)
        file.write_text(text)
    package(code.parent.parent)
    enter(root / "_toc.yml", part, slug)
    return list(files)


def package(folder) -> None:
    """Make a part's folder, and ``book`` itself, packages of Python where they are not yet."""
    for at in (folder, folder.parent):
        if not (at / "__init__.py").exists():
            (at / "__init__.py").write_text('"""Code of the chapters, beside their pages."""\n')


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
