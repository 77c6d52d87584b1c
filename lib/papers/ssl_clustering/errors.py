"""What goes wrong with objectives, levels and tasks, told with its remedy."""

from lib.errors import BookError


class ClusteringError(BookError):
    """Views, labels or settings for which the question has no answer."""
