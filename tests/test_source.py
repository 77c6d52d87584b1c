"""The static walk: which edits change what an experiment depends on, and what is refused."""

import pytest

from lib.modules import modules_reached
from lib.source import PAGE, Scope, SourceError, canonical, closure

BASE = """
import numpy as np
from lib import stats
RATE = 0.5
TABLE = [RATE, 2.0]

def helper(x):
    '''Doc.'''
    return x * RATE

def unused(x):
    return x

def experiment(n):
    # a comment
    return {"x": helper(np.ones(n)), "m": stats.mean([1.0, 2.0, n]).value}
"""


def key(text, start="experiment"):
    return canonical(closure(PAGE, start, Scope.page([text])))


def test_closure_names_functions_constants_and_lib():
    names = {(p.where, p.name) for p in closure(PAGE, "experiment", Scope.page([BASE]))}
    assert {(PAGE, "experiment"), (PAGE, "helper"), (PAGE, "RATE"), ("lib.stats", "mean")} <= names
    assert (PAGE, "unused") not in names and (PAGE, "TABLE") not in names
    assert ("lib.stats", "Interval") in names and ("lib.stats", "band") not in names


@pytest.mark.parametrize("old, new", [
    ("    # a comment\n", ""), ("'''Doc.'''", "'''Other.'''"), ("x * RATE", "x  *  RATE"),
    ("return x\n", "return -x\n"), ("TABLE = [RATE, 2.0]", "TABLE = [RATE, 3.0]")])
def test_edits_that_do_not_matter(old, new):
    assert old in BASE and key(BASE.replace(old, new)) == key(BASE)


@pytest.mark.parametrize("old, new", [
    ("RATE = 0.5", "RATE = 0.6"), ("x * RATE", "x + RATE"), ("np.ones", "np.zeros"),
    ("import numpy as np", "import scipy as np"), ('"m": stats.mean', '"k": stats.mean'),
    ("stats.mean([1.0, 2.0, n])", "stats.band([1.0, 2.0, n])")])
def test_edits_that_matter(old, new):
    assert old in BASE and key(BASE.replace(old, new)) != key(BASE)


def test_the_last_binding_of_a_page_counts():
    assert key(BASE + "\nRATE = 0.7\n") != key(BASE)


@pytest.mark.parametrize("text, word", [
    ("from numpy import *\ndef f():\n    return ones(3)\n", "hides"),
    ("T = [1]\nT.append(2)\ndef f():\n    return T\n", "in place"),
    ("T = {}\nT['a'] = 2\ndef f():\n    return T\n", "in place"),
    ("T = 1\nT += 2\ndef f():\n    return T\n", "in place"),
    ("seed = 0\ndef f():\n    return seed\n", "parameter"),
    ("size = 'full'\nfrom lib.run import Run\nrun = Run('x', size=size)\ndef f():\n    return run.seed\n", "size"),
    ("%%time\nG = 3\n\ndef f():\n    return G\n", "binds"),
])
def test_refusals(text, word):
    with pytest.raises(SourceError, match=word):
        closure(PAGE, "f", Scope.page([text]))


def test_lazy_imports_and_module_attributes_are_followed():
    page = Scope.page(["from lib import data\n"
                       "def f():\n    from lib import stats as s\n    return s.number(1), data.digits()\n"])
    names = {(p.where, p.name) for p in closure(PAGE, "f", page)}
    assert ("lib.stats", "number") in names and ("lib.data.sets", "digits") in names


def test_presentation_is_left_out():
    page = Scope.page(["from lib import figures\nfrom lib.stats import number\n"
                       "def f():\n    return figures.BLUE, number(2)\n"])
    assert {p.where for p in closure(PAGE, "f", page)} == {PAGE, "lib.stats"}


def test_modules_reached_are_those_that_are_imported_and_no_siblings():
    def reached(code):
        return {f.as_posix().split("/lib/")[1] for f in modules_reached(code)}
    names = reached("from lib import data\nfrom lib.run import Run")
    assert {"__init__.py", "run.py", "claims.py", "rules.py", "data/__init__.py", "data/sets.py", "data/packages.py",
            "source.py"} <= names
    assert not any(n.startswith(("book/", "papers/")) for n in names)
    papers = {n for n in reached("from lib.papers import probabilistic_stability as ps") if n.startswith("papers/")}
    assert {n.split("/")[1] for n in papers} == {"__init__.py", "probabilistic_stability"}
    assert "papers/probabilistic_stability/models.py" in papers  # handed out lazily
    assert reached("def f():\n    import lib.stats") == {"__init__.py", "stats.py"}
    assert reached("import numpy") == set()


@pytest.mark.parametrize("text, same", [
    ("A = 1.0\nA = A * 2\ndef f():\n    return A\n", False), ("A = 1.0\nif A:\n    A = 2.0\ndef f():\n    return A\n", False),
    ("A = 1.0\nA = 2.0\ndef f():\n    return A\n", True)])
def test_all_statements_that_decide_a_name_count(text, same):
    other = text.replace("A = 1.0", "A = 5.0")
    assert (key(text, "f") == key(other, "f")) is same


def test_functions_of_a_module_do_not_change_it():
    text = "import numpy as np\nB = np.sort([2, 1])\ndef f():\n    return np.sort(B)\n"
    assert {n for n, *_ in key(text, "f")} == {"f", "B", "np"}


def test_changes_inside_calls_and_functions_are_refused():
    for text in ("c = [1]\nd = c.pop()\ndef f():\n    return c\n",
                 "c = {}\ndef g():\n    c['a'] = 1\ng()\ndef f():\n    return c\n"):
        with pytest.raises(SourceError, match="in place"):
            key(text, "f")


def test_neither_the_registry_of_data_sets_nor_a_guard_is_evidence():
    page = Scope.page(["from lib import data\ndef f():\n    return data.corpus('kjv'), data.animals()\n"])
    parts = closure(PAGE, "f", page)
    assert {"corpus", "animals", "Images"} <= {p.name for p in parts}
    assert not [p for p in parts if p.name in ("CORPORA", "PACKAGES", "gzip", "member") or p.where == "lib.data.pickles"]


KERNEL = """
from numba import njit
from lib.stats import mean
RATE: float = 0.5

class Fault(ValueError):
    pass

@njit(cache=True)
def kernel(x: float = 1.0):
    return x * RATE

def experiment(n: int, scale: "np.ndarray" = 2) -> dict:
    total: float = 0
    if n < 0:
        raise Fault(f"n={n} is below zero" + "; choose more", n)
    assert n >= 0, "no"
    return {"x": kernel(n) + scale, "m": mean([1.0, n])}
"""


@pytest.mark.parametrize("old, new", [
    ("n: int", "n"), (" -> dict", " -> Mapping[str, Tensor]"), ("RATE: float = ", "RATE = "), ("total: float", "total"),
    ("is below zero", "must not be negative"), ('f"n={n} is below zero" + "; choose more"', '"{} is bad".format(n)'),
    ('"no"', '"what"'), ("    total", "    # why\n    total"), ("from lib.stats", "from lib.stats "),
    ('"np.ndarray"', "Array")])
def test_words_and_annotations_do_not_matter(old, new):
    assert old in KERNEL and key(KERNEL.replace(old, new)) == key(KERNEL)


@pytest.mark.parametrize("old, new", [
    ("RATE: float = 0.5", "RATE: float = 0.6"), ("= 2) ->", "= 3) ->"), ("total: float = 0", "total: float = 1"),
    ("x * RATE", "x / RATE"), ("n < 0", "n <= 0"), ("cache=True", "fastmath=True"), ("@njit(cache=True)\n", ""),
    ("raise Fault(", "raise KeyError("), ('more", n)', 'more", n + 1)'), ("Fault(ValueError)", "Fault(KeyError)"),
    ("x: float = 1.0", "x: int = 1.0")])
def test_what_decides_a_number_matters(old, new):
    """A decorator may read annotations, so they count where there is one."""
    assert old in KERNEL and key(KERNEL.replace(old, new)) != key(KERNEL)


def test_fields_of_a_data_class_count_and_their_types_do_not():
    text = ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n    y: float = 1.0\n"
            "def f():\n    return A(1)\n")
    assert key(text, "f") == key(text.replace("x: int", "x: str"), "f")
    for old, new in (("x: int", "z: int"), ("x: int\n    y", "y"), ("y: float", "y: ClassVar[float]"), ("= 1.0", "= 2.0")):
        assert key(text, "f") != key("from typing import ClassVar\n" + text.replace(old, new), "f")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A library of one's own: ``tree({"a.py": text, ...})`` writes it and ``closure`` walks it."""
    from lib import modules
    monkeypatch.setattr(modules, "LIB", tmp_path / "lib")

    def write(files: dict[str, str]) -> None:
        for f in tmp_path.rglob("*.py"):
            f.unlink()
        for name, text in files.items():
            file = tmp_path / name if name.startswith("book/") else tmp_path / "lib" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return write


HELPER = "def helper(x):\n    return np.sqrt(x) * RATE\n"
CALLER = "def f(x):\n    return helper(x) + other(x)\n"
OTHER = "def other(x):\n    from lib.a import helper\n    return np.abs(helper(x))\n"
NP = "import numpy as np\n"


def test_where_a_part_stands_does_not_matter(tree):
    tree({"a.py": f"{NP}RATE = 2.0\n{HELPER}", "b.py": f"from lib.a import helper\n{NP}{OTHER}{CALLER}"})
    before = canonical(closure("lib.b", "f"))
    moved = {"z.py": "RATE = 2.0\n", "y.py": f"from lib.z import RATE\n{NP}{HELPER}",
             "x.py": f"{NP}{OTHER.replace('lib.a', 'lib.y')}",
             "w.py": f"from lib.y import helper\nfrom lib.x import other\n{CALLER}"}
    tree(moved)
    assert canonical(closure("lib.w", "f")) == before
    beside = {"z.py": "RATE = 2.0\n", "book/part/mini/w.py": f"from .v import helper\nfrom lib.x import other\n{CALLER}",
              "book/part/mini/v.py": f"from lib.z import RATE\n{NP}{HELPER}",
              "x.py": f"{NP}{OTHER.replace('lib.a', 'book.part.mini.v')}"}
    tree(beside)
    assert canonical(closure("book.part.mini.w", "f")) == before
    tree({**moved, "y.py": moved["y.py"].replace("numpy", "jax.numpy")})
    assert canonical(closure("lib.w", "f")) != before


def test_which_of_two_is_meant_matters(tree):
    two = {"a.py": "def g(x):\n    return x\n", "b.py": "def g(x):\n    return -x\n"}
    text = "from lib.{} import g as p\nfrom lib.{} import g as q\ndef f(x):\n    return p(x) - 2 * q(x)\n"
    tree({**two, "c.py": text.format("a", "b")})
    before = canonical(closure("lib.c", "f"))
    tree({**two, "c.py": text.format("b", "a")})
    assert canonical(closure("lib.c", "f")) != before
    tree({"d.py": two["a.py"], "e.py": two["b.py"], "c.py": text.format("d", "e")})
    assert canonical(closure("lib.c", "f")) == before
