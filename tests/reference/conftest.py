"""nbval runs today's page against the committed reference: the collection joins them, see lib.book.reference."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """Replace nbval's collector of a reference by one that reads the joined notebook."""
    found = yield
    if file_path.suffix != ".ipynb":
        return found
    return [_joined(c) for c in (found if isinstance(found, list) else [found]) if c is not None]


def _joined(collector):
    from unittest.mock import patch

    import nbval.plugin

    from lib.book import reference
    from lib.errors import BookError

    class Joined(type(collector)):
        def collect(self):
            try:
                notebook = reference.joined(self.path)
            except BookError as e:
                raise pytest.UsageError(str(e)) from None
            with patch.object(nbval.plugin.nbformat, "read", return_value=notebook):
                yield from super().collect()

    collector.__class__ = Joined
    return collector
