"""A real nginx with the configuration that is shipped, in front of the real system."""

import asyncio
import contextlib
import gzip
import json
import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from websockets.sync.client import connect

from satellite.settings import REPO_ROOT, Settings
from tests.nginx import Nginx

SUBMIT = "/api/v1/inference/submit"
JOB = {"model_name": "moving_average", "data": [1, 2, 3, 4, 5, 6, 7, 8], "config": {"forecast_steps": 2}}
# Instead of the 330 s that an ordinary request may take: nobody wants to wait for those. Pings come later.
SHORT_S, IDLE_S = 1, 4


class Relay:
    """A second node as nginx sees it: another port of the same system, which can be taken away."""

    def __init__(self, target_port):
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._tasks = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.connections = 0
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def kill(self):
        """Every open connection is reset, and no further one is taken."""

        async def end():
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        if self._thread.is_alive():
            self._call(end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        finally:
            self._tasks.discard(task)
            for end in (writer, back):
                sock = end.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.transport.abort()

    @staticmethod
    async def _copy(source, sink):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()


@pytest.fixture(scope="module")
def relay(system):
    relay = Relay(system.http_port)
    yield relay
    relay.kill()


@pytest.fixture(scope="module")
def nginx(system, relay, tmp_path_factory):
    nodes = f"server 127.0.0.1:{system.http_port} max_fails=2 fail_timeout=5s; "
    nodes += f"server 127.0.0.1:{relay.port} max_fails=2 fail_timeout=5s;"
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), nodes)
    yield nginx
    nginx.stop()


@pytest.fixture
def impatient(system, tmp_path):
    """An nginx that gives up after a second of silence, but for the places with a time-out of their own."""
    changes = {"proxy_read_timeout 330s": f"proxy_read_timeout {SHORT_S}s"}
    nginx = Nginx(tmp_path, f"server 127.0.0.1:{system.http_port};", changes=changes)
    yield nginx
    nginx.stop()


async def test_a_job_through_both_nodes(nginx, relay):
    async with httpx.AsyncClient(base_url=nginx.url, timeout=60) as client:
        answers = await asyncio.gather(*(client.post(SUBMIT, json=JOB) for _ in range(16)))
        assert {answer.status_code for answer in answers} == {202}
        results = await asyncio.gather(*(client.get(answer.json()["links"]["wait"]) for answer in answers))
    assert {result.json()["status"] for result in results} == {"succeeded"}
    assert relay.connections > 0


def test_security_headers_and_request_ids(nginx):
    answer = httpx.get(f"{nginx.url}/health", headers={"X-Request-ID": "from-the-caller"})
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("x-frame-options") == ["DENY"]
    assert answer.headers["x-request-id"] == "from-the-caller"
    assert "nginx/" not in answer.headers["server"]
    assert httpx.get(f"{nginx.url}/health").headers["x-request-id"]


def test_json_is_compressed(nginx):
    with httpx.stream("GET", f"{nginx.url}/openapi.json", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join(answer.iter_raw())
    assert json.loads(gzip.decompress(raw))["info"]["title"] == "Satellite"


def test_the_page_and_what_it_loads(nginx):
    answer = httpx.get(nginx.url)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_a_body_over_the_limit_is_refused(nginx):
    body = b'{"model_name":"moving_average","data":[' + b"1," * (3 << 20) + b"1]}"
    assert httpx.post(f"{nginx.url}{SUBMIT}", content=body).status_code == 413
    # Between Satellite's limit and nginx's: Satellite's own answer, which says what to do.
    body = b'{"model_name":"moving_average","data":[' + b"1," * int(4.4 * 2**19) + b"1]}"
    answer = httpx.post(f"{nginx.url}{SUBMIT}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_server_sent_events_come_one_by_one(nginx):
    with httpx.Client(base_url=nginx.url, timeout=30) as client:
        job_id = client.post(SUBMIT, json=JOB).json()["job_id"]
        with client.stream("GET", f"/api/v1/events?job_id={job_id}") as answer:
            assert "content-encoding" not in answer.headers
            seen = {}
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    seen[json.loads(line[5:])["status"]] = time.monotonic()
                if "succeeded" in seen:
                    break
    # The window of the batch lies between the two: held back, they would come together.
    assert seen["succeeded"] - seen["queued"] > 1


def test_who_watches_is_kept_while_nothing_happens(system, http, impatient):
    job = http.post(SUBMIT, json={**JOB, "run_at": in_an_hour()}).json()
    with httpx.Client(base_url=impatient.url, timeout=30) as client, connect(impatient.ws_url) as socket:
        opened_at = time.monotonic()
        with client.stream("GET", f"/api/v1/events?job_id={job['job_id']}") as answer:
            lines = answer.iter_lines()
            assert '"queued"' in next(line for line in lines if line.startswith("data:"))
            assert httpx.get(f"{impatient.url}{job['links']['result']}?wait_s=10").status_code == 504
            time.sleep(max(0, IDLE_S - (time.monotonic() - opened_at)))
            http.post(job["links"]["cancel"])
            assert '"cancelled"' in next(line for line in lines if line.startswith("data:"))
        socket.send(json.dumps({"ping": 7}))
        assert json.loads(socket.recv(5))["ping"] == 7


def in_an_hour():
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def test_who_waits_as_long_as_satellite_lets_him_is_kept():
    text = (REPO_ROOT / "nginx/satellite.conf.template").read_text()
    assert Settings().max_wait_s < int(re.findall(r"^    proxy_read_timeout (\d+)s;", text, re.MULTILINE)[0])


async def test_a_lost_node_is_not_noticed(nginx, relay):
    async with httpx.AsyncClient(base_url=nginx.url, timeout=30) as client:
        for number in range(60):
            if number == 20:
                await asyncio.to_thread(relay.kill)
            answer = await client.get("/api/v1/models")
            assert answer.status_code == 200, (number, answer.text)
