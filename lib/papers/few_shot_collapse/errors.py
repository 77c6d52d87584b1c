"""What goes wrong with features, labels and episodes, told with its remedy."""

from lib.errors import BookError


class FewShotError(BookError):
    """Features, labels or settings for which the question has no answer."""
