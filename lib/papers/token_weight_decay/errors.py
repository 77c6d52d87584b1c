"""What goes wrong with ledgers of tokens and with decay, told with its remedy."""

from lib.errors import BookError


class LedgerError(BookError):
    """A model, a vocabulary or a policy of decay that cannot be measured or used."""
