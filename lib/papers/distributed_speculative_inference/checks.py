"""What is refused before a run: pairs that do not speak the same tokens, prompts that a model cannot read."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from .errors import SpeculationError


def check_pair(target: Any, drafter: Any) -> None:
    """Refuse a pair whose token ids do not mean the same."""
    check_vocabularies(target.config.vocab_size, drafter.config.vocab_size)


def check_prompt(prompt: Sequence[int], vocabulary: int, limit: int | None) -> int:
    """Refuse a prompt that a model cannot read; returns how many tokens its context leaves for an answer."""
    ids = [t.item() if getattr(t, "ndim", 1) == 0 else t for t in prompt]  # of a tensor too
    if not all(isinstance(t, Integral) for t in ids):
        raise SpeculationError("the prompt is no list of token ids of one text; give tokenizer(text).input_ids, or a row of "
                               "a batch.")
    if len(prompt) < 1:
        raise SpeculationError("the prompt is empty; a model needs at least one token, such as its begin-of-text.")
    if limit and len(prompt) >= limit:
        raise SpeculationError(f"the prompt has {len(prompt)} tokens and the model's context {limit}; shorten the prompt.")
    if min(prompt) < 0 or max(prompt) >= vocabulary:
        raise SpeculationError(f"the prompt holds token ids outside of 0 to {vocabulary - 1}; use the target's tokenizer.")
    return limit - len(prompt) + 1 if limit else 2**62


def check_vocabularies(a: int, b: int) -> None:
    """Refuse vocabularies of different sizes."""
    if a != b:
        raise SpeculationError(
            f"the target has {a} token ids and the drafter {b}; a drafter must share the target's tokenizer.")
