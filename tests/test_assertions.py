"""Assertions of papers: declared, read from text, and decided by their claims alone."""

import pytest

from lib import assertions
from lib.assertions import A, AssertionFault, Assertions, declared, verdict
from lib.book import ledger
from lib.book.pages import chapters

PAGES = {p.slug: p for p in chapters()}


@pytest.mark.parametrize("verdicts, decisive, expected", [
    ("holds holds", (), "upheld"), ("fails fails", (), "refuted"), ("fails undecided", (), "refuted"),
    ("holds fails", (), "in part"), ("holds fails", ("C2",), "refuted"), ("holds fails", ("C1",), "in part"),
    ("holds undecided", (), "in part"), ("holds pending(full)", (), "in part"), ("partial holds", (), "in part"),
    ("partial partial", (), "in part"), ("undecided pending(hub)", (), "open"), ("undecided undecided", ("C1",), "open")])
def test_verdict_follows_from_the_claims(verdicts, decisive, expected):
    first, second = verdicts.split()
    a = A("A1", "s", claims=["C1", "C2"], decisive=decisive)
    assert verdict(a, {"C1": first, "C2": second, "C3": "fails"}) == expected


def test_an_assertion_without_claims_is_open_and_says_why():
    a = A("A1", "s", open="because nobody measured it")
    assert verdict(a, {"C1": "holds"}) == "open" and "nobody measured" in assertions.number(a, {})


@pytest.mark.parametrize("make, word", [
    (lambda: A("C1", "s", claims=["C1"]), "no id"), (lambda: A("A1", "", claims=["C1"]), "statement"),
    (lambda: A("A1", "s"), "not both"), (lambda: A("A1", "s", claims=["C1"], open="because"), "not both"),
    (lambda: A("A1", "s", open="no idea"), "not both"), (lambda: A("A1", "s", claims=["C1"], decisive=["C2"]), "decisive"),
    (lambda: A("A1", "s", claims=["C1"], scale="large"), "pair"), (lambda: Assertions(()), "no assertion"),
    (lambda: Assertions((A("A1", "s", claims=["C1"]), A("A1", "t", claims=["C1"]))), "twice"),
    (lambda: Assertions((A("A1", "s", claims=["C9"]),)).check({"C1"}), "names C9"),
    (lambda: declared('run.assertions(A("A1", words, claims=["C1"]))'), "literals")])
def test_declarations_that_say_nothing_are_refused(make, word):
    with pytest.raises(AssertionFault, match=word) as e:
        make()
    assert "\n" not in str(e.value)


def test_the_number_shown_is_measured_before_proved_and_without_its_interval():
    claims = {"C1": {"id": "C1", "verdict": "holds", "said": ["d: symbolic"]},
              "C2": {"id": "C2", "verdict": "fails", "said": ["d: symbolic", "x = 1.5 (99.9 % interval 1 to 2, n = 8)"]}}
    assert assertions.number(A("A1", "s", claims=["C1", "C2"]), claims) == "C2: x = 1.5"
    assert assertions.number(A("A1", "s", claims=["C1"]), claims) == "C1: d: symbolic"
    assert assertions.number(A("A1", "s", claims=["C3"]), claims) == "not decided"
    claims |= {id: {"id": id, "verdict": v, "said": [f"y = {n}"]} for id, v, n in (("C4", "holds", 4), ("C5", "fails", 5))}
    assert assertions.number(A("A1", "s", claims=["C4", "C5"]), claims) == "C4: y = 4"
    assert assertions.number(A("A1", "s", claims=["C4", "C5"], decisive=["C5"]), claims) == "C5: y = 5"


@pytest.mark.parametrize("slug", PAGES)
def test_each_chapter_declares_assertions_that_its_claims_decide(slug):
    found = declared(PAGES[slug].code)
    entry = ledger.collect([PAGES[slug]])["chapters"][0]
    ids = {c["id"] for c in entry["claims"]}
    assert len(found) >= 5 and [a.id for a in found] == [f"A{i + 1}" for i in range(len(found))]
    Assertions(tuple(found)).check(ids)
    for a, row in zip(found, entry["assertions"], strict=True):
        assert row["verdict"] in assertions.VERDICTS and (row["verdict"] == "open") >= bool(a.open)
    table = ledger.assertion_table([entry])
    assert all(f'<th scope="row">{a.id}</th>' in table for a in found)
