"""The YAML files: the shipped ones are valid, and mistakes name the file and field."""

import pytest

from satellite.config import Batching, ModelConfig, load_environment, load_model_config, load_yaml
from satellite.errors import ConfigError
from satellite.settings import REPO_ROOT

CONFIGS = REPO_ROOT / "configs"


def test_the_shipped_files_are_valid_and_belong_to_a_model():
    names = {path.stem for path in (CONFIGS / "models").glob("*.yaml")}
    assert names <= {path.stem for path in (REPO_ROOT / "models").glob("*.py")}
    for name in names:
        load_model_config(CONFIGS / "models", name)
    for path in (CONFIGS / "environments").glob("*.yaml"):
        load_environment(CONFIGS, path.stem)


def test_a_model_without_a_file_gets_the_contract():
    assert load_model_config(CONFIGS / "models", "no_such_file").batching == Batching(
        max_batch_size=8, batch_wait_timeout_s=2.0, flush="window"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batching: {max_batch_size: 0}", "batching.max_batch_size"),
        ("bathing: {}", "bathing: Extra inputs"),
        ("batching: [", "batching: ["),
        ("- 1", "valid dictionary"),
    ],
)
def test_a_mistake_names_the_file_and_the_field(tmp_path, text, words):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path, ModelConfig)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_an_unknown_environment_names_those_there_are():
    with pytest.raises(ConfigError, match="there are: local, production"):
        load_environment(CONFIGS, "staging")
