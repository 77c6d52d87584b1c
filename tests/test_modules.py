"""Floors of the house: what a module may import, and that a page's modules are found without running them."""

import ast

import pytest

from lib.book import pages
from lib.modules import LIB, absolute, is_ours, module_file, modules_reached

FILES = sorted(f for top in (LIB, LIB.parent / "book") for f in top.rglob("*.py"))


def name_of(file):
    parts = file.relative_to(LIB.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file):
    """Modules of ours that a file names in an import, wherever it stands, with those that it takes as members."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if is_ours(a.name))
        elif isinstance(node, ast.ImportFrom) and is_ours(base := absolute(node, name_of(file))):
            members = [f"{base}.{a.name}" for a in node.names]
            yield from (m if module_file(m) else base for m in members)


def may_import(importer, module):
    """Whether the floors let one module import another."""
    def floor(name):
        parts = name.split(".")
        return 3 if parts[0] == "book" else {"book": 4, "papers": 2}.get((parts + [""])[1], 1)

    def room(name):  # what only its own paper or chapter may enter
        return name.split(".")[:{2: 3, 3: 3}.get(floor(name), 1)]

    if floor(importer) == floor(module):
        return floor(importer) in (1, 4) or room(importer) == room(module)
    return floor(module) < floor(importer) and not (floor(importer) == 4 and floor(module) == 3)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_module_imports_only_from_the_floors_below(file):
    wrong = sorted(m for m in imported(file) if not may_import(name_of(file), m))
    assert not wrong, f"{name_of(file)} imports {', '.join(wrong)}"


def test_the_floors_refuse_what_they_should():
    assert may_import("book.a.x.figures", "lib.papers.y") and may_import("book.a.x.figures", "book.a.x.experiments")
    for importer, module in (("lib.stats", "lib.papers.y"), ("lib.papers.y", "lib.papers.z"), ("lib.run", "lib.book"),
                             ("lib.stats", "book.a.x.figures"), ("book.a.x.figures", "book.a.z.figures"),
                             ("book.a.x.figures", "lib.book.runner"), ("lib.book.page", "book.a.x.experiments")):
        assert not may_import(importer, module), (importer, module)


@pytest.mark.parametrize("page", pages.chapters(), ids=lambda p: p.slug)
def test_a_chapters_code_stands_beside_its_page_and_is_found(page):
    folder = page.path.with_suffix("").with_name(page.path.stem.replace("-", "_"))
    reached = modules_reached(page.code)
    assert {folder / "experiments.py", folder / "figures.py"} <= set(reached)
    assert not [f for f in reached if f.is_relative_to(LIB.parent / "book") and f.parent not in (folder, *folder.parents)]
