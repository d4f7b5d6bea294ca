"""The client and the commands where the API asks for keys."""

import asyncio
import json
import os
import sys

import pytest

from satellite import AsyncClient
from satellite.access.callers import Scope
from satellite.cli import simulate as command
from satellite.errors import Forbidden, JobNotFound, RateLimited, Unauthenticated
from satellite.settings import Settings

from .conftest import MODEL
from .keyed import serve_keyed
from .test_simulator import options

DATA = [1.0, 2.0, 3.0, 4.0]


@pytest.fixture
async def node(database_url, redis):
    async with serve_keyed(database_url, redis.url) as node:
        yield node


async def test_the_client_calls_with_its_key(node, monkeypatch):
    key = await node.key()
    monkeypatch.setenv("SATELLITE_API_KEY", key)
    async with (
        AsyncClient(node.url) as client,
        AsyncClient(node.url, api_key=await node.key("b")) as b,
    ):
        job = await client.submit(MODEL, DATA)
        assert [event.status async for event in client.stream(job)][-1] == "succeeded"
        with pytest.raises(JobNotFound):
            await b.result(job)
        assert [one async for one in b.jobs()] == []
    monkeypatch.delenv("SATELLITE_API_KEY")
    async with AsyncClient(node.url, timeout_s=5) as client:
        with pytest.raises(Unauthenticated, match="needs an API key"):
            await client.models()


async def test_what_a_key_may_not_is_not_tried_again(node):
    key = await node.key("acme", Scope.READ)
    async with AsyncClient(node.url, api_key=key, timeout_s=5) as client:
        with pytest.raises(Forbidden, match="submit") as refused:
            await client.submit(MODEL, DATA)
        await node.issuer.revoke(key)
        with pytest.raises(Unauthenticated, match="revoked") as ended:
            while True:  # an ingress is told of it a moment later
                await client.models()
    secret = key.split("_", 2)[2]
    assert all(secret not in repr((error.value, vars(error.value))) for error in (refused, ended))


async def test_a_limited_key_is_waited_for(node):
    key = await node.key(requests_per_s=2, burst=1)
    async with AsyncClient(node.url, api_key=key, timeout_s=20) as client:
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            await client.models()
        assert asyncio.get_running_loop().time() - began >= 0.9
    async with AsyncClient(node.url, api_key=key, retry=False) as once:
        with pytest.raises(RateLimited) as refused:
            for _ in range(5):
                await once.models()
        assert refused.value.retry_after_s


@pytest.mark.parametrize("to", ["submit", "predict", "batch", "ws"])
async def test_simulated_readings_go_in_with_a_key(node, to):
    settings = Settings(url=node.url, api_key=await node.key())
    summary, _ = await command.run(settings, options(to=command.To(to), count=10))
    assert summary.as_dict()["ended"] == {"succeeded": 10}


async def test_a_socket_whose_key_was_revoked_is_not_opened_again(node):
    key = await node.key()
    settings = Settings(url=node.url, api_key=key)
    sending = asyncio.create_task(
        command.run(settings, options(to=command.To.WEBSOCKET, count=400, rate="100", drain_s=5))
    )
    while len(node.replica.inputs) < 10:
        await asyncio.sleep(0.01)
    await node.issuer.revoke(key)
    summary, _ = await sending
    found = summary.as_dict()
    assert found["rejected"]["unauthenticated"] > 100, found
    assert "socket_closed" not in found["retried"]


async def run(*arguments, **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from satellite.cli.entry import main; main()",
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, errors = await process.communicate()
    return process.returncode, told.decode(), errors.decode()


async def test_commands_say_what_to_do_without_a_key(node, tmp_path):
    where = {"SATELLITE_URL": node.url, "SATELLITE_HOME": str(tmp_path)}
    code, told, errors = await run("models", **where)
    assert (code, told) == (1, "")
    assert "SATELLITE_API_KEY" in errors and "satellite keys create" in errors
    key = await node.key()
    code, told, errors = await run("models", "--json", SATELLITE_API_KEY=key, **where)
    assert (code, [model["name"] for model in json.loads(told)], errors) == (0, [MODEL], "")

    file = tmp_path / "jobs.jsonl"
    file.write_text(json.dumps({"custom_id": "a", "model_name": MODEL, "data": DATA}))
    arguments = ("batch", str(file), "-o", str(tmp_path / "out.jsonl"), "--json")
    code, told, _ = await run(*arguments, SATELLITE_API_KEY=key, **where)
    assert (code, json.loads(told)["succeeded"]) == (0, 1)

    code, told, errors = await run("models", SATELLITE_API_KEY=f"{key} more", **where)
    assert (code, told) == (2, "")
    assert "not one" in errors and key not in errors
