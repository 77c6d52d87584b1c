"""What goes wrong with centering and its measures, told with its remedy."""

from lib.errors import BookError


class CenteringError(BookError):
    """An operator, mask or model that cannot be centred or measured."""
