"""Ray Serve without Satellite: a FastAPI ingress and a model behind `@serve.batch`, 8 or 10 ms.

It gets what Satellite gives itself: replicas at normal priority, no access log, room for more requests than a
batch, and in a second row Serve's throughput mode behind HAProxy.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

from benchmarks import lstm64
from benchmarks.client import encode
from benchmarks.peers.processes import DidNotStart, Processes, first_answer, own_processes
from benchmarks.peers.subject import Predict, Subject
from satellite.cli.processes import RUN_ID_VARIABLE
from satellite.cli.ray_head import RayHead, free_ports
from satellite.cli.serve_api import ServeApi
from satellite.cli.state import Paths
from satellite.settings import REPO_ROOT, Settings

DASHBOARD_LIMIT_S = 60


@contextmanager
def running(*, mode: Literal["fast", "default"]) -> Generator[Subject]:
    """Start a Ray head, deploy, and stop it.

    Args:
        mode: as in Satellite's settings; fast is the throughput mode behind HAProxy.
    """
    http_port, dashboard_port = free_ports(2)
    url = f"http://127.0.0.1:{http_port}"
    predict = Predict(
        request=encode("POST", "/predict", {"series": lstm64.SERIES}),
        forecast=lambda answer: answer.json()["forecast"],
    )
    with own_processes() as processes:
        settings = Settings(
            home=processes.folder, http_port=http_port, dashboard_port=dashboard_port, serve_mode=mode
        )
        began = time.perf_counter()
        _start_head(processes, settings)
        _deploy(processes, settings)
        first_answer(processes, url, predict.request)
        yield Subject(
            name="Ray Serve" if mode == "default" else "Ray Serve, fast mode",
            version=f"ray {version('ray')}",
            url=url,
            start_s=time.perf_counter() - began,
            memory_mb=processes.memory_mb,
            predict=predict,
        )


def _start_head(processes: Processes, settings: Settings) -> None:
    paths = Paths(processes.folder)
    paths.create()
    head = RayHead(
        settings=settings,
        paths=paths,
        variables={RUN_ID_VARIABLE: processes.run_id},
        import_folders=[REPO_ROOT],
    )
    head.start()
    processes.add(head.process)


def _deploy(processes: Processes, settings: Settings) -> None:
    serve = ServeApi(f"http://127.0.0.1:{settings.dashboard_port}")
    try:
        deadline = time.monotonic() + DASHBOARD_LIMIT_S
        while not serve.is_up():
            processes.check()
            if time.monotonic() > deadline:
                raise DidNotStart("Ray's dashboard does not answer")
            time.sleep(0.05)
        serve.put(
            {
                "http_options": {"host": "127.0.0.1", "port": settings.http_port},
                "logging_config": {"enable_access_log": False},
                "applications": [
                    {
                        "name": "lstm64",
                        "route_prefix": "/",
                        "import_path": "benchmarks.peers.served.ray_serve_app:app",
                    }
                ],
            }
        )
    finally:
        serve.close()
