"""Scanning a folder of model files."""

import os
from pathlib import Path
from textwrap import dedent

import pytest

from satellite.errors import ModelDefinitionError
from satellite.model import forget, registered
from satellite.registry import code_digest, load_models
from satellite.settings import REPO_ROOT, Settings

MODEL = """
    from pydantic import BaseModel
    from satellite.model import register_model
    from satellite.series import Series

    @register_model("{name}")
    class M:
        version = "1.0.0"
        Input = Series
        class Config(BaseModel, extra="forbid"): ...
        class Output(BaseModel):
            last: float
        example = {{"data": [1.0, 2.0, 3.0, 4.0]}}
        def load(self, device): ...
        def infer_batch(self, inputs):
            return [self.Output(last=i.data[-1]) for i in inputs]
"""


@pytest.fixture(autouse=True)
def _clean():
    before = set(registered())
    yield
    for name in set(registered()) - before:
        forget(name)


def write(folder, file, name="dropped", text=MODEL):
    (folder / file).write_text(dedent(text).format(name=name))


def test_the_shipped_models_are_found():
    assert {"lstm_timeseries", "moving_average"} <= set(load_models(REPO_ROOT / "models"))


def test_a_dropped_file_is_found_and_helpers_are_left_alone(tmp_path):
    write(tmp_path, "dropped.py")
    (tmp_path / "_helper.py").write_text("raise RuntimeError")
    specs = load_models(tmp_path)
    assert list(specs) == ["dropped"]
    assert specs["dropped"].file == str(tmp_path / "dropped.py")


def test_a_file_that_does_not_import_names_the_line(tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\n\nimport no_such_module\n")
    with pytest.raises(ModelDefinitionError, match=r"broken\.py:3: ModuleNotFoundError"):
        load_models(tmp_path)


def test_a_syntax_error_names_the_line(tmp_path):
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(ModelDefinitionError, match=r"broken\.py:2: SyntaxError"):
        load_models(tmp_path)


def test_a_file_without_a_model_fails(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ModelDefinitionError, match="registers no model"):
        load_models(tmp_path)


def test_the_same_name_in_two_files_fails(tmp_path):
    write(tmp_path, "a.py", "same")
    write(tmp_path, "b.py", "same")
    with pytest.raises(
        ModelDefinitionError, match=r"b\.py:\d+: the model name 'same' is taken by .*a\.py:\d+"
    ):
        load_models(tmp_path)


def test_a_missing_folder_fails(tmp_path):
    with pytest.raises(ModelDefinitionError, match="not a folder"):
        load_models(tmp_path / "nowhere")


def test_folders_outside_may_hold_files_of_the_same_name_and_helpers_of_their_own(tmp_path):
    for folder in ("models", "my.models"):  # the first is also the name of the checkout's package
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "_helper.py").write_text(f"NAME = {folder.replace('.', '_')!r}\n")
        text = "from ._helper import NAME\n" + dedent(MODEL).replace('"{name}"', "NAME")
        (tmp_path / folder / "same.py").write_text(text.replace("{{", "{").replace("}}", "}"))
    specs = load_models(tmp_path / "models", tmp_path / "my.models", tmp_path / "models")
    assert list(specs) == ["models", "my_models"]
    assert specs["models"].cls.__module__ != specs["my_models"].cls.__module__


def test_the_same_name_in_two_folders_fails_and_names_both(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "m.py", "twice")
    with pytest.raises(
        ModelDefinitionError, match=r"b/m\.py:\d+: the model name 'twice' is taken by .*a/m\.py"
    ):
        load_models(tmp_path / "a", tmp_path / "b")


def test_the_path_of_models_is_split_made_absolute_and_has_configs_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SATELLITE_MODELS_PATH", os.pathsep.join(["mine", "/else/where", ""]))
    settings = Settings()
    mine = tmp_path / "mine"
    assert settings.model_folders == (REPO_ROOT / "models", mine, Path("/else/where"))
    assert settings.model_configs(mine) == mine / "configs"
    assert settings.model_configs(REPO_ROOT / "models") == REPO_ROOT / "configs" / "models"
    monkeypatch.setenv("SATELLITE_MODELS_PATH", "")
    assert Settings().models_path == ()


def test_the_digest_sees_code_and_nothing_else(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    write(tmp_path, "m.py")
    digests = [code_digest(tmp_path)]
    (tmp_path / "package" / "net.py").write_text("x = 1")
    digests.append(code_digest(tmp_path))
    (tmp_path / "m.py").write_text("x = 2")
    digests.append(code_digest(tmp_path))
    assert len(set(digests)) == 3
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "other.py").write_text("x = 1")
    (tmp_path / "data.csv").touch()
    assert code_digest(tmp_path) == digests[-1]
