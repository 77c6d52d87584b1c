"""The exceptions that a reader of the book is meant to see."""


class BookError(Exception):
    """A fault that the reader can mend: one sentence that says what is wrong and names the remedy."""

    def _render_traceback_(self) -> list[str]:
        """Show the sentence alone in a notebook, without the way through the library."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(BookError):
    """A parameter of the page that cannot be used."""
