"""Clients that mean harm, against a whole system: HAProxy, Serve and the ingress."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from websockets.sync.client import connect

from benchmarks.scenarios.attacks import ATTACKS
from benchmarks.scenarios.memory import INGRESS
from benchmarks.system import System
from satellite.cli.state import Paths
from satellite.settings import REPO_ROOT

PREDICT = "/api/v1/inference/predict"
JOB = {"model_name": "moving_average", "data": [1, 2, 3, 4]}
MARK = "5ec7e7" * 4
# 256 MiB of bodies are allowed.
GROWTH_MB = 300


@pytest.fixture(scope="module")
def memory_mb(system):
    whole = System(url=system.url, start_s=0, paths=Paths(system.home))
    return lambda: whole.memory_mb()[INGRESS]


@pytest.mark.parametrize("name", ATTACKS)
def test_the_others_are_served_and_memory_is_bounded(system, http, memory_mb, name):
    before_mb = memory_mb()
    command = [sys.executable, "-m", "benchmarks.scenarios.attacks", system.url, name]
    attacker = subprocess.Popen(command, cwd=REPO_ROOT)
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            answer = http.post(PREDICT, json=JOB)
            assert answer.status_code == 200, answer.text
        assert attacker.poll() is None
        assert memory_mb() - before_mb < GROWTH_MB
    finally:
        attacker.kill()
        attacker.wait()


@pytest.mark.parametrize("name", ["X-Request-ID", "X-Session-ID", "Serve-Multiplexed-Model-Id"])
def test_headers_that_serve_cannot_decode(http, name):
    assert http.get("/health/live", headers={name: b"\xff"}).status_code == 200


def test_a_caller_cannot_tell_serve_when_to_give_up(http):
    run_at = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    job = http.post("/api/v1/inference/submit", json={**JOB, "run_at": run_at})
    links = job.json()["links"]
    headers = {"X-Request-Timeout-Seconds": "0.2"}
    answer = http.get(links["result"], params={"wait_s": 1}, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    # It is not to end among what other tests count.
    assert http.post(links["cancel"]).json()["status"] == "cancelled"


def test_no_socket_is_compressed(system):
    with connect(system.ws_url, compression="deflate") as socket:
        assert not socket.protocol.extensions


def test_no_file_of_a_log_has_a_secret_or_a_payload(system, http):
    headers = {"Authorization": f"Bearer sat_abc_{MARK}", "Idempotency-Key": MARK}
    for body in ({**JOB, "data": MARK}, {**JOB, "data": [MARK]}, {**JOB, "config": {MARK: MARK}}, MARK, JOB):
        http.post(PREDICT, json=body, headers=headers)
    for path in ("/api/v1/events", "/api/v1/ws", "/api/v1/jobs", "/nowhere"):
        http.get(path, params={"ticket": MARK, "last_event_id": MARK}, headers=headers)
    with connect(f"{system.ws_url}?ticket={MARK}", additional_headers=headers) as socket:
        socket.send(f'{{"authenticate": "sat_abc_{MARK}"}}')
        socket.send(f'{{"submit": {{"model_name": "moving_average", "data": ["{MARK}"]}}}}')
        for _ in range(2):
            socket.recv(10)
    with httpx.Client(base_url=system.url) as client:
        client.post(PREDICT, content=b'{"' + MARK.encode() + b"\xff")
    paths = Paths(system.home)
    logs = [
        path
        for folder in (paths.logs, paths.serve_logs)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix == ".log"
    ]
    assert any(path.is_relative_to(paths.serve_logs) for path in logs)
    assert [path for path in logs if MARK.encode() in path.read_bytes()] == []
