"""The text of an experiment, shown behind a fold where a page runs it: what is measured is read where it is told."""

import ast
import html
from pathlib import Path

from lib.book.pages import Page
from lib.modules import LIB, absolute, module_file


def listings(page: Page, source: str) -> list[str]:
    """Markdown of the functions that a cell's experiments run, a fold each; those written on the page itself are seen."""
    meant = _meant(page)
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
             and n.func.attr == "experiment" and len(n.args) > 1]
    found = {}
    for node in (n for call in calls for n in ast.walk(call.args[1])):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = (meant.get(node.value.id), node.attr)
        elif isinstance(node, ast.Name) and node.id in meant:
            place = tuple(meant[node.id].rpartition(".")[::2])
        else:
            continue
        if (file := module_file(place[0] or "")) and (text := _function(file, place[1])):
            found[place] = _fold(ast.unparse(node), file, text)
    return list(found.values())


def _meant(page: Page) -> dict[str, str]:
    """What the names that a page imports stand for, as dotted names."""
    out = {}
    for node in (n for tree in page.trees for n in ast.walk(tree)):
        if isinstance(node, ast.Import):
            out.update({a.asname or a.name: a.name for a in node.names})
        elif isinstance(node, ast.ImportFrom):
            out.update({a.asname or a.name: f"{absolute(node, '')}.{a.name}" for a in node.names})
    return out


def _function(file: Path, name: str) -> str | None:
    """Text of a function at the top of a file, its decorators included."""
    text = file.read_text(encoding="utf-8")
    node = next((n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name), None)
    if node is None:
        return None
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "\n".join(text.splitlines()[first - 1:node.end_lineno])


def _fold(written: str, file: Path, text: str) -> str:
    lines, place = text.count("\n") + 1, file.relative_to(LIB.parent).as_posix()
    return (f'<details class="book-source"><summary>What runs: <code>{html.escape(written)}</code>, {lines} lines of '
            f"{html.escape(place)}</summary>\n\n```python\n{text}\n```\n\n</details>")
