"""Modules of ``lib`` and of the chapters (``book``) as files, and those that a text imports; none is run to find them."""

import ast
import functools
import os
from pathlib import Path

LIB = Path(__file__).resolve().parent
OURS = ("lib", "book")  # packages beside each other; of ``book`` the folders that hold a chapter's code


def is_ours(name: str) -> bool:
    """Whether a module is one of ``lib`` or of a chapter, by its name."""
    return name.split(".")[0] in OURS


def module_file(name: str) -> Path | None:
    """File of a module of ``lib`` or of a chapter, or None."""
    if not is_ours(name):
        return None
    stem = LIB.parent.joinpath(*name.split("."))
    module = stem.with_suffix(".py")
    if module.is_file():
        return module
    return stem / "__init__.py" if (stem / "__init__.py").is_file() else None


def absolute(node: ast.ImportFrom, where: str) -> str:
    """Module that a ``from ... import`` names in the module ``where``."""
    if not node.level:
        return node.module or ""
    file = module_file(where)
    package = where.split(".") if file and file.name == "__init__.py" else where.split(".")[:-1]
    package = package[:len(package) - node.level + 1]
    return ".".join(package + ([node.module] if node.module else []))


@functools.lru_cache(maxsize=4096)
def _named(text: str, where: str) -> tuple[tuple[str, ...], bool]:
    """Modules that a text may import, and whether it hands out names lazily; remembered by the text itself."""
    found: dict[str, None] = {}
    tree = ast.parse(text)
    for n in ast.walk(tree):
        if isinstance(n, ast.Import):
            found.update(dict.fromkeys(a.name for a in n.names))
        elif isinstance(n, ast.ImportFrom):
            base = absolute(n, where)
            found.update(dict.fromkeys([base, *(f"{base}.{a.name}" for a in n.names)]))
    is_lazy = any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body)
    return tuple(filter(is_ours, found)), is_lazy


def _state() -> tuple:
    """Name, time and size of all our modules: what must be the same for a walk to be remembered."""
    return LIB, tuple((f.path, (s := f.stat()).st_mtime_ns, s.st_size) for ours in OURS
                      for folder, _, _ in os.walk(LIB.parent / ours) for f in os.scandir(folder) if f.name.endswith(".py"))


def modules_reached(code: str) -> tuple[Path, ...]:
    """Files of our modules that a page's code imports, through others and with the packages that hold them.

    A package that hands out names lazily reaches all its modules. A module's siblings are not reached: what one chapter
    does not import never makes its result anew.
    """
    return _reached(code, _state())


@functools.lru_cache(maxsize=256)
def _reached(code: str, state: tuple) -> tuple[Path, ...]:
    seen: set[str] = set()
    files: set[Path] = set()
    todo = list(_named(code, "")[0])
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        file = module_file(name)
        if file is None:
            continue
        files.add(file)
        named, is_lazy = _named(file.read_text(encoding="utf-8"), name)
        todo += [name.rpartition(".")[0], *named]
        if is_lazy and file.name == "__init__.py":
            todo += [f"{name}.{f.stem}" for f in file.parent.glob("*.py") if f.name != "__init__.py"]
    return tuple(sorted(files))
