"""Experiments of the chapter "ssl-clustering"; each returns arrays whose first axis is the seed."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from lib.ensemble import generators
from lib.papers.ssl_clustering.forecast import forecast, patches
from lib.papers.ssl_clustering.measures import clustering, forced_choice, shares
from lib.papers.ssl_clustering.objectives import Objective, objective, terms
from lib.papers.ssl_clustering.views import augment
from lib.papers.ssl_clustering.waterfilling import Hierarchy, fit

from .tasks import HELD_STYLES, TASKS, Task
from .training import Positives, train

VIEWS = 3  # of each image, fixed, on which features are judged
GRADES = (0.0, 0.25, 0.5, 0.75, 1.0)
JUDGE, FORECAST = 500_000, 700_000  # added to a seed: streams apart from those of training


def free(setups: tuple[tuple[int, float, float, float], ...], hierarchy: tuple, steps: int, seeds: list[int]) -> dict:
    """Free embeddings on a hierarchical graph, for setups (d, lambda, mu, nu).

    ``shares`` [seed, setup, 3] of the variance between superclasses, between classes, within; ``cdnv`` [seed, setup] of
    superclasses; ``std`` [seed, setup], mean over coordinates.
    """
    H = Hierarchy(*hierarchy)
    P, (above, own), out = H.kernel(), H.labels(), {"shares": [], "cdnv": [], "std": []}
    for seed in seeds:
        gen = generators([seed])[0]
        Z = [fit(P, *setup, steps, gen) for setup in setups]
        out["shares"].append([shares(z, [own, above]).numpy() for z in Z])
        out["cdnv"].append([clustering(z, {"above": above})["above"].cdnv for z in Z])
        out["std"].append([float(z.std(0, unbiased=False).mean()) for z in Z])
    return {k: np.array(v) for k, v in out.items()}


def noise(classes: int, per_class: int, p: int, seeds: list[int]) -> dict:
    """Labels of pure noise: ``train`` and ``left_out`` [seed], accuracies; ``cdnv`` [seed]; ``gap`` [seed], squared distance
    to the other centres less that to the own, over the variance of a row."""
    out = {"train": [], "left_out": [], "cdnv": [], "gap": []}
    for seed in seeds:
        z = torch.randn(classes * per_class, p, generator=generators([seed])[0], dtype=torch.float64)
        y = torch.arange(classes).repeat_interleave(per_class)
        found = clustering(z, {"noise": y})["noise"]
        centre = z.reshape(classes, per_class, p).mean(1)
        d = torch.cdist(z, centre).square()
        own = d[torch.arange(len(z)), y]
        gap = ((d.sum(1) - own) / (classes - 1) - own).mean() / p
        for key, value in zip(out, (found.train_accuracy, found.accuracy.value, found.cdnv, float(gap)), strict=True):
            out[key].append(value)
    return {k: np.array(v) for k, v in out.items()}


class Bench:
    """Fixed views of a task's images, on which encoders are judged; labels are used here only.

    ``x`` [n, ...] are the images to train on; of ``per_class`` images of each class views are judged, of all where 0.
    """

    def __init__(self, task: Task, seed: int, device: str = "cpu", per_class: int = 0):
        gen = generators([seed + JUDGE])[0]
        self.x, self.seed = task.x.to(device), seed
        self.task = task = task.first(per_class) if per_class else task
        views = [augment(task.x, gen) for _ in range(VIEWS)]
        self.views = torch.cat(views).to(device)
        self.levels = {k: v.repeat(VIEWS) for k, v in task.levels.items()}
        self.own = list(task.levels)[1]
        order = torch.randperm(len(task), generator=gen)
        self.random = task.levels[self.own][order].repeat(VIEWS)
        self.order, self.fate = order, torch.rand(len(task), generator=gen)

    @property
    def sample(self) -> Tensor:
        return self.levels["sample"]

    def judged(self, z: Tensor) -> tuple[list[float], list[float]]:
        """Accuracies without the own image at each level, then of random labels, of random groups at the coarsest level, of
        styles (NaN where there is one), and of random labels with the own image; CDNVs at each level and of random labels."""
        found, style = clustering(z, self.levels, self.sample, self.seed), self.task.style.repeat(VIEWS)
        random = clustering(z, {"random": self.random}, self.sample, self.seed)["random"]
        of_style = clustering(z, {"style": style}, self.sample)["style"].accuracy.value if style.max() else np.nan
        accuracy = [v.accuracy.value for v in found.values()]
        accuracy += [random.accuracy.value, list(found.values())[-1].random_groups, of_style, random.train_accuracy]
        return accuracy, [v.cdnv for v in found.values()] + [random.cdnv]

    def graded(self, z: Tensor) -> list[float]:
        """Accuracy without the own image for classes that keep all, .75, .5, .25 and none of their images."""
        y = self.task.levels[self.own]
        labels = [torch.where(self.fate < g, y[self.order], y).repeat(VIEWS) for g in GRADES]
        return [clustering(z, {"class": y_}, self.sample)["class"].accuracy.value for y_ in labels]

    def held(self, z: Tensor) -> float:
        """Accuracy on styles whose images are in no centre; NaN where a task has no such styles."""
        y, out = self.levels[self.own], torch.isin(self.task.style, torch.tensor(HELD_STYLES)).repeat(VIEWS)
        if int(self.task.style.max()) < max(HELD_STYLES):
            return np.nan
        z = z.cpu().double()
        centre = torch.zeros(int(y.max()) + 1, z.shape[1], dtype=z.dtype).index_add_(0, y[~out], z[~out])
        centre = centre / y[~out].bincount()[:, None]
        return float((torch.cdist(z[out], centre).argmin(1) == y[out]).double().mean())

    def choice(self, z: Tensor) -> float:
        """How often the same class in another style is nearer than another class in the same style; NaN without styles."""
        styles = int(self.task.style.max()) + 1
        first = z[:len(self.task)].cpu()
        return forced_choice(first, len(first) // styles, styles) if styles > 1 else np.nan

    def above_share(self, z: Tensor) -> list[float]:
        """Share of the variance between classes that lies between the groups above them; and of 20 random groupings."""
        own, above = list(self.levels.values())[1:3]
        group = torch.zeros(int(own.max()) + 1, dtype=torch.long).scatter(0, own, above)
        gen, z = torch.Generator().manual_seed(self.seed), z.cpu()

        def share(of: Tensor) -> float:
            s = shares(z, [own, of[own]])
            return float(s[0] / (s[0] + s[1]))

        return [share(group), float(np.mean([share(group[torch.randperm(len(group), generator=gen)]) for _ in range(20)]))]

    def shares(self, z: Tensor) -> np.ndarray:
        """Shares of the variance, coarsest level first, the last within images."""
        return shares(z.cpu(), list(self.levels.values())).numpy()

    def losses(self, z: Tensor) -> list[float]:
        """VICReg's three terms of embeddings of the first two views."""
        return [float(v) for v in terms(*z.split(len(self.task))[:2])]

    def cloud(self, z: Tensor) -> np.ndarray:
        """First views of six classes, two of each of three coarsest classes, on two principal axes; [6, styles, 2]."""
        own, above = list(self.task.levels.values())[1], list(self.task.levels.values())[-1]
        chosen = torch.cat([own[above == a].unique()[:2] for a in above.unique()[:3]])
        f = torch.stack([z[:len(self.task)].cpu()[own == c] for c in chosen]).double()
        flat = (f - f.mean((0, 1))).reshape(-1, f.shape[-1])
        axes = torch.linalg.svd(flat, full_matrices=False).Vh[:2]
        axes = axes * axes.sum(1, keepdim=True).sign()
        return (flat @ axes.T / flat.square().sum(1).mean().sqrt()).reshape(*f.shape[:2], 2).float().numpy()


def effective_rank(z: Tensor) -> float:
    """Squared sum over sum of squares of the covariance's eigenvalues, of z [n, d]."""
    z = z.cpu().double() - z.cpu().double().mean(0)
    gram = z.T @ z
    return float(gram.trace()**2 / gram.square().sum())


def followed(task: str, size: int, setups: list[tuple[str, dict, float]], steps: int, batch: int, at: tuple[int, ...],
             seeds: list[int], d: int = 256, constant: bool = False, device: str = "cpu") -> dict:
    """Train with each setup (objective, its settings, the regulariser's strength) and look at the steps ``at`` and the last.

    Returns
    -------
    ``accuracy`` [seed, setup, look, levels + 4] and ``cdnv`` [seed, setup, look, levels + 1] of features, in the order of
    :meth:`Bench.judged`; ``terms`` [seed, setup, look, 3], VICReg's s, v and c of embeddings; ``shares``
    [seed, setup, look, levels + 1] of the features' variance; ``choice`` [seed, setup, look], :meth:`Bench.choice`;
    ``cloud`` [setup, look, 6, styles, 2] of the first seed. CDNVs end at a million.
    """
    data, out, cloud = TASKS[task](size), {k: [] for k in LOOKS}, []
    for seed in seeds:
        bench, rows = Bench(data, seed, device), {k: [] for k in LOOKS}
        for name, settings, strength in setups:
            looks = _looks()
            _train(bench, objective(name, strength, **settings), steps, batch, seed, partial(_look, bench, looks), at=at, d=d,
                   constant=constant)
            for k in LOOKS:
                rows[k].append(looks[k])
            if seed == seeds[0]:
                cloud.append(looks["cloud"])
        for k in LOOKS:
            out[k].append(rows[k])
    return {k: np.array(v, np.float32) for k, v in (out | {"cloud": cloud}).items()}


LOOKS = ("accuracy", "cdnv", "terms", "shares", "choice")


def _looks() -> dict[str, list]:
    return {k: [] for k in (*LOOKS, "cloud")}


def _train(bench: Bench, aim: Objective, steps: int, batch: int, seed: int, look, **settings) -> None:
    train(bench.x, aim, steps, batch, generators([seed], str(bench.x.device))[0], seed, look, **settings)


@torch.no_grad()
def _look(bench: Bench, looks: dict, step: int, encoder: nn.Module, head: nn.Module) -> None:
    f = encoder(bench.views)
    accuracy, cdnv = bench.judged(f)
    for key, value in (("accuracy", accuracy), ("cdnv", np.minimum(cdnv, 1e6)), ("terms", bench.losses(head(f))),
                       ("shares", bench.shares(f)), ("choice", bench.choice(f)), ("cloud", bench.cloud(f))):
        looks[key].append(value)


def deep(task: str, size: int, steps: int, batch: int, at: tuple[int, ...], seeds: list[int], net: str = "small", w: int = 12,
         per_class: int = 0, device: str = "cpu") -> dict:
    """As :func:`followed` for VICReg alone, without the axis of setups, and more of its first and last look, and of pixels.

    ``per_class`` images of each class are judged, all where 0; training uses all.

    ``depth`` [seed, 2, 5, levels + 4], accuracies after each layer in the order of :meth:`Bench.judged`; ``graded``
    [seed, 2, 5] with labels more and more random; ``held`` [seed, 3], accuracy on held-out styles before, after, and of
    pixels; ``pixels`` [seed, levels + 4].
    """
    data, more = TASKS[task](size), ("depth", "graded", "held", "pixels")
    out, cloud = {k: [] for k in LOOKS + more}, []
    for seed in seeds:
        bench, looks = Bench(data, seed, device, per_class), _looks() | {k: [] for k in more}

        @torch.no_grad()
        def look(step: int, encoder: nn.Module, head: nn.Module, bench=bench, looks=looks) -> None:
            _look(bench, looks, step, encoder, head)
            if step in (0, steps):
                layers = encoder.depths(bench.views)
                looks["depth"].append([bench.judged(z)[0] for z in layers])
                looks["graded"].append(bench.graded(layers[-1]))
                looks["held"].append(bench.held(layers[-1]))

        _train(bench, objective("VICReg"), steps, batch, seed, look, at=at, net=net, w=w)
        raw = bench.views.flatten(1)
        looks["held"].append(bench.held(raw))
        looks["pixels"] = bench.judged(raw)[0]
        for k in out:
            out[k].append(looks[k])
        cloud = cloud or looks["cloud"]
    return {k: np.array(v, np.float32) for k, v in (out | {"cloud": cloud}).items()}


def planted(bench: Bench, a: tuple[float, float, float]) -> tuple[Positives, Tensor]:
    """Partners by the hierarchy: any image, one of the class above, of the own class with probabilities a, else the image
    itself; and their kernel [N, N]. Groups are of one size."""
    own, above = list(bench.task.levels.values())[1:3]
    N, kernel = len(own), torch.eye(len(own), dtype=torch.float64) * (1 - sum(a)) + a[0] / len(own)
    groups = []
    for y, share in ((above, a[1]), (own, a[2])):
        same = (y[:, None] == y[None]).double()
        kernel = kernel + share * same / same.sum(1, keepdim=True)
        groups.append(y.argsort(stable=True).reshape(int(y.max()) + 1, -1).to(bench.x.device)[y.to(bench.x.device)])
    cuts = torch.tensor(a).cumsum(0)

    def partner(i: Tensor, gen: torch.Generator) -> Tensor:
        u, v = torch.rand(2, len(i), generator=gen, device=i.device)
        pick = [(v * N).long()] + [g[i, (v * g.shape[1]).long()] for g in groups] + [i]
        return torch.stack(pick)[torch.bucketize(u, cuts.to(u.device)), torch.arange(len(i), device=i.device)]

    return partner, kernel


def phases(task: str, size: int, dims: tuple[int, ...], nus: tuple[float, ...], graph: tuple[float, float, float] | None,
           steps: int, batch: int, seeds: list[int], device: str = "cpu") -> dict:
    """Forecasts of Theorem W, made before training, and trained networks, over a grid of d and nu; lambda = mu = 25.

    With ``graph`` the partners of :func:`planted`, else two views of one image. Forecasts are linear in random patches.

    Returns
    -------
    ``shares`` [seed, d, nu, 2, levels + 1] of the embeddings' variance, forecast and trained; ``rank`` and ``std``
    [seed, d, nu, 2] of the embeddings; ``above`` [seed, d, nu, 2, 2], :meth:`Bench.above_share` of them; ``accuracy``
    [seed, d, nu, 2] by class, of embeddings of the forecast and features of the network; ``e`` [seed, 64], the largest
    canonical correlations.
    """
    data, out = TASKS[task](size), {k: [] for k in ("shares", "rank", "std", "above", "accuracy", "e")}
    for seed in seeds:
        bench, gen = Bench(data, seed, device), generators([seed + FORECAST])[0]
        partner, P = planted(bench, graph) if graph else (None, None)
        look_at = patches(data.x, 64, 7, 3, gen)
        known = forecast(torch.stack([look_at(augment(data.x, gen)) for _ in range(8)]), P)
        seen = look_at(bench.views.cpu())
        rows = {k: [] for k in out if k != "e"}
        for d in dims:
            for nu in nus:
                best = known.optimum(d, 25.0, 25.0, nu, batch)
                made, trained = known.embed(seen, best), []

                @torch.no_grad()
                def look(step: int, encoder: nn.Module, head: nn.Module, bench=bench, trained=trained) -> None:
                    f = encoder(bench.views)
                    trained.extend([f.cpu(), head(f).cpu()])

                _train(bench, objective("VICReg", nu=nu), steps, batch, seed, look, d=d, partner=partner)
                f, z = trained
                rows["shares"].append([bench.shares(made), bench.shares(z)])
                rows["rank"].append([effective_rank(made), effective_rank(z)])
                rows["std"].append([best.std, float(z.std(0).mean())])
                rows["above"].append([bench.above_share(made), bench.above_share(z)])
                own = {"own": bench.levels[bench.own]}
                rows["accuracy"].append([clustering(u, own, bench.sample)["own"].accuracy.value for u in (made, f)])
        for k, row in rows.items():
            out[k].append(np.reshape(row, (len(dims), len(nus), *np.shape(row)[1:])))
        out["e"].append(known.e[:64])
    return {k: np.array(v, np.float32) for k, v in out.items()}
