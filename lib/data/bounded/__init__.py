"""Readers of archives that refuse what no data set needs before it fills the memory.

The modules ``gzip``, ``tarfile`` and ``zipfile`` here stand in for those of the standard library under the same names, as far
as the readers of data use them: ``from lib.data.bounded import gzip, tarfile, zipfile``.
"""
