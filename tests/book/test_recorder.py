"""Sittings of ``record``: blocks beside each other, kills, minutes, looks, a cluster. Processes run for real."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lib import evidence, paths
from lib.book import record, runner
from lib.book.pages import chapter
from lib.book.recorder import Block, Sitting, _ordered, looks

BLOCKED = 'seeds=run.seeds(S.n), axes={"x": ("seed",)}, block=16)'


@pytest.fixture
def blocks(mini, edit):
    """The mini chapter with 64 seeds in blocks of 16; an argument is what its experiment does first."""
    edit("import numpy", "import os\nimport pathlib\nimport time\n\nimport numpy")
    edit("seeds=run.seeds(S.n))", BLOCKED)

    def first(text: str = "pass", options: str = "") -> None:
        edit('    """Shifted', f"    {text}\n    \"\"\"Shifted")
        edit(BLOCKED, BLOCKED[:-1] + options + ")")
    return first


def stored() -> list[int]:
    """First seeds of the blocks in the store."""
    found = (paths.store() / "evidence").glob("*/evidence.json")
    return sorted(json.loads(f.read_text())["recipe"]["params"]["seeds"][0] - 100 for f in found)


def test_blocks_run_beside_each_other_and_are_joined(blocks, mini, capsys):
    # each block waits until two have begun, so that one at a time would never end
    blocks(f"pathlib.Path({str(mini)!r}, f'begun{{seeds[0]}}').touch()\n"
           f"    while len(list(pathlib.Path({str(mini)!r}).glob('begun*'))) < 2:\n        time.sleep(.01)")
    said = Sitting("cpu", workers=2).record(chapter("mini"), ["E1"])
    found = evidence.read_record("mini", "E1")
    assert "recorded on CPU" in said[0] and "in 4 blocks" in said[0] and len(found.x) == 64
    assert found.x.tobytes() == np.array([np.random.default_rng(100 + i).normal() + 3.0 for i in range(64)]).tobytes()
    assert stored() == [0, 16, 32, 48] and len(found.info["blocks"]) == 4
    out = capsys.readouterr().out
    assert "mini E1, block 4 of 4" in out and " more, " in out
    assert "fresh and kept" in Sitting("cpu").record(chapter("mini"), [])[0]


def test_a_kill_loses_the_block_that_ran_and_nothing_else(blocks, mini):
    go = mini / "go"
    blocks(f"pathlib.Path({str(mini)!r}, f'pid{{os.getpid()}}').touch()\n"
           f"    while seeds[0] == 132 and not pathlib.Path({str(go)!r}).exists():\n        time.sleep(.01)")
    command = [sys.executable, "-m", "lib.book", "record", "mini", "--device", "cpu", "--workers", "1"]
    first = subprocess.Popen(command, env={**os.environ, "BOOK_ROOT": str(mini)}, stdout=subprocess.PIPE, text=True)
    while len(list(mini.glob("pid*"))) < 3:
        assert first.poll() is None, "the sitting ended before its third block began"
        time.sleep(.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert stored() == [0, 16] and not evidence.record_file("mini", "E1").exists()
    go.touch()
    before = set(mini.glob("pid*"))
    for f in before:  # the block went with whoever started it
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{f.name[3:]}") and time.monotonic() < deadline:
            time.sleep(.05)
        assert not os.path.exists(f"/proc/{f.name[3:]}")
    done = subprocess.run(command, env={**os.environ, "BOOK_ROOT": str(mini)}, capture_output=True, text=True)
    assert done.returncode == 0 and len(set(mini.glob("pid*")) - before) == 2, done.stderr
    assert len(evidence.read_record("mini", "E1").x) == 64


def test_a_block_that_fails_is_said_in_a_sentence_and_others_are_kept(blocks, mini):
    blocks("assert seeds[0] != 148, 'not this one'")
    with pytest.raises(record.RecordError, match="^mini E1: AssertionError: not this one$"):
        Sitting("cpu", workers=1).record(chapter("mini"), ["E1"])
    assert stored() == [0, 16, 32]
    with pytest.raises(record.RecordError, match="lacks block 4 of 4"):
        record.write(chapter("mini"), "E1", "cpu")
    assert "the first 2 of 4 blocks" in record.write(chapter("mini"), "E1", "cpu", 2)
    assert record.survey(chapter("mini"), ["E1"], "cpu")[0]["state"] == "open"


def row(id: str, k: int = 0, seconds: float | None = 60.0, alone: bool = False) -> Block:
    return Block("mini", id, k, 2, seconds, alone, False, f"{id}{k}")


class Clock:
    """A machine on which a block takes the seconds it should, ``slow`` times, by a clock of its own."""

    def __init__(self, monkeypatch, slow=1.0):
        self.now, self.slow, self.ran, self.running = 0.0, slow, [], 0
        monkeypatch.setattr("lib.book.recorder.time.monotonic", lambda: self.now)
        self.at_once = 1

    def compute(self, b: Block, threads: int) -> float:
        self.ran.append((f"{b.id}{b.k}", threads))
        self.now += (seconds := self.slow * (b.seconds or 60))
        return seconds

    def stop(self) -> None:
        pass


def sat(monkeypatch, blocks, minutes, slow=1.0):
    clock = Clock(monkeypatch, slow)
    sitting = Sitting("cpu", minutes=minutes)
    sitting.machine = clock
    sitting.run(blocks)
    return [name for name, _ in clock.ran], [f"{b.id}{b.k}" for b in sitting.left], clock.ran


def test_no_block_starts_that_will_not_end_in_time(monkeypatch, capsys):
    long, short, unknown = [row("E1", k, 200.0) for k in (0, 1)], [row("E2", k) for k in (0, 1)], row("E3", 0, None)
    ran, left, _ = sat(monkeypatch, [*long, *short, unknown], 10)
    assert ran == ["E30", "E20", "E21", "E10", "E11"] and left == []
    assert sat(monkeypatch, [*long, *short, unknown], 7)[:2] == (["E30", "E20", "E21", "E10"], ["E11"])
    assert sat(monkeypatch, [*short, *long], 3.9, slow=2)[:2] == (["E20"], ["E21", "E10", "E11"])
    assert sat(monkeypatch, [*long, *short, unknown], None)[0] == ["E10", "E11", "E20", "E21", "E30"]
    assert "no time is left for mini E2, block 2 of 2" in capsys.readouterr().out
    with pytest.raises(record.RecordError, match="above 0"):
        Sitting("cpu", minutes=0)


def test_time_that_is_short_for_one_page_holds_up_no_other(monkeypatch):
    sitting = Sitting("cpu", minutes=2)
    sitting.machine = Clock(monkeypatch)
    sitting.start, sitting.end = 0.0, 120.0
    sitting.run([row("E1", 0, 500.0)])
    assert [b.id for b in sitting.left] == ["E1"]
    sitting.run([row("E1", 0, 60.0)])  # of another page, by the same name
    assert sitting.left == []


def test_what_reads_the_clock_runs_last_alone_and_with_all_threads(monkeypatch):
    ran = sat(monkeypatch, [row("E1", alone=True), row("E2"), row("E3")], None)[2]
    assert [name for name, _ in ran] == ["E20", "E30", "E10"] and ran[0][1] == 1 and ran[-1][1] == (os.cpu_count() or 1)
    assert _ordered([row("E1")], True) == [row("E1")]


def test_whether_it_reads_the_clock_decides_no_key(blocks, mini, edit):
    blocks()
    keys = [record.survey(chapter("mini"), ["E1"], "cpu")[0]["blocks"][0]["key"]]
    edit("block=16)", "block=16, alone=True)")
    found = record.survey(chapter("mini"), ["E1"], "cpu")[0]
    assert found["alone"] and [found["blocks"][0]["key"]] == keys


def test_looks_end_a_recording_that_is_decided(blocks, mini, edit, capsys):
    blocks()
    with pytest.raises(record.RecordError, match="has looks"):
        Sitting("cpu").until_decided(chapter("mini"), ["E1"])
    edit('above("mean", 0.0)', 'above("mean", 0.0), looks=(16, 32, 64)')
    assert looks(chapter("mini"), "E1") == {"C1": (16, 32, 64)}
    edit("looks=(16, 32, 64)", "looks=(16, 40)")
    with pytest.raises(record.RecordError, match="with 40 seeds and its blocks end at 16, 32, 48, 64"):
        Sitting("cpu").until_decided(chapter("mini"), ["E1"])
    edit("looks=(16, 40)", "looks=(16, 32, 64)")
    Sitting("cpu", workers=2).until_decided(chapter("mini"), ["E1"])
    assert len(evidence.read_record("mini", "E1").x) == 16 and stored() == [0]
    assert "C1 decided, and no more" in capsys.readouterr().out
    edit('above("mean", 0.0)', 'above("mean", 2.9)')
    Sitting("cpu", workers=2).until_decided(chapter("mini"), ["E1"])
    assert len(evidence.read_record("mini", "E1").x) == 64 and "C1 not decided" in capsys.readouterr().out


def test_blocks_run_on_a_cluster_of_two_nodes(blocks, mini, monkeypatch):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster
    blocks()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        monkeypatch.setenv("BOOK_STORE", str(mini / "here"))
        said = Sitting("cpu", on="ray").record(chapter("mini"), ["E1"])
        nodes = runner.ray_cluster().nodes()
        assert len(nodes) == 2 and "in 4 blocks" in said[0]
        assert len(evidence.read_record("mini", "E1").x) == 64
    finally:
        runner.ray_cluster().shutdown()
        cluster.shutdown()


def test_what_a_cluster_computed_from_another_text_is_refused(blocks, mini, edit):
    blocks()
    call = record.calls(chapter("mini"), ["E1"], "cpu")["E1"]
    piece = call.recipe.pieces()[0]
    made = call.compute(0)
    other = evidence.folder(piece, record.ELSEWHERE)
    shutil.copytree(evidence.folder(piece, call.kind), other)
    shutil.rmtree(evidence.folder(piece, call.kind))
    assert record.gathered(call)[0].x.tobytes() == made.x.tobytes()
    info = json.loads((other / "evidence.json").read_text())
    name = next(k for k, t in info["texts"].items() if "SHIFT = 3" in t)
    info["texts"][name] = "SHIFT = 4.0"
    (other / "evidence.json").write_text(json.dumps(info))
    with pytest.raises(record.RecordError, match="from another text .SHIFT.; bring its clone"):
        record.gathered(call)
    assert not other.exists()
