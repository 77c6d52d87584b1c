"""tarfile with limits on members and on the whole, under the names of the standard library's module."""

import builtins
import gzip
import tarfile
import zlib

from lib.data.bounded import limits

TarError = tarfile.TarError


class _Stream:
    """The bytes of an archive, plain or out of gzip, up to the limit: headers can ask for any size too."""

    def __init__(self, file):
        self.origin, self.raw = str(file), builtins.open(file, "rb")
        if self.raw.read(2) == b"\x1f\x8b":
            self.raw.close()
            self.raw = gzip.open(file)
        self.raw.seek(0)

    def _within(self, end: int) -> None:
        if end > limits.ARCHIVE:
            raise limits.refuse(self.origin, f"expands to more than {limits.ARCHIVE / 1e6:,.0f} MB")

    def read(self, n: int) -> bytes:
        if n > limits.MEMBER:
            raise limits.refuse(self.origin, f"asks for {n / 1e6:,.0f} MB at once, more than {limits.MEMBER / 1e6:,.0f} MB")
        self._within(self.tell() + n)
        return self._done(self.raw.read, n)

    def seek(self, place: int) -> int:
        self._within(place)
        return self._done(self.raw.seek, place)

    def _done(self, act, n: int):
        try:
            return act(n)
        except (OSError, EOFError, zlib.error) as e:
            raise limits.refuse(self.origin, f"is damaged ({e})") from None

    def tell(self) -> int:
        return self.raw.tell()

    def close(self) -> None:
        self.raw.close()


class TarFile(tarfile.TarFile):
    """An archive whose members are checked as they are met; raises DataCorrupt."""

    def __init__(self, file):
        self.origin, self.stream = str(file), _Stream(file)
        try:
            super().__init__(fileobj=self.stream, mode="r")
        except BaseException:
            self.stream.close()
            raise

    def next(self):
        """The next member, checked."""
        m = super().next()
        if m is None:
            while self.stream.read(2**16):  # to the checksum at the end of gzip
                pass
        else:
            limits.check(self.origin, m.name, m.size)
            if not (m.isreg() or m.isdir()):
                raise limits.refuse(self.origin, f"has a member {m.name[:80]} that is neither a file nor a folder")
            if len(self.members) > limits.COUNT:
                raise limits.refuse(self.origin, f"has more than {limits.COUNT:,} members")
        return m

    def close(self) -> None:
        """Close the archive and its file."""
        super().close()
        self.stream.close()


def open(file) -> TarFile:
    """Open an archive of files and folders, plain or gzipped."""
    return TarFile(file)
