"""Every chapter's full size, shrunk, from its first cell to its last; each aims at 20 core-seconds (``--durations``)."""

import pytest

from lib.book.job import execute, summary
from lib.book.pages import chapters


@pytest.mark.parametrize("page", chapters(), ids=lambda page: page.slug)
def test_the_full_code_path_in_seconds(page, tmp_path, monkeypatch):
    """Shrunk, every chapter's full size runs to its end on a CPU."""
    for k, v in {"BOOK_SHRINK": str(1 / 1024), "BOOK_STORE": str(tmp_path), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(k, v)
    found = summary(page, "full", execute(page, "full"))
    assert found["run"]["size"] == "full", f"{page.slug} ran at {found['run']['size']} size: give Run(...) size=size."
    absent = [i for i, e in found["experiments"].items() if not e]
    assert not absent, (f"{page.slug}: {', '.join(absent)} gave nothing at the shrunk full size: it must be computed there, "
                        f"so look for only=\"reduced\" in run.experiment, and at BOOK_MODE, which must not be `replay`.")
