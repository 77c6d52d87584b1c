"""gzip with a limit on what a file expands to, under the names of the standard library's module."""

import builtins
import gzip
import io
import zlib

from lib.data.bounded import limits

BadGzipFile = gzip.BadGzipFile


class Named(bytes):
    """A gzip file in memory that knows where it comes from (``origin``)."""

    origin = "a gzip file"


def named(blob: bytes, origin: str) -> Named:
    """The bytes with their origin, for the sentence of an error."""
    out = Named(blob)
    out.origin = origin
    return out


def decompress(data: bytes) -> bytes:
    """What a gzip file in memory holds; raises DataCorrupt where it is damaged or expands beyond the limit."""
    return _read(io.BytesIO(data), getattr(data, "origin", Named.origin))


def open(file) -> io.BytesIO:
    """A gzip file on disk, expanded in memory; raises as ``decompress``."""
    with builtins.open(file, "rb") as f:
        return io.BytesIO(_read(f, str(file)))


def _read(f, origin: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=f) as z:
            out = z.read(limits.MEMBER + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise limits.refuse(origin, f"is a damaged gzip file ({e})") from None
    if len(out) > limits.MEMBER:
        raise limits.refuse(origin, f"expands to more than {limits.MEMBER / 1e6:,.0f} MB")
    return out
