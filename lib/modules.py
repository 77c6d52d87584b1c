"""Modules of ``lib`` as files, and those that a text imports; nothing is imported or run to find them."""

import ast
import re
from pathlib import Path

LIB = Path(__file__).resolve().parent


def module_file(name: str) -> Path | None:
    """File of a module of ``lib``, or None."""
    if name != "lib" and not name.startswith("lib."):
        return None
    stem = LIB.joinpath(*name.split(".")[1:])
    module = stem.with_suffix(".py")
    if name != "lib" and module.is_file():
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


def modules_reached(code: str) -> list[Path]:
    """Files of ``lib`` that a page's code imports, through others too; of a package all its files."""
    todo, files = [(code, "")], {}
    while todo:
        text, where = todo.pop()
        for n in ast.walk(ast.parse(text)):
            if isinstance(n, ast.Import):
                found = [a.name for a in n.names]
            elif isinstance(n, ast.ImportFrom):
                base = absolute(n, where)
                found = [base] + [f"{base}.{a.name}" for a in n.names]
            else:
                continue
            for module in found:
                file = module_file(module)
                if file is None or file in files:
                    continue
                is_package = file.name == "__init__.py" and module != "lib"
                for f in sorted(file.parent.rglob("*.py")) if is_package else [file]:
                    if f not in files:
                        name = ".".join(("lib", *f.relative_to(LIB).with_suffix("").parts))
                        files[f] = None
                        todo.append((f.read_text(), re.sub(r"\.__init__$", "", name)))
    return sorted(files)
