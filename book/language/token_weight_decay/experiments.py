"""The chapter's experiments on trained models: doses of decay, where it is applied, how much text, which model, remedies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import stats
from lib.ensemble import seeded
from lib.papers.token_weight_decay.decay import POLICIES, RowDecay, param_groups, token_matrices
from lib.papers.token_weight_decay.ledger import Report, TokenLedger, windows
from lib.papers.token_weight_decay.theory import bigram

from .texts import Text, pieces, words
from .training import Plan, gpt, looks, objective, train

EDGES = (1, 3, 9, 27, 81)


def take(name: str, size: int, n: int, seed: int, held: int) -> Text:
    """A text by words ("newsgroups") or by BPE with ``size`` types (any other)."""
    return words(n, seed, held) if name == "newsgroups" else pieces(name, size, n, seed, held)


def measured(model: nn.Module, ids: Tensor, text: Text, length: int) -> Report:
    """Per-type losses of a model on a piece of a text, with the frequencies of its training piece."""
    ledger = TokenLedger(text.types, drop=text.unknown, device=next(model.parameters()).device)
    return ledger.measure(model, windows([ids], length, 64)).report(text.counts, (1,))


def watch(model: nn.Module, text: Text, parts: Sequence[Tensor], length: int) -> tuple[list, Callable[[int], None]]:
    """A list, and what adds a report on each of the pieces to it when it is called."""
    found: list[tuple[Report, ...]] = []
    return found, lambda _: found.append(tuple(measured(model, piece, text, length) for piece in parts))


def row(report: Report) -> list[float]:
    """Micro and macro loss, then the mean loss of each bin of ``EDGES`` (NaN where a bin is empty)."""
    where = np.digitize(report.counts, EDGES) - 1
    inside = [report.loss[(where == b) & (report.seen > 0)] for b in range(len(EDGES))]
    return [report.micro, report.macro.value, *(float(x.mean()) if len(x) else np.nan for x in inside)]


def top_and_tail(report: Report) -> tuple[float, float]:
    """Mean loss of the most frequent 1 % of the types and of the rarest 80 %, among those measured."""
    order = np.flatnonzero((report.seen > 0) & (report.counts > 0))
    order = order[np.argsort(-report.counts[order], kind="stable")]
    return float(report.loss[order[:max(1, len(order) // 100)]].mean()), float(report.loss[order[len(order) // 5:]].mean())


TEMPERATURES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)


class Tempered(nn.Module):
    """A model whose logits are divided by a temperature."""

    def __init__(self, model: nn.Module, temperature: float):
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids) / self.temperature


def tempered(model: nn.Module, text: Text, length: int) -> list[float]:
    """Losses on the piece held out, as :func:`row`, at the temperature of the lowest micro loss on the piece for choices."""
    best = min(TEMPERATURES, key=lambda t: measured(Tempered(model, t), text.choice, text, length).micro)
    return row(measured(Tempered(model, best), text.held, text, length))


def decayed(model: nn.Module, decay: float, part: str) -> list[dict]:
    """Groups of a policy, or with decay of "norms" (all vectors) alone, or of "tokens and norms"."""
    if part in POLICIES:
        return param_groups(model, decay, part)
    chosen = {id(p) for p in token_matrices(model)} if part == "tokens and norms" else set()
    with_decay = [p for p in model.parameters() if p.ndim < 2 or id(p) in chosen]
    rest = [p for p in model.parameters() if p.ndim > 1 and id(p) not in chosen]
    return [{"params": with_decay, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]


def doses(arms: Sequence[tuple[str, float]], n: int, held: int, d: int, layers: int, steps: int, batch: int, length: int,
          rate: float, count: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Small GPTs on words that they read many times, one for each arm (what decays, decay); the first must be without decay.

    The seed draws text, weights and batches, which all arms share. ``train`` and ``held`` [seed, arm, look, 7]: micro, macro
    and bins of ``EDGES``, nats; ``start`` [seed, 7], before training; ``accuracy`` [seed, arm, 2], micro and macro, on the
    training text; ``speed`` [seed, arm, bin]; ``rows`` [seed, arm, bin], mean length of unembedding rows; ``rank``
    [seed, arm], rank correlation over types of count and rise of training loss; ``types`` and ``mean`` [seed, bin], number
    of types and their mean count; ``tempered`` [seed, arm, 7], at the end and held out, as :func:`tempered`.
    """
    plan, at = Plan(steps, batch, length, rate), looks(steps, count)
    shape, bins = (len(seeds), len(arms)), len(EDGES)
    out = {"train": np.empty((*shape, len(at), bins + 2)), "held": np.empty((*shape, len(at), bins + 2)),
           "start": np.empty((len(seeds), bins + 2)), "accuracy": np.empty((*shape, 2)), "speed": np.empty((*shape, bins)),
           "rows": np.empty((*shape, bins)), "rank": np.zeros(shape), "types": np.empty((len(seeds), bins)),
           "mean": np.empty((len(seeds), bins)), "tempered": np.empty((*shape, bins + 2))}
    for s, seed in enumerate(seeds):
        text = words(n, seed, held)
        where = np.digitize(text.counts, EDGES) - 1
        where[0] = -1                                                            # the unknown word
        out["types"][s] = [(where == b).sum() for b in range(bins)]
        out["mean"][s] = [text.counts[where == b].mean() for b in range(bins)]
        for a, (policy, decay) in enumerate(arms):
            model = gpt(text.types, d, layers, 4, seed).to(device)
            reports, look = watch(model, text, (text.train, text.held), length)
            if a == 0:
                out["start"][s] = row(measured(model, text.train, text, length))
            gen = torch.Generator().manual_seed(seed)
            train(model, text.train, plan, gen, decayed(model, decay, policy), at=at, look=look)
            out["tempered"][s, a] = tempered(model, text, length)
            for k, name in enumerate(("train", "held")):
                out[name][s, a] = [row(r[k]) for r in reports]
            last = reports[-1][0]
            out["accuracy"][s, a] = last.micro_accuracy, last.macro_accuracy
            learned = 1 - np.mean([np.minimum(1, r[0].loss / np.log(text.types)) for r in reports], 0)
            length_of = model.head.weight.detach().norm(dim=1).cpu().numpy()
            for b in range(bins):
                out["speed"][s, a, b] = np.nanmean(learned[where == b])
                out["rows"][s, a, b] = length_of[where == b].mean()
            if a == 0:
                base = last.loss
            else:
                ok = np.isfinite(base)
                out["rank"][s, a] = stats.spearman(text.counts[ok], (last.loss - base)[ok])
    return out


def regimes(name: str, types: int, amounts: Sequence[int], decays: Sequence[float], held: int, d: int, layers: int,
            steps: int, batch: int, length: int, rate: float, seeds: Sequence[int], device: str = "cpu") -> dict:
    """The same training on little and on much text, so that each token is read often or seldom; decay of everything.

    ``train`` and ``held`` [seed, amount, decay, 4]: micro, macro, the most frequent 1 % of the types, the rarest 80 %.
    """
    plan = Plan(steps, batch, length, rate)
    shape = (len(seeds), len(amounts), len(decays))
    out = {"train": np.empty((*shape, 4)), "held": np.empty((*shape, 4))}
    for (s, i, j) in np.ndindex(shape):
        text = take(name, types, amounts[i], seeds[s], held)
        model = gpt(text.types, d, layers, 4, seeds[s]).to(device)
        gen = torch.Generator().manual_seed(seeds[s])
        train(model, text.train, plan, gen, param_groups(model, decays[j], "everything"))
        for key, piece in (("train", text.train[:4 * held]), ("held", text.held)):
            report = measured(model, piece, text, length)
            out[key][s, i, j] = report.micro, report.macro.value, *top_and_tail(report)
    return out


class Recurrent(nn.Module):
    """A recurrent language model: embedding, LSTM, unembedding; tokens [n, T] -> logits [n, T, V]."""

    def __init__(self, types: int, d: int, layers: int):
        super().__init__()
        self.embed, self.core = nn.Embedding(types, d), nn.LSTM(d, d, layers, batch_first=True)
        self.head = nn.Linear(d, types, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.core(self.embed(ids))[0])


def recurrent(types: int, seed: int) -> nn.Module:
    """An LSTM of two layers with weights drawn from ``seed``."""
    with seeded(seed):
        return Recurrent(types, 64, 2)


def gpt2(types: int, seed: int) -> nn.Module:
    """A small GPT-2 of Hugging Face: learned positions, layer norm, GELU, and an unembedding tied to the embedding."""
    from transformers import GPT2Config, GPT2LMHeadModel
    with seeded(seed):
        return GPT2LMHeadModel(GPT2Config(vocab_size=types, n_positions=64, n_embd=64, n_layer=2, n_head=4, resid_pdrop=0,
                                          embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "deeper": lambda types, seed: gpt(types, 48, 6, 4, seed),
    "wider": lambda types, seed: gpt(types, 128, 2, 4, seed),
    "GPT-2, tied": gpt2,
    "LSTM": recurrent,
}
READS = {"deeper": "newsgroups", "wider": "kjv", "GPT-2, tied": "bbe", "LSTM": "newsgroups"}


def kinds(decay: float, n: int, types: int, steps: int, batch: int, length: int, rates: Sequence[float],
          seeds: Sequence[int], device: str = "cpu") -> dict:
    """Four models on three texts, without decay and with; each takes the rate of the lower mean training loss without it.

    ``train`` [seed, model, 2, 7]: micro, macro and bins on the training text; ``rate`` [model].
    """
    out = np.empty((len(seeds), len(MODELS), 2, len(rates), len(EDGES) + 2))
    for (s, m, r) in np.ndindex(len(seeds), len(MODELS), len(rates)):
        name, plan = list(MODELS)[m], Plan(steps, batch, length, rates[r])
        text = take(READS[name], types, n, seeds[s], 2 * length)
        for j, strength in enumerate((0.0, decay)):
            model = MODELS[name](text.types, seeds[s]).to(device)
            gen = torch.Generator().manual_seed(seeds[s])
            train(model, text.train, plan, gen, param_groups(model, strength, "everything"))
            out[s, m, j, r] = row(measured(model, text.train, text, length))
    best = out[:, :, 0, :, 0].mean(0).argmin(-1)                                 # [model]
    return {"train": np.take_along_axis(out, best[None, :, None, None, None], 3)[:, :, :, 0], "rate": np.array(rates)[best]}


REMEDIES = ("decay of everything", "no decay of token matrices", "rows by root frequency", "rows towards their mean",
            "adjusted logits", "smoothed labels")
CUSTOMARY = 0.1


def arm(model: nn.Module, remedy: str, strength: float, counts: np.ndarray) -> tuple[list[dict], Callable, RowDecay | None]:
    """Groups, loss and row decay of a remedy at a strength; losses are changed on top of the customary decay."""
    device = next(model.parameters()).device
    if remedy == REMEDIES[0]:
        return param_groups(model, strength, "everything"), F.cross_entropy, None
    if remedy in REMEDIES[4:]:
        aim = objective("adjusted" if remedy == REMEDIES[4] else "smoothed", strength, counts, device)
        return param_groups(model, CUSTOMARY, "everything"), aim, None
    of_tokens = {id(p) for p in token_matrices(model)}
    rest = [p for p in model.parameters() if id(p) not in of_tokens]
    groups = [{"params": rest, "weight_decay": strength}, {"params": token_matrices(model), "weight_decay": 0.0}]
    kind = {REMEDIES[2]: "frequency", REMEDIES[3]: "mean"}.get(remedy)
    return groups, F.cross_entropy, RowDecay(model, strength, kind, counts) if kind else None


def remedies(name: str, types: int, n: int, decays: Sequence[float], shifts: Sequence[float], softs: Sequence[float],
             held: int, d: int, layers: int, steps: int, batch: int, length: int, rate: float, seeds: Sequence[int],
             device: str = "cpu") -> dict:
    """Six ways to regularise, each at as many strengths, and none at all.

    ``train``, ``choice`` and ``held`` [seed, remedy, strength, 7]: micro, macro, bins; ``none`` [seed, 3, 7], without decay,
    on the same three pieces.
    """
    plan = Plan(steps, batch, length, rate)
    grid = [decays] * 4 + [shifts, softs]
    out = {k: np.empty((len(seeds), len(REMEDIES), len(decays), len(EDGES) + 2)) for k in ("train", "choice", "held")}
    none = np.empty((len(seeds), 3, len(EDGES) + 2))
    for s, seed in enumerate(seeds):
        text = take(name, types, n, seed, held)

        def run(remedy: str, strength: float, text=text, seed=seed) -> list[list[float]]:
            model = gpt(text.types, d, layers, 4, seed).to(device)
            groups, aim, rows = arm(model, remedy, strength, text.counts)
            train(model, text.train, plan, torch.Generator().manual_seed(seed), groups, aim, rows)
            return [row(measured(model, piece, text, length)) for piece in (text.train[:4 * held], text.choice, text.held)]

        none[s] = run(REMEDIES[0], 0.0)
        for i, remedy in enumerate(REMEDIES):
            for j, strength in enumerate(grid[i]):
                for key, values in zip(out, run(remedy, strength), strict=True):
                    out[key][s, i, j] = values
    return out | {"none": none}


def large(name: str, types: int, n: int, held: int, shapes: Sequence[tuple[int, int, int]], decays: Sequence[Sequence[float]],
          steps: int, batch: int, length: int, rate: float, count: int, seeds: Sequence[int], device: str = "cpu") -> dict:
    """Large GPTs (d, layers, heads), each at its decays, compiled and in bfloat16 on a GPU, with looks at every type.

    ``train`` and ``held`` [seed, run, look, 7], the runs in the order of shapes and decays; ``curves`` [seed, run, look,
    type], half precision, loss of each type on the training text.
    """
    runs = [(shape, decay) for shape, some in zip(shapes, decays, strict=True) for decay in some]
    plan, at, found = Plan(steps, batch, length, rate, max(20, steps // 50)), looks(steps, count), {}
    for s, seed in enumerate(seeds):
        text = take(name, types, n, seed, held)
        for r, ((d, layers, heads), decay) in enumerate(runs):
            model = gpt(text.types, d, layers, heads, seed).to(device)
            quick = torch.compile(model) if device.startswith("cuda") else model
            reports, look = watch(quick, text, (text.train[:4 * held], text.held), length)
            train(quick, text.train, plan, torch.Generator().manual_seed(seed), param_groups(model, decay, "everything"),
                  at=at, look=look, precision="bfloat16" if device.startswith("cuda") else "float32")
            found[s, r] = reports
    grid = [[found[s, r] for r in range(len(runs))] for s in range(len(seeds))]
    return {key: np.array([[[row(pair[k]) for pair in reports] for reports in line] for line in grid])
            for k, key in enumerate(("train", "held"))} | {
        "curves": np.array([[[pair[0].loss for pair in reports] for reports in line] for line in grid], np.float16)}


def convex(types: int, n: int, decays: Sequence[float], seeds: Sequence[int]) -> dict:
    """The best table of bigrams on words, the rarer ones as one unknown; the first decay is the reference.

    ``rise`` [seed, decay - 1, 2]: of the loss of the most frequent 5 % of the types and of the rarer half; ``means``
    [seed, decay, 2], micro and macro loss without the unknown.
    """
    rise, means = np.empty((len(seeds), len(decays) - 1, 2)), np.empty((len(seeds), len(decays), 2))
    for s, seed in enumerate(seeds):
        ids = words(n, seed).train
        ids = torch.where(ids < types, ids, 0)
        counts = torch.bincount(ids[1:], minlength=types).numpy()
        loss = bigram(ids, types, decays)[:, 1:]                                 # names fall by count
        means[s] = np.stack([(loss * counts[1:]).sum(1) / counts[1:].sum(), loss.mean(1)], 1)
        change = loss[1:] - loss[0]
        rise[s] = np.stack([change[:, :types // 20].mean(1), change[:, types // 2:].mean(1)], 1)
    return {"rise": rise, "means": means}
