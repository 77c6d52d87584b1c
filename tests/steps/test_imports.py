"""What ``lib.steps`` needs: the same derivations run in a browser, where little is installed."""

import ast
import graphlib
import sys

import pytest

from lib.modules import LIB

FILES = {f"lib.steps.{f.stem}".removesuffix(".__init__"): f for f in (LIB / "steps").glob("*.py")}
NEEDED = {"sympy", "mpmath", "flint", *sys.stdlib_module_names}


def imported(file):
    """Modules that a file names in an import, wherever it stands, and the members it takes from them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((a.name, ()) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file.name} imports relative to itself"
            yield node.module, tuple(a.name for a in node.names)


@pytest.mark.parametrize("file", [*FILES.values(), LIB / "words.py"], ids=lambda f: f.stem)
def test_only_algebra_and_the_standard_library_are_imported(file):
    modules = {module for module, _ in imported(file)}
    foreign = {m for m in modules if m.split(".")[0] not in NEEDED and m not in FILES}
    assert foreign <= {"lib.words"}


def test_no_module_imports_another_in_a_circle():
    graph = {name: {module if f"{module}.{member}" not in FILES else f"{module}.{member}"
                    for module, members in imported(file) for member in members or ("",)} & FILES.keys()
             for name, file in FILES.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order[-1] == "lib.steps" and graph["lib.steps.chain"] > {"lib.steps.page", "lib.steps.anchor"}
