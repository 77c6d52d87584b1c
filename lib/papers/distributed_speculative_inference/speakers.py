"""A causal language model with its key-value cache: logits behind any prefix, computing only what the cache lacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .checks import check_prompt
from .errors import SpeculationError


class Speaker:
    """One sequence's view of a Hugging Face causal language model; weights may be shared, the cache is its own.

    ``logits(tokens, want)`` returns [want, V] logits of the ``want`` positions that end behind ``tokens``.

    Parameters
    ----------
    model : any ``transformers`` causal LM at evaluation whose cache can be cropped.
    prompt : token ids that precede every answer, at least one.
    """

    def __init__(self, model: nn.Module, prompt: Sequence[int]):
        limit = getattr(model.config, "max_position_embeddings", None)
        check_prompt(prompt, model.config.vocab_size, limit)
        self.model, self.prompt, self.limit = model, tuple(prompt), limit
        self.cache, self.cached = None, ()
        self.computed = 0  # tokens fed to the model so far

    def logits(self, tokens: Sequence[int], want: int) -> torch.Tensor:
        whole = (*self.prompt, *tokens)
        if self.limit and len(whole) > self.limit:
            raise SpeculationError(f"prompt and answer need {len(whole)} positions and the model has {self.limit}; generate "
                                   "fewer tokens.")
        keep = 0
        for a, b in zip(self.cached, whole[:len(whole) - want]):
            if a != b:
                break
            keep += 1
        if self.cache is None:
            from transformers import DynamicCache
            self.cache = DynamicCache(config=self.model.config)
        if keep < len(self.cached):
            self.cache.crop(keep - len(self.cached))
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            out = self.model(input_ids=torch.tensor([whole[keep:]], device=device), past_key_values=self.cache,
                             use_cache=True, logits_to_keep=want)
        self.cached = whole
        self.computed += len(whole) - keep
        return out.logits[0, -want:].float().cpu()
