"""A real Prometheus scrapes the running system: every query of each dashboard and rule finds something."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import httpx
import pytest
import yaml
from websockets.sync.client import connect

from satellite.cli.monitor import MONITORING, prometheus_command
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths

from ..system import edit_yaml
from .test_metrics import BODY, PREDICT, SUBMIT

RULES = MONITORING / "prometheus"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
FOUND_S = 150  # Ray reports every 10 s, and a rate takes two reports that differ
SCRAPE_S = 4  # as long as Ray may take to answer, too, on a busy machine
# What rightly finds nothing in a system without this.
WITHOUT = {
    "a GPU": "ray_node_gpus_utilization",
    "a fault": 'status="5xx"',
    "a caller who hangs up": 'status="none"',
}


def needs(program):
    if shutil.which(program) is None:
        message = f"{program} is not installed: `sh tests/install_debian.sh` does it on Debian"
        assert not os.environ.get("CI"), message
        pytest.skip(message)


class Prometheus:
    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=30)

    def get(self, path, **params):
        answer = self.http.get(f"/api/v1/{path}", params=params)
        assert answer.status_code == 200, (params, answer.text)
        return answer.json()["data"]

    def finds(self, query):
        """Whether there is a sample that is a number."""
        result = self.get("query", query=query)["result"]
        return any(sample["value"][1] != "NaN" for sample in result)


@pytest.fixture
def prometheus(system, tmp_path):
    needs("prometheus")
    (port,) = free_ports(1)
    command = prometheus_command(Paths(system.home), port)

    def often(config):
        config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["file_sd_configs"][0]["refresh_interval"] = "1s"

    edit_yaml(Paths(system.home).home / "prometheus" / "prometheus.yml", often)
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    client = Prometheus(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                if client.http.get("/-/ready").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None and time.monotonic() < deadline, (
                tmp_path / "prometheus.log"
            ).read_text()
            time.sleep(0.1)
        yield client
    finally:
        client.http.close()
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def dashboard_queries():
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = re.sub(r"\$(model|route)\b", ".*", target["expr"])
                yield query.replace("$__rate_interval", "1m")


def rule_queries():
    """What a recording rule records; of an alert, which finds nothing while all is well, each series."""
    for file in ("rules.yml", "alerts.yml"):
        for group in yaml.safe_load((RULES / file).read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield rule["record"]
                else:
                    yield from re.findall(r"(?:ray_satellite_|satellite:)[\w:]+(?:\{[^}]*\})?", rule["expr"])


@pytest.mark.timeout(2 * FOUND_S + 100)
def test_every_query_of_every_dashboard_and_rule_finds_something(system, http, prometheus):
    wanted = set(dashboard_queries()) | set(rule_queries())
    assert len(DASHBOARDS) == 3 and len(wanted) > 60
    without = {query for query in wanted if any(part in query for part in WITHOUT.values())}
    assert len(without) == len(WITHOUT)
    missing = wanted - without
    deadline = time.monotonic() + FOUND_S
    with connect(system.ws_url) as socket:
        socket.send('{"subscribe": {"all": true}}')
        while missing:
            assert time.monotonic() < deadline, sorted(missing)
            assert http.post(PREDICT, json=BODY).status_code == 200
            assert http.post(SUBMIT, json=BODY).status_code == 202
            assert http.post(PREDICT, json=BODY | {"data": ["x"]}).status_code == 422
            missing = {query for query in missing if not prometheus.finds(query)}
            time.sleep(1)
    for query in without:
        prometheus.finds(query)  # a query that is wrong is refused
    while True:  # one that was just found has not been asked yet
        targets = prometheus.get("targets")["activeTargets"]
        if targets and all(target["health"] == "up" for target in targets):
            break
        assert time.monotonic() < deadline + FOUND_S, targets
        time.sleep(1)
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 20 and {rule["health"] for rule in rules} == {"ok"}, rules
    assert not [rule["name"] for rule in rules if rule.get("state") == "firing"]


def test_configs_rules_and_alerts_hold():
    needs("promtool")
    for check in (
        ["check", "config", RULES / "prometheus.yml"],
        ["check", "rules", RULES / "rules.yml", RULES / "alerts.yml"],
        ["test", "rules", RULES / "tests.yml"],
    ):
        done = subprocess.run(["promtool", *check], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
