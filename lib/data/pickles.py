"""Pickles that hold arrays, sparse matrices and containers of them, read without running anything else they ask for."""

import functools
import io
import pickle

from lib.data.errors import DataCorrupt

_SAFE = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
         ("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"), ("numpy", "ndarray"),
         ("numpy", "dtype"), ("_codecs", "encode"), ("scipy.sparse.csr", "csr_matrix"),
         ("scipy.sparse._csr", "csr_matrix"), ("collections", "defaultdict"), ("__builtin__", "list"), ("builtins", "list")}
_MOVED = {"numpy.core.multiarray": "numpy._core.multiarray", "numpy.core.numeric": "numpy._core.numeric",
          "scipy.sparse.csr": "scipy.sparse", "scipy.sparse._csr": "scipy.sparse", "__builtin__": "builtins"}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _SAFE:
            raise DataCorrupt(f"a file of arrays asks for {module}.{name}, which no file of arrays needs; delete it and "
                              "fetch it again.")
        found = super().find_class(_MOVED.get(module, module), name)
        return functools.partial(_empty, found) if name == "_reconstruct" else found


def _empty(make, kind, shape, code):
    """The empty array with which the pickle of an array begins; its contents follow and say their own size."""
    if tuple(shape) != (0,):
        raise DataCorrupt(f"a file of arrays asks for an array of shape {shape} before its contents; delete it and fetch "
                          "it again.")
    return make(kind, shape, code)


def load(blob: bytes, encoding: str = "ASCII"):
    """What a pickle of arrays, lists and dictionaries holds; raises DataCorrupt where it asks for more."""
    try:
        return _Unpickler(io.BytesIO(blob), encoding=encoding).load()
    except (MemoryError, OverflowError) as e:
        raise DataCorrupt(f"a file of arrays asks for more memory than there is ({type(e).__name__}); delete it and fetch it "
                          "again.") from None
