"""Every chapter's full size, shrunk, from its first cell to its last; a file of its own, so that a worker takes it alone."""

import pytest

from lib.book.job import execute, summary
from lib.book.pages import chapters


@pytest.mark.parametrize("page", chapters(), ids=lambda page: page.slug)
def test_the_full_code_path_in_seconds(page, tmp_path):
    """Shrunk, every chapter's full size runs to its end on a CPU."""
    with pytest.MonkeyPatch.context() as m:
        for k, v in {"BOOK_SHRINK": str(1 / 64), "BOOK_STORE": str(tmp_path), "OMP_NUM_THREADS": "1"}.items():
            m.setenv(k, v)
        found = summary(page, "full", execute(page, "full"))
    assert found["run"]["size"] == "full" and all(e for e in found["experiments"].values())
