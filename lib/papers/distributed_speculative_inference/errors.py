"""What the chapter's instrument refuses."""

from lib.errors import BookError


class SpeculationError(BookError):
    """A pair of models, a plan or a run that cannot be; the message says why and what to do."""
