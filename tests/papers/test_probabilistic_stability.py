"""Scalar laws, thresholds, phases, verdicts and the simulation engine of `lib.papers.probabilistic_stability`.

Reference numbers: closed forms of chapter "probabilistic-stability" (arXiv:2303.13093), recomputed here with mpmath
where a second route exists.
"""

from __future__ import annotations

import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest

from lib.papers import probabilistic_stability as ps
from lib.papers.probabilistic_stability import _law

C_STAR = 1.5560365


def quadrature(law, lam):
    """The exponent by the general rule, past the closed form of the law."""
    return float(_law.Law._lyapunov(law, np.array([float(lam)]))[0])


def test_import_is_light():
    code = (
        "import sys; from lib.papers import probabilistic_stability as ps; ps.gaussian(0.0, 1.0); "
        "print([m for m in ('torch', 'numba', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lam", "A", "B", "expected"),
    [(0.7, -0.5, 1.9, -0.976617539), (1.3, -2, 3, 0.184465074), (3, 0, 1, -0.537901880)],
)
def test_uniform_exponent(lam, A, B, expected):
    law = ps.uniform(A, B)
    assert law.lyapunov(lam) == pytest.approx(expected, abs=1e-9)
    assert quadrature(law, lam) == pytest.approx(law.lyapunov(lam), abs=1e-13)


def test_uniform_exponent_keeps_digits_at_small_rates():
    law, lam = ps.uniform(-0.5, 1.9), 1e-6
    second_order = -lam * law.mean - lam**2 * law.second / 2
    assert law.lyapunov(lam) == pytest.approx(second_order, rel=1e-10)
    assert quadrature(law, lam) == pytest.approx(second_order, rel=1e-10)


@pytest.mark.parametrize("nu", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("sigma", [0.05, 0.1118, 0.112, 0.3, 1.0, 1.7])
def test_gaussian_exponent_is_the_hypergeometric_form(nu, sigma):
    with mp.workdps(60):
        a = mp.mpf(nu) ** 2 / (2 * mp.mpf(sigma) ** 2)
        hyper = mp.hyp2f2(1, 1, mp.mpf(3) / 2, 2, -a)
        expected = float(mp.log(sigma) - (mp.euler + mp.log(2)) / 2 + a * hyper)
    law = ps.gaussian(1 - nu, sigma)
    assert law.lyapunov(1.0) == pytest.approx(expected, abs=5e-14)
    assert quadrature(law, 1.0) == pytest.approx(expected, abs=5e-14)


def test_gaussian_known_values():
    assert ps.gaussian(0, 1).lyapunov(1.0) == pytest.approx(-0.208495818, abs=1e-9)
    assert ps.gaussian(0, 0.3).lyapunov(1.0) == pytest.approx(-0.054620753, abs=1e-9)
    assert ps.gaussian(1, 1).lyapunov(1.0) == pytest.approx(-(np.log(2) + np.euler_gamma) / 2, abs=1e-15)


def test_gamma_of_one_sample_is_the_squared_gaussian():
    lam = np.array([0.3, 0.9, 1.7, 2.4, 5.0])
    by_gaussian = 2 * ps.gaussian(0, 1).lyapunov(np.sqrt(lam))  # log|1 - lam x^2| = log|1 - sqrt(lam) x| + log|1 + ...|
    np.testing.assert_allclose(ps.squared_gaussian().lyapunov(lam), by_gaussian, atol=1e-13)


def test_density_agrees_with_the_laws_it_copies():
    lam = np.array([-1.0, 0.0, 0.2, 1.0, 1.3, 4.0])

    def normal(h):
        return np.exp(-((h - 0.4) ** 2) / (2 * 0.7**2)) / (0.7 * np.sqrt(2 * np.pi))

    copy = ps.density(normal, (-np.inf, np.inf), breaks=(-2, 0.4, 3))
    law = ps.gaussian(0.4, 0.7)
    np.testing.assert_allclose(copy.lyapunov(lam), law.lyapunov(lam), atol=1e-12)
    np.testing.assert_allclose(
        copy.moment([0.5, 1, 2, 3, 7, 0.1], lam), law.moment([0.5, 1, 2, 3, 7, 0.1], lam), atol=1e-11
    )
    assert (copy.mean, copy.second) == (pytest.approx(0.4), pytest.approx(0.4**2 + 0.7**2))
    flat = ps.density(lambda h: np.full(np.shape(h), 0.5), (0, 2))
    np.testing.assert_allclose(flat.lyapunov(lam), ps.uniform(0, 2).lyapunov(lam), atol=1e-13)


def test_heavy_tailed_density():
    cauchy = ps.density(lambda h: 1 / (np.pi * (1 + h**2)), (-np.inf, np.inf))
    lam = np.array([0.3, 1.0, 2.0])
    np.testing.assert_allclose(cauchy.lyapunov(lam), np.log1p(lam**2) / 2, atol=1e-12)  # log|1 + i lam|


@pytest.mark.parametrize(
    "law",
    [ps.uniform(-0.5, 1.9), ps.gaussian(0.3, 0.8), ps.gamma(0.7, 0.9), ps.two_point([1, -2, 0.5], [0.2, 0.3, 0.5])],
    ids=lambda law: type(law).__name__,
)
def test_moments_mean_second_and_sample(law):
    lam = 0.6
    exact = 1 - 2 * lam * law.mean + lam**2 * law.second
    assert law.moment(2.0, lam) == pytest.approx(np.log(exact), abs=1e-12)
    assert law.moment(0.0, lam) == pytest.approx(0, abs=1e-13)
    slope = (law.moment(1e-5, lam) - law.moment(-1e-5, lam)) / 2e-5
    assert slope == pytest.approx(law.lyapunov(lam), abs=1e-8)  # phi'(0) = Lambda
    h = law.sample(np.random.default_rng(0), 400_000)
    assert h.mean() == pytest.approx(law.mean, abs=5 * h.std() / 400_000**0.5)
    logs = np.log(np.abs(1 - lam * h))
    assert logs.mean() == pytest.approx(law.lyapunov(lam), abs=5 * logs.std() / 400_000**0.5)


def test_batches():
    assert ps.gaussian(0.3, 2.0).batch(4) == ps.gaussian(0.3, 1.0)
    assert ps.gamma(0.5, 2.0).batch(8) == ps.squared_gaussian(8)
    law = ps.two_point([1, -1], [0.7, 0.3]).batch(3)
    np.testing.assert_allclose(np.sort(law.values), [-1, -1 / 3, 1 / 3, 1])
    np.testing.assert_allclose(law.probs[np.argsort(law.values)], [0.027, 0.189, 0.441, 0.343])
    data = np.random.default_rng(3).normal(size=5)
    exact, drawn = ps.empirical(data, batch=3), ps.empirical(data, batch=3, rng=np.random.default_rng(0))
    assert exact.values.size == 35 and exact.mean == pytest.approx(data.mean())
    assert drawn.lyapunov(0.3) == pytest.approx(exact.lyapunov(0.3), abs=0.02)
    with pytest.raises(ValueError, match="use empirical"):
        ps.uniform(0, 1).batch(2)
    with pytest.raises(ValueError, match="rng"):
        ps.empirical(np.random.default_rng(0).normal(size=200), batch=20)


def test_regression_signal():
    law = ps.regression_signal(0.5, 2.0, batch=3)
    chi = law.sample(np.random.default_rng(0), 1_000_000)
    for value, sample in [
        (law.mean, chi),
        (law.second, chi**2),
        (law.lyapunov(0.3), np.log(np.abs(1 - 0.3 * chi))),
        (np.exp(law.moment(0.7, 0.3)), np.abs(1 - 0.3 * chi) ** 0.7),
    ]:
        assert sample.mean() == pytest.approx(value, abs=5 * sample.std() / 1000)
    (band,) = ps.stable_intervals(ps.regression_signal(-0.5, 8.0), high=1.0)  # Lambda_+ < 0
    assert band == (pytest.approx(0.0147, abs=5e-4), pytest.approx(0.174, abs=1e-3))
    assert ps.stable_intervals(ps.regression_signal(-1.0, 4.0), high=1.0) == ()  # though the second order names 0.105


@pytest.mark.parametrize(
    "make",
    [
        lambda: ps.uniform(1, 1),
        lambda: ps.gaussian(0, 0),
        lambda: ps.gamma(-1, 1),
        lambda: ps.squared_gaussian(0),
        lambda: ps.squared_gaussian(1.5),
        lambda: ps.two_point([1, 2], [0.5, 0.6]),
        lambda: ps.two_point([1, 2, 3], [0.5, 0.5]),
        lambda: ps.empirical([]),
        lambda: ps.empirical([1.0, np.nan]),
        lambda: ps.density(lambda h: np.exp(-(h**2)), (-np.inf, np.inf)),
        lambda: ps.density(lambda h: h, (1, 0)),
        lambda: ps.gaussian(0, 1).moment(-1.5, 0.3),
        lambda: ps.gaussian(0, 1).lyapunov(np.nan),
        lambda: ps.stable_intervals(ps.gaussian(0, 1), low=2, high=1),
        lambda: ps.phases(ps.gaussian(0, 1), -0.1),
    ],
)
def test_bad_laws(make):
    with pytest.raises(ValueError, match=r"^[^\n]{20,200}[.)]$"):
        make()


# --- thresholds, critical exponents, phases -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("S", "prob", "L2"),
    [
        (1, 2.4212, 0.667),
        (2, 2.6845, 1.0),
        (4, 2.6630, 1.333),
        (8, 2.4926, 1.6),
        (16, 2.2993, 1.778),
        (32, 2.1510, 1.882),
    ],
)
def test_thresholds_of_interpolating_regression(S, prob, L2):
    found = ps.thresholds(ps.squared_gaussian(S))
    assert found.prob_edge == pytest.approx(prob, abs=6e-5)
    assert found.L2 == pytest.approx(L2, abs=5e-4) == pytest.approx(2 / (1 + 2 / S), abs=5e-4)
    assert found.gd == 2 and len(found.prob) == 1
    assert found.L2 < found.L1 < 2 < found.prob_edge


def test_thresholds_batch_one_to_seven_digits():
    found = ps.thresholds(ps.squared_gaussian())
    assert found.prob_edge == pytest.approx(2.4212495, abs=1e-7) == pytest.approx(C_STAR**2, abs=1e-6)
    assert found.L1 == pytest.approx(1.0522, abs=5e-5)
    (band,) = ps.stable_intervals(ps.gaussian(0, 1))
    assert band == (0.0, pytest.approx(C_STAR, abs=1e-7))


def test_thresholds_of_a_saddle():
    found = ps.thresholds(ps.gaussian(-0.2, 1.0))
    assert (found.L1, found.L2, found.gd, found.prob_edge) == (0, 0, 0, 0)
    (band,) = found.prob
    assert band == (pytest.approx(0.353, abs=5e-3), pytest.approx(1.203, abs=5e-3))
    assert ps.small_rate_threshold(ps.gaussian(-0.2, 1.0)) == pytest.approx(0.4 / 1.04)


def test_critical_exponents():
    kappa = ps.critical_exponent(ps.squared_gaussian(), np.array([0.5, 0.9, 1.5, 2.2, 2.6]))
    np.testing.assert_allclose(kappa, [2.904, 1.294, 0.477, 0.079, 0.0], atol=5e-4)
    assert ps.critical_exponent(ps.uniform(0, 1), 2.0) == np.inf
    assert ps.critical_exponent(ps.gaussian(-0.2, 1.0), 0.6) < 1  # a saddle
    frozen = ps.two_point([1.0, -3.0], [0.5, 0.5])  # 1 - lam*h is 0 half of the time
    assert frozen.lyapunov(1.0) == -np.inf
    assert ps.critical_exponent(frozen, 1.0) == pytest.approx(0.5)  # 4^kappa / 2 = 1


def test_critical_signal_to_noise_ratio():
    assert len(ps.stable_intervals(ps.gaussian(-0.3281, 1.0))) == 1
    assert ps.stable_intervals(ps.gaussian(-0.3283, 1.0)) == ()
    low, high = ps.stable_intervals(ps.gaussian(-0.3281, 1.0))[0]
    assert low < 0.708 < high


def test_islands_of_finite_data():
    h = np.random.default_rng(0).normal(size=8) ** 2
    law = ps.empirical(h)
    found = ps.stable_intervals(law)
    wide = [band for band in found if band[1] - band[0] > 1e-3]
    assert wide == [
        (0.0, pytest.approx(4.2295, abs=1e-3)),
        (pytest.approx(7.584, abs=1e-3), pytest.approx(7.707, abs=1e-3)),
    ]
    assert 1 / h.min() == pytest.approx(90.9, abs=0.05)
    for low, high in found:
        assert law.lyapunov((low + high) / 2) < 0
    assert any(low < 1 / h.min() < high for low, high in found)  # the thinnest, 6e-6 wide
    grid = np.arange(1e-3, 12, 1e-3)
    inside = np.zeros(grid.size, bool)
    for low, high in found:
        inside |= (low < grid) & (grid < high)
    assert np.array_equal(inside, law.lyapunov(grid) < 0)


def test_exact_intervals_agree_with_a_grid():
    rng = np.random.default_rng(5)
    for _ in range(20):
        law = ps.empirical(rng.normal(loc=rng.uniform(-0.5, 1), size=6))
        grid = np.arange(2e-3, 8, 2e-3)
        inside = np.zeros(grid.size, bool)
        for low, high in ps.stable_intervals(law, high=8.0):
            inside |= (low < grid) & (grid < high)
        assert np.array_equal(inside, law.lyapunov(grid) < 0)


def test_phases_of_signs():
    p, lam = np.meshgrid(np.linspace(0.02, 0.98, 33), np.arange(0.05, 2.21, 0.05))
    plus = p * np.log1p(lam) + (1 - p) * np.log(np.abs(1 - lam) + 1e-300)
    minus = (1 - p) * np.log1p(lam) + p * np.log(np.abs(1 - lam) + 1e-300)
    got = np.array([ps.phases(ps.two_point([1, -1], [q, 1 - q]), lam[:, 0]) for q in p[0]]).T
    expected = np.where(
        minus < 0,
        np.where(plus < 0, "III", np.where(lam < 4 * p - 2, "Ib", "Ia")),
        np.where(plus < 0, "II", "IV"),
    )
    safe = (np.abs(plus) > 1e-9) & (np.abs(minus) > 1e-9) & (np.abs(lam - 4 * p + 2) > 1e-9)
    assert np.array_equal(got[safe], expected[safe])
    assert set(np.unique(got)) == {"Ia", "Ib", "II", "III", "IV"}
    assert ps.phases(ps.two_point([1, -1], [0.5, 0.5]), np.array([1.41, 1.42])).tolist() == [
        "III",
        "IV",
    ]  # corner sqrt 2


def test_kelly_phase():
    law = ps.two_point([4, -1], [0.25, 0.75])
    assert law.lyapunov(-0.5) == pytest.approx(-0.245, abs=5e-4)
    assert law.lyapunov(0.5) == pytest.approx(0.304, abs=5e-4)
    assert ps.phases(law, 0.5) == "II"
    gauss = ps.phases(ps.gaussian(0.2, 1.0), np.linspace(0.01, 3, 200))
    assert "II" not in gauss and {"Ia", "III", "IV"} <= set(gauss)


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_verdict():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(50, 400))
    assert ps.verdict(noise - 0.2).verdict == "stable"
    assert ps.verdict(noise[0] + 0.5).verdict == "unstable"
    undecided = ps.verdict(noise)
    assert undecided.verdict == "undecided" and undecided.low < 0 < undecided.high
    norms = np.cumsum(np.pad(noise - 0.2, ((0, 0), (1, 0))), axis=1)
    assert ps.verdict(log_norms=norms).exponent == pytest.approx(ps.verdict(noise - 0.2).exponent)
    assert ps.verdict(np.array([0.1, -np.inf, 0.2])).exponent == -np.inf


def test_verdict_covers_the_truth():
    rng = np.random.default_rng(1)
    law, lam = ps.squared_gaussian(), 1.5
    hits = 0
    for _ in range(300):
        v = ps.verdict(np.log(np.abs(1 - lam * law.sample(rng, 3000))), confidence=0.9)
        hits += v.low < law.lyapunov(lam) < v.high
    assert 0.9 - 4 * (0.09 / 300) ** 0.5 < hits / 300 < 0.9 + 4 * (0.09 / 300) ** 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: ps.verdict(),
        lambda: ps.verdict(np.zeros(3), log_norms=np.zeros(3)),
        lambda: ps.verdict(np.array([0.0, np.nan])),
        lambda: ps.verdict(np.zeros(5), confidence=1.0),
        lambda: ps.verdict(np.zeros(1)),
    ],
)
def test_bad_verdicts(call):
    with pytest.raises(ValueError, match=r"^[^\n]{20,200}\.$"):
        call()
