"""Where evidence lies, and how it gets there whole.

Two places hold evidence. The *store* is local, addressed by content and may be deleted at any time. *Records* are
committed: the arrays of the full run of a chapter and, once for all its experiments, the source texts that made them, so
that anyone can see whether today's text still is that text. Both use npz without pickle and JSON.
"""

import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import paths
from lib.evidence.blocks import cut, fit, joined
from lib.evidence.recipe import EvidenceError, Recipe, digest

LIMIT = 1_000_000
CHAPTER_LIMIT = 5_000_000
SOURCES = "sources.json"
MADE = ("seconds", "peak_mb", "device", "versions", "commit", "made")


class Evidence(Mapping):
    """What an experiment returned: arrays by name (``E["slope"]`` or ``E.slope``), read-only, with their origin.

    Attributes: ``id``; ``info`` (recipe, device, versions, seconds, peak_mb, commit; ``same``, where another text than the
    one that made it was shown to give the same bits: a list of transcripts); ``stale`` (None, or what of the recipe has
    changed since the evidence was recorded).
    """

    def __init__(self, arrays: dict, info: dict, stale: list[str] | None = None):
        self._arrays, self.id, self.info, self.stale = arrays, info["recipe"]["id"], info, stale
        for a in arrays.values():
            a.flags.writeable = False

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._arrays[name]
        except KeyError:
            raise EvidenceError(f"experiment {self.id} returned no `{name}`; it returned "
                                f"{', '.join(self._arrays)}.") from None

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_") or name not in self._arrays:
            raise AttributeError(f"experiment {self.id} returned no `{name}`")
        return self._arrays[name]

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        rows = ", ".join(f"{k} {list(v.shape)} {v.dtype}" for k, v in self._arrays.items())
        return f"Evidence {self.id}: {rows}"


def arrays(id: str, result) -> dict[str, np.ndarray]:
    """What an experiment returned, as arrays; refuses what would need pickle."""
    if not isinstance(result, Mapping) or not result:
        raise EvidenceError(f"experiment {id} must return a dictionary of arrays, not {type(result).__name__}.")
    out = {}
    for name, value in result.items():
        a = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if a.dtype == object or not isinstance(name, str) or not name.isidentifier():
            raise EvidenceError(f"experiment {id} returned `{name}`, which is no array of numbers or strings under a "
                                "plain name; return numbers, lists of equal length or arrays.")
        out[name] = a
    return out


def pack(id: str, result) -> bytes:
    """Arrays of an experiment as npz bytes; refuses what needs pickle and what is too large."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays(id, result))
    if buffer.tell() > LIMIT:
        raise EvidenceError(f"experiment {id} returned {buffer.tell() / 1e6:.1f} MB of compressed evidence, more than "
                            f"{LIMIT / 1e6:.0f} MB; return outcomes in a smaller type or fewer of them.")
    return buffer.getvalue()


def unpack(blob: bytes, info: dict, stale: list[str] | None = None) -> Evidence:
    """Inverse of pack; raises EvidenceError when the bytes are not those that ``info`` was written for."""
    if digest(blob) != info.get("sha256"):
        raise EvidenceError("the arrays are not the ones that the description was written for")
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as z:
            return Evidence({k: z[k] for k in z.files}, info, stale)
    except (ValueError, zipfile.BadZipFile) as e:
        raise EvidenceError(f"the arrays cannot be read ({e})") from None


def write_folder(target: Path, files: dict[str, bytes]) -> None:
    """Write files into a new folder that appears whole or not at all; an existing folder stays as it is."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            for name, blob in files.items():
                (temporary / name).write_bytes(blob)
            os.replace(temporary, target)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not target.is_dir():
                raise
    except OSError as e:
        raise EvidenceError(f"cannot write to {target.parent} ({e.strerror or e}); make room or make it writable, or "
                            "set BOOK_STORE to another folder. What was there before is untouched.") from None


def write_file(target: Path, blob: bytes) -> None:
    """Write one file that appears whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(blob)
            os.chmod(name, 0o644)
            os.replace(name, target)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise EvidenceError(f"cannot write {target} ({e.strerror or e}); make room or make it writable. "
                            "What was there before is untouched.") from None


def to_bytes(obj) -> bytes:
    """JSON as it is written to disk: sorted, indented, one last newline."""
    return (json.dumps(obj, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _description(info: dict) -> bytes:
    """Description of evidence as JSON, lists of plain values on one line."""
    inner = re.compile(r"\[\s+([^][{}]*?)\s+\]")  # line breaks are layout alone: in strings they are escaped
    return inner.sub(lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", to_bytes(info).decode()).encode()


def folder(recipe: Recipe, device: str) -> Path:
    """Where the store holds the evidence of this recipe, or would hold it."""
    return paths.store() / "evidence" / recipe.key(device)


def find(recipe: Recipe, device: str) -> Evidence | None:
    """Evidence of this recipe made on this machine, or None; damaged evidence is removed, as if it had never been."""
    place = folder(recipe, device)
    if not place.is_dir():
        return None
    try:
        info = json.loads((place / "evidence.json").read_text())
        return unpack((place / "arrays.npz").read_bytes(), info)
    except (OSError, ValueError, EvidenceError):
        shutil.rmtree(place, ignore_errors=True)
        return None


def forget(recipe: Recipe, device: str) -> None:
    """Remove the evidence of this recipe from the store, so that it is computed again."""
    shutil.rmtree(folder(recipe, device), ignore_errors=True)


def keep(recipe: Recipe, device: str, result, info: dict) -> Evidence:
    """Store what an experiment returned; gives the evidence back as it will be read."""
    blob = pack(recipe.id, result)
    info = {**info, "recipe": recipe.to_json(), "texts": recipe.texts(), "sha256": digest(blob)}
    write_folder(folder(recipe, device), {"arrays.npz": blob, "evidence.json": _description(info)})
    return unpack(blob, info)


def together(recipe: Recipe, pieces: list[Evidence], axes: dict) -> Evidence:
    """Evidence of a recipe from that of its blocks, or of the first of them."""
    seeds = recipe.params["seeds"][:sum(recipe.blocks[:len(pieces)])]
    recipe = replace(recipe, params={**recipe.params, "seeds": seeds}, blocks=recipe.blocks[:len(pieces)])
    for piece, n in zip(pieces, recipe.blocks):
        fit(recipe.id, piece, axes, n)
    blob = pack(recipe.id, joined(recipe.id, pieces, axes))
    each = [{k: p.info[k] for k in MADE} for p in pieces]
    info = {**pieces[-1].info, "recipe": recipe.to_json(), "texts": recipe.texts(), "sha256": digest(blob), "blocks": each,
            "axes": {name: list(names) for name, names in axes.items()},
            "device": "; ".join(dict.fromkeys(m["device"] for m in each)),
            "seconds": round(sum(m["seconds"] for m in each), 2), "peak_mb": max(m["peak_mb"] for m in each)}
    same = [t for p in pieces for t in p.info.get("same", [])]
    return unpack(blob, info | ({"same": [t for i, t in enumerate(same) if t not in same[:i]]} if same else {}))


def record_file(slug: str, id: str) -> Path:
    """Description of the committed evidence of one experiment; its arrays lie beside it."""
    return paths.records(slug) / f"{id}.json"


def _sources(slug: str) -> dict[str, str]:
    file = paths.records(slug) / SOURCES
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def read_record(slug: str, id: str, today: Recipe | None = None) -> Evidence | None:
    """Committed evidence, or None; marked stale where today's recipe differs from the recorded one."""
    file = record_file(slug, id)
    if not file.is_file():
        return None
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        evidence = unpack(file.with_suffix(".npz").read_bytes(), info)
        recorded = Recipe.from_json(info["recipe"], _sources(slug))
    except (OSError, ValueError, EvidenceError) as e:
        raise EvidenceError(f"the record {slug}/{id} is damaged ({e}); restore it with git, or record it anew with "
                            f"`python -m lib.book record {slug} {id}`.") from None
    if today is not None:
        evidence.stale = today.differences(recorded) or None
    return evidence


def recorded_pieces(recipe: Recipe) -> list[Evidence]:
    """Evidence of the first blocks of a recipe, cut from a record that holds them; an empty list where none does."""
    try:
        record = read_record(recipe.slug, recipe.id, recipe)
    except EvidenceError:
        return []  # damaged: it is made again
    if record is None or set(record.stale or ()) - ({"parameter seeds", "blocks"} if recipe.blocks else set()):
        return []
    if not recipe.blocks:
        return [record]
    recorded, made = record.info["recipe"], record.info.get("blocks", ())
    out, start = [], 0
    for piece, n, before, each in zip(recipe.pieces(), recipe.blocks, recorded.get("blocks", ()), made):
        if n != before or piece.params["seeds"] != recorded["params"]["seeds"][start:start + n]:
            break
        values = cut(record, record.info["axes"], start, start + n)
        info = {k: v for k, v in record.info.items() if k not in ("axes", "blocks", "sha256")}
        out.append(Evidence(values, {**info, **each, "recipe": piece.to_json()}))
        start += n
    return out


def write_record(evidence: Evidence) -> Path:
    """Commit evidence to the records of its chapter; only the ``record`` and ``same`` verbs call this."""
    from filelock import FileLock
    slug = evidence.info["recipe"]["slug"]
    if evidence.info.get("size") != "full" or evidence.info.get("shrink") != 1:
        raise EvidenceError(f"{evidence.id} is of {evidence.info.get('size')} size, shrunk by {evidence.info.get('shrink')}; "
                            "only evidence of the whole full size is recorded.")
    blob = pack(evidence.id, evidence)
    others = sum(f.stat().st_size for f in paths.records(slug).glob("*.npz") if f.stem != evidence.id)
    if others + len(blob) > CHAPTER_LIMIT:
        raise EvidenceError(f"the records of {slug} would grow to {(others + len(blob)) / 1e6:.1f} MB, more than "
                            f"{CHAPTER_LIMIT / 1e6:.0f} MB; return smaller evidence.")
    file = record_file(slug, evidence.id)
    before = file.with_suffix(".npz").read_bytes() if file.with_suffix(".npz").is_file() else None
    info = {k: v for k, v in evidence.info.items() if k != "texts"}
    paths.store().mkdir(parents=True, exist_ok=True)
    with FileLock(paths.store() / f".records-{slug}.lock"):
        sources = _sources(slug)
        # texts first and more than needed, so that a kill at any point leaves every record readable
        if not evidence.info["texts"].items() <= sources.items():
            write_file(file.with_name(SOURCES), to_bytes(sources := sources | evidence.info["texts"]))
        write_file(file.with_suffix(".npz"), blob)
        try:
            write_file(file, _description({**info, "sha256": digest(blob)}))
        except EvidenceError:
            if before is not None:
                write_file(file.with_suffix(".npz"), before)
            raise
        used = _mentioned(slug)
        if sources.keys() - used:
            write_file(file.with_name(SOURCES), to_bytes({k: v for k, v in sources.items() if k in used}))
    return file


def _mentioned(slug: str) -> set[str]:
    """Names of the texts that the records of a chapter mention."""
    parts = [p for f in paths.records(slug).glob("*.json") if f.name not in (SOURCES, "claims.json")
             for p in json.loads(f.read_text(encoding="utf-8"))["recipe"]["parts"]]
    return {p[1] for p in parts} | {link[2] for p in parts for link in p[2:]}
