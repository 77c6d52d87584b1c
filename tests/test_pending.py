"""Cells that need absent evidence are cut; what the walk misses fails loudly."""

import ast

import pytest

from lib.pending import Absent, AbsentError, PendingCells, judged


class Cut:
    """Runs cells through the transformer, as a kernel would."""

    def __init__(self, recorded=()):
        self.ns, self.shown = {"run": self, "claims": self}, []
        self.cells = PendingCells(lambda id, only: only != "full" and id in recorded, self.ns,
                                  lambda needs, ids: self.shown.append((needs, ids)))
        self.recorded = recorded

    def experiment(self, id, value, only=None):
        return value if only != "full" and id in self.recorded else Absent(frozenset({id}))

    def judge(self, id, **values):
        self.shown.append(("judged", id, values))

    def run(self, code):
        exec(compile(self.cells.visit(ast.parse(code)), "cell", "exec"), self.ns)
        return self.ns


def test_a_cell_that_needs_it_is_reduced_to_its_definitions():
    k = Cut()
    k.run("N = 3\nE1 = run.experiment('E1', N)\ndef f(x):\n    return x + 1\nclaims.judge('C1', x=E1)\nk = f(1)")
    assert k.shown == [(["E1"], ["C1"])] and k.ns["f"](1) == 2 and type(k.ns["E1"]) is Absent and type(k.ns["k"]) is Absent
    k.run("z = k\nclaims.judge('C2', x=2)")
    assert k.shown[1] == (["E1"], ["C2"])


def test_cells_that_do_not_need_it_run():
    k = Cut()
    k.run("E1 = run.experiment('E1', 3)")
    k.run("y = 2\nclaims.judge('C2', x=y)")
    assert k.shown == [("judged", "C2", {"x": 2})] and k.ns["y"] == 2


def test_recorded_experiments_of_a_cut_cell_still_count():
    k = Cut(recorded=("E2",))
    k.run("E1 = run.experiment('E1', 3)")
    k.run("N = 4\nE2 = run.experiment('E2', N)\nclaims.judge('C1', x=E1)")
    assert k.ns["E2"] == 4 and k.shown == [(["E1"], ["C1"])]
    k.run("claims.judge('C2', x=E2)")
    assert k.shown[-1] == ("judged", "C2", {"x": 4})


def test_functions_that_read_it_taint_their_callers():
    k = Cut()
    k.run("E1 = run.experiment('E1', 3)\ndef f():\n    return E1 + 1")
    k.run("claims.judge('C1', x=f())")
    assert k.shown == [(["E1"], ["C1"])]
    k.run("def f():\n    return 1")
    k.run("claims.judge('C2', x=f())")
    assert k.shown[-1] == ("judged", "C2", {"x": 1})


@pytest.mark.parametrize("use", [lambda a: a + 1, lambda a: a.x, lambda a: a["x"], bool, len, float, list, str, repr,
                                 lambda a: a == 1, lambda a: f"{a}", lambda a: a(), lambda a: 1 in a])
def test_any_use_of_an_absent_result_raises(use):
    with pytest.raises(AbsentError, match="E1"):
        use(Absent(frozenset({"E1"})))


def test_judged_claims_are_read_from_the_cell():
    assert judged("claims.judge('C1', x=1)\nif x:\n    claims.judge('C2', y=2)") == ["C1", "C2"]


def test_containers_that_were_filled_in_place_are_absent_too():
    k = Cut(recorded=("E2",))
    k.run("rows = []\nE2 = run.experiment('E2', 4)\nE1 = run.experiment('E1', 3)")
    k.run("rows.append(E2)")
    k.run("rows.append(E1)")
    k.run("claims.judge('C1', x=rows)")
    assert k.shown[-1] == (["E1"], ["C1"])


def test_an_experiment_of_the_other_size_pends_too():
    k = Cut(recorded=("E1", "E2"))
    k.run("E1 = run.experiment('E1', 3)\nE2 = run.experiment('E2', 3, only='full')")
    k.run("claims.judge('C1', x=E1)")
    k.run("claims.judge('C2', x=E2)")
    assert k.shown == [("judged", "C1", {"x": 3}), (["E2"], ["C2"])]
