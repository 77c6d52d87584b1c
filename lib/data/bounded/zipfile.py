"""zipfile with limits on members, under the names of the standard library's module.

A member never expands beyond the size that the directory of the archive says, so the directory is what is checked.
"""

import zipfile
import zlib

from lib.data.bounded import gzip, limits
from lib.data.errors import DataCorrupt

BadZipFile = zipfile.BadZipFile


class ZipFile(zipfile.ZipFile):
    """An archive whose directory was checked; raises DataCorrupt where it, or a member that is read, cannot be."""

    def __init__(self, file):
        self.origin = str(file)
        try:
            super().__init__(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as e:
            raise limits.refuse(self.origin, f"is no zip archive ({e})") from None
        try:
            if len(self.filelist) > limits.COUNT:
                raise limits.refuse(self.origin, f"has more than {limits.COUNT:,} members")
            for m in self.filelist:
                limits.check(self.origin, m.orig_filename, m.file_size, m.external_attr >> 16)
        except DataCorrupt:
            self.close()
            raise

    def read(self, name: str) -> bytes:
        """Bytes of a member; a missing one raises KeyError."""
        try:
            blob = super().read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
            raise limits.refuse(self.origin, f"has a damaged member {name} ({e})") from None
        return gzip.named(blob, f"{self.origin}, member {name},") if name.endswith(".gz") else blob
