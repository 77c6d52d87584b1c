"""Moments, bounds, episodes and certificates of the chapter "few-shot-collapse" against closed forms and plain loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

from book.representations.few_shot_collapse import drawings, exercises, experiments, wider
from lib import data, stats
from lib.papers import few_shot_collapse as fs
from lib.papers.few_shot_collapse import episodes, theorems


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def clouds(C=6, m=40, p=5, spread=0.3, seed=0):
    g = gen(seed)
    mean = torch.randn(C, 1, p, generator=g, dtype=torch.float64)
    return mean + spread * torch.randn(C, m, p, generator=g, dtype=torch.float64)


def test_moments_agree_with_a_loop_over_pairs():
    z = clouds()
    m = fs.moments(z)
    for i in range(6):
        for j in range(6):
            if i != j:
                delta = z[i].mean(0) - z[j].mean(0)
                s = [torch.cov(z[c].T, correction=0) for c in (i, j)]
                d2 = float(delta @ delta)
                assert float(m.V[i, j]) == pytest.approx(float(s[0].trace()) / d2)
                assert float(m.directional[i, j]) == pytest.approx(float(delta @ s[0] @ delta) / d2**2)
                assert float(m.traces[i, j]) == pytest.approx(float((s[0] @ s[1]).trace()))
    V = fs.cdnv(z)
    assert torch.allclose(V, V.T, equal_nan=True) and V.diagonal().isnan().all()
    assert float(V.nanmean()) == pytest.approx(float(m.V[~torch.eye(6, dtype=torch.bool)].mean()))  # both conventions


def test_cdnv_of_points_is_zero_and_scale_and_rotation_leave_it():
    points = torch.tensor([[[0.0, 1.0]] * 3, [[2.0, 0.0]] * 3])
    assert float(fs.cdnv(points)[0, 1]) == 0
    z, q = clouds(), torch.linalg.qr(torch.randn(5, 5, generator=gen(3), dtype=torch.float64)).Q
    assert torch.allclose(fs.cdnv(z), fs.cdnv(7 * z @ q + 1), equal_nan=True)
    labels = torch.arange(6).repeat_interleave(40)
    assert torch.allclose(fs.cdnv(z), fs.cdnv(z.reshape(-1, 5), labels), equal_nan=True)
    wide = torch.cat([z, torch.randn(6, 40, 1, generator=gen(4), dtype=torch.float64)], 2)
    assert (fs.cdnv(wide) > fs.cdnv(z))[0, 1:].float().mean() > 0.7


def test_directional_is_never_above_the_whole():
    m = fs.moments(clouds(spread=1.0))
    assert bool((m.directional <= m.V + 1e-12)[~torch.eye(6, dtype=torch.bool)].all())


@pytest.mark.parametrize("n", [1, 5, 20])
def test_bounds_hold_on_gaussian_classes_and_average_to_the_theorem(n):
    g, p = gen(n), 8
    sd = torch.rand(2, p, generator=g, dtype=torch.float64) * 0.3
    delta = torch.randn(p, generator=g, dtype=torch.float64)
    delta /= delta.norm()
    V = (sd**2).sum(1)
    hits = [int((experiments._margins(g, sd[i], sd[1 - i], (-1) ** i * delta, n, 40_000) <= 0).sum()) for i in (0, 1)]
    error = sum(hits) / 80_000
    a = [float(theorems.by_distance(V[i], V[1 - i], n)) for i in (0, 1)]
    assert error <= sum(a) / 2 <= theorems.constant(n) * float(V.mean()) <= 8 * (1 + 1 / n) * float(V.mean()) + 1e-12
    along, dots = (sd**2 * delta**2).sum(1), sd**2 @ (sd**2).T
    v = torch.stack([theorems.signal(along[i], along[1 - i], dots[i, i], dots[i, 1 - i], n) for i in (0, 1)])
    b = theorems.by_direction(V, v, n)
    near = torch.stack([theorems.gaussian(V[i], V[1 - i], v[i], dots[i, i], dots[1 - i, 1 - i], n)[1] for i in (0, 1)])
    assert error <= float(b.mean()) and abs(float(near.mean()) - error) < 0.03


def test_known_centres_and_the_two_point_law():
    W = torch.tensor([0.05, 0.2])
    assert torch.allclose(theorems.by_direction(W, 4 * W, math.inf), 4 * W / (1 + 4 * W))
    found = experiments.two_point((0.2,), 200_000, [1, 2])["error"]
    assert np.abs(found - 0.8 / 1.8).max() < 0.006


def test_margin_variance_of_gaussian_features():
    g, n = gen(5), 3
    sd, delta = torch.tensor([[0.5, 0.2], [0.3, 0.6]], dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    margins = experiments._margins(g, sd[0], sd[1], delta, n, 400_000)
    dots = sd**2 @ (sd**2).T
    v = theorems.signal(sd[0, 0] ** 2, sd[1, 0] ** 2, dots[0, 0], dots[0, 1], n) + 2 * (dots[0, 0] + dots[1, 1]) / n**2
    assert float(margins.var()) == pytest.approx(float(v), rel=0.02)
    V = (sd**2).sum(1)
    assert float(margins.mean()) == pytest.approx(float(1 + (V[1] - V[0]) / n), abs=0.01)


@pytest.mark.parametrize("head, peer", [("centre", NearestCentroid()), ("ridge", None)])
def test_heads_agree_with_scikit_learn(head, peer):
    z, k, n = clouds(4, 20, 6, 0.8), 4, 5
    i = torch.arange(80).reshape(1, 4, 20)
    got = episodes.HEADS[head](z.reshape(-1, 6), i[..., :n], i[..., n:].reshape(1, -1))[0].argmax(0).numpy()
    x, y, query = z[:, :n].reshape(-1, 6).numpy(), np.arange(k).repeat(n), z[:, n:].reshape(1, -1, 6)
    if peer:
        want = peer.fit(x, y).predict(query[0].numpy())
    else:
        mid = x.mean(0)
        lam = float(((x - mid) ** 2).sum(1).mean())
        want = Ridge(lam, fit_intercept=False).fit(x - mid, np.eye(k)[y] - 1 / k).predict(query[0].numpy() - mid).argmax(1)
    assert (got == want).all()


def test_logistic_separates_what_can_be_separated():
    assert fs.few_shot_error(clouds(6, 20, 5, 0.05), ways=5, shots=5, head="logistic", queries=5) < 0.02


def test_episodes_agree_with_a_plain_loop():
    z, g = clouds(8, 12, 3, 0.9), gen(7)
    got = fs.few_shot_error(z, ways=3, shots=2, queries=4, episodes=4000, seed=1)
    wrong = []
    for _ in range(4000):
        c = torch.randperm(8, generator=g)[:3]
        rows = [z[i][torch.randperm(12, generator=g)[:6]] for i in c]
        centre = torch.stack([r[:2].mean(0) for r in rows])
        wrong += [float((torch.cdist(r[2:], centre).argmin(1) != i).double().mean()) for i, r in enumerate(rows)]
    assert got == pytest.approx(np.mean(wrong), abs=0.015)


def test_episodes_draw_without_replacement_and_count_ties_as_errors():
    chosen, rows = episodes.draw(9, 7, 5, 6, 50, np.random.default_rng(0))
    assert all(len(set(c)) == 5 for c in chosen.tolist()) and all(len(set(r)) == 6 for e in rows.tolist() for r in e)
    assert fs.few_shot_error(torch.zeros(4, 6, 2), ways=3, shots=2, queries=3, episodes=10) == 1.0
    blocks = fs.few_shot_error(clouds(), ways=3, shots=1, queries=5, episodes=3, seed=2)
    assert 0 <= blocks <= 1


@pytest.mark.parametrize("factor, shift", [(1e30, 0.0), (1e-30, 0.0), (1.0, 1e3)])
def test_huge_tiny_and_shifted_features_keep_their_errors(factor, shift):
    z = clouds(8, 20, 4, 1.0).float()
    w = z * factor + shift
    kind = {"ways": 5, "shots": 2, "episodes": 500}
    assert fs.few_shot_error(w, **kind) == pytest.approx(fs.few_shot_error(z, **kind), abs=0.004)
    assert float(fs.pair_errors(w, 2, gen()).mean()) == pytest.approx(float(fs.pair_errors(z, 2, gen()).mean()), abs=0.004)
    noise = torch.randn(30, 20, 8, generator=gen(2)) * 1e30
    assert fs.certificate(noise, ways=5, episodes=500).error > 0.7


def test_pair_errors_are_those_of_two_ways():
    z = clouds(7, 16, 3, 0.8)
    h = fs.pair_errors(z, 2, gen(), 200)
    assert torch.equal(h, h.T) and float(h.diagonal().abs().max()) == 0
    mean = float(h.sum() / 42)
    assert mean == pytest.approx(fs.few_shot_error(z, ways=2, shots=2, queries=14, episodes=6000, seed=3), abs=0.01)


def test_certificates_cover_and_order():
    """Classes from a known law: the error on new ones lies below the limits, in nearly every draw."""
    def law(C, seed):
        g = gen(seed)
        return torch.randn(C, 1, 4, generator=g) * 2 + 0.5 * torch.randn(C, 15, 4, generator=g)
    truth = fs.few_shot_error(law(3000, 99), ways=3, shots=1, episodes=20_000)
    found = [fs.certificate(law(60, s), 0.1, ways=3, shots=1, episodes=3000, seed=s) for s in range(20)]
    for c in found:
        assert c.best <= 1 and c.error < c.episodes and c.pairs <= c.hoeffding + 0.25
    assert sum(min(c.best, c.hoeffding, c.bernstein) >= truth for c in found) >= 19
    larger = fs.certificate(law(400, 7), 0.1, ways=3, shots=1, episodes=3000)
    assert larger.best < np.mean([c.best for c in found])


def test_classes_needed_is_the_fewest():
    n = fs.classes_needed(0.02, 0.1)
    limit = lambda c: stats.kl_inverse(0.02, math.log(40) / (c // 2))  # noqa: E731
    assert limit(n) <= 0.1 < limit(n - 2)
    with pytest.raises(fs.FeaturesError, match="never certifies"):
        fs.classes_needed(0.2, 0.1)
    with pytest.raises(fs.FeaturesError, match="delta=2"):
        fs.classes_needed(0.01, 0.1, 2)


@pytest.mark.parametrize("call, word", [
    (lambda: fs.cdnv(torch.zeros(3, 4)), "classes, samples, p"), (lambda: fs.cdnv(torch.zeros(2, 3, 4)), "coincide"),
    (lambda: fs.cdnv(torch.full((2, 3, 4), torch.nan)), "NaN"), (lambda: fs.cdnv(torch.randn(1, 3, 4)), "too few"),
    (lambda: fs.cdnv(torch.randn(3, 1, 4)), "samples a class"),
    (lambda: fs.cdnv(torch.randn(6, 4), torch.zeros(5)), "do not fit"),
    (lambda: fs.bounds(clouds(), 0), "shots=0"), (lambda: fs.few_shot_error(clouds(), ways=9), "ways cannot be drawn"),
    (lambda: fs.few_shot_error(clouds(), shots=35), "samples a class"),
    (lambda: fs.few_shot_error(clouds(), head="svm"), "choose centre"), (lambda: fs.certificate(clouds(), 1.5), "delta"),
    (lambda: fs.certificate(clouds(), ways=1), "ways=1"), (lambda: fs.certificate(clouds(), shots=38), "need 48 samples"),
    (lambda: fs.pair_errors(clouds(), 40, gen()), "samples a class"),
    (lambda: fs.pair_errors(clouds(), 0, gen()), "0 shots"), (lambda: fs.few_shot_error(clouds(), episodes=0), "episodes=0")])
def test_bad_input_is_told_with_its_remedy(call, word):
    with pytest.raises(fs.FeaturesError, match=word):
        call()


def test_sample_bound_is_infinite_where_means_are_too_close():
    one = torch.tensor(1.0)
    assert torch.isinf(experiments.sample_bound(one, 0.1 * one, 10, 1.0, 0.05))
    found = experiments.from_samples((1000,), 10, 0.05, 16, [1])
    assert found["covered"][0, 0] == 1 and 1 < found["ratio"][0, 0] < 4


def test_excess_finds_a_violated_bound():
    assert theorems.excess([[500]], 1000, [[0.4]]) > 0 > theorems.excess([[380]], 1000, [[0.4]])
    assert theorems.excess([0], 100, [0.1]) == pytest.approx(-0.1)


def test_drawings_are_drawn_by_class_and_features_keep_their_shape():
    pool = drawings.Pool.of("glyphs")
    x = pool.draw(torch.tensor([3, 700]), 4, gen())
    assert x.shape == (2, 4, 24, 24) and len(pool) == len(pool.parent) > 1000
    assert torch.equal(x, pool.draw(torch.tensor([3, 700]), 4, gen()))
    nets, head = drawings.train(drawings.batches(x, 8), 2, 3, gen(), 0, at=(0,))
    assert set(nets) == {0, 3} and head.out_features == 2
    z = drawings.features(nets[3], x)
    assert z.shape == (2, 4, drawings.Encoder.width) and bool((z >= 0).all())
    assert not torch.equal(drawings.features(nets[0], x), z)


def test_a_pool_keeps_the_styles_asked_for_and_gives_each_class_its_own_images():
    x = np.arange(12, dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(8, 2).repeat(8, 3) * 20
    pool = drawings.Pool(x, np.array([1, 0] * 6))
    assert pool.x[:6, 0, 0, 0].mul(255 / 20).round().tolist() == [1, 3, 5, 7, 9, 11] and pool.count.tolist() == [6, 6]
    assert pool.draw(torch.tensor([1]), 5, gen()).shape == (1, 5, 3, 8, 8)
    images, labels = drawings.fresh(pool, torch.tensor([1, 0]), 7)(gen())
    assert images.shape == (7, 3, 8, 8) and set(labels.tolist()) <= {0, 1}
    some = drawings.Pool.of("glyphs", styles=(0, 4))
    assert 1 <= some.count[some.count > 0].min() <= some.count.max() <= 2


def test_a_bent_image_in_colour_moves_all_channels_alike():
    x = torch.rand(2, 1, 16, 16, generator=gen()).repeat(1, 3, 1, 1)
    bent = drawings.bend(x, gen(1))
    assert bent.shape == x.shape and float((bent[:, 0] - bent[:, 1]).std()) == pytest.approx(0.12 * 2**0.5, rel=0.1)


def test_the_residual_net_learns_on_letters_and_on_the_hub_s_format(monkeypatch):
    kind = {"steps": 3, "batch": 8, "widths": (8, 8), "blocks": 1, "n_target": 6, "per_class": 16, "episodes": 20,
            "seeds": [1, 2]}
    found = wider.residual("packages", (5, 10), **kind)
    assert found["V"].shape == (2, 2, 2) and found["gap"].shape == found["error"].shape == (2, 2)
    x = np.random.default_rng(0).integers(0, 255, (400, 3, 32, 32)).astype(np.uint8)
    monkeypatch.setattr(drawings.data, "cifar100", lambda: (x, np.arange(400) % 20, np.zeros(20, int)))
    assert np.isfinite(wider.residual("hub", (5, 10), **kind)["error"]).all()


@pytest.mark.skipif(not data.have("kanji"), reason="needs kanjivg")
def test_many_kanji_are_learned_and_certified():
    found = wider.many_classes((4, 40), 3, 8, 12, 20, (10, 20), 16, 20, 50, [3])
    assert found["V"].shape == found["error"].shape == (1, 2, 2) and found["limits"].shape == (1, 2, 2)
    assert (found["limits"] <= 1).all() and (found["new"] > 0).all()


@pytest.mark.skipif(not data.have("emoji"), reason="needs the packages of emoji")
def test_each_vendor_is_seen_and_not_seen():
    found = wider.other_vendor(20, 3, 8, 12, 16, 20, [3])
    assert found["V"].shape == found["error"].shape == (1, 3, 2) and (found["V"] > 0).all()


def test_whitened_source_has_unit_covariance_without_shrinkage():
    z = clouds(10, 200, 4, 0.7)
    w = experiments.whitened(z, z, 0.0)
    r = (w - w.mean(1, keepdim=True)).reshape(-1, 4)
    assert torch.allclose(r.T @ r / len(r), torch.eye(4, dtype=torch.float64), atol=1e-8)


def test_the_split_is_disjoint():
    parts = experiments.split(100, 400, 400, 5, torch.arange(1039))
    assert len(set(torch.cat(parts).tolist())) == 900


def test_the_exercise_fails_the_stub_and_three_wrong_answers(cell):
    def stub(V):
        raise NotImplementedError
    right = cell("few-shot-collapse", "solution-two-point")["solved_two_point"]
    assert exercises.check_two_point(right) == "right" and "not written" in exercises.check_two_point(stub)
    wrongs = (lambda V: ([-V**0.5, V**0.5], [0.5, 0.5]), lambda V: ([-0.5, 0.5], [0.4, 0.6]),
              lambda V: ([0.0, 0.0], [0.5, 0.5]), lambda V: ([1.0], [1.0]))
    assert all(exercises.check_two_point(w).startswith("wrong") for w in wrongs)
