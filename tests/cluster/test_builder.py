"""The builder and the rendered config, without a cluster: profiles, options, validation."""

import shutil

import pytest
import yaml
from pydantic import ValidationError

from deployments import cluster_view
from deployments.app import AppArgs, resolve_profile
from deployments.registry import autoscaling, find_deployments, find_source
from deployments.render import render
from satellite.api.context import GpuState
from satellite.config import EnvironmentConfig, Versions
from satellite.errors import ConfigError
from satellite.model import forget
from satellite.settings import REPO_ROOT, Settings
from tests.system import edit_yaml

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


def test_kafka_is_a_deployment_where_there_are_brokers():
    def rendered(**settings):
        (app,) = render(CONFIG, Settings(**settings), 0)["applications"]
        return app["args"]["fingerprint"], {one["name"]: one for one in app["deployments"]}

    without, with_kafka = rendered(), rendered(kafka_bootstrap="k:9092")
    assert "KafkaConsumer" not in without[1]
    assert with_kafka[1]["KafkaConsumer"]["num_replicas"] == 1
    assert set(with_kafka[1]["KafkaConsumer"]["user_config"]["models"]) == set(
        find_deployments(Settings(), "cpu")
    )
    assert without[0] != with_kafka[0]  # Serve must build again


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


def test_webhooks_have_a_deployment_of_their_own_where_the_environment_or_the_setting_says_so():
    def rendered(environment, webhooks=None):
        app = {**CONFIG["applications"][0], "args": {"environment": environment}}
        (app,) = render({**CONFIG, "applications": [app]}, Settings(webhooks=webhooks), 0)["applications"]
        sender = [deployment for deployment in app["deployments"] if deployment["name"] == "Webhooks"]
        return sender, app["args"]["fingerprint"]

    (production,), fingerprint = rendered("production")
    assert production["num_replicas"] == 2
    assert rendered("local", "deployment")[1] == fingerprint
    for where in (("local",), ("production", "ingress"), ("production", "off")):
        sender, other = rendered(*where)
        assert sender == [] and other != fingerprint  # Serve builds again


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


def test_what_needs_a_new_build_changes_the_arguments_and_nothing_else_does(tmp_path, request):
    shutil.copytree(REPO_ROOT / "configs", tmp_path / "configs")
    model, mine = tmp_path / "models" / "built.py", tmp_path / "mine"
    model.parent.mkdir()
    mine.mkdir()
    text = (REPO_ROOT / "models" / "moving_average.py").read_text()
    model.write_text(text.replace('"moving_average"', '"built"'))
    request.addfinalizer(lambda: forget("built"))

    def args(*folders):
        (app,) = render(CONFIG, Settings(root=tmp_path, models_path=folders), 0)["applications"]
        return app["args"]

    config = tmp_path / "configs" / "models" / "built.yaml"
    config.write_text("{batching: {}, cpu: {}}")
    seen = [args()]
    edit_yaml(config, lambda c: c["batching"].update(batch_wait_timeout_s=0.5))
    edit_yaml(config, lambda c: c["cpu"].update(num_cpus=0.2))
    assert args() == seen[0]
    edit_yaml(config, lambda c: c["cpu"].update(dtype="bfloat16"))
    seen.append(args())
    with model.open("a") as file:
        file.write("# another line\n")
    seen += [args(), args(mine)]
    assert len({a["fingerprint"] for a in seen[:3]}) == 3
    assert seen[3] == {**seen[2], "models_path": [str(mine)], "fingerprint": seen[3]["fingerprint"]}
    assert AppArgs(**seen[3]).models_path == [mine]


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


def test_a_node_is_shown_with_what_its_agent_reports_and_without():
    node = {"NodeID": "n", "NodeManagerAddress": "10.0.0.1", "Alive": True, "Resources": {"CPU": 4.0}}
    gpu = {"name": "A", "utilizationGpu": None, "memoryUsed": 10, "memoryTotal": 1000}
    summary = {"cpu": 12.5, "cpus": [8, 4], "mem": [100, 60, 40.0, 40], "gpus": [gpu]}
    shown = cluster_view._node(node, summary)
    assert (shown.alive, shown.head, shown.cpu_percent, shown.cpus) == (True, False, 12.5, 8)
    assert (shown.memory_used_bytes, shown.memory_total_bytes) == (40, 100)
    expected = GpuState(
        name="A", utilization_percent=None, memory_used_bytes=10 * 2**20, memory_total_bytes=1000 * 2**20
    )
    assert shown.gpus == [expected]
    for unknown in (cluster_view._node(node, {}), cluster_view._node({**node, "Alive": False}, summary)):
        assert (unknown.cpu_percent, unknown.memory_total_bytes, unknown.gpus) == (None, None, [])
