"""Pairs of target and drafter: an early exit of random weights, and small models trained and distilled on a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lib.ensemble import seeded


def llama(vocabulary: int, d: int, layers: int, heads: int = 4, context: int = 512) -> nn.Module:
    """A small Llama from a Hugging Face configuration, random weights from torch's generator."""
    from transformers import LlamaConfig, LlamaForCausalLM
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=vocabulary, hidden_size=d, intermediate_size=4 * d, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, max_position_embeddings=context, tie_word_embeddings=False, bos_token_id=0,
        eos_token_id=None)).eval()


def exit_early(target: nn.Module, layers: int) -> nn.Module:
    """A drafter that shares the target's weights and leaves after its first layers."""
    from transformers import LlamaConfig, LlamaForCausalLM
    with torch.device("meta"):
        drafter = LlamaForCausalLM(LlamaConfig(**{**target.config.to_dict(), "num_hidden_layers": layers}))
    drafter.model, drafter.lm_head = type(target.model)(drafter.config), target.lm_head
    drafter.model.layers = target.model.layers[:layers]
    drafter.model.embed_tokens, drafter.model.norm = target.model.embed_tokens, target.model.norm
    return drafter.eval()


def early_exit(vocabulary: int, d: int, layers: int, keep: int, strength: float, seed: int) -> tuple[nn.Module, nn.Module]:
    """A target of random weights whose layers from ``keep`` on add little (``strength``), and its early exit as a drafter.

    The smaller the strength, the more often both say the same: acceptance without training.
    """
    with seeded(seed):
        target = llama(vocabulary, d, layers)
        with torch.no_grad():
            target.model.embed_tokens.weight.normal_()
            target.lm_head.weight.normal_(std=3 / d**0.5)
            for i, layer in enumerate(target.model.layers):
                for w in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                    w.normal_(std=(1.0 if i < keep else strength) / w.shape[1] ** 0.5)
        return target, exit_early(target, keep)


def windows(text: np.ndarray, n: int, length: int, gen: torch.Generator) -> Tensor:
    """Random windows [n, length] of token ids."""
    starts = torch.randint(len(text) - length, (n, 1), generator=gen)
    return torch.tensor(text, dtype=torch.long)[starts + torch.arange(length)]


def train(model: nn.Module, text: np.ndarray, steps: int, batch: int, length: int, lr: float, seed: int,
          teacher: nn.Module | None = None) -> nn.Module:
    """AdamW on next tokens of a text, or on the teacher's laws of them where one is given (distillation); in place."""
    gen = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.95), weight_decay=0.01)
    model.train()
    for t in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (t + 1) / (0.1 * steps)) * (1 - t / steps)
        ids = windows(text, batch, length, gen).to(device)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        if teacher is None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        else:
            with torch.no_grad():
                law = teacher(input_ids=ids[:, :-1], use_cache=False).logits.softmax(-1)
            loss = -(law * logits.log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def speak(model: nn.Module, prompts: Tensor, n: int, seed: int) -> np.ndarray:
    """The model's own text: samples [prompts, n] behind prompts [prompts, length], many at once."""
    gen = torch.Generator().manual_seed(seed)
    ids, cache = prompts, None
    out = []
    with torch.inference_mode():
        for _ in range(n):
            got = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = got.past_key_values
            ids = torch.multinomial(got.logits[:, -1].float().softmax(-1).cpu(), 1, generator=gen).to(prompts)
            out.append(ids)
    return torch.cat(out, 1).cpu().numpy()


def bytes_of(texts: Sequence[str]) -> np.ndarray:
    """Texts as one vector of bytes, the token ids of the chapter's small models."""
    return np.frombuffer("\n".join(texts).encode(), np.uint8).astype(np.int64)
