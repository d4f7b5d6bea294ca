"""Deploying, scaling down, a death: no request fails, no job is lost, sockets are told to come again."""

import asyncio
import csv
import json
import os
import signal
from itertools import count
from textwrap import dedent
from uuid import UUID

import asyncpg
import httpx
import pytest
import websockets

from satellite.cli.state import Paths
from tests.system import edit_yaml

from .test_main_job import SUBMIT

DEPLOYS = True
# Every batch takes so long that whatever stops does so in the middle of one.
COMPUTE_S = 0.7
SLEEPER = f"""
    import time

    from pydantic import BaseModel
    from satellite.model import register_model
    from satellite.series import Series

    @register_model("sleeper")
    class Sleeper:
        \"\"\"Takes its time, and repeats the last observation.\"\"\"

        version = "1.0.0"
        Input = Series

        class Config(BaseModel, extra="forbid"): ...

        class Output(BaseModel):
            value: float

        example = {{"data": [1.0, 2.0, 3.0, 4.0]}}

        def load(self, device): ...

        def infer_batch(self, inputs):
            time.sleep({COMPUTE_S})
            return [self.Output(value=i.data[-1]) for i in inputs]
"""
PREDICT = "/api/v1/inference/predict"
RESULT = "/api/v1/inference/result"
ENDED = {"succeeded", "failed", "dead"}
# Alone, its batch is not due for longer than a deploy takes.
LONELY = {"model_name": "lstm_timeseries", "data": [1.0, 2.0, 3.0, 4.0]}
LONELY_S = 50
CLIENTS, SOCKETS = 12, 8


def deploy(system, *, replicas, num_cpus):
    """Deploy the ingress and the sleeper with so many replicas; another `num_cpus` replaces them all."""
    scale = {"min_replicas": replicas, "max_replicas": replicas}
    edit_yaml(
        system.root / "configs/environments/local.yaml",
        lambda c: c["ingress"].update(num_cpus=num_cpus, autoscaling=scale),
    )
    edit_yaml(
        system.root / "configs/models/sleeper.yaml",
        lambda c: c.update(cpu={"num_cpus": num_cpus - 0.15}, autoscaling=scale),
    )
    system.run("deploy", str(system.root / "serve_config.yaml"))


async def wait_for_two_ingresses(system, *, without=None):
    """Until Serve has two and HAProxy sends requests to both."""
    folder = Paths(system.home).haproxy
    async with asyncio.timeout(60):
        while True:
            pids = system.replicas()["Ingress"]
            up = 0
            for path in folder.glob("*/admin.sock"):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(b"show stat\n")
                rows = csv.reader((await reader.read()).decode().splitlines())
                up = sum(row[1].startswith("SERVE_REPLICA") and row[17] == "UP" for row in rows if row[17:])
                writer.close()
            if len(pids) == up == 2 and without not in pids:
                return
            await asyncio.sleep(0.2)


@pytest.fixture(scope="module", autouse=True)
def _one_of_each(system):
    (system.root / "models" / "sleeper.py").write_text(dedent(SLEEPER))
    (system.root / "configs/models/sleeper.yaml").write_text("batching: {batch_wait_timeout_s: 0.2}")
    edit_yaml(
        system.root / "configs/models/lstm_timeseries.yaml",
        lambda c: c["batching"].update(batch_wait_timeout_s=LONELY_S),
    )
    deploy(system, replicas=1, num_cpus=0.25)
    yield
    system.give_back()


class Load:
    """Clients that submit, wait for the result and predict, and sockets that submit and watch."""

    def __init__(self, system):
        self.system = system
        self.failures = []
        self.closed = []  # with which codes sockets were closed
        self.accepted = {}  # the nonce of each job, by id
        self.requests = 0
        self.stopping = False
        self._nonces = count(1)

    def body(self):
        nonce = float(next(self._nonces))
        return nonce, {"model_name": "sleeper", "data": [nonce] * 4}

    async def around(self, change):
        """Run the load before, during and after a change."""
        work = [self._client() for _ in range(CLIENTS)] + [self._socket() for _ in range(SOCKETS)]
        tasks = [asyncio.create_task(each) for each in work]
        await asyncio.sleep(2)
        await asyncio.to_thread(change)
        before = self.requests
        await asyncio.sleep(1)
        self.stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
        assert self.requests > before, "the load has stopped by itself"

    async def call(self, http, method, path, status, **kwargs):
        self.requests += 1
        try:
            answer = await http.request(method, path, **kwargs)
        except httpx.TransportError as error:
            self.failures.append(f"{method} {path}: {error!r}")
        else:
            if answer.status_code == status:
                return answer.json()
            self.failures.append(f"{method} {path}: {answer.status_code} {answer.text}")
        await asyncio.sleep(0.1)
        return {}

    async def _client(self):
        async with httpx.AsyncClient(base_url=self.system.url, timeout=60) as http:
            while not self.stopping:
                nonce, body = self.body()
                job_id = (await self.call(http, "POST", SUBMIT, 202, json=body)).get("job_id")
                if job_id:
                    self.accepted[job_id] = nonce
                    while not await self._ended(http, job_id, nonce):
                        pass
                answer = await self.call(http, "POST", PREDICT, 200, json=body)
                if answer and answer["result"] != {"value": nonce}:
                    self.failures.append(f"predict: {answer}")

    async def _ended(self, http, job_id, nonce):
        job = await self.call(http, "GET", f"{RESULT}/{job_id}?wait_s=30", 200)
        if job.get("status") not in ENDED:
            return False
        if job["result"] != {"value": nonce}:
            self.failures.append(f"job: {job}")
        return True

    async def _socket(self):
        """Submit and watch one job after the other; connect again when told to."""
        job_id = body = None
        while body or not self.stopping:
            try:
                async with websockets.connect(self.system.ws_url) as socket:
                    if job_id:
                        await socket.send(json.dumps({"subscribe": {"job_id": job_id}}))
                    elif body:  # not answered, so not taken
                        await socket.send(json.dumps({"submit": body}))
                    while body or not self.stopping:
                        if not body:
                            nonce, body = self.body()
                            await socket.send(json.dumps({"submit": body}))
                        message = json.loads(await socket.recv())
                        if message["type"] == "accepted":
                            job_id = message["job_id"]
                            self.accepted[job_id] = nonce
                        elif message["type"] == "problem":
                            self.failures.append(f"socket: {message}")
                        elif message["type"] == "job" and message["status"] in ENDED:
                            if message["job"]["result"] != {"value": nonce}:
                                self.failures.append(f"socket: {message}")
                            job_id = body = None
            except websockets.ConnectionClosed as closed:
                self.closed.append(closed.rcvd and closed.rcvd.code)
                await asyncio.sleep(0.2)
            except (OSError, websockets.WebSocketException) as error:
                self.failures.append(f"socket: {error!r}")
                await asyncio.sleep(0.2)

    async def stored(self):
        """The rows of the accepted jobs."""
        db = await asyncpg.connect(self.system.database_url)
        try:
            ids = [UUID(job_id) for job_id in self.accepted]
            return await db.fetch("SELECT id, status, attempt, result FROM jobs WHERE id = ANY($1)", ids)
        finally:
            await db.close()

    async def check(self):
        assert self.failures == []
        rows = await self.stored()
        assert len(rows) == len(self.accepted) > CLIENTS
        for row in rows:
            assert (row["status"], row["attempt"]) == ("succeeded", 1), row
            assert json.loads(row["result"]) == {"value": self.accepted[str(row["id"])]}


async def test_replacing_ingress_and_model_fails_nothing_and_lets_the_waiting_go(system):
    before = system.replicas()
    running = {"Ingress": [], "sleeper": []}
    waiting = asyncio.create_task(wait_for_a_lone_job(system))
    load = Load(system)

    async def sample():
        while True:
            now = await asyncio.to_thread(system.replicas)
            for name, pids in running.items():
                pids.append(len(now[name]))
            await asyncio.sleep(0.1)

    sampler = asyncio.create_task(sample())
    await load.around(lambda: deploy(system, replicas=1, num_cpus=0.26))
    sampler.cancel()
    await load.check()
    after = system.replicas()
    for name in ("Ingress", "sleeper"):
        assert set(after[name]).isdisjoint(before[name])
        assert min(running[name]) == 1  # the new one was there before the old one stopped
    assert load.closed == [1012] * SOCKETS
    job, statuses = await waiting
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert statuses[0] not in ENDED  # the first ingress did not keep its caller until the end


async def wait_for_a_lone_job(system):
    """A job whose batch is not due for long waits in the ingress that leaves, and so does its caller.

    The ingress lets the batch go, and its caller, who asks another one.

    Returns:
        The job in the end, and the status that each long poll was answered with.
    """
    statuses = []
    async with httpx.AsyncClient(base_url=system.url, timeout=3 * LONELY_S) as http:
        job_id = (await http.post(SUBMIT, json=LONELY)).json()["job_id"]
        while True:
            answer = await http.get(f"{RESULT}/{job_id}", params={"wait_s": 2 * LONELY_S})
            job = answer.raise_for_status().json()
            statuses.append(job["status"])
            if job["status"] in ENDED:
                return job, statuses


async def test_what_one_of_two_ingresses_leaves_unanswered_the_other_answers(system):
    """HAProxy repeats what changes nothing (a GET) and what tells its repetition (an idempotency key)."""
    await asyncio.to_thread(deploy, system, replicas=2, num_cpus=0.26)
    await wait_for_two_ingresses(system)
    killed = system.replicas()["Ingress"][0]
    _, body = Load(system).body()
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as http:
        job_id = (await http.post(SUBMIT, json=LONELY)).json()["job_id"]
        wait = f"{RESULT}/{job_id}?wait_s=3"
        calls = [http.get(wait) for _ in range(8)]
        calls += [http.post(PREDICT, json=body, headers={"Idempotency-Key": f"{i}"}) for i in range(8)]
        calls += [http.post(PREDICT, json=body) for _ in range(8)]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(COMPUTE_S / 2)
        os.kill(killed, signal.SIGKILL)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {answer.status_code for answer in answers[:16]} == {200}, answers
    # What the others did is for their callers to find out. None of them is told in Serve's own words.
    lost = [answer for answer in answers[16:] if getattr(answer, "status_code", 0) != 200]
    assert lost, "the ingress that died held nothing"
    for answer in lost:
        if not isinstance(answer, httpx.RemoteProtocolError):
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "1"
    await wait_for_two_ingresses(system, without=killed)
    system.wait_ready()


async def test_scaling_ingress_and_model_from_two_to_one_fails_nothing(system):
    before = system.replicas()
    load = Load(system)
    await load.around(lambda: deploy(system, replicas=1, num_cpus=0.26))
    await load.check()
    after = system.replicas()
    for name in ("Ingress", "sleeper"):
        assert len(before[name]) == 2
        assert len(after[name]) == 1
        assert set(after[name]) < set(before[name])
    assert set(load.closed) == {1012}  # those of the one that left
