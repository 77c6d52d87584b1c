"""The instrument of "ssl-clustering": closed forms, brute force, scikit-learn, and bad input."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from book.representations.ssl_clustering import exercises, experiments, tasks, training
from lib.papers import ssl_clustering as ssl
from lib.papers.ssl_clustering import objectives


def blobs(seed: int = 0, classes: int = 6, instances: int = 4, views: int = 3, p: int = 8):
    """Features, classes and instances of a small hierarchy."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(classes).repeat_interleave(instances * views)
    inst = torch.arange(classes * instances).repeat_interleave(views)
    z = torch.randn(classes, p, generator=g)[y] + 0.7 * torch.randn(classes * instances, p, generator=g)[inst]
    return z + 0.5 * torch.randn(len(y), p, generator=g), y, inst


def brute(z, y, inst) -> float:
    """Leave-one-instance-out accuracy, one row at a time."""
    right = 0
    for i in range(len(z)):
        centres = []
        for c in range(int(y.max()) + 1):
            kept = (y == c) & ((y != y[i]) | (inst != inst[i]))
            centres.append(z[kept].double().mean(0))
        right += int(torch.stack(centres).sub(z[i].double()).square().sum(1).argmin() == y[i])
    return right / len(z)


def test_accuracy_is_brute_force():
    z, y, inst = blobs()
    found = ssl.clustering(z, {"sample": inst, "class": y}, inst)
    assert found["class"].accuracy.value == pytest.approx(brute(z, y, inst))
    assert found["sample"].accuracy.value == pytest.approx(brute(z, inst, torch.arange(len(z))))
    alone = ssl.clustering(z, {"class": y})["class"]
    assert alone.accuracy.value == pytest.approx(brute(z, y, torch.arange(len(z))))
    assert 0 <= alone.accuracy.low <= alone.accuracy.value <= alone.accuracy.high <= 1
    assert np.isnan(alone.random_groups) and alone.chance == pytest.approx(1 / 6)


def test_train_accuracy_is_scikit_learn():
    z, y, inst = blobs(1)
    model = NearestCentroid().fit(z.numpy(), y.numpy())
    assert ssl.clustering(z, {"class": y}, inst)["class"].train_accuracy == pytest.approx(model.score(z.numpy(), y.numpy()))


def test_cdnv_is_that_of_features():
    from lib.features import cdnv, pairs
    z, y, inst = blobs(2)
    assert ssl.clustering(z, {"class": y}, inst)["class"].cdnv == pytest.approx(float(pairs(cdnv(z.double(), y)).mean()))
    same = torch.cat([z[:12], z[:12]])
    assert ssl.clustering(same, {"class": torch.arange(24) // 12})["class"].cdnv == math.inf


def test_chunks_give_the_same():
    z, y, inst = blobs(3)
    levels = {"sample": inst, "class": y, "half": y // 3}
    whole = ssl.clustering(z, levels, inst)
    parts = ssl.clustering(lambda: iter(z.split(7)), levels, inst)
    for name in levels:
        assert parts[name].accuracy.value == whole[name].accuracy.value
        assert parts[name].cdnv == pytest.approx(whole[name].cdnv)
        assert parts[name].random_labels == whole[name].random_labels
        assert parts[name].margin == pytest.approx(whole[name].margin)


def test_baselines_are_chance_and_grouping():
    """Tight classes: random labels fall to chance, a random grouping of tight classes does not."""
    g = torch.Generator().manual_seed(4)
    y = torch.arange(40).repeat_interleave(12)
    z = torch.randn(40, 64, generator=g)[y] + 0.01 * torch.randn(480, 64, generator=g)
    found = ssl.clustering(z, {"class": y, "group": y // 8})["group"]
    assert found.accuracy.value > 0.8 and found.random_groups > 0.8
    assert found.random_labels < 0.35 and found.chance == pytest.approx(0.2)
    noise = ssl.clustering(torch.randn(2400, 256, generator=g), {"class": torch.arange(100).repeat_interleave(24)})["class"]
    assert noise.train_accuracy > 0.5 and abs(noise.accuracy.value - 0.01) < 0.008 and abs(noise.cdnv - 11.5) < 1


def test_labels_may_be_words_and_levels_out_of_order_are_refused():
    gen = torch.Generator().manual_seed(0)
    fine = torch.arange(8).repeat_interleave(6)
    z = torch.nn.functional.one_hot(fine, 8).double() + 0.5 * torch.randn(48, 8, generator=gen, dtype=torch.float64)
    words = np.array(["ab cd ef gh ij kl mn op".split()[i] for i in fine])
    due = ssl.clustering(z, {"fine": fine, "coarse": fine // 2})
    found = ssl.clustering(z.numpy(), {"fine": words, "coarse": (fine // 2).tolist()})
    for level in ("fine", "coarse"):
        assert found[level].accuracy == due[level].accuracy and found[level].cdnv == due[level].cdnv
    assert np.isfinite(found["coarse"].random_groups)
    with pytest.raises(ssl.FeaturesError, match="give the finest first"):
        ssl.clustering(z, {"coarse": fine // 2, "fine": fine})
    for wrong in ([fine // 2, fine], [fine, (fine + torch.arange(48)) % 2]):
        with pytest.raises(ssl.FeaturesError, match="must lie within"):
            ssl.shares(z, wrong)
    assert (ssl.shares(z, [words, fine // 2]) >= 0).all()


def test_shares_add_up_and_find_the_level():
    y = torch.arange(6).repeat_interleave(4)
    z = torch.eye(6)[y].repeat(1, 2)
    s = ssl.shares(z + 0, [torch.arange(24), y, y // 2])
    assert float(s.sum()) == pytest.approx(1) and float(s[2:].abs().max()) < 1e-12 and float(s[1]) > 0.5
    with pytest.raises(ssl.FeaturesError, match="no variance"):
        ssl.shares(torch.ones(4, 2), [torch.tensor([0, 0, 1, 1])])


@pytest.mark.parametrize("labels, instances, words", [
    ({"class": torch.tensor([0, 0, 1])}, None, "one row or instance"),
    ({"class": torch.tensor([0, 0])}, None, "one label for each"),
    ({"class": torch.tensor([0, 0, 0])}, None, "one class"),
    ({}, None, "no level"),
])
def test_bad_labels(labels, instances, words):
    with pytest.raises(ssl.FeaturesError, match=words):
        ssl.clustering(torch.randn(3, 4), labels, instances)


def test_bad_features():
    y = torch.tensor([0, 0, 1, 1])
    with pytest.raises(ssl.FeaturesError, match="NaN"):
        ssl.clustering(torch.tensor([[1.0], [2.0], [math.nan], [0.0]]), {"class": y})
    with pytest.raises(ssl.FeaturesError, match="one row each"):
        ssl.clustering(torch.randn(4), {"class": y})
    with pytest.raises(ssl.FeaturesError, match="do not fit"):
        ssl.clustering(lambda: iter([torch.randn(3, 2)]), {"class": y})
    with pytest.raises(ssl.FeaturesError, match="more features than labels"):
        ssl.clustering(lambda: iter([torch.randn(5, 2)]), {"class": y})
    with pytest.raises(ssl.FeaturesError, match="several labels"):
        ssl.clustering(torch.randn(6, 2), {"class": torch.tensor([0, 1, 0, 1, 0, 1])}, torch.tensor([0, 0, 1, 1, 2, 2]))


# ---- objectives

def test_vicreg_terms():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(64, 16, generator=g, dtype=torch.float64)
    s, v, c = objectives.terms(z, z)
    assert float(s) == 0
    white = torch.linalg.qr(z - z.mean(0))[0] * math.sqrt(63 * 1.01)
    white = white - white.mean(0)
    _, v, c = objectives.terms(white, white)
    assert float(v) == 0 and float(c) < 1e-12
    s, v, c = objectives.terms(torch.ones(8, 4), torch.ones(8, 4))
    assert float(v) == pytest.approx(1 - math.sqrt(1e-4)) and float(c) == 0
    wide = torch.randn(8, 32, generator=g, dtype=torch.float64)
    C = torch.cov(wide.T)
    assert float(objectives.covariance(wide)) == pytest.approx(float((C.square().sum() - C.diagonal().square().sum()) / 32))
    assert float(objectives.covariance(z)) == pytest.approx(
        float((torch.cov(z.T).square().sum() - torch.cov(z.T).diagonal().square().sum()) / 16))


def test_simclr_of_equal_features():
    z = torch.ones(64, 8)
    pull, push = ssl.simclr(z, z)
    assert float(pull + push) == pytest.approx(math.log(127), abs=1e-4)


def test_barlow_twins_and_spectral_at_their_optimum():
    g = torch.Generator().manual_seed(0)
    z = torch.linalg.qr(torch.randn(64, 8, generator=g, dtype=torch.float64) -
                        torch.randn(64, 8, generator=g, dtype=torch.float64).mean(0))[0]
    z = torch.linalg.qr(z - z.mean(0))[0] * 8
    pull, push = ssl.barlow_twins(z, z)
    assert float(pull) < 1e-5 and float(push) < 1e-12
    pull, push = ssl.spectral(torch.eye(4), torch.eye(4))
    assert float(pull) == -2 and float(push) == 0


def test_simclr_is_cross_entropy():
    g = torch.Generator().manual_seed(1)
    z1, z2 = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    scores = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
    wanted = torch.nn.functional.cross_entropy(scores, torch.arange(10).roll(5))
    assert float(sum(ssl.simclr(z1, z2))) == pytest.approx(float(wanted), rel=1e-5)


def test_bad_objectives():
    with pytest.raises(ssl.ClusteringError, match="choose VICReg"):
        ssl.objective("BYOL")
    with pytest.raises(ssl.ClusteringError, match="cannot be compared"):
        ssl.vicreg(torch.ones(4, 2), torch.ones(3, 2))


# ---- the theorem

@pytest.mark.parametrize("d, lam, mu, nu", [(3, 25, 100, 25), (15, 25, 100, 25), (15, 25, 25, 1), (31, 25, 25, 1)])
def test_optimum_is_found_by_descent(d, lam, mu, nu):
    H = ssl.Hierarchy(4, 4, 4, 0.02, 0.06, 0.22)
    found = ssl.optimum(*H.bands, d, lam, mu, nu, branches=1)
    Z = ssl.fit(H.kernel(), d, lam, mu, nu, 1200, torch.Generator().manual_seed(0))
    above, own = H.labels()
    assert np.abs(ssl.shares(Z, [own, above]).numpy() - found.share).max() < 0.01
    assert float(Z.std(0, unbiased=False).mean()) == pytest.approx(found.std, abs=0.01)


def test_kernel_has_its_bands():
    H = ssl.Hierarchy(2, 3, 4, 0.1, 0.2, 0.3)
    e, m = H.bands
    seen = torch.linalg.eigvalsh(H.kernel()).flip(0).numpy()
    assert np.allclose(seen, np.concatenate([[1.0], np.repeat(e, m)]))


def test_water_levels():
    e, m = [0.98, 0.92, 0.70], [3, 12, 48]
    assert ssl.water(e, m, 3, 1.0).used.tolist() == [3, 0, 0]
    assert ssl.water(e, m, 15, 25.0).used.tolist() == [3, 12, 0]
    assert ssl.water(e, m, 31, 1.0).used.tolist() == [3, 12, 16]
    assert ssl.water(e, m, 15, math.inf).energy.tolist() == [15, 0, 0]
    for ratio in (0.5, 3.0, 25.0, 250.0):
        w = ssl.water(e, m, 20, ratio)
        assert w.energy.sum() == pytest.approx(20) and (w.energy >= 0).all() and w.used.sum() <= 20
    with pytest.raises(ssl.ClusteringError, match="positive ratio"):
        ssl.water(e, m, 3, 0.0)


def test_forecast_finds_the_graph():
    """Features that span the graph: canonical correlations are its eigenvalues, and the embedding is the optimum."""
    H = ssl.Hierarchy(3, 2, 2, 0.0, 0.3, 0.3)
    views = torch.eye(12, dtype=torch.float64).expand(2, 12, 12)[..., :11]  # a view is its image
    known = ssl.forecast(views, H.kernel(), ridge=1e-9)
    e, m = H.bands
    assert np.allclose(known.e, np.repeat(e, m), atol=1e-6)
    best = known.optimum(8, 25.0, math.inf, 5.0)
    z = known.embed(views[0], best)
    above, own = H.labels()
    assert np.allclose(ssl.shares(z, [own, above]).numpy(), ssl.optimum(e, m, 8, 25.0, math.inf, 5.0).share, atol=1e-6)
    with pytest.raises(ssl.ClusteringError, match="several views"):
        ssl.forecast(views[0])
    assert np.allclose(ssl.forecast(views.numpy(), H.kernel(), ridge=1e-9).e, known.e)


# ---- views

@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_views(channels):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(6, channels, 24, 24, generator=g)
    a, b = (ssl.augment(x, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert a.shape == x.shape and torch.equal(a, b)
    assert not torch.equal(a, ssl.augment(x, torch.Generator().manual_seed(2)))
    with pytest.raises(ssl.ClusteringError, match="1 or 3"):
        ssl.augment(x[:, 0], g)




# ---- tasks, training, experiments

def test_tasks_have_their_hierarchy():
    task = tasks.letters(4)
    assert len(task) == 5 * 4 * 12 and list(task.levels) == ["sample", "letter", "script"]
    letter, script = task.levels["letter"], task.levels["script"]
    assert (letter.bincount() == 12).all() and (script.bincount() == 48).all()
    assert all(len(script[letter == c].unique()) == 1 for c in range(20)) and task.style.tolist() == list(range(12)) * 20
    emoji = tasks.emoji(30)
    assert (emoji.levels["name"].bincount() == 3).all() and (emoji.levels["subgroup"].bincount() == 90).all()
    assert emoji.x.shape[1:] == (3, 24, 24) and 0 <= float(emoji.x.min()) and float(emoji.x.max()) <= 1
    with pytest.raises(ssl.ClusteringError, match="ask for fewer"):
        tasks.letters(400)
    with pytest.raises(ssl.ClusteringError, match="ask for fewer"):
        tasks.emoji(200)


def test_cifar_is_read_by_classes(monkeypatch):
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    fake = np.arange(9, dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(32, 2).repeat(32, 3), y, np.array([0, 1, 0])
    monkeypatch.setattr(tasks.data, "cifar100", lambda: fake)
    task = tasks.cifar100(2)
    assert list(task.levels) == ["sample", "class", "superclass"] and task.levels["class"].tolist() == [0, 0, 1, 1, 2, 2]
    assert task.levels["superclass"].tolist() == [0, 0, 1, 1, 0, 0]
    assert (task.x[:, 0, 0, 0] * 255).tolist() == [0, 3, 1, 4, 2, 5]


def test_training_is_the_same_twice_and_looks_when_asked():
    x, seen = tasks.letters(3).x, []
    for _ in range(2):
        looks = []
        training.train(x, ssl.objective("VICReg"), 3, 16, torch.Generator().manual_seed(1), 1,
                       lambda t, f, head, looks=looks: looks.append((t, head(f(x[:20])).sum().item())), at=(0, 2))
        seen.append(looks)
    assert seen[0] == seen[1] and [t for t, _ in seen[0]] == [0, 2, 3] and len({v for _, v in seen[0]}) == 3


@pytest.mark.parametrize("net", list(training.NETS))
def test_depths_end_in_the_features(net):
    encoder = training.NETS[net](1, 4)
    x = torch.rand(6, 1, 24, 24)
    assert torch.allclose(encoder.depths(x)[-1], encoder(x), atol=1e-6) and len(encoder.depths(x)) == 5
    assert encoder(x).shape == (6, encoder.width)


def test_planted_partners_follow_their_kernel():
    bench = experiments.Bench(tasks.letters(2), 0)
    partner, P = experiments.planted(bench, (0.1, 0.3, 0.3))
    assert torch.allclose(P.sum(1), torch.ones(len(P), dtype=P.dtype)) and torch.allclose(P, P.T)
    i = torch.full((40_000, ), 17)
    j = partner(i, torch.Generator().manual_seed(0))
    share = j.bincount(minlength=len(P)) / len(i)
    assert float((share - P[17].float()).abs().max()) < 0.01


def test_graded_labels_keep_what_they_say():
    bench = experiments.Bench(tasks.letters(4), 3)
    z = torch.nn.functional.one_hot(bench.levels["letter"]).double() + 0.01 * torch.randn(
        len(bench.sample), 20, generator=torch.Generator().manual_seed(0))
    found = bench.graded(z)
    assert found[0] == 1 and found == sorted(found, reverse=True) and found[-1] < 0.3
    assert bench.held(z) == 1


def test_the_exercise_fails_the_stub_and_three_wrong_answers(cell):
    def stub(z, y):
        raise NotImplementedError

    def centres(z, y):
        return torch.stack([z[y == c].mean(0) for c in range(int(y.max()) + 1)])

    def squared_once(z, y):
        d = torch.cdist(z, centres(z, y))
        d[torch.arange(len(z)), y] *= 2 / 3
        return (d.argmin(1) == y).double().mean()

    right = cell("ssl-clustering", "solution-left-out", torch=torch)["solved_left_out"]
    assert exercises.check_left_out(right) == "right" and "not written" in exercises.check_left_out(stub)
    wrongs = (lambda z, y: (torch.cdist(z, centres(z, y)).argmin(1) == y).double().mean(), squared_once,
              lambda z, y: 1 - right(z, y), lambda z, y: "many")
    assert all(exercises.check_left_out(w).startswith("wrong") for w in wrongs)


# ---- what a review asked for

def brute_choice(z, classes, styles) -> float:
    z, won, all_ = z.reshape(classes, styles, -1), 0.0, 0
    for c in range(classes):
        for s in range(styles):
            for t in set(range(styles)) - {s}:
                for k in set(range(classes)) - {c}:
                    a, b = (z[c, s] - z[c, t]).norm(), (z[c, s] - z[k, s]).norm()
                    won, all_ = won + float(a < b), all_ + 1
    return won / all_


def test_forced_choice_is_brute_force_and_knows_both_ends():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(5 * 3, 7, generator=g, dtype=torch.float64)
    assert ssl.forced_choice(z, 5, 3) == pytest.approx(brute_choice(z, 5, 3))
    by_class, by_style = torch.eye(5).repeat_interleave(3, 0), torch.eye(3).repeat(5, 1)
    assert ssl.forced_choice(by_class, 5, 3) == 1 and ssl.forced_choice(by_style, 5, 3) == 0
    assert ssl.forced_choice(torch.zeros(15, 2), 5, 3) == 0.5


def test_the_hinge_that_is_needed_decides():
    """At the mu that the proof asks for descent finds the tight optimum; far below it finds a lower loss elsewhere."""
    H = ssl.Hierarchy(4, 4, 4, 0.02, 0.06, 0.22)
    P, e = H.kernel(), H.bands[0]
    tight = ssl.optimum(*H.bands, 31, 25.0, math.inf, 25.0, branches=1)
    needed = ssl.hinge_needed(tight, 25.0, 25.0)
    assert 4 * 25 * (1 - tight.tau) - 4 * 25 < 20 < needed
    square = (tight.energy**2 / np.maximum(tight.used, 1)).sum()
    value = (50 * (tight.energy * (1 - e)).sum() + 25 * square) / 31 - 25

    def found(mu: float) -> float:
        Z = ssl.fit(P, 31, 25.0, mu, 25.0, 1500, torch.Generator().manual_seed(0))
        C = Z.T @ Z / len(Z)
        s = 2 * ((Z * Z).sum() - (Z * (P @ Z)).sum()) / (len(Z) * 31)
        c = (C.square().sum() - C.diagonal().square().sum()) / 31
        return float(25 * s + mu * objectives.variance(Z * (1 - 1 / len(Z))**0.5) + 25 * c)

    assert found(20.0) < value - 0.2 and found(1.3 * needed) > value - 0.02


def test_one_standard_deviation_is_best_where_mu_is_large_beside_nu():
    H = ssl.Hierarchy(4, 4, 4, 0.02, 0.06, 0.22)
    setup = (45, 100.0, 25.0, 3.0)
    best = ssl.optimum(*H.bands, *setup, branches=1)
    Z = ssl.fit(H.kernel(), *setup, 2500, torch.Generator().manual_seed(0))
    assert best.std < 0.9 and float(Z.std(0, unbiased=False).mean()) == pytest.approx(best.std, abs=0.02)
    above, own = H.labels()
    assert np.abs(ssl.shares(Z, [own, above]).numpy() - best.share).max() < 0.02


def test_batches_add_what_covariances_cost():
    """A batch's covariance term of Gaussian embeddings is larger by what ``batch`` adds."""
    g, d, B = torch.Generator().manual_seed(0), 12, 16
    root = torch.randn(d, d, generator=g, dtype=torch.float64) / d**0.5
    C = root @ root.T
    scale = C.diagonal().rsqrt()
    root, C = root * scale[:, None], C * scale[:, None] * scale
    seen = np.mean([float(objectives.covariance(torch.randn(B, d, generator=g, dtype=torch.float64) @ root.T))
                    for _ in range(3000)])
    true = float(C.square().sum() - d) / d
    assert seen == pytest.approx(true * (1 + 1 / (B - 1)) + (d - 1) / (B - 1), rel=0.05)
    e, m = [0.9, 0.5], [4, 8]
    assert ssl.optimum(e, m, 8, 25.0, 5.0, 5.0, batch=16).std < ssl.optimum(e, m, 8, 25.0, 5.0, 5.0).std


def test_the_first_images_of_each_class():
    part = tasks.letters(3).first(5)
    assert (part.levels["letter"].bincount() == 5).all() and part.style.tolist() == list(range(5)) * 15
    assert part.levels["sample"].tolist() == list(range(75))
