"""The papers' own data sets, for a reader who has the network: read from files in their usual format, never required.

A chapter asks for them by its parameter ``source="hub"``. Nothing is fetched here: the message of a missing file gives
the command of the library that fetches it.
"""

import pickle

import numpy as np

from lib import paths
from lib.data import pickles
from lib.data.bounded import gzip, tarfile
from lib.data.errors import DataCorrupt, DataMissing
from lib.data.graphs import Graph


def _batches(name: str, folder: str, members: list[str]) -> list[dict]:
    """Members of an archive of the CIFAR family, each a dictionary of arrays and lists."""
    file = paths.data() / "hub" / f"{folder.removesuffix('-batches-py').removesuffix('-python')}-python.tar.gz"
    if not file.is_file():
        kind = name.replace("-", "")
        raise DataMissing(f"{name} is not at {file}; with the network and torchvision run `python -c \"from "
                          f"torchvision.datasets import {kind}; {kind}('{file.parent}', download=True)\"`, or use "
                          "source=\"packages\".")
    try:
        with tarfile.open(file) as t:
            found = [pickles.load(t.extractfile(f"{folder}/{m}").read(), "bytes") for m in members]
        return [d | {b"data": np.asarray(d[b"data"], np.uint8).reshape(-1, 3, 32, 32)} for d in found]
    except (KeyError, ValueError, AttributeError, TypeError, EOFError, tarfile.TarError, pickle.UnpicklingError) as e:
        raise DataCorrupt(f"{file} is not the archive of {name} ({type(e).__name__}); delete it and fetch it again.") from e


def _labels(d: dict, key: bytes, name: str) -> np.ndarray:
    if key not in d:
        raise DataCorrupt(f"the archive of {name} holds no {key.decode()}, so it is not the archive; fetch it again.")
    return np.asarray(d[key], np.int64)


def cifar10() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """CIFAR-10 as x [50000, 3, 32, 32] uint8, y [50000], x_test [10000, 3, 32, 32], y_test [10000].

    Source: A. Krizhevsky, 2009; the archive ``cifar-10-python.tar.gz`` in the folder ``hub`` of the data folder.
    """
    found = _batches("CIFAR-10", "cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"])
    y = [_labels(d, b"labels", "CIFAR-10") for d in found]
    return np.concatenate([d[b"data"] for d in found[:5]]), np.concatenate(y[:5]), found[5][b"data"], y[5]


def cifar100() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CIFAR-100, training and test images together: x [60000, 3, 32, 32] uint8, classes y [60000], parent [100].

    Splits by classes use all images of a class, so the archive's own split is not kept. ``parent`` is the superclass of each
    class. Source: A. Krizhevsky, 2009; the archive ``cifar-100-python.tar.gz`` in the folder ``hub`` of the data folder.
    """
    found = _batches("CIFAR-100", "cifar-100-python", ["train", "test"])
    y, above = (np.concatenate([_labels(d, key, "CIFAR-100") for d in found]) for key in (b"fine_labels", b"coarse_labels"))
    parent = np.zeros(int(y.max()) + 1, np.int64)
    parent[y] = above
    return np.concatenate([d[b"data"] for d in found]), y, parent


def planetoid(name: str) -> Graph:
    """Citations among papers: ``Cora``, ``CiteSeer`` or ``PubMed``, with the words of each paper; label -1 where it has none.

    Source: Z. Yang and others, 2016; the files ``ind.cora.allx`` and so on in ``hub/Cora/raw`` of the data folder. A word
    counts as present or not, as in Cora and CiteSeer; the public split is not kept.
    """
    if name not in ("Cora", "CiteSeer", "PubMed"):
        raise DataMissing(f"there is no graph {name!r}; choose Cora, CiteSeer or PubMed.")
    folder = paths.data() / "hub" / name / "raw"
    files = {part: folder / f"ind.{name.lower()}.{part}" for part in ("allx", "tx", "ally", "ty", "graph", "test.index")}
    lacking = [f.name for f in files.values() if not f.is_file()]
    if lacking:
        raise DataMissing(f"{', '.join(lacking)} of {name} not in {folder}; with the network and torch_geometric run "
                          f"`python -c \"from torch_geometric.datasets import Planetoid; Planetoid('{folder.parents[1]}', "
                          f"'{name}')\"`, or use source=\"packages\".")
    try:
        place = np.array(files["test.index"].read_text().split(), np.int64)
        part = {k: pickles.load(f.read_bytes(), "latin1") for k, f in files.items() if k != "test.index"}
        n, first = int(place.max()) + 1, part["allx"].shape[0]
        x, y = np.zeros((n, part["allx"].shape[1]), np.uint8), np.full(n, -1)
        for rows, words, marks in ((np.arange(first), part["allx"], part["ally"]), (place, part["tx"], part["ty"])):
            marks = np.asarray(marks)
            x[rows] = words.toarray() > 0
            y[rows] = np.where(marks.any(1), marks.argmax(1), -1)
        pairs = {(min(i, j), max(i, j)) for i, near in part["graph"].items() for j in near if i != j}
        return Graph(np.array(sorted(pairs), np.int64).T, x, y, [str(c) for c in range(int(y.max()) + 1)])
    except (KeyError, ValueError, AttributeError, TypeError, EOFError, IndexError, pickle.UnpicklingError) as e:
        raise DataCorrupt(f"{folder} does not hold the files of {name} ({type(e).__name__}); delete it and fetch it "
                          "again.") from e


def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """MNIST, or Fashion-MNIST put in its place, as x [60000, 28, 28] uint8, y, x_test [10000, 28, 28], y_test.

    Source: Y. LeCun, C. Cortes, 1998; the four files ``train-images-idx3-ubyte`` and so on, plain or gzipped, in the folder
    ``hub/MNIST/raw`` of the data folder.
    """
    folder = paths.data() / "hub" / "MNIST" / "raw"
    parts = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return tuple(_idx(folder, name) for name in parts)


def _idx(folder, name: str) -> np.ndarray:
    file = next((f for f in (folder / name, folder / f"{name}.gz") if f.is_file()), None)
    if file is None:
        raise DataMissing(f"MNIST's {name} is not in {folder}; with the network and torchvision run `python -c \"from "
                          f"torchvision.datasets import MNIST; MNIST('{folder.parents[1]}', download=True)\"`, or use "
                          "source=\"packages\".")
    try:
        blob = gzip.open(file).read() if file.suffix == ".gz" else file.read_bytes()
        axes = blob[3]
        shape = np.frombuffer(blob, ">i4", axes, 4)
        a = np.frombuffer(blob, np.uint8, int(np.prod(shape)), 4 + 4 * axes).reshape(shape)
    except (OSError, ValueError, IndexError) as e:
        raise DataCorrupt(f"{file} is no file of MNIST ({type(e).__name__}); delete it and fetch it again.") from e
    return a.astype(np.int64) if axes == 1 else a


def tinystories() -> list[str]:
    """TinyStories, each story one string. Source: R. Eldan, Y. Li, arXiv:2305.07759, CDLA-Sharing-1.0.

    Read from ``TinyStories-train.txt`` or ``TinyStories-valid.txt`` in the folder ``hub/tinystories`` of the data folder.
    """
    folder = paths.data() / "hub" / "tinystories"
    file = next((f for f in (folder / "TinyStories-train.txt", folder / "TinyStories-valid.txt") if f.is_file()), None)
    if file is None:
        raise DataMissing(f"TinyStories is not in {folder}; with the network fetch it by `huggingface-cli download "
                          f"roneneldan/TinyStories TinyStories-train.txt --repo-type dataset --local-dir {folder}`, or read "
                          "grimm or bbe.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise DataCorrupt(f"{file} is no text in UTF-8 ({e.reason}); delete it and fetch it again.") from e
    return [story.strip() for story in text.split("<|endoftext|>") if story.strip()]


def wikitext() -> str:
    """WikiText-103, raw, as one string. Source: S. Merity and others, arXiv:1609.07843, CC BY-SA.

    Read from ``wiki.train.raw`` (or ``wiki.valid.raw``) in the folder ``hub/wikitext`` of the data folder.
    """
    folder = paths.data() / "hub" / "wikitext"
    file = next((f for f in (folder / "wiki.train.raw", folder / "wiki.valid.raw") if f.is_file()), None)
    if file is None:
        raise DataMissing(f"WikiText is not in {folder}; with the network and the library datasets write it by `python -c "
                          "\"from datasets import load_dataset as l; open('wiki.train.raw', 'w').write(''.join(l("
                          "'Salesforce/wikitext', 'wikitext-103-raw-v1', split='train')['text']))\"` there, or read "
                          "shakespeare.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise DataCorrupt(f"{file} is no text in UTF-8 ({e.reason}); delete it and write it again.") from e


def imdb(unlabelled: bool = False) -> list[str]:
    """25,000 film reviews for training, or 75,000 with the unlabelled ones. Source: A. Maas and others, ACL 2011.

    Read from the authors' archive ``aclImdb_v1.tar.gz`` in the folder ``hub`` of the data folder.
    """
    file = paths.data() / "hub" / "aclImdb_v1.tar.gz"
    if not file.is_file():
        raise DataMissing(f"IMDB is not at {file}; with the network fetch it by `curl -Lo {file} "
                          "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz`, or read shakespeare.")
    parts = ("pos", "neg", "unsup") if unlabelled else ("pos", "neg")
    try:
        with tarfile.open(file) as t:
            found = [t.extractfile(m).read().decode() for m in sorted(t.getmembers(), key=lambda m: m.name)
                     if m.isfile() and m.name.startswith(tuple(f"aclImdb/train/{part}/" for part in parts))]
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as e:
        raise DataCorrupt(f"{file} is not the archive of IMDB ({type(e).__name__}); delete it and fetch it again.") from e
    if not found:
        raise DataCorrupt(f"{file} holds no review under aclImdb/train; delete it and fetch it again.")
    return found
