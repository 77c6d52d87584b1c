"""Parameters, sizes, seeds and the way of an experiment outside a kernel."""

import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from lib import evidence, show
from lib.errors import BookError
from lib.pending import AbsentError
from lib.run import ParameterError, Run, executing, shrunk, sign_of_life
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
            evidence.Recipe.from_json(first.info["recipe"])) == ["page: draw"]


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


def test_data_of_one_experiment_is_declared_and_enters_its_key_only(mini, draw):
    from lib import data
    with executing(CELLS):
        run = Run("mini", device="cpu", data=["glyphs"])
        plain = run.recipe("E1", draw, n=4)
        wide = run.recipe("E2", draw, n=4, data=["digits"])
        assert set(plain.data) == {"glyphs"} == set(run.recipe("E1", draw, n=4).data)
        assert set(wide.data) == {"glyphs", "digits"}
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
        assert run._expected("E1") is None
        found = run.experiment("E1", draw, n=4)
        assert "computing" not in capsys.readouterr().err
        evidence.write_record(found)
        assert run._expected("E1") == found.info["seconds"]
        assert Run("mini", device="cpu")._expected("E1") is None
