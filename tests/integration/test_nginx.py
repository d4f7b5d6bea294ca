"""The shipped nginx in front of an ingress that asks for keys: keys go through, and tickets into no log."""

import json

import httpx
import pytest
import websockets

from tests.nginx import Nginx

from .conftest import free_port
from .keyed import bearer, serve_keyed


@pytest.fixture
async def node(database_url, redis):
    async with serve_keyed(database_url, redis.url) as node:
        yield node


async def test_keys_go_through_and_tickets_into_no_log(node, tmp_path):
    # The second node is down: what nginx says of that in its error log holds the address that was asked for.
    upstreams = f"server {node.url.removeprefix('http://')}; server 127.0.0.1:{free_port()} max_fails=0;"
    nginx = Nginx(tmp_path, upstreams)
    authorization = bearer(await node.key("acme"))
    tickets = []
    try:
        async with httpx.AsyncClient(base_url=nginx.url, headers=authorization) as http:
            assert (await http.get("/api/v1/me")).json()["tenant"] == "acme"
            assert (await http.get("/api/v1/me", headers={"Authorization": ""})).status_code == 401
            async with websockets.connect(nginx.ws_url, additional_headers=authorization) as socket:
                await socket.send('{"ping": 1}')
                assert json.loads(await socket.recv())["type"] == "pong"
            for _ in range(4):
                ticket = (await http.post("/api/v1/tickets")).json()["ticket"]
                tickets.append(ticket)
                async with websockets.connect(f"{nginx.ws_url}?ticket={ticket}") as socket:
                    await socket.send('{"ping": 1}')
                    assert json.loads(await socket.recv())["type"] == "pong"
                assert (await http.get(f"/api/v1/events?ticket={ticket}&job_id=x")).status_code == 422
            await http.get("/api/v1/models?elsewhere=1")
            await http.get("/api/v1/models?elsewhere=1")
    finally:
        nginx.stop()
    told = "".join((tmp_path / name).read_text() for name in ("stdout", "stderr"))
    assert '"GET /api/v1/ws" 101' in told
    assert "models?elsewhere=1" in told  # so that the other node was tried, and told of
    assert [ticket for ticket in tickets if ticket in told] == []
