"""A verdict must not hang on the processor: two chapters here, all of them each week (``python -m lib.book deep``)."""

import pytest

from lib.book import deep, reference
from lib.book.pages import chapters

# Of the chapters whose experiments compute with torch, the two that cost least at reduced size.
CHAPTERS = ("distributed-speculative-inference", "centered-attention")


@pytest.mark.parametrize("page", [p for p in chapters() if p.slug in CHAPTERS], ids=lambda page: page.slug)
def test_verdicts_agree_on_an_older_processor_and_with_two_threads(page):
    """The committed verdicts, which nbval compares with one thread on this processor, also come out otherwise."""
    committed = {c["id"]: c for c in reference.records(reference.read(page.slug))}
    found = deep.verdicts(page, threads=2, ATEN_CPU_CAPABILITY="default")
    assert found.keys() == committed.keys(), f"run `python -m lib.book refresh {page.slug}`."
    differ = deep.flips(page, committed, found, "with two threads and torch's plain instructions")
    assert not differ, ("these verdicts hang on the processor: give the experiment more seeds, or its rule a margin above "
                        "rounding, then refresh the reference:\n" + "\n".join(differ))
