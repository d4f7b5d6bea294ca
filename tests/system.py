"""A real system of the tests' own, started and stopped the way a user does it."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import yaml

from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths, read_state
from satellite.settings import REPO_ROOT

PARTITIONS = 3  # of each topic, where there is Kafka
SATELLITE = Path(sys.executable).with_name("satellite")


class System:
    """A running Satellite and how to talk to it."""

    def __init__(self, home, root, kafka=None):
        self.home, self.root, self.kafka = home, root, kafka
        self.http_port, self.dashboard_port = free_ports(2)
        self.env = {
            **os.environ,
            "SATELLITE_HOME": str(home),
            "SATELLITE_ROOT": str(root),
            "SATELLITE_HTTP_PORT": str(self.http_port),
            "SATELLITE_DASHBOARD_PORT": str(self.dashboard_port),
        }
        if kafka is not None:
            self.env["SATELLITE_KAFKA_BOOTSTRAP"] = kafka.bootstrap
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.ws_url = f"ws://127.0.0.1:{self.http_port}/api/v1/ws"
        self.dashboard_url = f"http://127.0.0.1:{self.dashboard_port}"
        self.is_as_shipped = True

    def reset_root(self):
        """Bring the folder to what the checkout holds: a copy, so that tests may edit it as a user would."""
        for name in ("configs", "models"):
            shutil.rmtree(self.root / name, ignore_errors=True)
            shutil.copytree(REPO_ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPO_ROOT / "serve_config.yaml", self.root / "serve_config.yaml")

    def deploy(self):
        """Deploy what the folder holds, and wait until it runs."""
        self.run("deploy", str(self.root / "serve_config.yaml"))
        self.wait_ready()

    def give_back(self):
        """Leave the folder as it was found. What was deployed stays until somebody needs what is shipped."""
        self.reset_root()
        self.is_as_shipped = False

    def restore(self):
        """Deploy what is shipped, where something else may run."""
        if not self.is_as_shipped:
            self.deploy()
            self.is_as_shipped = True

    def run(self, *args, timeout_s=120, check=True):
        done = subprocess.run(
            [SATELLITE, *args], env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @property
    def database_url(self):
        return read_state(Paths(self.home)).database_url

    def wait_ready(self, timeout_s=90):
        """Until every deployment has only running replicas and the API says that it is ready."""
        deadline = time.monotonic() + timeout_s
        while True:
            app = httpx.get(f"{self.dashboard_url}/api/serve/applications/").json()["applications"][
                "satellite"
            ]
            states = {r["state"] for d in app["deployments"].values() for r in d["replicas"]}
            deployed = app["status"] == "RUNNING" and states == {"RUNNING"}
            if deployed and httpx.get(f"{self.url}/health/ready").status_code == 200:
                return
            assert time.monotonic() < deadline, app
            time.sleep(0.3)

    def replicas(self):
        """The pids of the running replicas, by deployment."""
        apps = httpx.get(f"{self.dashboard_url}/api/serve/applications/").json()["applications"]
        return {
            name: sorted(r["pid"] for r in d["replicas"] if r["state"] == "RUNNING")
            for name, d in apps["satellite"]["deployments"].items()
        }


@contextlib.contextmanager
def running(prepare=lambda system: None, *, kafka=None):
    """Start a system in scratch folders and stop it at the end.

    Args:
        prepare: may edit the copied `configs/` and `models/` before the start.
        kafka: a broker that it is connected to.
    """
    home = Path(tempfile.mkdtemp(prefix="sat-"))
    root = Path(tempfile.mkdtemp(prefix="sat-root-"))
    system = System(home, root, kafka)
    system.reset_root()
    prepare(system)
    try:
        if kafka is not None:
            system.run("kafka", "topics", "--create", "--partitions", str(PARTITIONS))
        system.run("up", "--config", str(root / "serve_config.yaml"))
        yield system
    finally:
        system.run("down", check=False)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)


def edit_yaml(path, change):
    """Load a YAML file, let `change` edit it, write it back."""
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
