"""What an archive of data may hold."""

import stat
from pathlib import PurePosixPath

from lib.data.errors import DataCorrupt

MEMBER = 2**28  # bytes of one member: the largest needed is the training part of CIFAR-100, 155 MB
ARCHIVE = 2**30  # bytes of one archive: the largest is that of the film reviews, about 0.5 GB with its headers
COUNT = 200_000  # members of one archive: the film reviews are 100,000 files


def refuse(file, why: str) -> DataCorrupt:
    """The error for a file that holds what no data set needs: one sentence with the remedy."""
    return DataCorrupt(f"{file} {why}; it is not the file that it should be: delete it, and fetch it again from a source "
                       "that you trust.")


def check(file, name: str, size: int, mode: int = 0) -> None:
    """Raise DataCorrupt for a member that is too large, is a link or device, or lies outside its archive."""
    if size > MEMBER:
        raise refuse(file, f"has a member {name[:80]} of {size / 1e6:,.0f} MB, more than {MEMBER / 1e6:,.0f} MB")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.parts and path.parts[0].endswith(":"):
        raise refuse(file, f"has a member {name[:80]} outside of itself")
    if stat.S_IFMT(mode) and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise refuse(file, f"has a member {name[:80]} that is neither a file nor a folder")
