"""`satellite monitor`: the installed Prometheus, with Satellite's rules, against the system of this home."""

from __future__ import annotations

import os
import shutil

import yaml

from satellite.cli.console import console, print_json
from satellite.cli.lifecycle import running_state
from satellite.cli.state import Paths
from satellite.errors import EnvironmentProblem
from satellite.settings import REPO_ROOT, Settings

MONITORING = REPO_ROOT / "monitoring"


def prometheus_command(paths: Paths, port: int) -> list[str]:
    """The command line of a Prometheus that scrapes this home's nodes and listens on loopback.

    Args:
        paths: of the home; config and data go there.
        port: where it listens.

    Raises:
        EnvironmentProblem: Prometheus is not installed.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise EnvironmentProblem(
            "Prometheus is not installed: `apt install prometheus`, `brew install prometheus`, or see "
            "docs/MONITORING.md for one that runs elsewhere."
        )
    folder = paths.home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(_config(paths))
    return [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def _config(paths: Paths) -> str:
    source = MONITORING / "prometheus"
    config = yaml.safe_load((source / "prometheus.yml").read_text())
    config["rule_files"] = [str(source / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["file_sd_configs"] = [{"files": [str(paths.scrape_targets)]}]
    return yaml.safe_dump(config, sort_keys=False)


def run(settings: Settings, port: int, *, as_json: bool) -> None:
    """Becomes Prometheus, until Ctrl-C.

    Raises:
        EnvironmentProblem: Prometheus is not installed, or there is nothing to scrape.
    """
    paths = Paths(settings.home)
    if running_state(paths) is None:
        raise EnvironmentProblem("This system is not running: `satellite up` starts it.")
    command = prometheus_command(paths, port)
    if as_json:
        print_json({"url": f"http://127.0.0.1:{port}"})
    console.print(f"Prometheus: http://127.0.0.1:{port}/alerts   Ctrl-C ends it.")
    os.execv(command[0], command)
