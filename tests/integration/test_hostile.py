"""Clients that mean harm: an ingress, in a process of its own, stays within bounds and serves the others."""

import asyncio
import contextlib
import gzip
import json
import os
import sys
import time
import zlib
from types import SimpleNamespace

import httpx
import psutil
import pytest

from satellite.cli.processes import memory_bytes
from satellite.settings import REPO_ROOT

from .conftest import MODEL, new_database
from .helpers import job_body
from .test_api import PREDICT, SUBMIT

MB = 2**20
SETTINGS = {
    "max_bodies_bytes": 16 * MB,
    "body_timeout_s": 1.5,
    "max_sockets": 30,
    "log_level": "DEBUG",
}
JSON = {"Content-Type": "application/json"}
GOOD = json.dumps(job_body()).encode()


class Victim:
    """The process that is attacked."""

    def __init__(self, url, pid, log):
        self.url, self.log = url, log
        self.port = int(url.rpartition(":")[2])
        self.ws_url = url.replace("http", "ws") + "/api/v1/ws"
        self.http = httpx.AsyncClient(base_url=url, timeout=30)
        self._process = psutil.Process(pid)

    def memory_mb(self):
        return memory_bytes(self._process) / MB

    def cpu_s(self):
        return sum(self._process.cpu_times()[:2])

    async def must_serve(self):
        """A client that means no harm is answered, and soon."""
        async with asyncio.timeout(10):
            answer = await self.http.post(PREDICT, content=GOOD, headers=JSON)
        assert answer.status_code == 200, answer.text


@contextlib.asynccontextmanager
async def attacked(postgres, template, redis, log, **settings):
    async with new_database(postgres, template) as database_url:
        with open(log, "wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.served",
                database_url,
                redis.url,
                json.dumps(settings),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=REPO_ROOT,
                env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
            )
        try:
            url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
            assert url, log.read_text()
            victim = Victim(url, process.pid, log)
            await victim.must_serve()
            yield victim
            await victim.http.aclose()
        finally:
            process.stdin.close()
            await asyncio.wait_for(process.wait(), 30)
        assert process.returncode == 0


@pytest.fixture(scope="module")
async def victim(postgres, template, redis, tmp_path_factory):
    log = tmp_path_factory.mktemp("hostile") / "log"
    async with attacked(postgres, template, redis, log, **SETTINGS) as victim:
        yield victim


@pytest.fixture(autouse=True)
async def still_serves(victim):
    """After each attack the others are served, and its memory is not kept."""
    before_mb = victim.memory_mb()
    yield
    await victim.must_serve()
    assert victim.memory_mb() - before_mb < 60


@contextlib.asynccontextmanager
async def connected(victim):
    reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answered(reader, timeout_s=10):
    """Status, headers and body of an answer; a status of 0 if the connection was closed without one."""
    async with asyncio.timeout(timeout_s):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return SimpleNamespace(status=0, headers={}, body=b"")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return SimpleNamespace(status=int(first.split()[1]), headers=headers, body=body)


def head(path=PREDICT, method="POST", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def sent(victim, *pieces):
    """Send bytes as they are, and read one answer."""
    async with connected(victim) as (reader, writer):
        writer.writelines(pieces)
        return await answered(reader)


def deep(levels, opening=b"[", closing=b"]"):
    return opening * levels + closing * levels


def body(data=b"[1,2,3,4]", **fields):
    more = b"".join(b',"%s":%s' % (name.encode(), value) for name, value in fields.items())
    return b'{"model_name":"%s","data":%s%s}' % (MODEL.encode(), data, more)


LARGE = 4 * MB - 1000
KEYS = b"{" + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}"
BODIES = {
    "empty": (b"", 400),
    "a NUL": (b"\0", 400),
    "a BOM": (b"\xef\xbb\xbf" + body(), 400),
    "UTF-16": (body().decode().encode("utf-16"), 400),
    "not UTF-8": (body(b'"\xff\xfe"'), 400),
    "a surrogate": (body(b'"\xed\xa0\x80"'), 400),
    "an escaped surrogate": (body(rb'"\ud800"'), 400),
    "NaN": (body(b"[NaN,1,2,3]"), 400),
    "infinity": (body(b"[-Infinity,1,2,3]"), 400),
    "too large a number": (body(b"[1e999,1,2,3]"), 400),
    "a number of 400,000 digits": (body(b"[" + b"9" * 400_000 + b"]"), 400),
    "a number beyond 128 bits": (body(b"[%s,1,2,3]" % (b"9" * 40)), 422),
    "a key twice": (b'{"model_name":"%s",' % MODEL.encode() + body(b"[1]")[1:], 422),
    "254 deep": (body(deep(254)), 422),
    "1,000 deep": (body(deep(1000)), 422),
    "1,000 deep elsewhere": (body(labels=b'{"a":%s}' % deep(900)), 422),
    "1,000 deep in the config": (body(config=deep(900, b'{"a":', b"}").replace(b":}", b":1}")), 422),
    "two million deep": (deep(LARGE // 2), 422),
    "100,000 deep": (deep(50_000), 400),
    "a million lists": (body(b"[" + b"[]," * 1_300_000 + b"[]]"), 422),
    "300,000 keys": (KEYS, 422),
    "300,000 keys in the config": (body(config=KEYS), 422),
    "a text of 4 MB": (body(b'"%s"' % (b"x" * LARGE)), 422),
    "a key of 4 MB": (b'{"%s":1}' % (b"x" * LARGE), 422),
    "a config key of 4 MB": (body(config=b'{"%s":1}' % (b"x" * LARGE)), 422),
    "a name of 4 MB": (b'{"model_name":"%s","data":[]}' % (b"x" * LARGE), 404),
    "two million numbers": (body(b"[" + b"1," * (LARGE // 2 - 50) + b"1]"), 422),
    "800,000 wrong points": (body(b"[" + b"null," * 800_000 + b"1]"), 422),
}


@pytest.mark.parametrize("path", [SUBMIT, PREDICT, "/api/v1/inference/batch", f"/v2/models/{MODEL}/infer"])
async def test_bodies_that_are_no_request(victim, path):
    async def hostile(content, status):
        began_s = victim.cpu_s()
        answer = await victim.http.post(path, content=content, headers={**JSON, "Idempotency-Key": "k"})
        assert 400 <= answer.status_code < 500, answer.text
        assert len(answer.content) < 5000
        if path == PREDICT:
            problem = answer.json()
            assert (answer.status_code, bool(problem["detail"])) == (status, True), problem["detail"]
        return victim.cpu_s() - began_s

    took_s = {name: await hostile(*given) for name, given in BODIES.items()}
    # What the process computes for one of them, everybody waits for.
    assert max(took_s.values()) < 1, took_s


async def test_the_cap_applies_while_a_body_streams(victim):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    async with connected(victim) as (reader, writer):
        writer.write(head(Transfer_Encoding="chunked"))
        answer = asyncio.ensure_future(answered(reader))
        count = 0
        while not answer.done():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
            count += 1
            assert count < 1000
        assert (await answer).status == 413
    announced = await sent(victim, head(Content_Length=10**12))
    assert announced.status == 413
    assert json.loads(announced.body)["code"] == "body_too_large"


async def test_a_body_that_is_not_as_long_as_announced(victim):
    longer = await sent(victim, head(Content_Length=len(GOOD) + 10), GOOD)
    assert (longer.status, json.loads(longer.body)["code"]) == (408, "body_timeout")
    shorter = await sent(victim, head(Content_Length=len(GOOD) - 10), GOOD)
    assert shorter.status == 400


async def test_a_body_that_drips_is_not_waited_for(victim):
    async with connected(victim) as (reader, writer):
        writer.write(head(Content_Length=1000))
        answer = asyncio.ensure_future(answered(reader))
        began = time.monotonic()
        while not answer.done() and time.monotonic() - began < 5:
            writer.write(b" ")
            await asyncio.sleep(0.1)
        answer = await answer
        assert (answer.status, json.loads(answer.body)["code"]) == (408, "body_timeout")
        assert answer.headers["connection"] == "close"
        assert await reader.read() == b""


async def test_many_slow_bodies_fill_no_memory(victim):
    before_mb = victim.memory_mb()
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(victim)) for _ in range(100)]
        for _, writer in streams:
            writer.write(head(Content_Length=MB) + b" " * (MB - 1))
        answers = [asyncio.ensure_future(answered(reader)) for reader, _ in streams]
        await asyncio.sleep(0.8)
        assert victim.memory_mb() - before_mb < 64
        await victim.must_serve()  # a small body needs no part of it
        answers = await asyncio.gather(*answers)
    codes = [json.loads(answer.body)["code"] for answer in answers]
    assert set(codes) == {"busy", "body_timeout"}
    assert 1 <= codes.count("body_timeout") <= 16
    (busy, *_) = [answer for answer in answers if answer.status == 503]
    assert busy.headers["retry-after"]
    # All of it is given back.
    large = await victim.http.post(PREDICT, content=GOOD + b" " * LARGE, headers=JSON)
    assert large.status_code in (200, 413)


async def test_compressed_bodies(victim):
    async def post(content, encoding):
        headers = {**JSON, "Content-Encoding": encoding}
        return await victim.http.post(PREDICT, content=content, headers=headers)

    for encoding, compress in {"gzip": gzip.compress, "deflate": zlib.compress}.items():
        assert (await post(compress(GOOD), encoding)).status_code == 200
    refused = await post(GOOD, "br")
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_encoding")
    assert refused.headers["accept-encoding"] == "gzip, deflate"
    assert (await post(GOOD, "gzip")).status_code == 422


async def test_a_compressed_bomb_is_not_unpacked(victim):
    bomb = gzip.compress(bytes(100 * MB), 1)
    before_mb = victim.memory_mb()
    most_mb = 0

    async def post():
        nonlocal most_mb
        headers = {**JSON, "Content-Encoding": "gzip"}
        answer = await victim.http.post(PREDICT, content=bomb, headers=headers)
        most_mb = max(most_mb, victim.memory_mb())
        return answer.status_code

    assert set(await asyncio.gather(*(post() for _ in range(10)))) == {413}
    assert most_mb - before_mb < 64
