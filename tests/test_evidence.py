"""Evidence is stored whole or not at all, and trusted only when it is what it says."""

import json
import os

import numpy as np
import pytest

from lib import evidence
from lib.evidence import EvidenceError, Recipe
from lib.source import Part

PARTS = [Part("page", "f", "def f():\n    return 1")]


def recipe(**kw):
    return Recipe(**{"slug": "mini", "id": "E1", "parts": PARTS, "params": {"n": 3}, "seed": 0} | kw)


def test_round_trip_is_read_only(mini):
    kept = evidence.keep(recipe(), "cpu", {"x": np.arange(3.0), "w": ["a", "bc"]}, {"seconds": 1})
    found = evidence.find(recipe(), "cpu")
    assert found.x.tolist() == kept["x"].tolist() == [0, 1, 2] and found["w"].tolist() == ["a", "bc"]
    with pytest.raises(ValueError):
        found.x[0] = 1
    with pytest.raises(EvidenceError, match="returned no `y`"):
        found["y"]


@pytest.mark.parametrize("change", [
    {"params": {"n": 4}}, {"seed": 1}, {"data": {"kjv": "1"}}, {"id": "E2"}, {"blocks": (3,)},
    {"parts": [Part("page", "f", "def f():\n    return 2")]}])
def test_key_sees_each_input(mini, change):
    evidence.keep(recipe(), "cpu", {"x": 1.0}, {})
    assert evidence.find(recipe(**change), "cpu") is None


def test_key_sees_the_device_and_not_the_layout(mini):
    evidence.keep(recipe(), "cpu", {"x": 1.0}, {})
    assert evidence.find(recipe(), "NVIDIA H200") is None
    assert evidence.find(recipe(parts=[Part("page", "f", "def f():\n    '''Doc.'''\n    return (1)  # one")]), "cpu")


def test_a_damaged_store_entry_is_made_again(mini):
    evidence.keep(recipe(), "cpu", {"x": np.ones(9)}, {})
    file = next((mini / "_build").rglob("arrays.npz"))
    file.write_bytes(file.read_bytes()[:-7])
    assert evidence.find(recipe(), "cpu") is None
    evidence.keep(recipe(), "cpu", {"x": np.ones(9)}, {})
    assert evidence.find(recipe(), "cpu").x.sum() == 9


@pytest.mark.parametrize("result, word", [
    (3.0, "dictionary"), ({}, "dictionary"), ({"x": [object()]}, "no array"), ({"a b": 1.0}, "plain name"),
    ({"x": np.random.default_rng(0).random(200_000)}, "MB of compressed")])
def test_what_cannot_be_evidence_is_refused(mini, result, word):
    with pytest.raises(EvidenceError, match=word):
        evidence.keep(recipe(), "cpu", result, {})
    assert not list((mini / "_build").rglob("*.npz"))


def test_records_say_what_changed_and_refuse_doctored_arrays(mini):
    evidence.write_record(evidence.keep(recipe(), "cpu", {"x": np.ones(3)}, {"device": "CPU", "size": "full", "shrink": 1}))
    assert evidence.read_record("mini", "E1", recipe()).stale is None
    other = recipe(params={"n": 4}, parts=[Part("page", "f", "def f():\n    return 2")])
    assert evidence.read_record("mini", "E1", other).stale == ["f", "parameter n"]
    file = mini / "book" / "records" / "mini" / "E1.npz"
    file.write_bytes(evidence.pack("E1", {"x": np.ones(3) * 2}))
    with pytest.raises(EvidenceError, match="damaged"):
        evidence.read_record("mini", "E1")


def test_parameters_enter_plainly():
    given = {"a": np.float32(0.5), "b": (1, 2), "c": range(2)}
    assert evidence.plain(given, "E") == {"a": 0.5, "b": [1, 2], "c": [0, 1]}
    one, two = (evidence.plain(np.array([1.0, x]), "E") for x in (2.0, 3.0))
    assert one != two and set(one) == {"array"}
    with pytest.raises(EvidenceError, match="parameter of type"):
        evidence.plain(object(), "E")


def test_a_full_or_read_only_disk_loses_nothing(mini, monkeypatch):
    evidence.keep(recipe(), "cpu", {"x": np.ones(3)}, {})

    def full(*_, **__):
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as m:
        m.setattr(os, "replace", full)
        with pytest.raises(EvidenceError, match="make room"):
            evidence.keep(recipe(seed=1), "cpu", {"x": np.ones(3)}, {})
        with pytest.raises(EvidenceError, match="untouched"):
            evidence.write_file(mini / "_toc.yml", b"new")
    assert evidence.find(recipe(), "cpu") and (mini / "_toc.yml").read_text().startswith("format")
    assert not [f for f in mini.rglob(".new-*")]


def test_the_description_is_json_without_pickle(mini):
    evidence.keep(recipe(), "cpu", {"x": np.ones(3)}, {"seconds": 1})
    info = json.loads(next((mini / "_build").rglob("evidence.json")).read_text())
    ((name, text),) = info["recipe"]["parts"]
    assert name == "f" and info["texts"] == {text: PARTS[0].text} and len(info["sha256"]) == 64


def record(**kw):
    info = {"device": "CPU", "size": "full", "shrink": 1}
    evidence.write_record(evidence.keep(recipe(**kw), "cpu", {"x": np.ones(3)}, info))


def test_the_texts_of_a_chapter_are_kept_once(mini):
    shared = Part("lib.x", "g", "def g():\n    return 2")
    record(parts=[*PARTS, shared])
    record(id="E2", parts=[shared, Part("page", "h", "H = 3")])
    sources = json.loads((mini / "book/records/mini/sources.json").read_text())
    assert sorted(sources.values()) == ["H = 3", PARTS[0].text, shared.text]
    assert evidence.read_record("mini", "E2", recipe(id="E2", parts=[shared, Part("lib.y", "h", "H = 3")])).stale is None
    record(id="E2", parts=PARTS)
    assert "H = 3" not in json.loads((mini / "book/records/mini/sources.json").read_text()).values()
    (mini / "book/records/mini/sources.json").unlink()
    with pytest.raises(EvidenceError, match="text .* is missing.*restore it"):
        evidence.read_record("mini", "E1")


def test_two_functions_of_one_name_are_kept_apart_wherever_they_stand():
    one, two = "def g():\n    return 1", "def g():\n    return 2"

    def closure(f, h, places=("lib.a", "lib.b")):
        return recipe(parts=[Part(places[0], "g", one), Part(places[1], "g", two),
                             Part("page", "f", "def f():\n    return g()", (("g", "g", f),)),
                             Part("page", "h", "def h():\n    return g()", (("g", "g", h),))])
    assert not closure(one, two).differences(closure(one, two, ("lib.c", "page")))
    assert closure(one, two).differences(closure(two, one)) == ["f", "h"]


def test_data_sets_are_told_from_what_is_asked_for():
    def read(*texts):
        return evidence.data_read([Part("lib.data.sets", "f", t) for t in texts], ["kjv", "bbe", "digits"])
    assert read("def digits():\n    _allow('digits')") == ["digits"]
    assert read("def emoji():\n    _allow('emoji')") == [] == read("def f():\n    return 1")
    assert read("def digits():\n    _allow('digits')", "def corpus(name):\n    _allow(name)") == ["kjv", "bbe", "digits"]


def test_the_last_digits_of_a_parameter_are_its_processors():
    grid = np.linspace(0.1, 0.7, 7)
    near, far = grid * (1 + 3e-16), grid * (1 + 1e-9)
    assert not np.array_equal(grid, near)
    for form in (list, np.asarray, lambda x: {"edge": x[3]}):
        assert evidence.plain(form(grid), "E1") == evidence.plain(form(near), "E1") != evidence.plain(form(far), "E1")
    assert evidence.plain(grid.astype(np.float32), "E1") != evidence.plain(grid, "E1")
    assert evidence.plain(np.arange(3), "E1") != evidence.plain(np.arange(1, 4), "E1")
