"""The builder and the rendered config, without a cluster: profiles, options, validation."""

from dataclasses import replace

import pytest
import yaml
from pydantic import ValidationError

from deployments import registry
from deployments.app import AppArgs, resolve_profile
from deployments.registry import autoscaling, find_deployments, find_source
from deployments.render import render
from satellite.config import EnvironmentConfig, Versions
from satellite.errors import ConfigError, ModelDefinitionError
from satellite.registry import load_model
from satellite.settings import REPO_ROOT, Settings

CONFIG = yaml.safe_load((REPO_ROOT / "serve_config.yaml").read_text())


@pytest.mark.parametrize(
    ("setting", "environment", "gpus", "profile"),
    [
        ("auto", "auto", 0, "cpu"),
        ("auto", "auto", 1, "gpu"),
        ("auto", "cpu", 1, "cpu"),
        ("cpu", "gpu", 1, "cpu"),
        ("gpu", "cpu", 0, "gpu"),
    ],
)
def test_the_profile_is_the_setting_else_the_environment_else_what_there_is(
    setting, environment, gpus, profile
):
    assert resolve_profile(Settings(profile=setting), EnvironmentConfig(profile=environment), gpus) == profile


def options(gpus, **changes):
    (app,) = render({**CONFIG, **changes}, Settings(), gpus)["applications"]
    return {deployment["name"]: deployment for deployment in app["deployments"]}


def test_a_rendered_config_gives_models_a_gpu_where_there_is_one():
    assert options(0)["lstm_timeseries"]["ray_actor_options"] == {"num_cpus": 0.25, "num_gpus": 0}
    assert options(1)["lstm_timeseries"]["ray_actor_options"] == {"num_cpus": 0.25, "num_gpus": 0.25}
    assert options(1)["moving_average"]["ray_actor_options"]["num_gpus"] == 0


def test_what_is_rendered_is_what_is_built():
    models = find_deployments(Settings(), "cpu")
    rendered = options(0)
    assert set(rendered) == {*models, "Ingress"}
    for name, model in models.items():
        assert rendered[name] == {"name": name, **model.options()}
    assert rendered["lstm_timeseries"]["user_config"]["batching"] == {
        "max_batch_size": 8,
        "batch_wait_timeout_s": 2.0,
        "flush": "window",
    }


def test_what_the_file_says_itself_has_the_last_word():
    app = {
        **CONFIG["applications"][0],
        "deployments": [{"name": "moving_average", "max_ongoing_requests": 9}],
    }
    rendered = options(0, applications=[app])
    assert rendered["moving_average"]["max_ongoing_requests"] == 9
    assert rendered["moving_average"]["user_config"]["batching"]["max_batch_size"] == 8


def test_other_applications_are_left_alone():
    other = {"name": "other", "import_path": "somewhere:app"}
    assert render({**CONFIG, "applications": [other]}, Settings(), 0)["applications"] == [other]


def test_a_model_may_not_take_the_name_of_the_ingress(monkeypatch):
    spec = replace(load_model(REPO_ROOT / "models" / "moving_average.py"), name="Ingress")
    monkeypatch.setattr(registry, "load_models", lambda folder: {"Ingress": spec})
    with pytest.raises(ModelDefinitionError, match=r"moving_average\.py:\d+: 'Ingress' is the name"):
        find_deployments(Settings(), "cpu")


def test_only_a_model_with_artifacts_has_versions():
    rendered = options(0)
    assert "VersionRouter" in rendered["lstm_timeseries"]["request_router_config"]["request_router_class"]
    assert "request_router_config" not in rendered["moving_average"]
    models = find_deployments(Settings(), "cpu")
    assert models["moving_average"].source is None
    spec = models["lstm_timeseries"].spec
    for url, found in (
        (None, str(spec.artifacts)),
        ("s3://bucket/models", "s3://bucket/models"),
        ("models/artifacts/lstm_timeseries", str(spec.artifacts)),
    ):
        assert find_source(spec, Versions(source=url), Settings()).url == found
    with pytest.raises(ConfigError, match=r"there is no folder .*/nowhere; put the versions there"):
        find_source(spec, Versions(source="nowhere"), Settings())
    with pytest.raises(ConfigError, match="moving_average: its config has `versions`, but its load takes no"):
        find_source(models["moving_average"].spec, Versions(default="1"), Settings())


def test_unknown_arguments_and_autoscaling_fields_are_refused():
    with pytest.raises(ValidationError, match="enviroment"):
        AppArgs(enviroment="local")
    with pytest.raises(ConfigError, match="no field min_replica"):
        autoscaling("m", {"min_replica": 1})
    with pytest.raises(ConfigError, match="m: autoscaling"):
        autoscaling("m", {"min_replicas": 3, "max_replicas": 1})
