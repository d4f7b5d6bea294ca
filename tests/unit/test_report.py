"""What `make report` writes, from real runs of pytest over a few tests of its own."""

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from satellite.settings import REPO_ROOT
from tests import report

ONE = """
    import pytest

    def test_good(): ...

    @pytest.mark.parametrize("text", ["a|b"])
    def test_bad(text): assert text == 1, "not | one"

    def test_not_here(): pytest.skip("no such thing")

    class TestClass:
        def test_inside(self): ...
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs pytest, and then the report over what it wrote: its exit code and its text."""
    for name, text in (("unit/test_one.py", ONE), ("other/test_two.py", "def test_two(): ...")):
        (tmp_path / "tests" / name).parent.mkdir(parents=True)
        (tmp_path / "tests" / name).write_text(dedent(text))
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests/unit tests/other\n")
    env = {**os.environ, "PYTHONPATH": str(REPO_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def call(*runs):
        files = [tmp_path / f"{number}.xml" for number in range(len(runs))]
        for arguments, file in zip(runs, files, strict=True):
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "tests.recording",
                f"--junitxml={file}",
                *arguments,
            ]
            done = subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, check=False, timeout=120
            )
            assert done.returncode in (0, 1, 2), done.stdout + done.stderr
        written = tmp_path / "report.md"
        monkeypatch.setattr(sys, "argv", ["report", *map(str, files), "--to", str(written)])
        with pytest.raises(SystemExit) as ended:
            report.main()
        return ended.value.code, written.read_text()

    return call


def test_a_run_of_everything(runs):
    code, text = runs(["tests/unit"], ["tests/other"])
    assert code == 1
    assert "partial" not in text
    assert "**1 failed**, 3 passed. 1 were skipped." in text
    assert "`tests/unit/test_one.py::test_bad[a/b]` | AssertionError: not / one |" in text
    assert "| 1 | no such thing |" in text
    assert "| **all** | 5 | 1 | 1 |" in text
    assert "| **tests/unit** | 4 | 1 | 1 |" in text
    assert "| test_two.py | 1 |  |  |" in text
    assert "PostgreSQL 18." in text and "Redis 6." in text


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["tests/other"], 0, "Run was `tests/other`, and nothing else."),
        (["-k", "good or two"], 0, "left out by options of pytest (keyword)"),
        (["-x"], 1, "ended before all tests had run"),
    ],
)
def test_a_run_of_less_says_so(runs, arguments, code, why):
    found, text = runs(arguments)
    assert found == code
    assert "**This is a partial run.**" in text
    assert why in text
