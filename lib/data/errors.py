"""Errors of data files."""

from lib.errors import BookError


class DataMissing(BookError):
    """A data package is not on this machine."""


class DataCorrupt(BookError):
    """A data package is not the file that it should be."""
