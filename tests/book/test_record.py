"""Records: fresh under today's text, unchanged by their conversion, made by blocks, in several sittings."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from lib import evidence
from lib.book import record
from lib.book.pages import chapters

FIRST = json.loads((Path(__file__).parent / "first_edition.json").read_text())
PAGES = {p.slug: p for p in chapters()}


@pytest.mark.parametrize("slug", PAGES)
def test_every_record_is_of_todays_text(slug):
    ids = [id for id in record.experiments(PAGES[slug]) if evidence.record_file(slug, id).is_file()]
    calls = record.calls(PAGES[slug], ids, "cpu", evidence_of=lambda c: evidence.read_record(slug, c.recipe.id))
    stale = {id: evidence.read_record(slug, id, c.recipe).stale for id, c in calls.items()}
    assert ids and not {id: what for id, what in stale.items() if what}


@pytest.mark.parametrize("slug", FIRST)
def test_records_of_the_first_edition_keep_their_bits(slug):
    """Arrays that no later recording replaced, by commit and seconds, hold what the first edition recorded."""
    same = 0
    for id, (commit, seconds, bits) in FIRST[slug].items():
        info = json.loads(evidence.record_file(slug, id).read_text())
        if (info["commit"], info["seconds"]) == (commit, seconds):
            with np.load(io.BytesIO(evidence.record_file(slug, id).with_suffix(".npz").read_bytes())) as z:
                parts = [x for k in sorted(z.files) for x in (k, str(z[k].dtype), str(z[k].shape), z[k].tobytes())]
            assert evidence.digest(*parts)[:12] == bits, f"{slug}/{id}"
            same += 1
    assert same, f"nothing of {slug} is left of the first edition; take it out of first_edition.json"
