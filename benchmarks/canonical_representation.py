"""Speed of `lib.papers.canonical_representation`: the ensemble trainer against a loop over models, and what the probe
costs a training step.

All contestants of a row take turns in one run; the median of the rounds counts. The limit is the speed of large matrix
products (1024 x 1024) of the same run. ``python -m lib.book bench`` runs it.
"""

from __future__ import annotations

import torch
from _race import DEVICE, main, race
from torch import nn

from lib import ensemble, models
from lib.papers.canonical_representation import attach, nets


def trainer_rows(sizes=((40, 64), (40, 128), (40, 256), (10, 512), (4, 1024)), batch: int = 64) -> list[dict]:
    """Net-steps a second of ensembles of d-d-d-10 nets at one batch size, against a loop over separate torch models."""
    a = torch.randn(1024, 1024, device=DEVICE)
    flops = 2 * 1024**3 / race({"mm": lambda: a @ a})["mm"]
    rows = []
    for S, d in sizes:
        widths, steps = [d, d, d, 10], max(2, 2048 // d)
        x, y = torch.randn(512, d, device=DEVICE), torch.randint(10, (512,), device=DEVICE)
        mine = nets.Sgd(nets.start(widths, range(S), DEVICE), x, y, nets.cross_entropy, 1e-3, 1e-3, batch, range(S))
        separate = [models.Mlp(widths).to(DEVICE) for _ in range(S)]
        optimizers = [torch.optim.SGD(m.parameters(), 1e-3, weight_decay=1e-3) for m in separate]
        skeleton, params = ensemble.stack(lambda w=widths: models.Mlp(w), range(S), DEVICE)
        gens = ensemble.generators(range(S), DEVICE)

        def loop(separate=separate, optimizers=optimizers, x=x, y=y, steps=steps):
            for model, optimizer in zip(separate, optimizers):
                for _ in range(steps):
                    i = torch.randint(len(x), (batch,), device=DEVICE)
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(x[i]), y[i]).backward()
                    optimizer.step()

        def mapped(skeleton=skeleton, params=params, gens=gens, x=x, y=y, steps=steps):
            ensemble.sgd(skeleton, params, nn.functional.cross_entropy, x, y, steps, batch, 1e-3, gens, 1e-3)

        seconds = race({"loop over models": loop, "vmap": mapped, "by hand": lambda mine=mine, n=steps: mine.run(n)})
        work = 6 * batch * (2 * d * d + 10 * d) - 2 * batch * d * d  # no gradient of the input
        for name, s in seconds.items():
            rows.append({"nets": S, "width": d, "contestant": name, "net-steps/s": S * steps / s,
                         "times the loop": seconds["loop over models"] / s,
                         "share of limit": S * steps * work / s / flops})
    return rows


def probe_rows(every: int = 10) -> list[dict]:
    """Ten training steps without the probe, and with it on one of them, reading all vectors or about 64 a layer."""
    cases = [("MLP, width 256, batch 256", models.Mlp([256] * 4 + [10]), torch.randn(256, 256)),
             ("MLP, width 1024, batch 256", models.Mlp([1024] * 4 + [10]), torch.randn(256, 1024)),
             ("residual net 32-64, batch 64", models.ResNet(1, 10, (32, 64), 1), torch.randn(64, 1, 16, 16)),
             ("GPT, width 128, 4 layers, 16 x 64 tokens", models.Gpt(64, 128, 4, 4), torch.randint(64, (16, 64)))]
    rows = []
    for label, model, x in cases:
        model, x = model.to(DEVICE), x.to(DEVICE)
        y = torch.randint(10, x.shape[:2] if x.dtype == torch.int64 else x.shape[:1], device=DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), 1e-4)

        def step(model=model, optimizer=optimizer, x=x, y=y):
            optimizer.zero_grad()
            out = model(x)
            nn.functional.cross_entropy(out.flatten(0, -2), y.flatten()).backward()
            optimizer.step()

        def plain(step=step):
            for _ in range(every):
                step()

        def probed(probe, step=step):
            for k in range(every):
                probe.enabled = k == 0
                step()
            probe.enabled = False

        probes = {rows: attach(model, blocks=2, raw=False, max_rows=rows) for rows in (None, 64)}
        for probe in probes.values():
            probe.enabled = False
        seconds = race({"without": plain} | {f"{rows} rows": lambda p=p: probed(p) for rows, p in probes.items()})
        for probe in probes.values():
            probe.detach()
        rows.append({"case": label, "ms a step": 1e3 * seconds["without"] / every,
                     "share more, all rows": seconds["None rows"] / seconds["without"] - 1,
                     "share more, 64 rows": seconds["64 rows"] / seconds["without"] - 1})
    return rows


TRAINER = "ensemble trainer, batch 64"


def plot(found: dict[str, list[dict]], file: str) -> None:
    """Draw the gain of the two ensemble trainers over a loop against the size of a net, so that one sees where it ends."""
    from lib import figures
    fig, ax = figures.panels()
    for i, name in enumerate(("vmap", "by hand")):
        mine = [r for r in found[TRAINER] if r["contestant"] == name]
        ax.plot([r["width"] for r in mine], [r["times the loop"] for r in mine], **figures.style(i), label=name)
    ax.axhline(1, **figures.BASELINE, label="loop over models")
    ax.set(xscale="log", yscale="log", xlabel="Width of the nets (log)", ylabel="Net-steps a second, times the loop (log)")
    ax.legend()
    fig.savefig(file, dpi=figures.DPI)


def measure() -> dict[str, list[dict]]:
    """Tables of the trainer and of the probe."""
    return {TRAINER: trainer_rows(), "probe on one step of ten": probe_rows()}


if __name__ == "__main__":
    main(__doc__, measure, plot)
