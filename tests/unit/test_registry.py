"""Scanning a folder of model files."""

from textwrap import dedent

import pytest

from satellite.errors import ModelDefinitionError
from satellite.model import forget, registered
from satellite.registry import load_models
from satellite.settings import REPO_ROOT

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
