"""Packages used as data files: found, checked by hash, fetched on request, read without running anything in them."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib import paths
from lib.errors import BookError
from lib.evidence import write_file


class DataMissing(BookError):
    """A data package is not on this machine."""


class DataCorrupt(BookError):
    """A data package is not the file that it should be."""


def wanted() -> dict[str, tuple[str, str]]:
    """Packages of ``requirements-data.txt``: name -> (version, sha256). The hashes there are the single truth."""
    file = paths.home() / "requirements-data.txt"
    text = file.read_text() if file.is_file() else ""
    return {m[1]: (m[2], m[3]) for m in re.finditer(r"(?m)^([\w.-]+)==(\S+)\s+--hash=sha256:([0-9a-f]{64})", text)}


def _file(name: str) -> Path | None:
    """File of a package by its name and version, or None."""
    version, _ = wanted()[name]
    stem = re.sub(r"[-_.]+", "_", name).lower()
    for f in sorted((paths.data() / "packages").glob("*")):
        if re.sub(r"[-_.]+", "_", f.name).lower().startswith(f"{stem}_{re.sub(r'[-_.]+', '_', version)}".lower()):
            return f
    return None


def _sha256(file: Path) -> str:
    """Hash of a file, kept beside it under name, size and time of change."""
    stat, ledger = file.stat(), paths.data() / "verified.json"
    key = f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}"
    try:
        known = json.loads(ledger.read_text())
    except (OSError, ValueError):
        known = {}
    if key not in known:
        with file.open("rb") as f:
            known[key] = hashlib.file_digest(f, "sha256").hexdigest()
        try:
            write_file(ledger, json.dumps(known).encode())
        except BookError:
            pass
    return known[key]


def find(name: str) -> Path:
    """Checked file of a package. Raises DataMissing or DataCorrupt, each with the command that mends it."""
    if name not in wanted():
        raise DataMissing(f"data package {name} stands in no line of requirements-data.txt; add it with its hash.")
    file = _file(name)
    if file is None:
        raise DataMissing(f"data package {name} is not on this machine; "
                          f"fetch it with `python -m lib.book data {name}`.")
    found, expected = _sha256(file), wanted()[name][1]
    if found != expected:
        raise DataCorrupt(f"{file.name} has sha256 {found[:16]}…, not {expected[:16]}…; delete it and run "
                          f"`python -m lib.book data {name}`.")
    return file


def have_package(name: str) -> bool:
    """True where the package lies on this machine with the right hash."""
    try:
        find(name)
    except BookError:
        return False
    return True


def fetch(names: list[str]) -> None:
    """Download packages by hash with pip; the only function that uses the network."""
    lines = []
    for name in names:
        if name not in wanted():
            raise DataMissing(f"data package {name} stands in no line of requirements-data.txt; add it with its hash.")
        if not have_package(name):
            version, sha = wanted()[name]
            lines.append(f"{name}=={version} --hash=sha256:{sha}")
            damaged = _file(name)
            if damaged is not None:
                damaged.unlink()
    if not lines:
        return
    target = paths.data() / "packages"
    target.mkdir(parents=True, exist_ok=True)
    listing = target.parent / f"fetch-{os.getpid()}.txt"
    listing.write_text("\n".join(lines) + "\n")
    try:
        out = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
                              "--disable-pip-version-check", "-r", str(listing), "-d", str(target)],
                             capture_output=True, text=True)
    finally:
        listing.unlink(missing_ok=True)
    if out.returncode:
        last = [x for x in (out.stderr + out.stdout).strip().splitlines() if x.strip()][-1:]
        raise DataMissing(f"pip could not fetch {', '.join(x.split('==')[0] for x in lines)} "
                          f"({' '.join(last) or 'no reason given'}); mend that and run `python -m lib.book data`.")


def member(package: str, name: str) -> bytes:
    """Bytes of one file inside a package (a wheel or an sdist)."""
    file = find(package)
    try:
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as z:
                return z.read(name)
        with tarfile.open(file) as t:
            return t.extractfile(name).read()
    except KeyError:
        raise DataCorrupt(f"{file.name} holds no member {name}; the reader of this data set is out of date.") from None


def cached(name: str, package: str, version: int, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that a reader parsed before, else parsed now; a cache that cannot be read is made again.

    The key holds the package's hash and the reader's version, so that a change of either makes a new cache.
    """
    return cached_arrays(name, f"{wanted()[package][1]} {version}", make)


def cached_arrays(name: str, recipe: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that were made before by this recipe, else made now; a cache that cannot be read is made again."""
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    file = paths.data() / "cache" / f"{name}-{key}.npz"
    if file.is_file():
        try:
            with np.load(file, allow_pickle=False) as z:
                return {k: z[k] for k in z.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            file.unlink(missing_ok=True)
    arrays = make()
    import io
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_file(file, buffer.getvalue())
    return arrays


def status() -> list[dict]:
    """One row a package: name, version, present, verified."""
    return [{"package": n, "version": v, "present": _file(n) is not None, "verified": have_package(n)}
            for n, (v, _) in wanted().items()]
