"""The main job on a real Ray cluster: submit, batch, result, watch."""

import asyncio
import json
import subprocess
import time
from uuid import UUID

import asyncpg
import httpx
import pytest
import websockets

SEED = {
    "model_name": "lstm_timeseries",
    "data": [1.2, 2.3, 3.1, 2.8, 3.5, 4.2, 3.9, 4.5],
    "config": {"forecast_steps": 5},
}
SUBMIT = "/api/v1/inference/submit"


async def rows_of(system, ids):
    db = await asyncpg.connect(system.database_url)
    try:
        return await db.fetch("SELECT * FROM jobs WHERE id = ANY($1::uuid[])", [UUID(i) for i in ids])
    finally:
        await db.close()


async def submit_at_once(system, bodies):
    """Submit all at the same time and wait until all have ended; returns their rows."""
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as client:
        await asyncio.gather(*(client.get("/health/live") for _ in bodies))  # connections are open now
        answers = await asyncio.gather(*(client.post(SUBMIT, json=body) for body in bodies))
        accepted = [answer.json() for answer in answers]
        await asyncio.gather(*(client.get(job["links"]["wait"]) for job in accepted))
    return await rows_of(system, [job["job_id"] for job in accepted])


def test_the_seed_case_verbatim(system):
    """The lines of the README, with curl."""
    submit = [
        *("curl", "-s", "-X", "POST", f"{system.url}/api/v1/inference/submit"),
        *("-H", "Content-Type: application/json"),
        *("-d", json.dumps(SEED)),
    ]
    accepted = json.loads(subprocess.run(submit, capture_output=True, check=True).stdout)
    assert accepted["status"] == "queued"
    assert accepted["model_name"] == "lstm_timeseries"
    fetch = ["curl", "-s", f"{system.url}/api/v1/inference/result/{accepted['job_id']}?wait_s=30"]
    job = json.loads(subprocess.run(fetch, capture_output=True, check=True).stdout)
    assert job["status"] == "succeeded"
    assert len(job["result"]["forecast"]) == 5
    quantiles = job["result"]["quantiles"]
    assert quantiles["0.5"] == job["result"]["forecast"]
    for low, middle, high in zip(quantiles["0.1"], quantiles["0.5"], quantiles["0.9"], strict=True):
        assert low <= middle <= high


def test_an_answer_has_one_request_id(http):
    for headers in ({}, {"X-Request-ID": "mine-1"}):
        answer = http.get("/api/v1/models/none", headers=headers)
        assert answer.headers.get_list("x-request-id") == [answer.json()["request_id"]]


async def test_eight_at_once_form_one_batch_at_once(system):
    rows = await submit_at_once(system, [SEED] * 8)
    assert len(rows) == 8
    assert {row["status"] for row in rows} == {"succeeded"}
    assert len({row["batch_id"] for row in rows}) == 1
    assert {(row["batch_size"], row["flush_reason"]) for row in rows} == {(8, "full")}
    waited_s = [(row["started_at"] - row["created_at"]).total_seconds() for row in rows]
    assert max(waited_s) < 2


async def test_three_run_together_after_two_seconds(system):
    rows = await submit_at_once(system, [SEED] * 3)
    assert len({row["batch_id"] for row in rows}) == 1
    assert {(row["batch_size"], row["flush_reason"]) for row in rows} == {(3, "timer")}
    oldest = min(row["created_at"] for row in rows)
    assert 1.9 <= (rows[0]["started_at"] - oldest).total_seconds() < 4


async def test_two_models_never_share_a_batch(system):
    other = {**SEED, "model_name": "moving_average"}
    rows = await submit_at_once(system, [SEED, other] * 8)
    models_of = {}
    for row in rows:
        models_of.setdefault(row["batch_id"], set()).add(row["model_name"])
    assert all(len(models) == 1 for models in models_of.values())
    assert {row["batch_size"] for row in rows} == {8}
    assert len(models_of) == 2


async def test_each_of_many_jobs_gets_the_result_of_its_own_input(system):
    bodies = [{"model_name": "moving_average", "data": [float(i)] * 4} for i in range(200)]
    rows = await submit_at_once(system, bodies)
    assert len(rows) == 200
    for row in rows:
        assert set(json.loads(row["result"])["forecast"]) == {json.loads(row["input"])[0]}
    assert max(row["batch_size"] for row in rows) == 8


async def test_the_socket_sees_queued_running_succeeded(system):
    async with websockets.connect(system.ws_url) as socket, httpx.AsyncClient(base_url=system.url) as client:
        job_id = (await client.post(SUBMIT, json=SEED)).json()["job_id"]
        await socket.send(json.dumps({"subscribe": {"job_id": job_id}}))
        seen = []
        while "succeeded" not in [message["status"] for message in seen]:
            seen.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
    assert [message["status"] for message in seen] == ["queued", "running", "succeeded"]
    assert len(seen[-1]["job"]["result"]["forecast"]) == 5


def test_predict_answers_without_waiting_for_company(http):
    http.post("/api/v1/inference/predict", json=SEED)
    began = time.monotonic()
    answer = http.post("/api/v1/inference/predict", json=SEED)
    assert time.monotonic() - began < 2  # the batch window
    assert answer.json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b'{"model_name":"lstm_timeseries","data":[1,2,NaN,4]}', 400, "invalid_json"),
        (b'{"model_name":"lstm_timeseries","data":[1,2,1e31,4]}', 422, "invalid_request"),
        (b'{"model_name":"lstm_timeserie","data":[1,2,3,4]}', 404, "model_not_found"),
        (b" " * 10_000_000, 413, "body_too_large"),
    ],
    ids=["broken", "nan", "huge", "unknown", "10 MB"],
)
def test_bad_input_through_the_front_door(http, content, status, code):
    answer = http.post(SUBMIT, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_health_and_models(http, system):
    health = http.get("/health").json()
    assert health["state"] == "ok", health
    parts = {"postgres", "redis", "model:lstm_timeseries", "model:moving_average"}
    assert set(health["parts"]) == parts | ({"kafka"} if system.kafka else set())
    models = {model["name"]: model for model in http.get("/api/v1/models").json()["models"]}
    assert models["lstm_timeseries"]["state"] == "HEALTHY"
    assert models["lstm_timeseries"]["replicas"]["RUNNING"] >= 1
    assert models["lstm_timeseries"]["autoscaling"]["max_replicas"] == 2
    assert "lstm_timeseries.Config" in http.get("/openapi.json").json()["components"]["schemas"]
    assert "<title>Satellite</title>" in http.get("/").text
    assert http.get("/docs").status_code == 200


def test_the_cli_submits_predicts_and_reads(system):
    out = system.run("predict", "moving_average", "--data", "1,2,3,4", "--config", "forecast_steps=2").stdout
    assert "2.5" in out
    out = system.run("submit", "moving_average", "--data", "1,2,3,4", "--wait").stdout
    assert "succeeded" in out
    assert "lstm_timeseries" in system.run("models").stdout
    failed = system.run("predict", "moving_averag", "--data", "1,2,3,4", check=False)
    assert failed.returncode == 1
    assert "did you mean 'moving_average'" in " ".join((failed.stdout + failed.stderr).split())


def test_the_overview_shows_the_nodes_the_replicas_and_what_was_counted(http):
    job = http.post(SUBMIT, json=SEED).json()
    assert http.get(job["links"]["wait"]).json()["status"] == "succeeded"
    ran_on = http.get(job["links"]["job"]).json()
    replica_id = http.get(job["links"]["explain"]).json()["batch"]["replica_id"]
    deadline = time.monotonic() + 30
    while True:
        overview = http.get("/api/v1/overview").json()
        history = overview["history"]["models"][ran_on["model_name"]]
        measured = overview["cluster"]["nodes"][0]["cpu_percent"] is not None
        if sum(history["succeeded"]) >= 1 and measured:
            break
        assert time.monotonic() < deadline, overview
        time.sleep(1)
    assert overview["complete"] is True
    cluster = overview["cluster"]
    (node,) = cluster["nodes"]
    assert (node["alive"], node["head"], node["address"]) == (True, True, "127.0.0.1")
    assert 0 <= node["cpu_percent"] <= 100
    assert node["cpus"] >= 1
    assert 0 < node["memory_used_bytes"] < node["memory_total_bytes"]
    assert cluster["ingresses"] >= 1
    (replica,) = (r for r in cluster["replicas"] if r["replica_id"] == replica_id)
    assert replica["model_name"] == ran_on["model_name"]
    assert (replica["state"], replica["node_id"]) == ("RUNNING", node["node_id"])
    assert overview["now"]["models"][ran_on["model_name"]]["replicas"] >= 1
    assert httpx.get(cluster["dashboard_url"], timeout=10).status_code == 200
