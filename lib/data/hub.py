"""The papers' own data sets, for a reader who has the network: read from files in their usual format, never required.

A chapter asks for them by its parameter ``source="hub"``. Nothing is fetched here: the message of a missing file gives
the command of the library that fetches it.
"""

import gzip
import pickle
import tarfile

import numpy as np

from lib import paths
from lib.data import pickles
from lib.data.packages import DataCorrupt, DataMissing


def cifar10() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """CIFAR-10 as x [50000, 3, 32, 32] uint8, y [50000], x_test [10000, 3, 32, 32], y_test [10000].

    Source: A. Krizhevsky, 2009; the archive ``cifar-10-python.tar.gz`` in the folder ``hub`` of the data folder.
    """
    file = paths.data() / "hub" / "cifar-10-python.tar.gz"
    if not file.is_file():
        raise DataMissing(f"CIFAR-10 is not at {file}; with the network and torchvision run `python -c \"from "
                          f"torchvision.datasets import CIFAR10; CIFAR10('{file.parent}', download=True)\"`, or use "
                          "source=\"packages\".")
    try:
        with tarfile.open(file) as t:
            names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
            found = [pickles.load(t.extractfile(f"cifar-10-batches-py/{n}").read(), "bytes") for n in names]
        x = [np.asarray(d[b"data"], np.uint8).reshape(-1, 3, 32, 32) for d in found]
        y = [np.asarray(d[b"labels"], np.int64) for d in found]
    except (KeyError, ValueError, AttributeError, EOFError, tarfile.TarError, pickle.UnpicklingError) as e:
        raise DataCorrupt(f"{file} is not the archive of CIFAR-10 ({type(e).__name__}); delete it and fetch it again.") from e
    return np.concatenate(x[:5]), np.concatenate(y[:5]), x[5], y[5]


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
