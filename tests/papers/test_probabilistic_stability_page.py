"""The chapter's exercises and experiments."""

import numpy as np
import pytest
from scipy.optimize import brentq

from book.dynamics.probabilistic_stability import exercises, experiments, maps
from lib.papers import probabilistic_stability as ps


def test_the_check_fails_the_stub_and_passes_the_solution(cell):
    stub = cell("probabilistic-stability", "exercise-l1", ps=ps)["first_moment_edge"]
    solution = cell("probabilistic-stability", "solution-l1", ps=ps, brentq=brentq)["solved_first_moment_edge"]
    assert exercises.check_first_moment_edge(stub).startswith("not written yet")
    assert exercises.check_first_moment_edge(solution) == "right"


@pytest.mark.parametrize("wrong, hint", [
    (lambda law: 2 * law.mean / law.second, "L2 edge"), (lambda law: ps.thresholds(law).prob_edge, "in probability"),
    (lambda law: 2 / law.mean, "not 1 there"), (lambda law: 1.0522466325270914, "not 1 there"),
    (lambda law: float("nan"), "not 1 there")])
def test_the_check_rejects_wrong_answers(wrong, hint):
    said = exercises.check_first_moment_edge(wrong)
    assert said.startswith("wrong for the") and hint in said


def test_the_phase_table_shifts_as_the_interactive_figure_assumes():
    """Phases depend on lambda m, sigma / m and the batch alone."""
    for m, sigma, B in ((0.5, 3.0, 2), (2.0, 9.0, 4)):
        rates = np.array([0.01, 0.05, 0.2])
        direct = ps.phases(ps.regression_signal(m, sigma, B), rates)
        table = experiments.phase_table((B,), (sigma / m,), rates * m)["phase"][0, 0]
        assert [("Ib", "Ia", "II", "III", "IV")[i] for i in table] == direct.tolist()


def test_experiments_give_each_seed_its_own_numbers():
    one = experiments.digits_rank((2,), (0.0, 8.0), 0.02, [100, 101], 100)["rank"]
    two = experiments.digits_rank((2,), (0.0, 8.0), 0.02, [101, 105], 100)["rank"]
    assert (one[1] == two[0]).all()


def test_theory_of_the_nonlinear_map_names_the_phases_and_leaves_slow_cells_open():
    rates, chances = np.array([0.05, 0.3]), np.array([0.05, 0.5, 0.95])
    mean, deviation = maps.drift(rates, chances)
    assert mean[1, 1] == pytest.approx(0.5 * np.log(1 - 0.3**2)) and deviation[1, 1] == pytest.approx(0.5 * np.log(1.3 / 0.7))
    expected, decided, mean_s, mean_d = maps.nonlinear_theory(rates, chances, 5000)
    assert expected.tolist() == [[-1, 0, 1], [-1, 0, 1]] and (mean_s == mean).all() and np.allclose(mean_d, mean[:, ::-1])
    assert decided[:, [0, 2]].all() and not maps.nonlinear_theory(rates, chances, 50)[1][:, 1].any()


def test_ranks_that_diverged_or_do_not_vary_have_no_correlation():
    assert maps.along([1, 2, 3], np.array([6, 4, 2])) == pytest.approx(-1)
    assert maps.along([1, 2, 3], np.array([6, -1, 2])) == 0 == maps.along([1, 2, 3], np.array([4, 4, 4]))
