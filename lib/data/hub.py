"""The papers' own data sets, for a reader who has the network: read from files in their usual format, never required.

A chapter asks for them by its parameter ``source="hub"``. Nothing is fetched here: the message of a missing file gives
the command of the library that fetches it.
"""

import io
import pickle
import tarfile

import numpy as np

from lib import paths
from lib.data.packages import DataCorrupt, DataMissing

_SAFE = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"),
         ("numpy", "dtype"), ("_codecs", "encode")}


class _Unpickler(pickle.Unpickler):
    """Reads arrays, and runs nothing else."""

    def find_class(self, module: str, name: str):
        if (module, name) not in _SAFE:
            raise DataCorrupt(f"a file of CIFAR-10 asks for {module}.{name}, which no file of arrays needs; delete it and "
                              "fetch it again.")
        return super().find_class(module, name)


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
            found = [_Unpickler(io.BytesIO(t.extractfile(f"cifar-10-batches-py/{n}").read()), encoding="bytes").load()
                     for n in names]
        x = [np.asarray(d[b"data"], np.uint8).reshape(-1, 3, 32, 32) for d in found]
        y = [np.asarray(d[b"labels"], np.int64) for d in found]
    except (KeyError, ValueError, AttributeError, EOFError, tarfile.TarError, pickle.UnpicklingError) as e:
        raise DataCorrupt(f"{file} is not the archive of CIFAR-10 ({type(e).__name__}); delete it and fetch it again.") from e
    return np.concatenate(x[:5]), np.concatenate(y[:5]), x[5], y[5]
