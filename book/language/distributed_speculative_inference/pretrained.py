"""Early exits of a pre-trained model as drafters, in the chapter "distributed-speculative-inference"."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib import data


def shares(config, keeps: Sequence[int]) -> np.ndarray:
    """Cost of an early exit over that of the target [keep], by the weights that a token reads, output matrix included."""
    d, inner, kv = config.hidden_size, config.intermediate_size, config.num_key_value_heads / config.num_attention_heads
    layer, out = d * d * (2 + 2 * kv) + 3 * d * inner, d * config.vocab_size
    return np.array([(k * layer + out) / (config.num_hidden_layers * layer + out) for k in keeps])


@torch.inference_mode()
def agreement(model, ids: Tensor, first: int, keeps: Sequence[int]) -> np.ndarray:
    """Share of tokens [keep] behind ``first`` that an exit after so many layers would have said too; greedy."""
    states = model(input_ids=ids[:, :-1], output_hidden_states=True, use_cache=False).hidden_states
    said = ids[:, first:]
    return np.array([float((model.lm_head(model.model.norm(states[k][:, first - 1:])).argmax(-1) == said).double().mean())
                     for k in keeps])


@torch.inference_mode()
def block_seconds(model, ids: Tensor, tokens: int, repeats: int = 7) -> float:
    """Median seconds of a forward of ``tokens`` tokens behind a cached prefix [1, n]."""
    from transformers import DynamicCache
    cache = DynamicCache()
    model(input_ids=ids[:, :-tokens], past_key_values=cache, use_cache=True)
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        model(input_ids=ids[:, -tokens:], past_key_values=cache, use_cache=True)
        took.append(time.perf_counter() - start)
        cache.crop(-tokens)
    return float(np.median(took))


def early_exits(keeps: Sequence[int], prompts: int, length: int, n: int, lookahead: int, seeds: Sequence[int],
                device: str = "cpu") -> dict:
    """SmolLM2's greedy answers of ``n`` tokens behind pieces of the King James Bible, and its exits after ``keeps`` layers.

    Returns ``agreement`` [seed, keep]; ``share`` [keep], cost of a draft over a target forward, by weights; ``block`` [seed],
    seconds of verifying ``lookahead`` + 1 tokens over those of one.
    """
    model, tokenizer = data.smollm()
    model, text = model.to(device), data.corpus("kjv")
    found: dict[str, list] = {"agreement": [], "block": []}
    for s in seeds:
        at = np.random.default_rng(s).integers(len(text) - 20 * length, size=prompts)
        ask = torch.tensor([tokenizer(text[i:i + 20 * length]).input_ids[1:length + 1] for i in at], device=device)
        ids = model.generate(ask, attention_mask=torch.ones_like(ask), do_sample=False, max_new_tokens=n, min_new_tokens=n)
        found["agreement"].append(agreement(model, ids, length, keeps))
        found["block"].append(block_seconds(model, ids[:1], lookahead + 1) / block_seconds(model, ids[:1], 1))
    return {k: np.array(v) for k, v in found.items()} | {"share": shares(model.config, keeps)}
