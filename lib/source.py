"""The source text that an experiment depends on, found by a static walk.

An experiment is a function. Its *closure* is the text of every function, class and constant that it names, in the
page and in ``lib``, directly or through others. Machinery that only presents (``lib.run``, ``lib.claims``, ...) is left
out, and packages from elsewhere are kept by the line that imports them. Nothing is imported or run to find it.
"""

import ast
import builtins
import functools
import symtable
from collections.abc import Sequence
from dataclasses import dataclass

from lib.errors import BookError
from lib.modules import absolute, module_file
from lib.normal import normalise

PRESENTATION = ("lib.run", "lib.claims", "lib.steps", "lib.figures", "lib.book", "lib.evidence", "lib.source",
                "lib.paths", "lib.errors", "lib.pending", "lib.show", "lib.rules", "lib.modules", "lib.normal",
                "lib.assertions", "lib.call", "lib.cells", "lib.life", "lib.machine", "lib.sizes", "lib.words")
# What grows with other chapters; a recipe holds the hash of what it reads.
REGISTRY = frozenset(("lib.data.sets", name) for name in ("BUNDLED", "CORPORA", "PACKAGES", "digest"))
# They find files by hash and refuse what these must not hold; what they hand on, its hash in the recipe decides.
GUARDS = ("lib.data.pickles", "lib.data.packages", "lib.data.bounded", "lib.data.errors")
# The lines that import the readers of archives: the standard library's, or those with limits that read the same bytes.
READERS = frozenset({("lib.data.sets", "gzip"), ("lib.data.sets", "zipfile"), ("lib.data.kanji_strokes", "zipfile"),
                     ("lib.data.hub", "gzip"), ("lib.data.hub", "tarfile")})
PARAMETERS = frozenset({"size", "seed", "device", "source"})
MUTATORS = frozenset({"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault",
                      "popitem", "add", "discard", "fill", "put", "resize", "fill_", "copy_", "zero_", "add_", "mul_"})
PAGE = "page"
Key = tuple[str, str, str]  # where a part stands, the name it binds, its text


class SourceError(BookError):
    """The text that an experiment depends on cannot be told from the source."""


@dataclass(frozen=True)
class Part:
    """One top-level statement of a closure: where it stands (``page`` or a module), the name it binds, its text.

    ``links`` tell what is meant where the text alone does not: (name as it is read, name and text of what binds it), for
    an import under another name and for a name that two modules of the closure define.
    """

    where: str
    name: str
    text: str
    links: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Statement:
    """A top-level statement with the global names that it binds, reads and changes in place."""

    node: ast.stmt
    text: str
    binds: frozenset[str]
    reads: frozenset[str]
    changes: frozenset[str]


def _names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Global names bound and read by a statement, function bodies included."""
    top = symtable.symtable(text, "<statement>", "exec")
    binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    reads = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    todo = list(top.get_children())
    while todo:
        table = todo.pop()
        todo += table.get_children()
        for s in table.get_symbols():
            if s.is_global() and s.is_referenced():
                reads.add(s.get_name())
            if s.is_declared_global() and s.is_assigned():
                binds.add(s.get_name())
    return frozenset(binds), frozenset(reads)


def _base(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _changes(node: ast.stmt) -> frozenset[str]:
    """Names whose value a top-level statement changes in place."""
    found = set()
    for n in ast.walk(node):
        if isinstance(n, ast.Attribute | ast.Subscript) and isinstance(n.ctx, ast.Store | ast.Del):
            found.add(_base(n))
        elif isinstance(n, ast.AugAssign):
            found.add(_base(n.target))
        elif isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in MUTATORS:
            found.add(_base(n.func))
    return frozenset(found - {None})


@functools.lru_cache(maxsize=4096)
def statements(text: str) -> tuple[Statement, ...]:
    """Top-level statements of a text, in order; remembered by the text."""
    lines = text.splitlines()
    out = []
    for node in ast.parse(text).body:
        first = min([node.lineno] + [d.lineno for d in getattr(node, "decorator_list", [])])
        piece = "\n".join(lines[first - 1:node.end_lineno])
        if piece.count(";"):
            piece = ast.unparse(node)
        binds, reads = _names(piece)
        is_scope = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        changes = _changes(node)
        out.append(Statement(node, piece, binds, reads, changes & reads if is_scope else changes))
    return tuple(out)


def _settles(s: Statement, name: str) -> bool:
    """True when a statement gives a name its value whatever stood there before."""
    plain = isinstance(s.node, ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
                       | ast.Import | ast.ImportFrom)
    is_definition = not isinstance(s.node, ast.Assign | ast.AnnAssign)
    return plain and (is_definition or name not in s.reads)


class Scope:
    """The top-level names of a page or module."""

    def __init__(self, where: str, parts: Sequence[Statement]):
        self.where, self.statements = where, parts

    def binding(self, name: str) -> list[Statement]:
        """Statements that decide a name: in a page from the last that settles it on, in a module all that bind it."""
        found = [s for s in self.statements if name in s.binds]
        is_import = all(isinstance(s.node, ast.Import | ast.ImportFrom) for s in found)  # np.sort changes no module
        if not is_import and any(name in s.changes for s in self.statements):
            raise SourceError(f"{self.where}: `{name}` is changed in place at top level, so the text does not tell its "
                              "value; build it in one statement or pass it to the experiment as a parameter.")
        if self.where != PAGE:
            return found
        last = max((i for i, s in enumerate(found) if _settles(s, name)), default=0)
        return found[last:]

    @classmethod
    def page(cls, cells: list[str]) -> "Scope":
        """Scope of a page from its code cells; a cell that is no Python (a magic) binds nothing."""
        parts = []
        for cell in cells:
            try:
                parts += statements(cell)
            except SyntaxError:
                continue
        return cls(PAGE, parts)


@functools.cache
def _module_scope(name: str, stamp: tuple) -> Scope:
    return Scope(name, statements(module_file(name).read_text()))


def module_scope(name: str) -> Scope:
    """Scope of a module of ``lib`` as its file stands now."""
    stat = module_file(name).stat()
    return _module_scope(name, (stat.st_mtime_ns, stat.st_size))


def is_presentation(module: str) -> bool:
    """True for modules that present evidence, or guard what it reads, and never make it."""
    return _under(module, PRESENTATION + GUARDS)


def _under(module: str, names: tuple[str, ...]) -> bool:
    """True for one of the modules, or a module inside one."""
    return any(module == m or module.startswith(m + ".") for m in names)


def _imports(node: ast.AST, where: str) -> dict[str, tuple[str, str | None]]:
    """Names that the imports inside a node bind: name -> (module, member or None)."""
    out = {}
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            for a in n.names:
                out[a.asname or a.name.split(".")[0]] = (a.name if a.asname else a.name.split(".")[0], None)
        elif isinstance(n, ast.ImportFrom):
            module = absolute(n, where)
            for a in n.names:
                if a.name == "*":
                    raise SourceError(f"{where}: `from {module} import *` hides where names come from; "
                                      "import the names that are used.")
                member = f"{module}.{a.name}"
                out[a.asname or a.name] = (member, None) if module_file(member) else (module, a.name)
    return out


def _chains(node: ast.AST, name: str) -> set[tuple[str, ...]]:
    """Attribute chains on a name inside a node: ``a.b.c`` gives ("b", "c"); a bare use gives ()."""
    out, inner = set(), set()
    for n in ast.walk(node):
        if isinstance(n, ast.Attribute) and n not in inner:
            attrs, base = [], n
            while isinstance(base, ast.Attribute):
                inner.add(base)
                attrs.insert(0, base.attr)
                base = base.value
            if isinstance(base, ast.Name):
                inner.add(base)
                if base.id == name:
                    out.add(tuple(attrs))
    for n in ast.walk(node):
        if isinstance(n, ast.Name) and n.id == name and n not in inner:
            out.add(())
    return out


class _Walk:
    """Collects the parts that are reached from a start, and which part each of them means by the names it reads."""

    def __init__(self, page: Scope | None, who: str):
        self.page, self.who = page, who
        self.parts: dict[Key, dict[str, set[Key]]] = {}
        self.bound: dict[tuple[str, str], set[Key]] = {}

    def scope(self, where: str) -> Scope:
        if where == PAGE:
            if self.page is None:
                raise SourceError(f"{self.who}: the text of the page is not known here; run the page's cells in order.")
            return self.page
        return module_scope(where)

    def name(self, where: str, name: str) -> set[Key]:
        """Add what binds a name; returns the parts that do, in whatever module they stand."""
        if (where, name) in self.bound:
            return self.bound[where, name]
        keys = self.bound[where, name] = set()
        if (where, name) in REGISTRY | READERS or _under(where, GUARDS):
            return keys
        if where == PAGE and name in PARAMETERS:
            raise SourceError(f"{self.who} reads `{name}`, directly or through another name of the page; "
                              "hand what it needs to run.experiment as a parameter.")
        found = self.scope(where).binding(name)
        if not found:
            if where != PAGE and module_file(where).name == "__init__.py":
                keys |= self.package_member(where, name)
            elif not hasattr(builtins, name) and name not in ("__file__", "__name__"):
                for s in self.scope(where).statements:
                    _imports(s.node, where)  # refuses a star import, which may hide the name
                raise SourceError(f"{self.who} reads `{name}`, which no plain top-level statement of {where} binds; "
                                  "define it in a cell of its own, without magics.")
            return keys
        keys |= {(where, name, s.text) for s in found if not isinstance(s.node, ast.Import | ast.ImportFrom)}
        for s in found:
            if isinstance(s.node, ast.Import | ast.ImportFrom):
                keys |= self.imported(where, name, s)
            else:
                self.parts[where, name, s.text] = {}
                self.parts[where, name, s.text] = self.statement(where, s.text)
        return keys

    def package_member(self, package: str, name: str) -> set[Key]:
        """A name that a package hands out lazily: the one of its modules that defines it."""
        if module_file(f"{package}.{name}"):
            self.whole(f"{package}.{name}")
            return set()
        folder = module_file(package).parent
        homes = [f"{package}.{f.stem}" for f in sorted(folder.glob("*.py")) if f.name != "__init__.py"]
        homes = [h for h in homes if any(not isinstance(s.node, ast.Import | ast.ImportFrom)
                                         for s in module_scope(h).binding(name))]
        if len(homes) != 1:
            raise SourceError(f"{self.who} uses {package}.{name}, which {len(homes)} modules of the package define; "
                              "import it from the module that does.")
        return self.name(homes[0], name)

    def imported(self, where: str, name: str, s: Statement) -> set[Key]:
        module, member = _imports(s.node, where)[name]
        if module_file(module) is None:
            line = f"from {module} import {member} as {name}" if member else f"import {module} as {name}"
            self.parts[where, name, line] = {}
            return {(where, name, line)}
        return self.name(module, member) if member and not is_presentation(module) else set()

    def statement(self, where: str, text: str) -> dict[str, set[Key]]:
        """Follow what a statement reads, attributes of modules included; what it means by each of them."""
        node, reads = _lean(text)
        means = {}
        inner = _imports(ast.parse(text).body[0], where)
        outer = {}
        for name in reads - {"__class__"}:
            means[name] = self.name(where, name)
            for b in self.scope(where).binding(name):
                if isinstance(b.node, ast.Import | ast.ImportFrom):
                    outer[name] = _imports(b.node, where)[name]
        for name, (module, member) in {**outer, **inner}.items():
            if module_file(module) is None or is_presentation(module):
                continue
            if member:
                means[name] = self.name(module, member)
            else:
                for chain in _chains(node, name):
                    self.attribute(name, module, chain, means)
        return means

    def attribute(self, read: str, module: str, chain: tuple[str, ...], means: dict[str, set[Key]]) -> None:
        """Follow what an attribute of a module means; a module that is used as a whole means all its names."""
        while chain and module_file(f"{module}.{chain[0]}"):
            read, module, chain = f"{read}.{chain[0]}", f"{module}.{chain[0]}", chain[1:]
        if is_presentation(module):
            return
        if chain:
            means[f"{read}.{chain[0]}"] = self.name(module, chain[0])
        else:
            self.whole(module)

    def whole(self, module: str) -> None:
        for s in module_scope(module).statements:
            for name in s.binds:
                self.name(module, name)

    def links(self, key: Key) -> tuple[tuple[str, str, str], ...]:
        """What a part means by a name that another name or two modules bind."""
        found = {(read, name, text) for read, keys in self.parts[key].items() for _, name, text in keys}
        return tuple(sorted(_telling(found, {k[1:] for k in self.parts})))


def closure(where: str, expression: str, page: Scope | None = None) -> list[Part]:
    """Text that an expression depends on (``"f"``, ``"ps.engine.f"``), as it stands in the page or a module of ``lib``.

    Raises SourceError where the text does not tell the value: star imports, names changed in place at top level, names
    of the parameters cell, names that no plain statement binds.
    """
    walk = _Walk(page, f"experiment `{expression}`")
    walk.statement(where, expression)
    return sorted((Part(*key, walk.links(key)) for key in walk.parts), key=lambda p: (p.where, p.name, p.text))


def _telling(links: set[tuple[str, str, str]], parts: set[tuple[str, str]]) -> set[tuple[str, str, str]]:
    """The links that say more than their names: another name is read, or not all parts of that name are meant."""
    out = set()
    for read in {r for r, _, _ in links}:
        meant = {(name, text) for r, name, text in links if r == read}
        if meant != {p for p in parts if p[0] == read.rpartition(".")[2]}:
            out |= {(read, *m) for m in meant}
    return out


@functools.cache
def _lean(text: str) -> tuple[ast.Module, frozenset[str]]:
    """A normalised statement and the global names that it reads: those of annotations and messages are none."""
    return ast.parse(normalise(text)), _names(normalise(text))[1]


def canonical(parts: list[Part]) -> set[tuple]:
    """A closure in the form in which two are compared, by one and the same Python, wherever its parts stand."""
    every = {(p.name, normalise(p.text)) for p in parts}
    return {(p.name, normalise(p.text), *sorted(_telling({(r, n, normalise(t)) for r, n, t in p.links}, every)))
            for p in parts}
