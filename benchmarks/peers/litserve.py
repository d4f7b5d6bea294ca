"""LitServe: two API servers in front of one worker, as HTTP costs more here than the model; ZMQ queues.

Its batch time-out is short: 1 ms, and 10 ms in a second row.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks import lstm64
from benchmarks.client import encode
from benchmarks.peers.processes import first_answer, own_processes
from benchmarks.peers.subject import PEERS, Predict, Subject
from satellite.cli.ray_head import free_ports


@contextmanager
def running(*, batch_timeout_ms: int) -> Generator[Subject]:
    """Start LitServe and stop it."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    predict = Predict(
        request=encode("POST", "/predict", {"series": lstm64.SERIES}),
        forecast=lambda answer: answer.json()["forecast"],
    )
    with own_processes() as processes:
        began = time.perf_counter()
        module = "benchmarks.peers.served.litserve_server"
        processes.start([PEERS.program("python"), "-m", module, str(port), str(batch_timeout_ms / 1000)])
        first_answer(processes, url, predict.request)
        yield Subject(
            name=f"LitServe, {batch_timeout_ms} ms",
            version=PEERS.versions("litserve"),
            url=url,
            start_s=time.perf_counter() - began,
            memory_mb=processes.memory_mb,
            predict=predict,
        )
