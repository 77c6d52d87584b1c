"""Further experiments of the chapter "few-shot-collapse": thousands of classes, another vendor, a residual net.

Images are drawn anew at every step, so that only the number of source classes varies. Each returns arrays whose first
axis is the seed.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from lib.ensemble import generators
from lib.papers.few_shot_collapse.certificates import certificate
from lib.papers.few_shot_collapse.episodes import few_shot_error

from .drawings import Pool, Residual, features, fresh, train
from .experiments import mean_v, split


def many_classes(counts: tuple[int, ...], steps: int, batch: int, n_target: int, n_certify: int, certify: tuple[int, ...],
                 per_class: int, episodes: int, tasks: int, seeds: list[int], device: str = "cpu") -> dict:
    """Pretrain on ``counts`` kanji and measure transfer to new ones; certify the last net on classes held out of it.

    Returns
    -------
    ``V`` [seed, count, 2], CDNV of fresh images of source classes and of new classes; ``error`` [seed, count, 2], 5-way
    error on new classes at 1 and 5 shots; ``limits`` [seed, classes, 2] and ``new`` [seed, 2], the certificate
    (:attr:`Certificate.best`) and the error on new classes at 5 ways, 1 and 5 shots.
    """
    pool, out = Pool.of("kanji", device), {k: [] for k in ("V", "error", "limits", "new")}
    for seed in seeds:
        gen = generators([seed])[0]
        new, held, source = split(n_target, n_certify, max(counts), seed, torch.arange(len(pool)))
        x_new, V, error = pool.draw(new, per_class, gen), [], []
        for count in counts:
            net = train(fresh(pool, source[:count], batch), count, steps, gen, seed, device=device)[0][steps]
            z = features(net, x_new)
            V.append([mean_v(features(net, pool.draw(source[:min(count, 100)], per_class, gen))), mean_v(z)])
            error.append([few_shot_error(z, ways=5, shots=s, episodes=episodes, generator=gen) for s in (1, 5)])
        zc = torch.cat([features(net, pool.draw(part, per_class, gen)) for part in held.split(200)])
        out["V"].append(V)
        out["error"].append(error)
        out["limits"].append([[certificate(zc[:c], ways=5, shots=s, episodes=tasks, seed=seed).best for s in (1, 5)]
                              for c in certify])
        out["new"].append([few_shot_error(z, ways=5, shots=s, episodes=4 * episodes, generator=gen) for s in (1, 5)])
    return {k: np.array(v, np.float32) for k, v in out.items()}


def other_vendor(count: int, steps: int, batch: int, n_target: int, per_class: int, episodes: int, seeds: list[int],
                 device: str = "cpu") -> dict:
    """New emoji as one vendor draws them, pretrained on that vendor and another, or on the two others.

    ``V``, ``error`` [seed, vendor, 2]: CDNV and 5-way 1-shot error of new names, vendor seen and not seen.
    """
    pools = {s: Pool.of("emoji", device, s) for s in ((0, ), (1, ), (2, ), (0, 1), (1, 2), (0, 2))}
    V, error = [], []
    for seed in seeds:
        gen = generators([seed])[0]
        new, _, source = split(n_target, 0, count, seed, torch.arange(len(pools[0, ])))
        rows = ([], [])
        for vendor in range(3):
            x_new = pools[vendor, ].draw(new, per_class, gen)
            seen = tuple(sorted((vendor, (vendor + 1) % 3)))
            unseen = tuple(v for v in range(3) if v != vendor)
            found = []
            for styles in (seen, unseen):
                net = train(fresh(pools[styles], source, batch), count, steps, gen, seed, device=device)[0][steps]
                z = features(net, x_new)
                found.append((mean_v(z), few_shot_error(z, ways=5, shots=1, episodes=episodes, generator=gen)))
            for row, values in zip(rows, zip(*found)):
                row.append(values)
        V.append(rows[0])
        error.append(rows[1])
    return {"V": np.array(V), "error": np.array(error)}


def residual(source: str, counts: tuple[int, ...], steps: int, batch: int, widths: tuple[int, ...], blocks: int,
             n_target: int, per_class: int, episodes: int, seeds: list[int], device: str = "cpu") -> dict:
    """A wide residual net on glyphs, or on CIFAR-100 split by classes where ``source`` is hub.

    ``V`` [seed, count, 2], CDNV of new classes before and after training; ``gap`` [seed, count], that of new classes less
    that of fresh images of the source; ``error`` [seed, count], 5-way 1-shot error on new classes.
    """
    pool = Pool.of("cifar100" if source == "hub" else "glyphs", device)
    channels = pool.x.shape[1] if pool.x.ndim == 4 else 1
    out = {"V": [], "gap": [], "error": []}
    for seed in seeds:
        gen = generators([seed])[0]
        new, _, classes = split(n_target, 0, max(counts), seed, torch.arange(len(pool)))
        x_new, rows = pool.draw(new, per_class, gen), {k: [] for k in out}
        for count in counts:
            nets, _ = train(fresh(pool, classes[:count], batch), count, steps, gen, seed, (0, ),
                            partial(Residual, channels, widths, blocks), device=device)
            z = features(nets[steps], x_new)
            rows["V"].append([mean_v(features(nets[0], x_new)), mean_v(z)])
            own = features(nets[steps], pool.draw(classes[:min(count, 50)], per_class, gen))
            rows["gap"].append(rows["V"][-1][1] - mean_v(own))
            rows["error"].append(few_shot_error(z, ways=5, shots=1, episodes=episodes, generator=gen))
        for key, row in rows.items():
            out[key].append(row)
    return {k: np.array(v) for k, v in out.items()}
