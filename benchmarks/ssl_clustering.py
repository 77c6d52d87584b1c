"""Speed of random views, of a training step and of the measures, beside what one would write or install instead.

``python -m lib.book bench`` runs it. Views: against a loader that bends one Pillow image after another. The step: against
forward and backward of the same network alone, on views that are there. Measures: against scikit-learn's nearest centroid
with each row left out once by the closed factor, and without leaving out.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from _race import DEVICE, compared, main, race
from PIL import Image, ImageFilter
from sklearn.neighbors import NearestCentroid

from book.representations.ssl_clustering import tasks, training
from lib.papers import ssl_clustering as ssl

VIEWS, BATCH = 256, 64


def by_pillow(images: list[Image.Image], rng: random.Random) -> torch.Tensor:
    """One view of each image: affine map, thicker or thinner, gain and noise, as :func:`ssl.augment` does."""
    out = []
    for image in images:
        angle, shear = np.deg2rad(rng.uniform(-25, 25)), rng.uniform(-0.3, 0.3)
        zoom, aspect = 1 / rng.uniform(0.6, 1.15), rng.uniform(0.8, 1.25)
        c, s = zoom * np.cos(angle), zoom * np.sin(angle)
        a = np.array([[aspect * c, shear * c - s], [aspect * s, shear * s + c]])
        half = np.array(image.size) / 2
        shift = half - a @ half + np.array([rng.uniform(-0.09, 0.09) for _ in range(2)]) * image.size
        rows = (a[0, 0], a[0, 1], shift[0], a[1, 0], a[1, 1], shift[1])
        moved = image.transform(image.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
        k = rng.uniform(-1, 1)
        other = moved.filter(ImageFilter.MaxFilter(3) if k > 0 else ImageFilter.MinFilter(3))
        x = np.asarray(Image.blend(moved, other, abs(k) * (1 if k > 0 else 0.6)), np.float32) / 255
        out.append(torch.from_numpy(rng.uniform(0.5, 1) * x + 0.15 * np.random.standard_normal(x.shape).astype(np.float32)))
    return torch.stack(out)[:, None]


def measure() -> dict[str, list[dict]]:
    """Tables of three races."""
    task = tasks.letters(20)
    x, gen = task.x[:VIEWS].to(DEVICE), torch.Generator(DEVICE).manual_seed(0)
    pictures, rng = [Image.fromarray((p[0] * 255).byte().numpy()) for p in task.x[:VIEWS]], random.Random(0)
    views = race({"ours": lambda: ssl.augment(x, gen), "Pillow, one by one": lambda: by_pillow(pictures, rng)})

    encoder = training.Encoder().to(DEVICE)
    head = training.projector(encoder.width).to(DEVICE)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer, aim = torch.optim.AdamW(weights, 4e-3), ssl.objective("VICReg")
    shown = ssl.augment(torch.cat([x[:BATCH], x[:BATCH]]), gen)

    def step() -> None:
        aim(*head(encoder(ssl.augment(torch.cat([x[:BATCH], x[:BATCH]]), gen))).chunk(2)).backward()
        optimizer.step()
        optimizer.zero_grad()

    def network() -> None:
        head(encoder(shown)).sum().backward()
        optimizer.zero_grad()

    steps = race({"ours, views and loss included": step, "network alone": network})

    z, y = torch.randn(3600, 128), task.levels["letter"].repeat(3)
    a, b = z.double().numpy(), y.numpy()

    def one_by_one() -> None:
        """Refit without each of 60 rows; the seconds are scaled to all."""
        for i in range(60):
            kept = np.arange(len(a)) != i
            NearestCentroid().fit(a[kept], b[kept]).predict(a[i:i + 1])

    measures = race({
        "ours: left out, train, CDNV, margin, random labels": lambda: ssl.clustering(z, {"letter": y}),
        "scikit-learn, train accuracy only": lambda: NearestCentroid().fit(a, b).score(a, b),
        "scikit-learn, left out": one_by_one
    })
    measures["scikit-learn, left out"] *= len(a) / 60
    return {"views": compared(views, "views", VIEWS), "step": compared(steps), "measures": compared(measures)}


if __name__ == "__main__":
    main(__doc__, measure)
