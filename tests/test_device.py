"""Instruments and experiments on a device that is not the CPU, and the device itself (``tests/device.py``)."""

import ast
import os

import pytest
from device import NAME, elsewhere

from lib import run as lib_run
from lib.book import record
from lib.book.pages import Page, chapter, chapters
from lib.source import Scope, module_scope, statements


def asking(page: Page) -> list[str]:
    """Experiments of a page whose function asks for a device; nothing is imported to find them."""
    scope, out = Scope.page([c.source for c in page.cells]), []
    for id, s in record.experiments(page).items():
        asked = next(n.args[1] for n in ast.walk(s.node)
                     if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "experiment")
        if isinstance(asked, ast.Name):
            function = scope.binding(asked.id)[-1].node
        else:
            node = scope.binding(asked.value.id)[-1].node
            module = next(f"{node.module}.{a.name}" for a in node.names if (a.asname or a.name) == asked.value.id)
            function = next(s.node for s in module_scope(module).binding(asked.attr))
        if any(a.arg == "device" for a in ast.walk(function.args) if isinstance(a, ast.arg)):
            out.append(id)
    return out


def computed(page: Page, id: str):
    """Evidence of an experiment at the size of the environment's ``BOOK_SHRINK``, computed on the test's device."""
    last = record.experiments(page)[id]
    names = {"__name__": "__main__", "size": "full", "seed": 0, "device": NAME}
    upto = next(i for i, c in enumerate(page.cells) if any(s.text == last.text for s in statements(c.source)))
    with lib_run.executing([c.source for c in page.cells[:upto + 1]]), elsewhere():
        for s, line in record.plan(page, [id]):
            if not record._is_parameter(s):
                exec(compile(ast.increment_lineno(ast.parse(s.text), line - 1), str(page.path), "exec"), names)
    return names["run"].experiments[id]


@pytest.fixture
def shrunk(tmp_path, monkeypatch):
    """Runs of chapters far below their full size, with a store of their own, on the device of the tests."""
    for k, v in {"BOOK_SHRINK": str(1 / 512), "BOOK_STORE": str(tmp_path), "BOOK_MODE": "compute"}.items():
        monkeypatch.setenv(k, v)
    if NAME != "cuda":
        monkeypatch.setattr(lib_run, "_device", lambda name: name)
        monkeypatch.setattr(lib_run, "device_kind", lambda device: device)
        monkeypatch.setattr(lib_run, "peak_mb", lambda device: 0)
