"""The files of monitoring/ as far as they can be judged without a Prometheus, and `satellite monitor`."""

import json
import re
import shutil

import pytest
import yaml

from satellite.cli.monitor import MONITORING, prometheus_command, run
from satellite.cli.state import Paths
from satellite.errors import EnvironmentProblem
from satellite.metrics import Histogram, Metrics, VersionMetrics
from satellite.settings import Settings

DASHBOARDS = {
    file.name: json.loads(file.read_text())
    for file in sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
}
RULES = {
    name: [
        rule
        for group in yaml.safe_load((MONITORING / "prometheus" / name).read_text())["groups"]
        for rule in group["rules"]
    ]
    for name in ("rules.yml", "alerts.yml")
}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_imported_anywhere_and_says_what_it_shows(name):
    dashboard = DASHBOARDS[name]
    assert f"{dashboard['uid']}.json" == name
    assert "__inputs" not in dashboard and "id" not in dashboard
    assert (
        dashboard["templating"]["list"][0] | {"name": "datasource", "type": "datasource"}
        == (dashboard["templating"]["list"][0])
    )
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken = set()
    for panel in panels:
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_every_metric_is_on_a_dashboard_and_every_one_there_exists():
    exported = set()
    for instrument in (*Metrics(), *VersionMetrics("m")):
        suffixes = ("_bucket", "_sum", "_count") if isinstance(instrument, Histogram) else ("",)
        exported |= {instrument.name + suffix for suffix in suffixes}
    used = "\n".join(
        [target["expr"] for d in DASHBOARDS.values() for p in d["panels"] for target in p.get("targets", [])]
        + [rule["expr"] for rules in RULES.values() for rule in rules]
    )
    found = set(re.findall(r"ray_(satellite_\w+)", used))
    assert found <= exported
    unseen = {re.sub("_(bucket|sum|count)$", "", name) for name in exported} - {
        re.sub("_(bucket|sum|count)$", "", name) for name in found
    }
    assert not unseen
    recorded = {rule["record"] for rule in RULES["rules.yml"]}
    assert set(re.findall(r"(?<!ray_)\bsatellite:[\w:]+", used)) <= recorded


def test_every_alert_has_a_test_and_is_documented():
    tests = (MONITORING / "prometheus" / "tests.yml").read_text()
    documentation = (MONITORING.parent / "docs" / "MONITORING.md").read_text()
    for alert in RULES["alerts.yml"]:
        name = alert["alert"]
        assert f'alertname="{name}", alertstate="firing"' in tests or f"alertname: {name}," in tests, name
        assert f"`{name}`" in documentation, name
        assert set(alert["annotations"]) == {"summary", "description"}


def test_monitor_scrapes_the_nodes_of_its_home(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    paths = Paths(tmp_path)
    command = prometheus_command(paths, 9091)
    assert "--web.listen-address=127.0.0.1:9091" in command
    config = yaml.safe_load((tmp_path / "prometheus" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    assert job["file_sd_configs"] == [{"files": [str(paths.scrape_targets)]}]
    assert all(MONITORING in (MONITORING / rules).parents for rules in config["rule_files"])


def test_monitor_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(EnvironmentProblem, match="satellite up"):
        run(Settings(home=tmp_path), 9090, as_json=False)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(EnvironmentProblem, match="apt install prometheus"):
        prometheus_command(Paths(tmp_path), 9090)
