"""Parameters, sizes, seeds and the way of an experiment outside a kernel."""

import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from lib import evidence, show
from lib.call import Call
from lib.cells import executing
from lib.errors import BookError
from lib.evidence import blocks
from lib.life import sign_of_life
from lib.pending import AbsentError
from lib.run import ParameterError, Run
from lib.sizes import shrunk
from lib.source import SourceError

CELLS = ["import numpy as np\n\ndef draw(n):\n    return {'x': np.arange(n)}\n"]


@pytest.fixture
def draw():
    namespace = {"__name__": "__main__"}
    exec(CELLS[0], namespace)
    return namespace["draw"]


@pytest.mark.parametrize("kw, word", [
    ({"size": "big"}, "reduced"), ({"seed": -1}, "whole number"), ({"seed": 0.5}, "whole number"),
    ({"device": "tpu"}, "cuda"), ({"shrink": 0}, "shrink"), ({"data": ["imagenet"]}, "not known")])
def test_wrong_parameters_end_in_one_sentence(kw, word):
    with pytest.raises(BookError, match=word) as e:
        Run("mini", **({"device": "cpu"} | kw))
    assert e.value._render_traceback_() == [f"{type(e.value).__name__}: {e.value}"] and "\n" not in str(e.value)


def test_a_gpu_that_is_not_there():
    import torch
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ParameterError, match="needs an NVIDIA GPU"):
        Run("mini", device="cuda")


def test_sizes_and_shrink():
    table = {"n": (3, 640, "count"), "lam": (0.1, 0.01, "rate"), "grid": ([1, 2], list(range(10)), "grid"),
             "least": (5, 100, "steps", 50)}
    assert Run("mini", device="cpu").sizes(table).n == 3
    full = Run("mini", size="full", device="cpu").sizes(table)
    assert (full.n, full.lam, full.least, len(full.grid)) == (640, 0.01, 100, 10)
    small = Run("mini", size="full", device="cpu", shrink=1 / 64).sizes(table)
    assert (small.n, small.lam, small.grid, small.least) == (10, 0.01, [0, 9], 50)
    assert shrunk(1, 1 / 64) == 1 and shrunk(True, 0.1) is True
    with pytest.raises(AttributeError):
        getattr(full, "unknown")  # noqa: B009


def test_seeds_are_streams():
    assert Run("mini", device="cpu").seeds(3) == [100, 101, 102]
    a, b = (set(Run("mini", seed=s, device="cpu").seeds(1000)) for s in (0, 1))
    assert not a & b
    renewed = set(Run("mini", device="cpu").seeds(1000, renewed=1))
    assert len(renewed) == 1000 and not renewed & (a | b)
    with pytest.raises(ParameterError, match="renewed=-1"):
        Run("mini", device="cpu").seeds(3, renewed=-1)


def test_experiments_are_found_again_and_follow_their_text(mini, draw):
    calls = []
    with executing(CELLS):
        first = Run("mini", device="cpu").experiment("E1", draw, n=4)
        again = Run("mini", device="cpu").experiment("E1", draw, n=4)
        other = Run("mini", device="cpu").experiment("E1", draw, n=5)
    assert first.info == again.info and len(other.x) == 5 and not calls
    with executing([CELLS[0].replace("arange(n)", "ones(n)")]):
        assert Run("mini", device="cpu").recipe("E1", draw, n=4).differences(
            evidence.Recipe.from_json(first.info["recipe"], first.info["texts"])) == ["draw"]


def test_ids_and_functions_are_checked(mini, draw):
    run = Run("mini", device="cpu")
    with executing(CELLS):
        run.experiment("E1", draw, n=4)
        with pytest.raises(BookError, match="two places"):
            run.experiment("E1", draw, n=5)
        with pytest.raises(BookError, match="plain function"):
            run.experiment("E2", lambda: {})
        with pytest.raises(BookError, match="plain function"):
            run.experiment("E3", np.ones, n=3)
    with executing([]), pytest.raises(SourceError, match="binds"):
        run.experiment("E4", draw, n=4)


def test_a_matching_record_serves_the_full_size(mini, draw):
    with executing(CELLS):
        evidence.write_record(Run("mini", size="full", device="cpu").experiment("E1", draw, n=4))
        shutil.rmtree(mini / "_build")
        assert Run("mini", size="full", device="cpu").experiment("E1", draw, n=4).info["size"] == "full"
        assert not list((mini / "_build").rglob("*.npz"))


def test_importing_lib_is_light():
    code = "import sys, lib; print([m for m in ('numpy', 'torch', 'scipy', 'sympy', 'IPython') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_only_data_that_an_experiment_reads_enters_its_key(mini, draw):
    from lib import data
    cells = [*CELLS, "from lib import data\n\ndef read():\n    return {'x': data.digits().x[0]}\n"]
    namespace = {"__name__": "__main__"}
    exec(cells[1], namespace)
    with executing(cells):
        run = Run("mini", device="cpu", data=["glyphs"])
        assert set(run.recipe("E1", draw, n=4, data=["digits"]).data) == set()
        assert set(run.recipe("E2", namespace["read"]).data) == set()
        assert set(run.recipe("E2", namespace["read"], data=["digits"]).data) == {"digits"}
        assert run.data == ("glyphs", "digits") and len(data.digits().x) > 1000
        with pytest.raises(BookError, match="not known"):
            run.experiment("E3", draw, n=4, data=["imagenet"])


def test_an_experiment_of_one_size_is_absent_at_the_other(mini, draw):
    with executing(CELLS):
        run = Run("mini", device="cpu")
        absent = run.experiment("E1", draw, n=4, only="full")
        assert run.experiments["E1"] is None and run.recipe("E1", draw, n=4, only="full").params == {"n": 4}
        with pytest.raises(AbsentError, match="other size only"):
            absent.x  # noqa: B018
        with pytest.raises(ParameterError, match="only='small'"):
            run.experiment("E2", draw, n=4, only="small")


@pytest.mark.parametrize("metadata,disabled,expected,said", [
    ({"cellId": "a"}, False, 5.0, "E3: computing… 1 s of about 5 s"), ({"cellId": "a"}, False, None, "E3: computing… 1 s"),
    ({"cellId": "a"}, True, None, ""), ({}, False, None, "")])
def test_a_live_notebook_sees_that_an_experiment_computes(monkeypatch, capsys, metadata, disabled, expected, said):
    """The line is there after a second where a front end names its cell, and gone at the end; elsewhere all is silent."""
    monkeypatch.setattr(show, "shell", lambda: SimpleNamespace(parent_header={"metadata": metadata}))
    monkeypatch.setenv("TQDM_DISABLE", "1") if disabled else monkeypatch.delenv("TQDM_DISABLE", raising=False)
    with sign_of_life("E3", expected):
        time.sleep(1.4)
    err = capsys.readouterr().err
    assert (said in err and err.rsplit("\r", 2)[1].strip() == "") if said else err == ""


def test_a_short_experiment_shows_no_line_and_a_record_tells_its_seconds(mini, draw, monkeypatch, capsys):
    monkeypatch.setattr(show, "shell", lambda: SimpleNamespace(parent_header={"metadata": {"cellId": "a"}}, user_ns={},
                                                               ast_transformers=[], execution_count=1))
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    with executing(CELLS):
        run = Run("mini", size="full", device="cpu")
        call = run.call("E1", draw, n=4)
        assert call._expected(call.recipe) is None
        found = run.experiment("E1", draw, n=4)
        assert "computing" not in capsys.readouterr().err
        evidence.write_record(found)
        assert call._expected(call.recipe) == found.info["seconds"]
        assert Run("mini", device="cpu").call("E1", draw, n=4)._expected(call.recipe) is None


BLOCKS = ["import numpy as np\n\ndef walk(seeds, steps):\n"
          "    x = np.stack([np.random.default_rng(s).normal(size=steps) for s in seeds])\n"
          "    return {'x': x.T, 'n': steps}\n"]
AXES = {"x": ("time", "seed"), "n": ()}


@pytest.fixture
def walk(monkeypatch):
    """An experiment that returns [time, seed], and the list of the blocks that were computed."""
    namespace, computed, compute = {"__name__": "__main__"}, [], Call.compute
    exec(BLOCKS[0], namespace)
    monkeypatch.setattr(Call, "compute", lambda call, k=0: computed.append(k) or compute(call, k))
    with executing(BLOCKS):
        yield namespace["walk"], computed


def test_blocks_are_computed_once_and_joined_bit_by_bit(mini, walk):
    fn, computed = walk
    run = Run("mini", device="cpu")
    whole = run.experiment("E1", fn, seeds=run.seeds(6), steps=3, axes=AXES)
    first = Run("mini", device="cpu").experiment("E1", fn, seeds=run.seeds(4), steps=3, axes=AXES, block=2)
    found = Run("mini", device="cpu").experiment("E1", fn, seeds=run.seeds(6), steps=3, axes=AXES, block=2)
    assert computed == [0, 0, 1, 2]
    assert found.x.tobytes() == whole.x.tobytes() and found.x.shape == (3, 6) and found.n == 3
    assert first.x.tobytes() == whole.x[:, :4].tobytes()
    assert len(found.info["blocks"]) == 3 and found.info["axes"] == {"x": ["time", "seed"], "n": []}
    assert found.info["recipe"]["blocks"] == [2, 2, 2]


def test_a_record_in_blocks_serves_more_seeds_and_another_block_is_stale(mini, walk):
    fn, computed = walk

    def at(n, block, **more):
        run = Run("mini", size="full", device="cpu", **more)
        return run.call("E1", fn, seeds=run.seeds(n), steps=3, axes=AXES, block=block)
    evidence.write_record(at(5, 2).evidence())
    shutil.rmtree(mini / "_build")
    more = at(8, 2)
    assert evidence.read_record("mini", "E1", more.recipe).stale == ["parameter seeds", "blocks"]  # its last block is short
    assert more.evidence().x.shape == (3, 8) and computed == [0, 1, 2, 2, 3]
    evidence.write_record(at(4, 2).evidence())
    shutil.rmtree(mini / "_build")
    assert evidence.read_record("mini", "E1", more.recipe).stale is None
    assert more.evidence().x.shape == (3, 8) and computed[5:] == [2, 3]
    assert evidence.read_record("mini", "E1", at(8, 4).recipe).stale == ["parameter seeds", "blocks"]
    assert at(8, 4, shrink=0.5).recipe.blocks == (4, 4) and at(3, 8, shrink=0.5).recipe.blocks == (1, 1, 1)


@pytest.mark.parametrize("options, word", [
    ({"axes": {"x": ("seed",), "n": ()}}, "2 axes, and declares 1 .seed."),
    ({"axes": {"x": ("time", "seed")}}, "in one list only"),
    ({"axes": {"x": ("seed", "time"), "n": ()}}, "3 rows along its axis `seed` for 2 seeds"),
    ({"axes": {"x": ("a", "b"), "n": ()}}, "another `x` in block 2 than in block 1"),
    ({"axes": None}, "needs `axes`"), ({"seeds": ()}, "needs `seeds`"), ({"block": 0}, "block=0")])
def test_axes_and_blocks_that_do_not_fit(mini, walk, options, word):
    run = Run("mini", device="cpu")
    given = {"seeds": run.seeds(4), "steps": 3, "axes": AXES, "block": 2} | options
    with pytest.raises(BookError, match=word) as e:
        run.experiment("E1", walk[0], **given)
    assert "\n" not in str(e.value)
    if "axes" in options and options["axes"] and "another" not in word:
        assert not list((mini / "_build").rglob("*.npz"))


def test_blocks_of_another_shape_are_refused():
    a, b = np.zeros((2, 3)), np.zeros((2, 4))
    for other, word in ((b, r"block 2 and \[2, 3\]"), (a.astype(int), "int64")):
        with pytest.raises(BookError, match=word):
            blocks.joined("E1", [{"x": a}, {"x": other}], {"x": ("seed", "time")})
    both = blocks.joined("E1", [{"x": a}, {"x": a[:1] + 1}], {"x": ("seed", "time")})
    assert blocks.cut(both, {"x": ("seed", "time")}, 2, 3)["x"].tolist() == [[1, 1, 1]]
