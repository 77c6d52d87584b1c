"""Which change makes which result anew, and that nothing good is lost. Jobs run for real, on the tiny chapter."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lib import evidence, paths
from lib.book import record, reference, results, runner
from lib.book.pages import PageError, chapter, chapters, scan
from lib.book.recorder import Sitting
from lib.errors import BookError
from lib.modules import LIB, modules_reached


def keys():
    return [results.key(chapter("mini"), size) for size in results.SIZES]


def test_a_result_is_made_once_and_prose_makes_nothing_anew(mini, edit, capsys):
    assert runner.update(chapters()) == 2
    assert runner.update(chapters()) == 0
    edit("The experiment draws normal numbers.", "The experiment draws numbers.")
    assert runner.update(chapters()) == 0
    table = runner.table(chapters())
    assert "mini" in table and "peak MB" in table
    summary = results.find(chapter("mini"), "full").summary
    assert [c["verdict"] for c in summary["claims"]] == ["pending(full)"] and summary["figures"] == 0


def test_full_size_follows_the_record_and_says_when_it_is_stale(mini, edit, recorded):
    recorded()
    assert runner.update(chapters(), ("full",)) == 1
    found = results.find(chapter("mini"), "full").summary
    assert found["claims"][0]["verdict"] == "holds" and found["claims"][0]["stale"] is None
    edit("normal() + SHIFT", "normal() * SHIFT")
    runner.update(chapters(), ("full",))
    found = results.find(chapter("mini"), "full").summary
    assert found["claims"][0]["verdict"] == "holds" and found["claims"][0]["stale"] == ["E1"]
    assert found["experiments"]["E1"]["stale"] == ["draw"]


@pytest.mark.parametrize("old, new, differ", [
    ("The experiment draws normal numbers.", "Other prose.", False),
    ("SHIFT = 3.0", "SHIFT = 4.0", True), ("(8, 64,", "(9, 64,", True), (":name: judge", ":name: judgement", True),
    (":tags: [experiment]", ":tags: [check]", True), ('above("mean", 0.0)', 'above("mean", 0.5)', True)])
def test_key_follows_the_page(mini, edit, old, new, differ):
    before = keys()
    edit(old, new)
    assert (keys() != before) is differ


def test_key_follows_modules_records_constraints_and_versions(mini, monkeypatch):
    before = keys()
    page = chapter("mini")
    (mini / "constraints").mkdir()
    results.constraints().write_text("numpy==2.0\n")
    assert all(a != b for a, b in zip(keys(), before))
    shutil.rmtree(mini / "constraints")
    folder = mini / "book" / "records" / "mini"
    folder.mkdir(parents=True)
    (folder / "claims.json").write_text("{}")
    assert keys() == before
    (folder / "E1.json").write_text("{}")
    assert keys()[0] == before[0] and keys()[1] != before[1]
    shutil.rmtree(folder)
    with monkeypatch.context() as m:
        m.setattr(evidence, "versions", lambda: {"python": "4"})
        assert all(a != b for a, b in zip(keys(), before))
    reached = {f.relative_to(LIB).as_posix() for f in modules_reached(page.code)}
    assert "figures.py" in reached and "book/runner.py" not in reached and "features.py" not in reached
    assert {f.split("/")[1] for f in reached if f.startswith("papers/")} == {"__init__.py", "probabilistic_stability"}


@pytest.mark.parametrize("file, differ", [
    ("papers/probabilistic_stability/laws.py", True), ("papers/probabilistic_stability/spectrum.py", True),
    ("papers/__init__.py", True), ("figures.py", True), ("papers/ssl_clustering/views.py", False),
    ("papers/ssl_clustering/__init__.py", False), ("book/runner.py", False), ("features.py", False)])
def test_an_edit_of_lib_makes_those_chapters_anew_that_reach_it(mini, monkeypatch, file, differ):
    copy = mini / "lib"
    shutil.copytree(LIB, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("lib.modules.LIB", copy)
    before = keys()
    with (copy / file).open("a") as f:
        f.write("\nEDITED = 1\n")
    assert [a != b for a, b in zip(keys(), before)] == [differ, differ]


def test_the_longest_job_starts_first(mini, monkeypatch):
    known = {"a reduced": 5.0, "b reduced": 50.0, "b full": 1.0}
    monkeypatch.setattr(runner, "_durations", lambda: known)
    monkeypatch.setattr(reference, "core_seconds", lambda slug: {"full": 90.0} if slug == "c" else {})
    jobs = [("a", ("reduced",)), ("b", ("reduced", "full")), ("c", ("full",)), ("d", ("full",))]
    assert [slug for slug, _ in runner.longest_first(jobs)] == ["c", "d", "b", "a"]


def test_both_sizes_share_a_kernel_and_nothing_of_the_first_is_seen_by_the_second(mini, edit):
    edit("claims.judge(", "import sys\nassert 'LEFT' not in globals()\nLEFT = sys.modules.setdefault('a_mark', sys)\n"
         "assert size == 'reduced' or sys.modules['a_mark'] is sys\nclaims.judge(")
    assert runner.update(chapters()) == 2
    runs = [results.find(chapter("mini"), size).summary["run"] for size in results.SIZES]
    assert [r["size"] for r in runs] == ["reduced", "full"]
    notebook = results.find(chapter("mini"), "full").notebook
    assert [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"][0] in (1, 2)


FAULTS = {
    "raises": ("claims.judge(\"C1\", mean=E1.x)", "1 / 0", r"cell `judge`.*mini.md line \d+: ZeroDivisionError"),
    "figureless": ("figures.display(fig, ", "dict(", "declares the figure fig-mini and shows none"),
    "unjudged": ("claims.judge(\"C1\", mean=E1.x)", "pass", "C1 is not judged"),
    "judged twice": (":name: report", ":name: again\nclaims.judge(\"C1\", mean=E1.x)\n```\n\n```{code-cell} ipython3\n"
                     ":name: report", "judged in two places"),
    "not a number": ("mean=E1.x)", "mean=float('nan'))", "holds NaN"),
    "no report": ("claims.report()", "pass", "shows 0 claim reports"),
    "wrong parameter": ("Run(\"mini\", size=size", "Run(\"mini\", size=size, shrink=3", "shrink=3.0 is not possible")}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_chapter_stops_the_build_and_what_stood_stays(mini, edit, fault, tmp_path_factory):
    old, new, said = FAULTS[fault]
    standing = mini / "_build" / "html" / "index.html"
    standing.parent.mkdir(parents=True)
    standing.write_text("good")
    edit(old, new)
    with pytest.raises(runner.BuildFailed, match=said) as e:
        runner.update(chapters(), ("reduced",))
    assert "\n" not in str(e.value) and "Traceback" not in str(e.value)
    assert results.find(chapter("mini"), "reduced") is None and standing.read_text() == "good"


def test_a_killed_build_resumes_and_two_builds_share_the_store(mini, edit):
    begun, go = mini / "begun", mini / "go"
    edit("    \"\"\"Shifted", "    import pathlib\n    import time\n"
         f"    pathlib.Path({str(begun)!r}).touch()\n"
         f"    while not pathlib.Path({str(go)!r}).exists():\n        time.sleep(0.05)\n    \"\"\"Shifted")
    command = [sys.executable, "-m", "lib.book.job", "mini", "reduced"]
    env = runner.environment(1)
    first = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, start_new_session=True)
    while not begun.exists():  # killed in the midst of its experiment, however slow the machine
        assert first.poll() is None, "the job ended before its experiment began"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert results.find(chapter("mini"), "reduced") is None
    go.touch()
    both = [subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.wait(120) for p in both] == [0, 0], [p.stderr.read() for p in both]
    assert results.find(chapter("mini"), "reduced").summary["claims"][0]["verdict"] == "holds"
    assert len(list((mini / "_build" / "store" / "evidence").iterdir())) == 1


def test_shrink_runs_the_full_code_path_and_is_never_recorded(mini, monkeypatch, recorded):
    monkeypatch.setenv("BOOK_SHRINK", str(1 / 64))
    from lib.book.job import execute, summary
    found = summary(chapter("mini"), "full", execute(chapter("mini"), "full"))
    assert found["claims"][0]["measured"]["mean"]["n"] == 2
    for make in (recorded, Sitting):
        with pytest.raises(record.RecordError, match="shrunk"):
            make()


def test_record_runs_only_what_the_experiment_needs(mini, edit, recorded):
    edit(":name: judge\n", ":name: judge\nraise SystemError('not for the record')\n")
    assert "recorded on CPU" in recorded()
    assert record.survey(chapter("mini"), ["E1"], "cpu")[0]["state"] == "fresh"
    with pytest.raises(record.RecordError, match="no experiment E7"):
        record.survey(chapter("mini"), ["E7"], "cpu")


@pytest.mark.parametrize("old, new, word", [
    (":name: judge\n", "", "no name"), (":name: judge", ":name: figure", "unique"), ("[claims]", "[nonsense]", "known"),
    ("pass", "pass", None), ("Run(\"mini\"", "Run(\"other\"", "same")])
def test_pages_are_checked(mini, edit, old, new, word):
    if word is None:
        assert [p.slug for p in chapters()] == ["mini"]
        return
    edit(old, new)
    with pytest.raises(PageError, match=word):
        chapters()


def test_the_light_scanner_agrees_with_jupytext(mini):
    import jupytext
    for page in chapters():
        cells = [c for c in jupytext.reads(page.text, fmt="md:myst").cells if c.cell_type == "code"]
        assert [(c.source, c.metadata.get("name"), list(c.metadata.get("tags", []))) for c in cells] == \
            [(c.source, c.name, c.tags) for c in scan(page.text)]


def test_flips_and_rules(mini, edit):
    runner.update(chapters())
    assert reference.refresh(chapter("mini"))
    assert reference.refresh(chapter("mini")) == [] and reference.differences(chapter("mini")) == []
    edit('above("mean", 0.0)', 'above("mean", 100.0)')
    runner.update(chapters())
    assert reference.differences(chapter("mini")) == ["mini (reduced) C1: holds -> fails",
                                                      "mini (full) C1: the rule is not the committed one"]
    with pytest.raises(reference.ReferenceError, match="no new reason"):
        reference.refresh(chapter("mini"))
    edit('above("mean", 100.0)', 'above("mean", 100.0), changed="a larger effect is worth naming"')
    runner.update(chapters())
    assert reference.refresh(chapter("mini")) == ["mini (reduced) C1: holds -> fails"]
    rules = reference.read("mini")["metadata"]["book"]["rules"]["C1"]
    assert len(rules) == 2 and rules[1][1] == "a larger effect is worth naming"


def test_a_doctored_record_is_refused(mini, recorded):
    recorded()
    file = mini / "book" / "records" / "mini" / "E1.npz"
    file.write_bytes(evidence.pack("E1", {"x": [9.0, 9.5]}))
    with pytest.raises(BookError, match="damaged"):
        runner.update(chapters(), ("full",))


def test_a_cluster_needs_ray_and_says_so(mini, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(runner.BuildFailed, match="needs Ray"):
        runner.update(chapters(), on="ray")


def test_damaged_results_and_shrunk_runs_are_made_again_whole(mini, monkeypatch):
    runner.update(chapters(), ("reduced",))
    file = results.folder(chapter("mini"), "reduced") / "summary.json"
    file.write_text(file.read_text()[:50])
    assert results.find(chapter("mini"), "reduced") is None
    monkeypatch.setenv("BOOK_SHRINK", "0.02")
    assert runner.update(chapters()) == 2
    assert results.find(chapter("mini"), "full").summary["run"]["shrink"] == 1


def test_a_damaged_record_is_recorded_anew(mini, recorded):
    recorded()
    file = mini / "book" / "records" / "mini" / "E1.npz"
    file.write_bytes(b"broken")
    assert record.survey(chapter("mini"), ["E1"], "cpu")[0]["state"] == "open"
    assert "recorded on CPU" in recorded() and evidence.read_record("mini", "E1").stale is None


def test_a_record_holds_the_text_that_ran(mini, edit, recorded):
    edit("claims.judge(", "SHIFT = 9.0\nclaims.judge(")
    recorded()
    texts = json.loads((mini / "book/records/mini/sources.json").read_text())
    assert "SHIFT = 3.0" in texts.values() and evidence.read_record("mini", "E1").x.mean() < 5


def test_evidence_of_the_other_size_is_not_recorded_as_full_and_other_parameters_keep_their_values(mini, edit, recorded):
    edit('device = "cpu"\n', 'device = "cpu"\nsource = "packages"\n')
    edit('"n": (8, 64, "seeds")', '"n": (8, 8 if source == "packages" else 9, "seeds")')
    runner.update([chapter("mini")], workers=1)
    row = record.survey(chapter("mini"), ["E1"], "cpu")[0]
    assert row["state"] == "open" and not row["blocks"][0]["have"]
    assert "recorded on CPU" in recorded()
    assert record.survey(chapter("mini"), ["E1"], "cpu")[0]["state"] == "fresh"


def test_arguments_of_other_programs_are_handed_on():
    def said(verb):
        return subprocess.run([sys.executable, "-m", "lib.book", verb, "--version"], cwd=paths.home(), capture_output=True,
                              text=True)
    assert said("test").returncode == 0 and "pytest" in said("test").stdout
    assert said("ledger").returncode == 2 and "unrecognized arguments: --version" in said("ledger").stderr
