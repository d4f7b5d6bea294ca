"""BentoML 1.4: two workers, each with the model and a batcher, which use both cores.

The methods are coroutines, as the way to a thread and back costs more than a model this small. The limit on
latency is out of reach, as BentoML refuses work otherwise; its access log and metrics are off. Tasks are its
durable call: rows of an SQLite file, which the server empties when it starts.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks import lstm64
from benchmarks.client import Answer, encode
from benchmarks.peers.processes import first_answer, own_processes
from benchmarks.peers.subject import PEERS, Jobs, Predict, Subject
from satellite.cli.ray_head import free_ports

WORKERS = 2


@contextmanager
def running() -> Generator[Subject]:
    """Start BentoML and stop it."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    body = {"series": [lstm64.SERIES]}
    predict = Predict(request=encode("POST", "/predict", body), forecast=lambda answer: answer.json()[0])
    with own_processes() as processes:
        began = time.perf_counter()
        processes.start(
            [
                PEERS.program("bentoml"),
                *("serve", "benchmarks.peers.served.bentoml_service:Forecast"),
                *("--host", "127.0.0.1", "--port", str(port), "--quiet"),
            ],
            environment={
                "BENCH_WORKERS": str(WORKERS),
                "BENTOML_HOME": str(processes.folder),
                "BENTOML_DO_NOT_TRACK": "True",
            },
        )
        first_answer(processes, url, predict.request)
        yield Subject(
            name="BentoML",
            version=PEERS.versions("bentoml"),
            url=url,
            start_s=time.perf_counter() - began,
            memory_mb=processes.memory_mb,
            predict=predict,
            jobs=Jobs(
                submit=encode("POST", "/job/submit", body), accepted=200, read=_read, forecast=_forecast
            ),
        )


def _read(accepted: Answer) -> bytes:
    return encode("GET", f"/job/get?task_id={accepted.json()['task_id']}")


def _forecast(answer: Answer) -> list[float] | None:
    if answer.status == 400 and b"not completed" in answer.body:
        return None
    if answer.status != 200:
        raise RuntimeError(f"a task did not succeed: {answer.status} {answer.body[:500]!r}")
    return answer.json()[0]
