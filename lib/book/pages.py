"""The pages of the book as text: which are chapters, and what code they hold. Imports nothing heavy."""

import ast
import functools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from lib import paths
from lib.errors import BookError

FENCE = re.compile(r"^(`{3,})\{code-cell\}")
TAGS = frozenset({"parameters", "claims", "check", "experiment", "hero", "hide-input", "exercise", "solution", "hide-output",
                  "hide-cell", "remove-input", "remove-output", "remove-cell", "raises-exception", "scroll-output",
                  "nbval-check-output", "nbval-ignore-output", "nbval-raises-exception", "nbval-skip"})


class PageError(BookError):
    """A page that the book cannot use."""


@dataclass(frozen=True)
class Cell:
    """A code cell: its source, options, and the line of the page on which its code begins."""

    source: str
    options: dict
    line: int

    @property
    def name(self) -> str:
        """Name of the cell, by which outputs are joined."""
        return str(self.options.get("name", ""))

    @property
    def tags(self) -> list[str]:
        """Tags of the cell."""
        return list(self.options.get("tags", []))

    @property
    def figure(self) -> str:
        """Name of the figure that the cell declares, or the empty string."""
        return ((self.options.get("mystnb") or {}).get("figure") or {}).get("name", "")


def scan(text: str) -> list[Cell]:
    """Code cells of a MyST page, without a Markdown parser."""
    lines, cells, i = text.splitlines(), [], 0
    while i < len(lines):
        fence = FENCE.match(lines[i])
        i += 1
        if not fence:
            continue
        options: list[str] = []
        if i < len(lines) and lines[i].strip() == "---":
            end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == "---"), None)
            if end is None:
                raise PageError(f"line {i + 1}: the options of this code cell do not end; close them with `---`.")
            options, i = lines[i + 1:end], end + 1
        else:
            while i < len(lines) and lines[i].startswith(":"):
                options.append(lines[i][1:])
                i += 1
        while i < len(lines) and not lines[i].strip():
            i += 1
        start = i
        while i < len(lines) and not (lines[i].startswith(fence[1]) and not lines[i].strip("`").strip()):
            i += 1
        if i == len(lines):
            raise PageError(f"line {start + 1}: this code cell does not end; close it with `{fence[1]}`.")
        try:
            given = yaml.safe_load("\n".join(options)) or {}
        except yaml.YAMLError as e:
            raise PageError(f"line {start + 1}: the options above this code cell are no YAML "
                            f"({' '.join(str(e).split())}).") from None
        cells.append(Cell("\n".join(lines[start:i]).rstrip(), given, start + 1))
        i += 1
    return cells


@dataclass(frozen=True)
class Page:
    """A chapter as text."""

    path: Path
    text: str

    @cached_property
    def cells(self) -> list[Cell]:
        """Code cells."""
        try:
            return scan(self.text)
        except PageError as e:
            raise PageError(f"{self.path.name} {e}") from None

    @cached_property
    def trees(self) -> list[ast.Module]:
        """Syntax trees of the code cells; raises PageError with the line of the page where one is no Python."""
        found = []
        for cell in self.cells:
            try:
                found.append(ast.parse(cell.source))
            except SyntaxError as e:
                where = f"{self.path.name} line {cell.line + (e.lineno or 1) - 1}"
                magic = re.search(r"(?m)^\s*[%!]", cell.source)
                why = "magics hide code from the walk; write plain Python" if magic else f"{e.msg}; mend the cell"
                raise PageError(f"{where}: cell `{cell.name or '?'}` is no Python: {why}.") from None
        return found

    @cached_property
    def _run(self) -> ast.Call:
        for tree in self.trees:
            for n in ast.walk(tree):
                if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "Run":
                    return n
        raise PageError(f"{self.path} has code cells but no Run(\"<slug>\", ...); give it one, or write its code "
                        "as text.")

    @cached_property
    def slug(self) -> str:
        """The chapter's slug, a literal in ``Run``."""
        try:
            return ast.literal_eval(self._run.args[0])
        except (ValueError, IndexError):
            raise PageError(f"{self.path}: the slug in Run must be a literal.") from None

    @cached_property
    def data(self) -> tuple[str, ...]:
        """Data sets that the chapter declares: literals ``data`` of ``Run`` and of its experiments."""
        experiments = [n for tree in self.trees for n in ast.walk(tree) if isinstance(n, ast.Call)
                       and isinstance(n.func, ast.Attribute) and n.func.attr == "experiment"]
        given = [k.value for n in (self._run, *experiments) for k in n.keywords if k.arg == "data"]
        return tuple(dict.fromkeys(name for value in given for name in ast.literal_eval(value)))

    @cached_property
    def title(self) -> str:
        """First heading."""
        found = re.search(r"(?m)^# (.+)$", self.text)
        return found[1].strip() if found else self.slug

    @cached_property
    def code(self) -> str:
        """All code, for a walk of its imports."""
        return "\n".join(c.source for c in self.cells)

    @property
    def relative(self) -> str:
        """Path from the root of the book, with forward slashes."""
        return self.path.relative_to(paths.home()).as_posix()

    def check(self) -> None:
        """Raise PageError for what would make the way of the page unsafe."""
        names = [c.name for c in self.cells]
        for cell in self.cells:
            where = f"{self.path.name}, line {cell.line}"
            if not cell.name:
                raise PageError(f"{where}: the code cell has no name; give it one (`:name: word`).")
            if names.count(cell.name) > 1:
                raise PageError(f"{where}: two code cells are named {cell.name}; names must be unique.")
            if set(cell.tags) - TAGS:
                raise PageError(f"{where}: tag {', '.join(sorted(set(cell.tags) - TAGS))} is not known; known are "
                                f"{', '.join(sorted(TAGS))}.")
        if self.path.stem != self.slug:
            raise PageError(f"{self.path.name} runs as {self.slug}; the file's name and the slug must be the same.")


def is_chapter(text: str) -> bool:
    """True for a page with code cells."""
    return any(FENCE.match(line) for line in text.splitlines())


@functools.lru_cache(maxsize=256)
def checked(path: Path, text: str) -> Page:
    """A page, scanned and checked once for each text that it had."""
    page = Page(path, text)
    page.check()
    return page


def survey() -> tuple[list[Page], list[PageError]]:
    """Chapters that can be used, in the order of the table of contents, and what is wrong with the others."""
    root = paths.home()
    toc = (root / "_toc.yml").read_text() if (root / "_toc.yml").is_file() else ""
    found, faults = [], []
    for path in sorted((root / "book").glob("*/*.md")):
        text = path.read_text(encoding="utf-8")
        if is_chapter(text):
            try:
                found.append(checked(path, text))
            except PageError as e:
                faults.append(e)
    place = {p.path: toc.find(p.relative.removesuffix(".md")) for p in found}
    found.sort(key=lambda p: (place[p.path] < 0, place[p.path]))
    return found, faults


def chapters() -> list[Page]:
    """All chapters, in the order of the table of contents; raises PageError when one of them cannot be used."""
    found, faults = survey()
    if faults:
        raise PageError("\n".join(map(str, faults)))
    return found


def chapter(slug: str) -> Page:
    """The chapter of a slug, whatever is wrong with others; raises PageError when there is none."""
    pages, faults = survey()
    found = {p.slug: p for p in pages}
    if slug not in found:
        raise PageError("\n".join(map(str, faults)) or
                        f"there is no chapter {slug}; there are {', '.join(found) or 'none'}.")
    return found[slug]
