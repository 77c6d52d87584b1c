"""Speed of `lib.papers.canonical_representation`: the ensemble trainer against a loop over models, and what the probe
costs a training step.

All contestants of a row take turns in one run; the median of the rounds counts. The limit is the speed of large matrix
products of the same run. Run: ``python -m benchmarks.canonical_representation [--json] [--plot FILE]``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `python benchmarks/canonical_representation.py`

from benchmarks._race import command, race  # noqa: E402
from lib import ensemble, models  # noqa: E402
from lib.papers.canonical_representation import attach, nets  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


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
            rows.append({"case": f"{S} nets, width {d}", "width": d, "contestant": name,
                         "net_steps_per_second": S * steps / s, "times_loop": seconds["loop over models"] / s,
                         "share_of_limit": S * steps * work / s / flops})
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
        rows.append({"case": label, "ms_per_step": 1e3 * seconds["without"] / every,
                     "overhead_all_rows": seconds["None rows"] / seconds["without"] - 1,
                     "overhead_64_rows": seconds["64 rows"] / seconds["without"] - 1})
    return rows


def plot(rows: list[dict], file: str) -> None:
    """Draw the gain of the two ensemble trainers over a loop against the size of a net, so that one sees where it ends."""
    from lib import figures
    fig, ax = figures.panels()
    for i, name in enumerate(("vmap", "by hand")):
        mine = [r for r in rows if r["contestant"] == name]
        ax.plot([r["width"] for r in mine], [r["times_loop"] for r in mine], **figures.style(i), label=name)
    ax.axhline(1, **figures.BASELINE, label="loop over models")
    ax.set(xscale="log", yscale="log", xlabel="Width of the nets (log)", ylabel="Net-steps a second, times the loop (log)")
    ax.legend()
    fig.savefig(file, dpi=figures.DPI)


def measure() -> dict:
    """Device, threads and rows of trainer and probe."""
    return {"device": DEVICE, "threads": torch.get_num_threads(), "trainer": trainer_rows(), "probe": probe_rows()}


def table(found: dict) -> list[str]:
    """What the command prints."""
    out = [f"torch {torch.__version__} on {DEVICE}, {torch.get_num_threads()} threads",
           f"{'ensemble trainer, batch 64':28} {'contestant':18} {'net-steps/s':>12} {'x loop':>8} {'of limit':>9}"]
    out += [f"{r['case']:28} {r['contestant']:18} {r['net_steps_per_second']:12.0f} {r['times_loop']:8.1f} "
            f"{r['share_of_limit']:9.1%}" for r in found["trainer"]]
    out += [f"{'probe on one step of ten':48} {'ms a step':>10} {'all rows':>9} {'64 rows':>9}"]
    out += [f"{r['case']:48} {r['ms_per_step']:10.2f} {r['overhead_all_rows']:9.1%} {r['overhead_64_rows']:9.1%}"
            for r in found["probe"]]
    return [*out, "of limit: of the speed of 1024 x 1024 matrix products in the same run"]


if __name__ == "__main__":
    command(__doc__, measure, table, plot=lambda found, file: plot(found["trainer"], file))
