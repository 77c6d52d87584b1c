"""The code cells that a page has run so far, with a kernel or without one."""

import sys
from contextlib import contextmanager

from lib import show

_cells: list[str] | None = None


@contextmanager
def executing(cells: list[str]):
    """Declare the code cells of a page that runs without a kernel."""
    global _cells
    before, _cells = _cells, cells
    try:
        yield
    finally:
        _cells = before


def page_cells() -> list[str]:
    """Code that the page has executed so far: the kernel's history, its line cache where none is kept, the script."""
    if _cells is not None:
        return _cells
    shell = show.shell()
    if shell is not None:
        history = [c for c in shell.user_ns.get("In", []) if c.strip()]
        return history or _line_cache(shell)
    main = getattr(sys.modules["__main__"], "__file__", None)
    return [open(main, encoding="utf-8").read()] if main else []


def _line_cache(shell) -> list[str]:
    """Compiled cells in order, for clients that store no history (nbval)."""
    import linecache
    return ["".join(linecache.cache[name][2]) for name in shell.compile._filename_map if name in linecache.cache]
