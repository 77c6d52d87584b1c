"""``same``: what must be entered, what is kept with its transcript, what is refused. Two trees run for real."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from lib import evidence
from lib.book import same as module
from lib.book.pages import chapter
from lib.book.same import SameError, same
from lib.evidence import EvidenceError
from lib.evidence.changes import Must, Placed, differing, items, missed, must_enter
from lib.modules import LIB
from lib.show import state
from lib.source import Part

OLD = """def f(x, n):
    # sums
    total = 0
    for i in range(n):
        if i > 3:
            total = total + x
        total += i
    return total"""


@pytest.mark.parametrize("old, new, gone, come", [
    ("total += i", "total += 1 * i", {7}, {7}), ("i > 3", "i >= 3", {5}, {5}), ("# sums", "# adds", set(), set()),
    ("    return total", "    total += 0\n    return total", set(), {8}), ("        total += i\n", "", {7}, set()),
    ("        total += i", "    total += i", {7}, {7}),  # out of the loop
    ("        total += i", "            total += i", {7}, {7}), ("def f(x, n)", "def f(x, n=3)", {3}, {3}),
    ("    total = 0", "    if n < 0:\n        raise ValueError(n)\n    total = 0", set(), {3, 4})])
def test_statements_that_changed_are_told(old, new, gone, come):
    a, b = differing(OLD, OLD.replace(old, new))
    assert ({i.first for i in a}, {i.first for i in b}) == (gone, come)


def placed(*parts, file="a.py"):
    """Parts (name, text, line[, links]) as they stand in a file."""
    return [Placed(Part("", name, text, tuple(*links)), file, line, text) for name, text, line, *links in parts]


def names(must):
    return sorted({(m.name, m.first) for m in must})


def test_constants_are_entered_where_they_are_read_and_compiled_code_is_told():
    parts = [("RATE", "RATE = 2", 1), ("TABLE", "TABLE = {'a': RATE}", 2), ("g", "def g(x):\n    return TABLE['a'] * x", 4),
             ("h", "@njit\ndef h(x):\n    return RATE * x", 8), ("k", "def k(x):\n    return g(x) + h(x)", 12)]
    changed = [("RATE", "RATE = 3", 1), *parts[1:]]
    old, new = must_enter(placed(*parts), placed(*changed))
    assert names(old) == names(new) == [("g", 5), ("h", 10)]
    assert [m.name for m in new if m.compiled] == ["h"]
    assert must_enter(placed(*parts), placed(*parts)) == ([], [])
    with pytest.raises(EvidenceError, match="no statement is seen to read"):
        must_enter(placed(parts[0]), placed(changed[0]))


def test_lambdas_of_a_table_are_entered_one_by_one_and_a_renamed_function_by_what_differs():
    table = "TABLE = {'a': lambda x: x,\n         'b': lambda x: 2 * x}"
    reader = ("f", "def f(n, x):\n    return TABLE[n](x)", 5)
    new = must_enter(placed(("TABLE", table, 1), reader), placed(("TABLE", table.replace("2", "3"), 1), reader))[1]
    assert names(new) == [("TABLE", 1), ("TABLE", 2), ("f", 6)]
    body = "def {}(x):\n    y = np.sort(x)\n    z = y.cumsum()\n    return z[{}]"
    sides = [placed((name, body.format(name, at), 1)) for name, at in (("first", 0), ("of_sorted", -1))]
    assert [names(m) for m in must_enter(*sides)] == [[("first", 2), ("first", 4)], [("of_sorted", 2), ("of_sorted", 4)]]
    assert [i.silent for i in items("def f():\n    raise ValueError(1)")] == [False, True]
    assert [i.first for i in items('class Fault(ValueError):\n    """No more than a name."""')] == [1, 2]


def test_names_that_mean_something_else_are_entered_where_they_are_read():
    f = "def f(x):\n    y = p(x)\n    return y - q(x) + 1"
    one, two = ("a", "def a(x):\n    return x"), ("b", "def b(x):\n    return -x")
    swap = [[("p", *x), ("q", *y)] for x, y in ((one, two), (two, one))]
    sides = [placed((*one, 1), (*two, 5), ("f", f, 9, links)) for links in swap]
    assert [names(m) for m in must_enter(*sides)] == [[("f", 10), ("f", 11)]] * 2


def test_what_nothing_can_call_need_not_be_entered():
    model = "class M:\n    def run(self):\n        return {}\n\n    def tell(self):\n        return words({})\n"
    words = ("words", "def words(x):\n    return x + {}", 9)
    f = ("f", "def f(x):\n    return M().run()", 12)

    def parts(a, b, c):
        return placed(("M", model.format(a, b), 1), (words[0], words[1].format(c), 9), f)
    assert must_enter(parts(1, 1, 1), parts(1, 2, 2)) == ([], [])
    assert names(must_enter(parts(1, 1, 1), parts(2, 2, 2))[1]) == [("M", 3)]
    for reads in ("M().tell()", "getattr(M(), 'tell')()"):
        f = ("f", f"def f(x):\n    return {reads}", 12)
        assert names(must_enter(parts(1, 1, 1), parts(1, 2, 2))[1]) == [("M", 6), ("words", 10)]


def test_what_was_not_entered_is_missed():
    must = [Must("f", "a.py", 3, 4, False), Must("h", "a.py", 8, 8, True)]
    assert missed(must, [("a.py", 4), ("b.py", 8)], False) == must[1:] and missed(must, [("a.py", 4)], True) == []
    assert missed(must, [("b.py", 4)], True) == must[:1]


@pytest.fixture
def book(mini, edit, recorded, monkeypatch):
    """The mini book with its own ``lib``, in a repository whose last commit holds a fresh record."""
    edit("from lib.papers import probabilistic_stability as instrument  # what a chapter reaches, its siblings apart\n", "")
    edit('    return {"x"', '    scale = 1.0\n    if len(seeds) > 60:\n        scale = scale * 1\n    return {"x"')
    edit("normal() + SHIFT", "normal() * scale + SHIFT")
    shutil.copytree(LIB, mini / "lib", ignore=shutil.ignore_patterns("__pycache__", "papers", "data", "steps"))
    shutil.copytree(LIB / "data", mini / "lib" / "data", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(mini), "-c", "user.name=a", "-c", "user.email=a@b"]

    def commit():
        subprocess.run([*git, "add", "book", "lib", "_toc.yml"], check=True)
        subprocess.run([*git, "commit", "-qm", "as it is"], check=True)
    subprocess.run([*git, "init", "-q"], check=True)
    recorded()
    commit()
    return commit


def stale():
    call = module.record.calls(chapter("mini"), ["E1"], "cpu")["E1"]
    return evidence.read_record("mini", "E1", call.recipe)


def test_a_clean_up_keeps_the_record_with_its_transcript(book, edit, mini):
    before = stale().x.tobytes()
    assert "is fresh" in same(chapter("mini"), ["E1"])[0]
    edit("Shifted normal numbers, one a seed.", "Shifted normal numbers; one a seed.\n\n    They are independent.\n    ")
    edit("np.random.default_rng(s).normal() * scale + SHIFT for s in seeds", "one(s, scale) for s in seeds")
    edit("def draw(seeds)", "def one(s, scale):\n    return SHIFT + scale * np.random.default_rng(s).normal()\n\n\n"
                            "def draw(seeds)")
    assert stale().stale
    assert "same bits" in same(chapter("mini"), [])[0]
    kept = stale()
    assert kept.stale is None and kept.x.tobytes() == before
    [told] = kept.info["same"]
    assert told["changed"] == ["draw", "one"] and told["seeds"] == 2 and told["shrink"] == "1/64"
    assert state(kept).startswith("checked the same: the text of ")
    book()
    edit("SHIFT + scale *", "SHIFT + 1.0 * scale *")  # the next clean-up starts from this one
    assert "same bits" in same(chapter("mini"), ["E1"], block=True)[0]
    assert [t.get("block") for t in stale().info["same"]] == [None, 1]


@pytest.mark.parametrize("old, new, word", [
    ("scale + SHIFT", "scale + SHIFT * 1.0000001", "`x` is not the same, bit by bit, from seed 0"),
    ("scale = scale * 1\n", "scale = scale * 2\n", r"line \d+ of book/part/mini.md in `draw` changed and was not entered by "
                                                   "the text that made it"),
    ("SHIFT = 3.0", "SHIFT = 3.5", "not the same"), ('"n": (8, 64,', '"n": (8, 65,', "parameter seeds changed"),
    ('return {"x"', 'return {"y"', "x, y is returned by one text only"),
    ("scale = 1.0\n", "scale = 1 / 0\n", "today's text failed: ZeroDivisionError"),
    ("def draw", "import functools\n\n\n@functools.cache\ndef jit(x):\n    return x\n\n\n@jit\ndef draw", "is compiled")])
def test_what_is_not_shown_to_be_the_same_stays_stale(book, edit, old, new, word):
    edit(old, new)
    with pytest.raises(SameError, match=word) as e:
        same(chapter("mini"), ["E1"])
    assert "\n" not in str(e.value) and stale().stale and "same" not in stale().info


def test_a_base_that_does_not_hold_the_text_is_refused(book, edit, mini):
    edit("scale + SHIFT", "scale + 1.0 * SHIFT")
    book()
    edit("scale + 1.0 * SHIFT", "scale + SHIFT * 1.0")
    with pytest.raises(SameError, match="stale at .* already .draw.*name one that does with --base"):
        same(chapter("mini"), ["E1"], base="HEAD")
    assert "same bits" in same(chapter("mini"), ["E1"])[0]
    edit("SHIFT * 1.0", "SHIFT * 1")
    with pytest.raises(SameError, match="git ls-tree failed"):
        same(chapter("mini"), ["E1"], base="nowhere")
    with pytest.raises(SameError, match="no record of E7"):
        same(chapter("mini"), ["E7"])


def test_other_packages_and_another_lib_are_refused(book, edit, mini, monkeypatch):
    edit("scale + SHIFT", "scale + 1.0 * SHIFT")
    run = module._run

    def older(tree, *args):
        out = run(tree, *args)
        return {**out, "versions": {**out["versions"], "numpy": "1.0"}} if tree != module.paths.home() else out
    with monkeypatch.context() as m:
        m.setattr(module, "_run", older)
        with pytest.raises(SameError, match="with other packages .numpy"):
            same(chapter("mini"), ["E1"])
    shutil.rmtree(mini / "lib")
    with pytest.raises(SameError, match="lib comes from"):
        same(chapter("mini"), ["E1"])


def test_other_data_are_refused(book, edit):
    edit("scale + SHIFT", "scale + 1.0 * SHIFT")
    call = module.record.calls(chapter("mini"), ["E1"], "cpu")["E1"]
    now = {"recipe": {**call.recipe.to_json(), "data": {"digits": "0" * 64}}, "texts": call.recipe.texts()}
    with pytest.raises(SameError, match="^data set digits changed, which asks for other numbers; record again"):
        module._changed(chapter("mini"), "E1", "0" * 40, {"stale": []}, now, False)


def test_what_the_clock_says_is_left_aside(book, edit, recorded, mini):
    edit("import numpy as np\n", "import time\n\nimport numpy as np\n")
    edit('return {"x"', 'return {"seconds": [time.perf_counter() for s in seeds], "x"')
    edit("seeds=run.seeds(S.n))", "seeds=run.seeds(S.n), alone=True)")
    recorded()
    book()
    edit("scale + SHIFT", "scale + 1.0 * SHIFT")
    same(chapter("mini"), ["E1"])
    assert stale().info["same"][0]["aside"] == ["seconds"] and "seconds aside" in state(stale())
    assert json.loads(evidence.record_file("mini", "E1").read_text())["same"] and np.isfinite(stale()["seconds"]).all()


def test_where_all_is_read_from_the_clock_another_experiment_must_show_it(book, edit, recorded, mini):
    edit("import numpy as np\n", "import time\n\nimport numpy as np\n")
    edit("def draw", "def one(s):\n    return np.random.default_rng(s).normal()\n\n\n"
                     "def timed(seeds):\n    took = [one(s) * 0 + time.perf_counter() for s in seeds]\n"
                     "    return {'took': took}\n\n\ndef draw")
    edit("np.random.default_rng(s).normal() * scale", "one(s) * scale")
    edit("E1 = run", "E2 = run.experiment(\"E2\", timed, seeds=run.seeds(S.n), alone=True)\nE1 = run")
    module.record.block(chapter("mini"), "E2", 0, "cpu")
    module.record.write(chapter("mini"), "E2", "cpu")
    recorded()
    book()
    edit("return np.random.default_rng(s).normal()", "return 1.0 * np.random.default_rng(s).normal()")
    with pytest.raises(SameError, match="E2: all that it returns is read from the clock"):
        same(chapter("mini"), ["E2"])
    assert len(same(chapter("mini"), [])) == 2
    [told] = evidence.read_record("mini", "E2").info["same"]
    assert told["by"] == "E1" and told["aside"] == ["took"]
