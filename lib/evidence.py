"""Evidence: what an experiment returned, with the recipe that made it.

Two places hold evidence. The *store* is local, addressed by content and may be deleted at any time. *Records* are
committed: the arrays of the full run of a chapter, beside the source text that made them, so that anyone can see
whether today's text still is that text. Both use npz without pickle and JSON.
"""

import functools
import hashlib
import io
import json
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from lib import paths
from lib.errors import BookError
from lib.source import Part, canonical

VERSIONED = ("numpy", "scipy", "torch", "numba", "scikit-learn", "transformers", "sympy", "python-flint", "matplotlib")
LIMIT = 1_000_000
CHAPTER_LIMIT = 5_000_000


class EvidenceError(BookError):
    """Evidence that cannot be made, stored or trusted."""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, read once a process."""
    out = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def digest(*blobs: bytes | str) -> str:
    """sha256 of the blobs, each with its length, as hexadecimal digits."""
    h = hashlib.sha256()
    for b in blobs:
        b = b.encode() if isinstance(b, str) else b
        h.update(f"{len(b)}:".encode() + b)
    return h.hexdigest()


def plain(value, where: str):
    """A parameter in the form in which it enters a key: JSON, arrays by the hash of their bytes."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v, where) for k, v in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(v, where) for v in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        return plain(value.item(), where)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return {"array": digest(str(value.dtype), str(value.shape), np.ascontiguousarray(value).tobytes())}
    raise EvidenceError(f"{where} has a parameter of type {type(value).__name__}; "
                        "pass numbers, strings, lists, dictionaries or arrays.")


@dataclass(frozen=True)
class Recipe:
    """All that decides what an experiment returns, but for the machine."""

    slug: str
    id: str
    parts: list[Part]
    params: dict
    seed: int
    data: dict = field(default_factory=dict)

    def key(self, device: str) -> str:
        """Address in the local store: the recipe, the kind of device and the installed versions."""
        return digest(json.dumps([self.slug, self.id, canonical(self.parts), self.params, self.seed, self.data,
                                  device, versions()], sort_keys=True))

    def same_as(self, other: "Recipe") -> bool:
        """True when both recipes say the same, whatever their comments, docstrings and layout."""
        return not self.differences(other)

    def differences(self, other: "Recipe") -> list[str]:
        """What differs, in words: names of parts, parameters, the seed, data sets."""
        mine, theirs = set(canonical(self.parts)), set(canonical(other.parts))
        out = sorted({f"{where}: {name}" for where, name, _ in mine ^ theirs})
        for word, a, b in (("parameter", self.params, other.params), ("data set", self.data, other.data)):
            out += [f"{word} {k}" for k in sorted(a.keys() | b.keys())
                    if (k in a) != (k in b) or json.dumps(a[k], sort_keys=True) != json.dumps(b[k], sort_keys=True)]
        return out + (["seed"] if self.seed != other.seed else [])

    def to_json(self) -> dict:
        """The recipe as JSON, texts in full."""
        return {"slug": self.slug, "id": self.id, "seed": self.seed, "params": self.params, "data": self.data,
                "parts": [[p.where, p.name, p.text] for p in self.parts]}

    @classmethod
    def from_json(cls, d: dict) -> "Recipe":
        """Inverse of to_json."""
        return cls(d["slug"], d["id"], [Part(*p) for p in d["parts"]], d["params"], d["seed"], d["data"])


class Evidence(Mapping):
    """What an experiment returned: arrays by name (``E["slope"]`` or ``E.slope``), read-only, with their origin.

    Attributes: ``id``; ``info`` (recipe, device, versions, seconds, peak_mb, commit); ``stale`` (None, or what of the
    recipe has changed since the evidence was recorded).
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


def pack(id: str, result) -> bytes:
    """Arrays of an experiment as npz bytes; refuses what needs pickle and what is too large."""
    if not isinstance(result, Mapping) or not result:
        raise EvidenceError(f"experiment {id} must return a dictionary of arrays, not {type(result).__name__}.")
    arrays = {}
    for name, value in result.items():
        a = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if a.dtype == object or not isinstance(name, str) or not name.isidentifier():
            raise EvidenceError(f"experiment {id} returned `{name}`, which is no array of numbers or strings under a "
                                "plain name; return numbers, lists of equal length or arrays.")
        arrays[name] = a
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
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


def _folder(key: str) -> Path:
    return paths.store() / "evidence" / key


def find(recipe: Recipe, device: str) -> Evidence | None:
    """Evidence of this recipe made on this machine, or None; damaged evidence is removed, as if it had never been."""
    folder = _folder(recipe.key(device))
    if not folder.is_dir():
        return None
    try:
        info = json.loads((folder / "evidence.json").read_text())
        return unpack((folder / "arrays.npz").read_bytes(), info)
    except (OSError, ValueError, EvidenceError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def keep(recipe: Recipe, device: str, result, info: dict) -> Evidence:
    """Store what an experiment returned; gives the evidence back as it will be read."""
    blob = pack(recipe.id, result)
    info = {**info, "recipe": recipe.to_json(), "sha256": digest(blob)}
    write_folder(_folder(recipe.key(device)), {"arrays.npz": blob, "evidence.json": to_bytes(info)})
    return unpack(blob, info)


def record_file(slug: str, id: str) -> Path:
    """Description of the committed evidence of one experiment; its arrays lie beside it."""
    return paths.records(slug) / f"{id}.json"


def read_record(slug: str, id: str, today: Recipe | None = None) -> Evidence | None:
    """Committed evidence, or None; marked stale where today's recipe differs from the recorded one."""
    file = record_file(slug, id)
    if not file.is_file():
        return None
    try:
        info = json.loads(file.read_text())
        evidence = unpack(file.with_suffix(".npz").read_bytes(), info)
    except (OSError, ValueError, EvidenceError) as e:
        raise EvidenceError(f"the record {slug}/{id} is damaged ({e}); restore it with git, or record it anew with "
                            f"`python -m lib.book record {slug} {id}`.") from None
    if today is not None:
        evidence.stale = today.differences(Recipe.from_json(info["recipe"])) or None
    return evidence


def write_record(evidence: Evidence) -> Path:
    """Commit evidence to the records of its chapter; only the ``record`` verb calls this."""
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
    write_file(file.with_suffix(".npz"), blob)
    try:
        write_file(file, to_bytes({**evidence.info, "sha256": digest(blob)}))
    except EvidenceError:
        if before is not None:
            write_file(file.with_suffix(".npz"), before)
        raise
    return file
