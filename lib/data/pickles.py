"""Pickles that hold arrays and nothing else, read without running what they ask for."""

import io
import pickle

from lib.data.packages import DataCorrupt

_SAFE = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
         ("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"), ("numpy", "ndarray"),
         ("numpy", "dtype"), ("_codecs", "encode")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _SAFE:
            raise DataCorrupt(f"a file of arrays asks for {module}.{name}, which no file of arrays needs; delete it and "
                              "fetch it again.")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load(blob: bytes, encoding: str = "ASCII"):
    """What a pickle of arrays, lists and dictionaries holds; raises DataCorrupt where it asks for more."""
    return _Unpickler(io.BytesIO(blob), encoding=encoding).load()
