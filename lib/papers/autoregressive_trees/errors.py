"""What goes wrong with machines, trees and texts, told with its remedy."""

from lib.errors import BookError


class TreeError(BookError):
    """A table, tree, prompt or text that cannot be used."""
