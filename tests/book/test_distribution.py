"""How tests share the workers: a notebook's cells stay together and in order, long tests are dealt out, short ones end."""

import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
# each toy test appends its worker and its name to one file, and long ones last until both workers have begun one
TEST = """
import os, time, pytest
@pytest.mark.parametrize("n", range({n}))
def test_it(n):
    with open("log.txt", "a") as f:
        f.write(f"{{os.environ['PYTEST_XDIST_WORKER']}} {file} {{n}}\\n")
    deadline = time.monotonic() + 20
    while {long} and len({{x.split()[0] for x in open("log.txt") if x.split()[1] == "{file}"}}) < 2:
        assert time.monotonic() < deadline, "the other worker took no long test"
"""


def test_long_tests_are_spread_and_what_belongs_together_stays(tmp_path):
    shutil.copytree(TESTS.parent / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(TESTS / "conftest.py", tmp_path / "tests")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    for file, n, long in (("test_a_short", 3, False), ("test_b_many", 9, False), ("test_full_path", 4, True)):
        (tmp_path / "tests" / f"{file}.py").write_text(TEST.format(file=file, n=n, long=long))
    out = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests"], cwd=tmp_path,
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr
    ran = [line.split() for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert len(ran) == 16 and {file for _, file, _ in ran[:2]} == {"test_full_path"}, ran
    for file, n in (("test_a_short", 3), ("test_b_many", 9)):
        of_file = [(worker, int(i)) for worker, name, i in ran if name == file]
        assert len({worker for worker, _ in of_file}) == 1, f"{file} was torn apart: {of_file}"
        assert [i for _, i in of_file] == list(range(n)), f"{file} ran out of order: {of_file}"
