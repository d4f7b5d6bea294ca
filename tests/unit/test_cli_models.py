"""`satellite new-model` and `check-model`."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from satellite.cli.main import app
from satellite.model import forget, registered
from satellite.settings import REPO_ROOT

runner = CliRunner()


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr("satellite.contract.MEASURE_S", 0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(registered())
    yield
    for name in set(registered()) - before:
        forget(name)


def run(*arguments):
    return runner.invoke(app, list(arguments), catch_exceptions=False)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")


def test_a_new_model_passes_its_check_its_test_and_the_linter_at_once(tmp_path, monkeypatch):
    name = "my-" + "m" * 60  # lines grow with it
    monkeypatch.setenv("SATELLITE_MODELS_PATH", os.pathsep.join([str(tmp_path), str(REPO_ROOT / "models")]))
    written = run("new-model", name)
    assert written.exit_code == 0, written.output
    stem = name.replace("-", "_")
    assert set(files(tmp_path)) == {f"{stem}.py", f"configs/{name}.yaml", f"tests/test_{stem}.py"}
    assert f'"model_name":"{name}"' in written.output
    assert "export" not in written.output
    checked = run("check-model", name, "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["passed"]
    written_test = runpy.run_path(str(tmp_path / "tests" / f"test_{stem}.py"))
    tests = [function for key, function in written_test.items() if key.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
    ours = ["--config", str(REPO_ROOT / "pyproject.toml")]
    for arguments in (
        ["check", *ours, "--ignore=D", str(tmp_path)],
        ["check", *ours, str(tmp_path / f"{stem}.py")],
        ["format", "--check", *ours, str(tmp_path)],
        ["format", "--check", "--isolated", str(tmp_path)],  # of a folder outside, with its own line length
    ):
        ruff = [sys.executable, "-m", "ruff", *arguments]
        done = subprocess.run(ruff, cwd=REPO_ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_in_a_checkout_the_files_go_where_its_own_are(tmp_path, monkeypatch):
    monkeypatch.setenv("SATELLITE_ROOT", str(tmp_path))
    (tmp_path / "models").mkdir()
    assert run("new-model", "first").exit_code == 0
    assert files(tmp_path) == ["configs/models/first.yaml", "models/first.py", "tests/unit/test_first.py"]
    test = (tmp_path / "tests" / "unit" / "test_first.py").read_text()
    assert 'FILE = "models/first.py"' in test
    assert "parents[2]" in test


def test_a_folder_that_is_not_on_the_path_is_told(tmp_path):
    written = run("new-model", "first", "--into", str(tmp_path))
    assert f"export SATELLITE_MODELS_PATH={tmp_path}" in written.output
    assert run("check-model", str(tmp_path / "first.py")).exit_code == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1st", "a letter, then"),
        ("Ingress", "a deployment of Satellite's own"),
        ("moving_average", "is taken by"),
        ("taken", "exists, and nothing is overwritten"),
        ("package", "exists, and nothing is overwritten"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is(tmp_path, name, words):
    (tmp_path / "taken.py").write_text("x = 1\n")
    (tmp_path / "package").mkdir()
    before = files(tmp_path)
    refused = run("new-model", name, "--into", str(tmp_path))
    assert refused.exit_code == 1
    assert words in refused.stderr
    assert files(tmp_path) == before


def test_a_model_that_does_not_register_or_has_a_wrong_config_fails_the_check(tmp_path, monkeypatch):
    monkeypatch.setenv("SATELLITE_MODELS_PATH", str(tmp_path))
    assert run("new-model", "first").exit_code == 0
    (tmp_path / "configs" / "first.yaml").write_text("batching: {max_batch_size: 0}\n")
    failed = run("check-model", "first")
    assert failed.exit_code == 1
    assert "batching.max_batch_size" in failed.output
    shutil.copy(tmp_path / "first.py", tmp_path / "second.py")
    failed = run("check-model", "first")
    assert failed.exit_code == 1
    assert "is taken by" in failed.output
    Path(tmp_path / "third.py").write_text('@register_model("third")\nclass T: ...\n')
    failed = run("check-model", "third", "--json")
    assert failed.exit_code == 1
    assert "third.py:1: NameError" in json.loads(failed.stdout)["checks"][0]["detail"]


def test_an_unknown_model_is_told_with_the_nearest():
    failed = run("check-model", "moving_averag")
    assert failed.exit_code == 1
    assert "did you mean 'moving_average'?" in failed.stderr
