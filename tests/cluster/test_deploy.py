"""Deploying again: what changes, what goes on running, and what a dropped model file does."""

import asyncio
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import yaml

from tests.system import edit_yaml

SERVE = Path(sys.executable).with_name("serve")

PREDICT = "/api/v1/inference/predict"

DROPPED = """
    from pydantic import BaseModel
    from satellite.model import register_model
    from satellite.series import Series

    @register_model("last_value")
    class LastValue:
        \"\"\"Repeats the last observation.\"\"\"

        version = "1.0.0"
        Input = list[float]

        class Config(BaseModel, extra="forbid"): ...

        class Output(BaseModel):
            value: float
            all: list[float]

        example = {"data": [1.0, 2.0, 3.0, 4.0]}

        def load(self, device): ...

        def infer_batch(self, inputs):
            return [self.Output(value=i.data[-1], all=i.data) for i in inputs]
"""


@pytest.fixture(scope="module", autouse=True)
def _leave_as_found(system):
    yield
    system.give_back()


def batching(system, name):
    return httpx.get(f"{system.url}/api/v1/models/{name}").json()["batching"]


def test_new_batching_settings_are_taken_over_without_a_restart(system):
    before = system.replicas()
    edit_yaml(
        system.root / "configs/models/moving_average.yaml",
        lambda c: c["batching"].update(batch_wait_timeout_s=0.5),
    )
    system.run("deploy", str(system.root / "serve_config.yaml"))
    assert system.replicas() == before
    assert batching(system, "moving_average")["batch_wait_timeout_s"] == 0.5
    assert batching(system, "lstm_timeseries")["batch_wait_timeout_s"] == 2.0


def test_new_resources_restart_that_model_alone(system):
    before = system.replicas()
    edit_yaml(system.root / "configs/models/moving_average.yaml", lambda c: c["cpu"].update(num_cpus=0.15))
    system.run("deploy", str(system.root / "serve_config.yaml"))
    after = system.replicas()
    assert after["moving_average"] != before["moving_average"]
    assert after["lstm_timeseries"] == before["lstm_timeseries"]
    assert after["Ingress"] == before["Ingress"]


def test_a_wrong_config_changes_nothing_and_says_where(system):
    path = system.root / "configs/models/moving_average.yaml"
    good = path.read_text()
    edit_yaml(path, lambda c: c["batching"].update(max_batch_size=0))
    before = system.replicas()
    try:
        failed = system.run("deploy", str(system.root / "serve_config.yaml"), check=False)
    finally:
        path.write_text(good)
    assert failed.returncode != 0
    message = "".join((failed.stdout + failed.stderr).split())
    assert "moving_average.yaml:batching.max_batch_size" in message
    assert "Traceback" not in message
    assert system.replicas() == before


def test_a_broken_model_file_changes_nothing_and_names_its_line(system):
    path = system.root / "models" / "broken.py"
    path.write_text("x = 1\nimport no_such_module\n")
    before = system.replicas()
    try:
        failed = system.run("deploy", str(system.root / "serve_config.yaml"), check=False)
    finally:
        path.unlink()
    assert failed.returncode != 0
    assert "broken.py:2:" in "".join((failed.stdout + failed.stderr).split())
    assert system.replicas() == before


def test_a_dropped_model_file_is_deployed_and_documented(system):
    (system.root / "models" / "last_value.py").write_text(dedent(DROPPED))
    system.run("deploy", str(system.root / "serve_config.yaml"))
    answer = httpx.post(
        f"{system.url}{PREDICT}", json={"model_name": "last_value", "data": [1, 2, 3, 7]}
    ).json()
    assert answer["result"]["value"] == 7.0
    assert "last_value.Output" in httpx.get(f"{system.url}/openapi.json").json()["components"]["schemas"]


def test_a_model_of_another_folder_is_written_deployed_edited_and_removed(system, tmp_path, monkeypatch):
    def predict():
        body = {"model_name": "my_own", "data": [1, 2, 3, 7], "config": {"forecast_steps": 2}}
        return httpx.post(f"{system.url}{PREDICT}", json=body).json()["result"]

    # The running cluster knows nothing of the folder: `deploy` tells it.
    monkeypatch.setitem(system.env, "SATELLITE_MODELS_PATH", str(tmp_path))
    system.run("new-model", "my_own")
    system.run("check-model", "my_own")
    edit_yaml(tmp_path / "configs/my_own.yaml", lambda c: c["batching"].update(max_batch_size=3))
    system.run("deploy")
    assert predict() == {"forecast": [7.0, 7.0]}
    assert batching(system, "my_own")["max_batch_size"] == 3

    path = tmp_path / "my_own.py"
    path.write_text(path.read_text().replace("[data[-1]]", "[sum(data)]"))
    system.run("deploy")
    assert predict() == {"forecast": [13.0, 13.0]}

    # The number of models stays the same, and with it all else that Serve would build again for.
    path.write_text(path.read_text().replace('"my_own"', '"renamed"'))
    system.run("deploy")
    assert {"moving_average", "renamed"} <= set(system.replicas())
    assert "my_own" not in system.replicas()


async def test_a_batch_of_large_inputs_and_results_gets_through(system):
    """8 of 1.1 MB each way: more than gRPC lets through unless it is told to."""
    body = {"model_name": "last_value", "data": [number + 0.123456 for number in range(90_000)]}
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as http:
        answers = await asyncio.gather(*(http.post(PREDICT, json=body) for _ in range(16)))
    for answer in answers:
        assert answer.json()["status"] == "succeeded", answer.text[:500]
        assert answer.json()["result"]["all"] == body["data"]


def test_plain_serve_deploy_works_and_one_changed_model_leaves_the_others(system, tmp_path):
    def deploy(**changes):
        config = yaml.safe_load((system.root / "serve_config.yaml").read_text())
        config["http_options"]["port"] = system.http_port
        if changes:
            config["applications"][0]["deployments"] = [
                {"name": "moving_average", "user_config": {"batching": changes}}
            ]
        path = tmp_path / "serve_config.yaml"
        path.write_text(yaml.safe_dump(config))
        subprocess.run(
            [SERVE, "deploy", "--address", system.dashboard_url, str(path)], check=True, capture_output=True
        )
        system.wait_ready()

    deploy()
    before = system.replicas()
    deploy(max_batch_size=4)
    assert system.replicas() == before
    answer = httpx.post(
        f"{system.url}/api/v1/inference/predict", json={"model_name": "moving_average", "data": [1, 2, 3, 4]}
    ).json()
    assert answer["status"] == "succeeded"
