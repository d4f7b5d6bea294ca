"""Clients that mean harm: an ingress, in a process of its own, stays within bounds and serves the others."""

import asyncio
import contextlib
import gzip
import json
import os
import subprocess
import sys
import time
import zlib
from types import SimpleNamespace

import httpx
import psutil
import pytest
import websockets
from websockets.frames import Frame, Opcode

from satellite.cli.processes import memory_bytes
from satellite.cli.ray_head import free_ports
from satellite.cli.serve_mode import HAPROXY_RULES, haproxy_binary
from satellite.settings import REPO_ROOT

from .conftest import MODEL, new_database
from .helpers import eventually, job_body, soon
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
async def attacked(postgres, template, redis, log, settings, **replaced):
    """Start it.

    Args:
        settings: of the ingress.
        replaced: values of modules, `module:NAME`.
    """
    async with new_database(postgres, template) as database_url:
        with open(log, "wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.integration.served",
                database_url,
                redis.url,
                json.dumps(settings),
                json.dumps(replaced),
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
    # Each test sends some large bodies that are no requests.
    replaced = {"satellite.api.server:HEAD_TIMEOUT_S": 1, "satellite.api.reading:REFUSED_S": 1000}
    async with attacked(postgres, template, redis, log, SETTINGS, **replaced) as victim:
        yield victim


@pytest.fixture
async def attacked_alone(postgres, template, redis, tmp_path):
    """An ingress for one test, which it would be hostile to the others to share."""
    async with attacked(postgres, template, redis, tmp_path / "log", SETTINGS) as victim:
        yield victim


@pytest.fixture(autouse=True)
async def still_serves(victim):
    """After each attack the others are served, and its memory is not kept."""
    before_mb = victim.memory_mb()
    yield
    await victim.must_serve()
    assert victim.memory_mb() - before_mb < 100


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


async def test_large_bodies_that_are_no_requests_are_soon_not_read(attacked_alone):
    """Each takes time in which nobody else is served."""
    wrong = body(b"[" + b"1," * (LARGE // 2 - 50) + b"1]")
    answers, refused_s = [], 0.0
    for _ in range(16):
        began_s = attacked_alone.cpu_s()
        answers.append(await attacked_alone.http.post(PREDICT, content=wrong, headers=JSON))
        if answers[-1].status_code == 503:
            refused_s += attacked_alone.cpu_s() - began_s
    assert answers[0].status_code == 422  # a mistake is told
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) >= 8
    assert refused_s < 1
    assert {(answer.json()["code"], bool(answer.headers["retry-after"])) for answer in refused} == {
        ("busy", True)
    }
    await attacked_alone.must_serve()


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


async def test_an_answer_before_the_end_of_a_body_is_the_last_one_of_its_connection(attacked_alone):
    """Else a proxy sends somebody else's request behind that body, and it waits there."""
    size = LARGE + MB
    async with connected(attacked_alone) as (reader, writer):
        writer.write(head(Content_Length=size) + b" " * MB)
        refused = await answered(reader)
        assert (refused.status, refused.headers["connection"]) == (413, "close")
        # It is read on, so that the answer arrives, and nothing behind it is looked at.
        writer.write(b" " * (size - MB) + head("/health/live", "GET"))
        assert await reader.read() == b""
    async with connected(attacked_alone) as (reader, writer):
        for _ in range(2):
            writer.write(head(Content_Length=len(GOOD) + MB) + GOOD)
            await asyncio.sleep(0.1)
            writer.write(b" " * MB)
            whole = await answered(reader)
            assert (whole.status, whole.headers.get("connection")) == (200, None)


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


HEADS = {
    "1,000 headers": head(method="GET", **{f"X-{n}": "a" for n in range(1000)}),
    "a header of 3 MB": head(method="GET", X_A="a" * 3 * MB),
    "an address of 3 MB": head("/" + "a" * 3 * MB, "GET"),
    "a space before the colon": head(method="GET").replace(b"Host:", b"Host :"),
    "a folded header": head(method="GET", X_A="a\r\n b"),
    "no colon": head(method="GET")[:-2] + b"XXXX\r\n\r\n",
    "a NUL": head(method="GET", X_A="a\0b"),
    "a lone CR": head(method="GET", X_A="a\rX-B: c"),
    "an unknown method": head(method="FOO"),
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "a length of -1": head(Content_Length=-1) + GOOD,
    "a length in hex": head(Content_Length="0x10") + GOOD,
    "a length without end": head(Content_Length="9" * 30) + GOOD,
    "a chunk of -1": head(Transfer_Encoding="chunked") + b"-1\r\n",
    "a chunk without end": head(Transfer_Encoding="chunked") + b"f" * 20 + b"\r\nabc",
}
SECOND = head("/smuggled", "GET")
SMUGGLED = {
    "CL.TE": head(Content_Length=5, Transfer_Encoding="chunked") + b"0\r\n\r\n" + SECOND,
    "TE.CL": head(Transfer_Encoding="chunked", Content_Length=4) + b"%x\r\n" % len(SECOND) + SECOND,
    "CL.CL": head(Content_Length=len(GOOD), Content_length=5) + GOOD + SECOND,
    "TE.TE": head(Transfer_Encoding="chunked", Transfer_encoding="identity") + b"0\r\n\r\n" + SECOND,
    "an unknown TE": head(Transfer_Encoding="xchunked", Content_Length=5) + b"0\r\n\r\n" + SECOND,
    "a TE with a space": head(**{"Transfer-Encoding ": "chunked"}, Content_Length=5) + b"0\r\n\r\n" + SECOND,
    "a TE with VT": head(Transfer_Encoding="\x0bchunked", Content_Length=5) + b"0\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("name", HEADS)
async def test_heads_that_are_none(victim, name):
    answer = await sent(victim, HEADS[name])
    assert answer.status == 0 or 400 <= answer.status < 500


async def test_a_head_without_end_is_let_go(victim):
    async with connected(victim) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        dripping = asyncio.ensure_future(reader.read())
        while not dripping.done():
            writer.write(b"X-A: a\r\n")
            await asyncio.sleep(0.2)
        assert await dripping == b""


async def test_an_answer_that_takes_long_is_waited_for(victim):
    """Longer than a head may take."""
    job = job_body(run_at=soon(60))
    path = (await victim.http.post(SUBMIT, json=job)).json()["links"]["result"]
    answer = await sent(victim, head(f"{path}?wait_s=2", "GET"))
    assert answer.status == 200


async def test_a_connection_that_says_nothing_is_let_go(victim):
    async with connected(victim) as (reader, _), asyncio.timeout(10):
        assert await reader.read() == b""


class Front:
    """HAProxy with the rules that every node has, in front of the victim."""

    def __init__(self, victim, folder):
        (self.port,) = free_ports(1)
        config = folder / "haproxy.cfg"
        config.write_text(
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            " option http-no-delay\n retry-on conn-failure empty-response\n"
            f"frontend http_frontend\n{HAPROXY_RULES} bind 127.0.0.1:{self.port}\n default_backend ingress\n"
            f"backend ingress\n http-reuse always\n server ingress 127.0.0.1:{victim.port}\n"
        )
        self._process = subprocess.Popen([haproxy_binary(), "-db", "-f", config])

    def stop(self):
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture(scope="module")
async def front(victim, tmp_path_factory):
    front = Front(victim, tmp_path_factory.mktemp("haproxy"))

    async def serves():
        with contextlib.suppress(OSError):
            return (await sent(front, head("/health/live", "GET"))).status == 200

    await eventually(serves)
    yield front
    front.stop()


@pytest.mark.parametrize("name", SMUGGLED)
@pytest.mark.parametrize("through", ["haproxy", "nothing"])
async def test_no_request_hides_in_another(victim, front, name, through):
    """One connection, so that a second answer, or one to `/smuggled`, would be seen."""
    async with connected(front if through == "haproxy" else victim) as (reader, writer):
        writer.write(SMUGGLED[name])
        answers = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.5):
                while data := await reader.read(65536):
                    answers += data
    assert answers
    assert b"/smuggled" not in answers
    assert answers.count(b"HTTP/1.1 ") <= 1


def frame(data, opcode=Opcode.TEXT, *, fin=True):
    return Frame(opcode, data, fin=fin).serialize(mask=True)


@contextlib.asynccontextmanager
async def opened(victim, *, extensions=None):
    """A WebSocket as bare streams: what is sent need not be frames."""
    key = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    key |= {"Sec-WebSocket-Version": "13"} | ({"Sec-WebSocket-Extensions": extensions} if extensions else {})
    async with connected(victim) as (reader, writer):
        writer.write(head("/api/v1/ws", "GET", **key))
        answer = await answered(reader)
        yield reader, writer, answer


async def closed_with(reader):
    """The code of the frame that closes a socket; others before it are passed over."""
    async with asyncio.timeout(10):
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2))
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8))
            payload = await reader.readexactly(length)
            if first == 0x88:
                return int.from_bytes(payload[:2])


async def test_sockets_are_counted(victim):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(SETTINGS["max_sockets"]):
            _, _, answer = await stack.enter_async_context(opened(victim))
            assert answer.status == 101
        async with opened(victim) as (_, _, refused):
            assert refused.status == 503
            assert json.loads(refused.body)["code"] == "busy"
            assert refused.headers["retry-after"]

    async def again():
        async with opened(victim) as (_, _, answer):
            return answer.status == 101

    await eventually(again)


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([frame(b"\xff\xfe")], 1007),
        ([frame(b"{", fin=False), *(frame(b" ", Opcode.CONT, fin=False) for _ in range(2000))], 1009),
        ([frame(b" " * 9 * MB)], 1009),
        ([frame(b"x" * 126).replace(b"\x81", b"\x89", 1)], 1002),
        ([frame(b"", Opcode.CONT)], 1002),
        ([b"\xff" * 100], 1002),
    ],
    ids=["UTF-8", "fragments", "size", "long ping", "continuation", "garbage"],
)
async def test_frames_that_are_none(victim, pieces, code):
    async with opened(victim) as (reader, writer, _):
        writer.writelines(pieces)
        assert await closed_with(reader) == code


async def test_messages_that_are_no_request(victim):
    long = b"x" * MB
    async with websockets.connect(victim.ws_url) as socket:
        for message in (
            b'{"ping":1,"ref":%s}' % deep(300),
            b'{"ping":"%s"}' % long,
            b'{"ping":1,"ref":"%s"}' % long,
            b'{"subscribe":{"job_id":"%s"}}' % long,
            b'{"subscribe":{"model_name":"%s"}}' % long,
            b'{"%s":1}' % long,
            b"\xff\xfe",
        ):
            await socket.send(message)
            problem = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert problem["type"] == "problem"
            assert len(json.dumps(problem)) < 2000


async def test_nothing_is_compressed(victim):
    """A packet of compressed messages would be a thousand times as large in memory."""
    async with opened(victim, extensions="permessage-deflate") as (_, _, answer):
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers


async def test_half_messages_fill_no_memory(victim):
    before_mb = victim.memory_mb()
    part = frame(b" " * 4 * MB)[:-1]
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(opened(victim)) for _ in range(25)]
        for _, writer, _ in sockets:
            writer.write(part)
        gone = [asyncio.ensure_future(closed_with(reader)) for reader, _, _ in sockets]
        await eventually(lambda: sum(task.done() for task in gone) >= 5)
        assert victim.memory_mb() - before_mb < 120
        assert {task.result() for task in gone if task.done()} == {1013}
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)


async def flood(writer, piece):
    """Send without end, and read nothing; ends when the connection does."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(piece)
            await writer.drain()


@pytest.mark.parametrize(
    "message",
    [
        frame(b"", Opcode.PING),
        frame(b'{"ping":1}'),
        frame(b'{"ping":"%s"}' % (b"x" * 60_000)),
        frame(b'{"subscribe":{"job_id":"00000000-0000-7000-8000-000000000000"}}'),
        frame(b'{"subscribe":{"changes":true}}') + frame(b'{"unsubscribe":{"changes":true}}'),
        frame(b"["),
    ],
    ids=["pings", "messages", "large messages", "subscriptions to nothing", "changes of mind", "garbage"],
)
async def test_a_flood_that_reads_nothing(victim, message):
    before_mb, most_mb = victim.memory_mb(), 0
    piece = message * max(1, 65536 // len(message))
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(opened(victim)) for _ in range(5)]
        floods = [asyncio.create_task(flood(writer, piece)) for _, writer, _ in sockets]
        until = time.monotonic() + 1
        while time.monotonic() < until:
            await victim.must_serve()
            most_mb = max(most_mb, victim.memory_mb())
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
    assert most_mb - before_mb < 40


@pytest.mark.parametrize("path", ["/health/live", "/openapi.json", "/api/v1/events?job_id={job_id}"])
async def test_a_reader_that_never_reads(victim, path):
    job = job_body(config={"forecast_steps": 512})
    job_id = (await victim.http.post(SUBMIT, json=job)).json()["job_id"]
    await victim.http.get(f"/api/v1/inference/result/{job_id}?wait_s=10")
    before_mb, most_mb = victim.memory_mb(), 0
    asked = head(path.format(job_id=job_id), "GET") * 200  # without waiting for answers
    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(victim)) for _ in range(5)]
        floods = [asyncio.create_task(flood(writer, asked)) for _, writer in streams]
        until = time.monotonic() + 1
        while time.monotonic() < until:
            await victim.must_serve()
            most_mb = max(most_mb, victim.memory_mb())
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
    assert most_mb - before_mb < 40


@pytest.fixture
async def talkative(postgres, template, redis, tmp_path):
    """An ingress that breaks here and there, and writes every line that any library has for a log."""
    broken = dict.fromkeys(
        [
            "satellite.api.jobs:parse_json",
            "satellite.api.overview:describe_now",
            "satellite.api.websocket:describe_now",
            "satellite.api.websocket:parse_item",
        ],
        "=builtins:float",  # the error of which repeats what it was given
    )
    async with attacked(
        postgres, template, redis, tmp_path / "log", {"log_level": "DEBUG"}, **broken
    ) as victim:
        yield victim


async def test_a_log_holds_no_payload_and_no_secret(talkative):
    mark = "5ec7e7" * 4
    http, secrets = talkative.http, {"Authorization": f"Bearer sat_abc_{mark}", "Idempotency-Key": mark}
    bodies = [
        job_body(labels={"name": mark}),
        job_body(data=mark),
        job_body(data=[mark] * 5),
        job_body(config={mark: mark}),
        {"model_name": mark, "data": []},
        {mark: mark},
        mark,
        [mark],
    ]
    contents = [json.dumps(body).encode() for body in bodies]
    contents += [mark.encode(), mark.encode("utf-16"), b'["' + mark.encode() + b"\xff"]
    for path in (SUBMIT, PREDICT, "/api/v1/inference/batch", f"/v2/models/{MODEL}/infer"):
        for content in contents:
            answer = await http.post(path, content=content, headers={**JSON, **secrets})
            assert answer.status_code < 500
    for path in ("/api/v1/events", "/api/v1/ws", "/api/v1/jobs", "/nowhere"):
        params = {"ticket": mark, "last_event_id": mark, "cursor": mark, "label": mark}
        assert (await http.get(path, params=params, headers=secrets)).status_code < 500
    for broken in (
        await http.post("/api/v1/jobs/retry", content=json.dumps(mark), headers={**JSON, **secrets}),
        await http.get("/api/v1/overview", params={"ticket": mark}, headers=secrets),
    ):
        assert (broken.status_code, broken.json()["code"]) == (500, "internal_error")
        assert mark not in broken.text
    async with websockets.connect(f"{talkative.ws_url}?ticket={mark}", additional_headers=secrets) as socket:
        for message in (
            mark,
            {"subscribe": {"job_id": mark}},
            {"authenticate": mark},
            {"ping": mark, "ref": mark},
        ):
            await socket.send(json.dumps(message))
            await socket.recv()
        await socket.send(json.dumps({"subscribe": {"overview": True}, "ref": mark}))
        await socket.send(json.dumps({"submit": mark}))
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await asyncio.wait_for(socket.recv(), 10)
    await sent(talkative, head(X_A=f"{mark}\0"))
    await sent(talkative, head(Content_Length=len(GOOD) - 10), GOOD)
    text = talkative.log.read_text()
    assert "internal_error" in text
    assert mark not in text
