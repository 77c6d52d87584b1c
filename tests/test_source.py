"""The static walk: which edits change what an experiment depends on, and what is refused."""

import pytest

from lib.modules import modules_reached
from lib.source import PAGE, Part, Scope, SourceError, canonical, closure

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
    names = {(w, n) for w, n, _ in key(BASE)}
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
    ("stats.mean([1.0, 2.0, n])", "stats.median([1.0, 2.0, n])")])
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
    assert {n for _, n, _ in key(text, "f")} == {"f", "B", "np"}


def test_changes_inside_calls_and_functions_are_refused():
    for text in ("c = [1]\nd = c.pop()\ndef f():\n    return c\n",
                 "c = {}\ndef g():\n    c['a'] = 1\ng()\ndef f():\n    return c\n"):
        with pytest.raises(SourceError, match="in place"):
            key(text, "f")


def test_the_registry_of_data_sets_makes_no_evidence_stale():
    parts = [Part("lib.data.sets", "PACKAGES", "PACKAGES = {}"), Part("lib.data.sets", "glyphs", "def glyphs(): return 1")]
    grown = [Part("lib.data.sets", "PACKAGES", "PACKAGES = {'more': ()}"), parts[1]]
    changed = [parts[0], Part("lib.data.sets", "glyphs", "def glyphs(): return 2")]
    assert canonical(parts) == canonical(grown) != canonical(changed)


def test_what_a_guard_refuses_makes_no_evidence_stale():
    reader = Part("lib.data.sets", "animals", "def animals(): return pickles.load(b'')")
    before, after = (Part("lib.data.pickles", "_SAFE", f"_SAFE = {{{v}}}") for v in (1, 2))
    assert canonical([reader, before]) == canonical([reader, after]) == canonical([reader])
