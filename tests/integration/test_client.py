"""The Python client against a real ingress, directly and through a proxy that breaks connections."""

import asyncio
import contextlib
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
import pytest

from satellite import AsyncClient, Client
from satellite.client.transport import HttpTransport
from satellite.errors import (
    IdempotencyConflict,
    InvalidRequest,
    JobFinished,
    JobNotFinished,
    JobNotFound,
    ModelNotFound,
    QueueFull,
    SatelliteError,
    Unavailable,
    WaitTimeout,
)

from .conftest import MODEL, free_port, serve
from .helpers import eventually, held_back

DATA = [1.0, 2.0, 3.0, 4.0]


def later(hours=1):
    return datetime.now(UTC) + timedelta(hours=hours)


@pytest.fixture
async def client(node):
    async with AsyncClient(node.url, timeout_s=10) as client:
        yield client


async def test_every_call_answers_with_what_it_says(client):
    submitted = await client.submit(MODEL, DATA, forecast_steps=2)
    assert isinstance(submitted.job_id, UUID) and not submitted.replayed
    result = await client.result(submitted)
    assert (result.job_id, result.status, result["forecast"]) == (submitted.job_id, "succeeded", [2.5, 2.5])
    assert result.created_at < result.finished_at
    predicted = await client.predict(MODEL, DATA, forecast_steps=1)
    assert (predicted.job_id, predicted["forecast"]) == (None, [2.5])

    waits = await client.submit(
        MODEL, DATA, job={"priority": 9, "labels": {"line": "red"}, "run_at": later(), "max_attempts": 5}
    )
    detail = await client.job(waits)
    assert (detail.priority, detail.labels, detail.max_attempts, detail.data) == (9, {"line": "red"}, 5, DATA)
    with pytest.raises(JobNotFinished, match="queued"):
        _ = (await client.result(waits, wait_s=0)).output
    assert (await client.cancel(str(waits.job_id))).status == "cancelled"
    repeated = await client.retry(waits, {"priority": 1})
    assert repeated.parent_id == waits.job_id
    assert [job.job_id async for job in client.jobs(parent=waits)] == [repeated.job_id]
    await client.result(repeated)  # else it may still wait, or not, where models are compared below
    explained = await client.explain(result)
    assert sum(explained.parts_s.values()) == pytest.approx(explained.total_s)
    (model,) = await client.models()
    assert (model.name, model) == (MODEL, await client.model(MODEL))


async def test_problems_are_the_errors_of_the_tree(client):
    done = await client.run({"model_name": MODEL, "data": DATA})
    for error, call in (
        (JobNotFound, client.result(uuid4())),
        (JobFinished, client.cancel(done)),
        (ModelNotFound, client.submit("moving_averag", DATA)),
        (InvalidRequest, client.predict(MODEL, [1.0])),
        (InvalidRequest, client.submit(MODEL, [1.0, float("nan"), 2.0, 3.0])),
        (InvalidRequest, client.submit(MODEL, DATA, forecast_step=1)),
        (InvalidRequest, client.result("../models")),
    ):
        with pytest.raises(error) as caught:
            await call
        assert caught.value.detail
    assert (await client.submit(MODEL, DATA, job={"idempotency_key": "k"})).replayed is False
    assert (await client.submit(MODEL, DATA, job={"idempotency_key": "k"})).replayed is True
    with pytest.raises(IdempotencyConflict) as caught:
        await client.submit(MODEL, DATA[::-1], job={"idempotency_key": "k"})
    assert caught.value.request_id


async def test_jobs_come_page_by_page(client, monkeypatch):
    monkeypatch.setattr("satellite.client.async_client.PAGE", 2)
    ids = [(await client.submit(MODEL, DATA, job={"labels": {"n": str(n)}})).job_id for n in range(5)]
    assert [job.job_id async for job in client.jobs()] == ids[::-1]
    assert [job.job_id async for job in client.jobs(limit=3)] == ids[:1:-1]
    assert [job.job_id async for job in client.jobs(labels={"n": "3"}, status=["queued", "succeeded"])] == [
        ids[3]
    ]


async def test_map_keeps_the_order_and_bounds_what_is_under_way(node, client):
    taken = []

    def inputs():
        for number in range(60):
            taken.append(number)
            yield np.full(4, number, dtype=np.float32)

    seen = 0
    async for result in client.map(MODEL, inputs(), concurrency=16, forecast_steps=1):
        assert result["forecast"] == [float(seen)]
        assert len(taken) <= seen + 16
        seen += 1
    assert seen == 60 == len(node.replica.inputs)


async def test_map_tells_of_one_bad_input_in_its_place(client):
    inputs = [DATA, [1.0], DATA]
    results = [result async for result in client.map(MODEL, inputs, job={"idempotency_key": "stem"})]
    assert [result.status for result in results] == ["succeeded", "failed", "succeeded"]
    with pytest.raises(InvalidRequest, match="at least 4 items"):
        _ = results[1].output
    again = [result async for result in client.map(MODEL, inputs, job={"idempotency_key": "stem"})]
    assert [result.job_id for result in again] == [result.job_id for result in results]


async def test_the_blocking_client_does_the_same(node, capfd):
    def work():
        with Client(node.url, timeout_s=10) as client:
            submitted = client.submit(MODEL, np.array(DATA), forecast_steps=2)
            events = list(client.stream(submitted))
            assert [event.status for event in events] == ["queued", "running", "succeeded"]
            assert events[-1].job == client.result(submitted)
            results = client.map(MODEL, ([float(n)] * 4 for n in range(20)), concurrency=8)
            for number, result in enumerate(results):
                assert result["forecast"][0] == number
                if number == 10:
                    break  # the rest is cancelled here, and the client goes on
            results.close()
            assert len(list(client.map(MODEL, [DATA] * 3, progress=True))) == 3
            with pytest.raises(RuntimeError, match="another client"):
                next(client.map(MODEL, (client.predict(MODEL, DATA)["forecast"] for _ in range(3))))
            assert next(client.jobs(limit=1)).model_name == MODEL
            with pytest.raises(JobNotFound):
                client.job(uuid4())
        with pytest.raises(RuntimeError, match="closed"):
            client.models()
        return threading.active_count()

    assert await asyncio.to_thread(work) <= threading.active_count()
    assert "3/3" in capfd.readouterr().err


# Failures


class Proxy:
    """Hands bytes to and fro, and breaks connections when it is told to."""

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lose_answers = 0  # so many answers never arrive: the connection ends in their place
        self.lost = 0
        self.writers = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut()
        await self.server.wait_closed()

    def cut(self):
        for writer in list(self.writers):
            writer.close()

    async def serve(self, reader, writer):
        host, port = self.target.removeprefix("http://").split(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        self.writers |= {writer, up_writer}
        ways = [
            asyncio.create_task(self.pump(reader, up_writer)),
            asyncio.create_task(self.answers(up_reader, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        self.writers -= {writer, up_writer}
        writer.close()
        up_writer.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async def pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)

    async def answers(self, reader, writer):
        while data := await reader.read(65536):
            if self.lose_answers:
                self.lose_answers -= 1
                self.lost += 1
                return
            writer.write(data)


@pytest.fixture
async def proxy(node):
    async with Proxy(node.url) as proxy:
        yield proxy


async def test_a_lost_answer_does_not_make_a_second_job(node, proxy, db):
    async with AsyncClient(proxy.url, timeout_s=10) as client:
        proxy.lose_answers = 2
        submitted = await client.submit(MODEL, DATA)
        assert (submitted.replayed, proxy.lost) == (True, 2)
        assert await db.fetchval("SELECT count(*) FROM jobs") == 1
        await client.result(submitted)
        proxy.lose_answers = 1
        await client.retry(submitted)
        assert await db.fetchval("SELECT count(*) FROM jobs") == 2


async def test_what_may_not_be_repeated_is_not(node, proxy):
    async with AsyncClient(proxy.url, timeout_s=10) as client:
        proxy.lose_answers = 1
        with pytest.raises(Unavailable, match="lost"):
            await client.request("POST", "/api/v1/jobs/retry", body={})


async def test_a_stream_goes_on_where_it_was_cut_off(node, proxy):
    async with AsyncClient(proxy.url, timeout_s=10) as client:
        with held_back(node):
            submitted = await client.submit(MODEL, DATA)
            events = client.stream(submitted)
            seen = [(await anext(events)).status]
            proxy.cut()
        left = [event async for event in events]
        assert seen + [event.status for event in left] == ["queued", "running", "succeeded"]
        assert [event async for event in client.stream(submitted, after=left[-1].id)] == []


async def test_a_server_that_comes_back_is_waited_for(database_url, redis):
    port = None
    async with serve(database_url, redis.url) as node:
        port = node.url
        async with AsyncClient(port, timeout_s=10) as client:
            await client.models()
    async with AsyncClient(port, timeout_s=0.5) as impatient:
        with pytest.raises(Unavailable, match="no answer from"):
            await impatient.models()
    async with AsyncClient(port, retry=False) as once:
        with pytest.raises(Unavailable):
            await once.models()


class Recording(HttpTransport):
    """Keeps the status of every answer."""

    def __init__(self, url):
        super().__init__(url)
        self.statuses = []

    async def send(self, call):
        answer = await super().send(call)
        self.statuses.append(answer.status)
        return answer


async def test_a_full_queue_is_waited_for(database_url, redis):
    async with serve(database_url, redis.url, max_queued=1) as node:
        transport = Recording(node.url)
        async with AsyncClient(transport=transport, timeout_s=10) as client:
            with held_back(node):
                await client.submit(MODEL, DATA)
                async with AsyncClient(node.url, retry=False) as once:
                    with pytest.raises(QueueFull) as full:
                        await once.submit(MODEL, DATA)
                assert full.value.retry_after_s
                waiting = asyncio.create_task(client.submit(MODEL, DATA))
                await eventually(lambda: 429 in transport.statuses)
            assert (await client.result(await waiting))["forecast"]


async def test_a_key_does_not_follow_a_redirect():
    asked = []

    def answering(head):
        async def answer(reader, writer):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        return asyncio.start_server(answer, "127.0.0.1", 0)

    async with await answering(b"200 OK") as elsewhere:
        place = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/"
        async with await answering(b"307 Temporary Redirect\r\nLocation: " + place.encode()) as here:
            url = f"http://127.0.0.1:{here.sockets[0].getsockname()[1]}"
            async with AsyncClient(url, api_key="sat_k1_secret") as client:
                for call in (client.models(), anext(client.stream(model_name=MODEL))):
                    with pytest.raises(SatelliteError) as refused:
                        await call
                    assert "secret" not in repr(refused.value)
    assert len(asked) == 2 and all(b"Bearer sat_k1_secret" in head for head in asked)


async def test_the_time_out_is_for_all_tries(node):
    async def silent(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with AsyncClient(url, timeout_s=0.3) as client:
        began = asyncio.get_running_loop().time()
        with pytest.raises(WaitTimeout, match=r"within 0\.3 s"):
            await client.models()
        assert asyncio.get_running_loop().time() - began < 2
    server.close()
