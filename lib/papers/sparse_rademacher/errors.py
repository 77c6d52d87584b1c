"""What the chapter's instrument refuses."""

from lib.errors import BookError


class BoundError(BookError):
    """A network, data set or number to which no bound of the chapter applies; the message says why."""
