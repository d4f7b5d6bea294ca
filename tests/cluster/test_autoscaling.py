"""Replicas follow the backlog on a Ray cluster of three nodes, and go when it has gone; no job is lost."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import yaml

from satellite.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from satellite.cli.ray_head import free_ports
from satellite.cli.serve_mode import serve_environment
from satellite.cli.state import Paths
from satellite.settings import REPO_ROOT
from tests.system import SATELLITE

SUBMIT, BATCH = "/api/v1/inference/submit", "/api/v1/inference/batch"
JOBS, BATCH_S = 320, 0.5  # 40 batches: 20 s of work
MODEL = f"""
    import time

    from pydantic import BaseModel

    from satellite.model import register_model


    @register_model("slow")
    class Slow:
        version = "1.0.0"
        Input = int

        class Config(BaseModel, extra="forbid"): ...

        class Output(BaseModel):
            double: int

        example = {{"data": 1}}

        def load(self, device): ...

        def infer_batch(self, inputs):
            time.sleep({BATCH_S})
            return [self.Output(double=2 * item.data) for item in inputs]
"""
CONFIG = {
    "cpu": {"num_cpus": 1},
    "batching": {"flush": "idle"},
    "autoscaling": {
        "min_replicas": 0,
        "max_replicas": 4,
        "upscale_delay_s": 1,
        "downscale_delay_s": 2,
        "look_back_period_s": 2,
    },
    "scaling": {"target_drain_s": 4},
}
# In a process of its own, as whoever makes a cluster joins it.
CLUSTER = """
    import sys
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1, "node_ip_address": "127.0.0.1", "dashboard_host": "127.0.0.1",
            "dashboard_port": int(sys.argv[1]), "include_dashboard": True,
        },
    )
    for _ in range(2):
        cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1")
    print("up", flush=True)
    sys.stdin.read()
    cluster.shutdown()
"""


class Cluster:
    def __init__(self, environment, root):
        self.environment, self.root = environment, root
        self.url = f"http://127.0.0.1:{environment['SATELLITE_HTTP_PORT']}"
        self.dashboard_url = f"http://127.0.0.1:{environment['SATELLITE_DASHBOARD_PORT']}"

    def run(self, *command):
        done = subprocess.run(
            [SATELLITE, *command, "--dashboard", self.dashboard_url],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def replicas(self):
        """The running ones of the model, each with its node."""
        apps = httpx.get(f"{self.dashboard_url}/api/serve/applications/").json()["applications"]
        found = apps["satellite"]["deployments"]["slow"]["replicas"]
        return {r["replica_id"]: r["node_id"] for r in found if r["state"] == "RUNNING"}

    def wait_for(self, what, timeout_s):
        began = time.monotonic()
        while not what(found := self.replicas()):
            assert time.monotonic() - began < timeout_s, found
            time.sleep(0.2)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def cluster():
    home = Path(tempfile.mkdtemp(prefix="sat-"))
    root = home / "root"
    (root / "models").mkdir(parents=True)
    (root / "models/slow.py").write_text(dedent(MODEL))
    shutil.copytree(REPO_ROOT / "configs/environments", root / "configs/environments")
    (root / "configs/models").mkdir()
    (root / "configs/models/slow.yaml").write_text(yaml.safe_dump(CONFIG))
    config = yaml.safe_load((REPO_ROOT / "serve_config.yaml").read_text())
    config["proxy_location"] = "HeadOnly"  # all three nodes have one address here
    (root / "serve_config.yaml").write_text(yaml.safe_dump(config))
    paths = Paths(home)
    paths.create()
    http, dashboard, stats, metrics, fallback, pg_port, redis_port = free_ports(7)
    postgres = EmbeddedPostgres(paths=paths, port=pg_port, password="test")
    redis = EmbeddedRedis(paths=paths, port=redis_port, password="test")
    environment = {
        **os.environ,
        **serve_environment("fast", paths.haproxy, stats_port=stats, metrics_port=metrics),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "PYTHONPATH": f"{root}{os.pathsep}{REPO_ROOT}",
        "SATELLITE_HOME": str(home),
        "SATELLITE_ROOT": str(root),
        "SATELLITE_HTTP_PORT": str(http),
        "SATELLITE_DASHBOARD_PORT": str(dashboard),
        "SATELLITE_DATABASE_URL": postgres.url,
        "SATELLITE_REDIS_URL": redis.url,
    }
    servers = [postgres, redis]
    with (home / "cluster.log").open("w") as log:
        nodes = None
        try:
            for server in servers:
                server.start()
            for server in servers:
                server.wait_ready()
            nodes = subprocess.Popen(
                [sys.executable, "-c", dedent(CLUSTER), str(dashboard)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            assert nodes.stdout.readline().strip() == "up", (home / "cluster.log").read_text()
            cluster = Cluster(environment, root)
            cluster.run("deploy", str(root / "serve_config.yaml"))
            yield cluster
        finally:
            if nodes is not None:
                nodes.communicate(timeout=30)
            for server in servers:
                if server.process is not None:
                    server.process.terminate()
                    server.process.wait(10)
    shutil.rmtree(home, ignore_errors=True)


def test_replicas_follow_the_backlog_and_no_job_is_lost(cluster):
    cluster.wait_for(lambda replicas: not replicas, 20)
    with httpx.Client(base_url=cluster.url, timeout=90) as client:
        assert client.get("/health/ready").status_code == 200  # it sleeps, and that is well
        first = client.post(SUBMIT, json={"model_name": "slow", "data": 21, "config": {}}).json()
        woken = client.get(first["links"]["wait"]).json()
        assert woken["result"] == {"double": 42}

        items = [{"model_name": "slow", "data": number, "config": {}} for number in range(JOBS)]
        answer = client.post(BATCH, json={"items": items}).json()
        assert answer["accepted"] == JOBS
        ids = [item["job_id"] for item in answer["items"]]
        took_s = cluster.wait_for(lambda replicas: len(replicas) >= 3, 20)
        assert len(set(cluster.replicas().values())) >= 2, "they should be spread over the nodes"
        ended = [client.get(f"/api/v1/inference/result/{i}?wait_s=60").json() for i in ids]
        assert [job["result"] for job in ended] == [{"double": 2 * number} for number in range(JOBS)]
        print(f"three replicas after {took_s:.1f} s")
        cluster.wait_for(lambda replicas: not replicas, 30)
        again = client.post(SUBMIT, json={"model_name": "slow", "data": 4, "config": {}}).json()
        assert client.get(again["links"]["wait"]).json()["result"] == {"double": 8}


def test_replicas_by_hand(cluster):
    assert "2 to 2 replicas" in cluster.run("scale", "slow", "2")
    cluster.wait_for(lambda replicas: len(replicas) == 2, 20)
    assert "0 to 4 replicas" in cluster.run("scale", "slow", "auto")
    cluster.wait_for(lambda replicas: not replicas, 30)
