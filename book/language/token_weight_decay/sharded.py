"""The chapter's training, sharded over processes by FSDP2: ``torchrun --nproc-per-node 8 -m ...token_weight_decay.sharded``.

Every process holds its share of weights, gradients and Adam's moments, and takes its share of every batch; the losses are
those of one process up to rounding.
"""

from __future__ import annotations

import argparse
import json
import os

import torch
import torch.distributed as dist

from lib.papers.token_weight_decay.decay import POLICIES, param_groups

from .texts import pieces
from .training import Plan, gpt, looks, train


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--text", default="shakespeare", help="kjv, bbe, shakespeare; wikitext, tinystories or imdb from a hub")
    for name, value, meaning in (("types", 32_000, "BPE vocabulary"), ("tokens", 1_000_000, "tokens of text"),
                                 ("width", 1024, "width"), ("layers", 16, "layers"), ("heads", 16, "heads"),
                                 ("steps", 10_000, "steps"), ("batch", 256, "windows a step, of all processes"),
                                 ("length", 128, "tokens a window"), ("seed", 100, "of weights and batches"),
                                 ("looks", 10, "times that the loss is printed")):
        p.add_argument(f"--{name}", type=int, default=value, help=f"{meaning} ({value})")
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate (0.001)")
    p.add_argument("--decay", type=float, default=0.1, help="weight decay (0.1)")
    p.add_argument("--policy", choices=POLICIES, default="matrices", help="what decays (matrices)")
    return p


def main(argv: list[str] | None = None) -> list[float]:
    """Train and print one line of JSON from the first process; returns the losses, means over all processes."""
    o = parser().parse_args(argv)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    quick = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if quick else torch.device("cpu")
    text = pieces(o.text, o.types, o.tokens, o.seed)
    model = gpt(text.types, o.width, o.layers, o.heads, o.seed).to(device)
    if world > 1:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        dist.init_process_group("nccl" if quick else "gloo")
        mesh = init_device_mesh(device.type, (world,))
        for part in (*model.blocks, model):
            fully_shard(part, mesh=mesh)
    plan = Plan(o.steps, o.batch, o.length, o.rate)
    losses = torch.tensor(train(model, text.train, plan, torch.Generator().manual_seed(o.seed),
                                param_groups(model, o.decay, o.policy), at=looks(o.steps, o.looks), shard=(rank, world),
                                precision="bfloat16" if quick else "float32"), device=device)
    if world > 1:
        dist.all_reduce(losses)
        losses /= world
        dist.destroy_process_group()
    if rank == 0:
        weights = sum(p.numel() for p in model.parameters())
        print(json.dumps({"processes": world, "weights": weights, "loss": losses.tolist()}))
    return losses.tolist()


if __name__ == "__main__":
    main()
