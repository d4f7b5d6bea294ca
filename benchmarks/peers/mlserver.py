"""MLServer: adaptive batching in the server's own process.

Without parallel workers, as a model this small costs less than the way to a worker and back. It waits 0.1 ms
for a batch to fill: under load batches are full all the same, and a lone caller is served at once. uvloop and
httptools are installed; compression, metrics and the access log are off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import lstm64
from benchmarks.client import Answer, encode
from benchmarks.peers.processes import first_answer, own_processes
from benchmarks.peers.subject import MLSERVER, Predict, Subject
from satellite.cli.ray_head import free_ports

PARALLEL_WORKERS = 0
MAX_BATCH_TIME_S = 0.0001


@contextmanager
def running() -> Generator[Subject]:
    """Start MLServer and stop it."""
    http_port, grpc_port = free_ports(2)
    url = f"http://127.0.0.1:{http_port}"
    tensor = {"name": "series", "shape": [1, lstm64.POINTS], "datatype": "FP32", "data": lstm64.SERIES}
    predict = Predict(
        request=encode("POST", "/v2/models/lstm64/infer", {"inputs": [tensor]}), forecast=_forecast
    )
    with own_processes() as processes:
        _write_settings(processes.folder, http_port=http_port, grpc_port=grpc_port)
        began = time.perf_counter()
        processes.start([MLSERVER.program("mlserver"), "start", str(processes.folder)])
        first_answer(processes, url, predict.request)
        yield Subject(
            name="MLServer",
            version=MLSERVER.versions("mlserver"),
            url=url,
            start_s=time.perf_counter() - began,
            memory_mb=processes.memory_mb,
            predict=predict,
        )


def _write_settings(folder: Path, *, http_port: int, grpc_port: int) -> None:
    server = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": http_port,
        "grpc_port": grpc_port,
        "parallel_workers": PARALLEL_WORKERS,
        "metrics_endpoint": None,
        "gzip_enabled": False,
    }
    model = {
        "name": "lstm64",
        "implementation": "benchmarks.peers.served.mlserver_runtime.Forecast",
        "max_batch_size": 8,
        "max_batch_time": MAX_BATCH_TIME_S,
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))


def _forecast(answer: Answer) -> list[float]:
    return answer.json()["outputs"][0]["data"]
