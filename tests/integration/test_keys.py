"""API keys over HTTP, WebSocket and server-sent events: who comes in, for what, and until when."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import websockets

from satellite.access import keyring
from satellite.access.callers import Scope
from satellite.api import websocket as ws
from satellite.errors import Conflict, InvalidRequest, NotFound

from .helpers import EVENTS, JOBS, UNKNOWN, eventually, job_body
from .keyed import EVERYTHING, bearer, serve_keyed
from .test_api import PREDICT, RESULT, SUBMIT, check_problem

ME = "/api/v1/me"
TICKETS = "/api/v1/tickets"


@pytest.fixture
async def keyed(database_url, redis):
    async with serve_keyed(database_url, redis.url) as node:
        yield node


async def get(node, path, key=None, **kwargs):
    return await node.http.get(path, headers=bearer(key) if key else {}, **kwargs)


async def test_a_key_is_asked_for(keyed):
    answer = await get(keyed, JOBS)
    check_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    check_problem(await keyed.http.post(SUBMIT, json=job_body()), 401, "unauthenticated")
    check_problem(await keyed.http.get(f"{RESULT}/{UNKNOWN}"), 401, "unauthenticated")
    # A path that is not there is no hint of what is.
    check_problem(await keyed.http.get("/api/v1/nothing"), 401, "unauthenticated")
    answer = await keyed.http.post("/v2/models/moving_average/infer", json={})
    assert answer.status_code == 401 and "API key" in answer.json()["error"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer sat_",
        "Basic YTpi",
        "Bearer " + "x" * 5000,
        "Bearer sat_aaaaaaaaaaaa_" + "A" * 43,
    ],
)
async def test_what_is_no_key_is_refused(keyed, header):
    check_problem(await keyed.http.get(JOBS, headers={"Authorization": header}), 401, "unauthenticated")


async def test_a_right_id_with_another_secret_is_refused(keyed):
    key = await keyed.key()
    head, tail = key[:-1], key[-1]
    wrong = head + ("A" if tail != "A" else "B")
    answer = await get(keyed, ME, wrong)
    check_problem(answer, 401, "unauthenticated")
    assert "revoked" not in answer.text and "expired" not in answer.text
    assert (await get(keyed, ME, key)).status_code == 200


async def test_what_a_key_says_of_itself(keyed):
    key = await keyed.key("acme", Scope.READ)
    found = (await get(keyed, ME, key)).json()
    assert (found["tenant"], found["scopes"], found["keys"]) == ("acme", ["read"], "on")
    assert key.startswith(f"sat_{found['key_id']}_") and found["key_name"] == "a key of acme"


async def test_without_keys_everybody_is_the_default_tenant(node):
    found = (await node.http.get(ME)).json()
    assert (found["tenant"], found["scopes"], found["keys"]) == (
        "default",
        ["read", "submit", "admin"],
        "off",
    )
    check_problem(await node.http.post(TICKETS), 503, "unavailable")


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        (Scope.READ, "GET", JOBS, True),
        (Scope.READ, "POST", SUBMIT, False),
        (Scope.READ, "POST", PREDICT, False),
        (Scope.READ, "DELETE", f"{JOBS}/{UNKNOWN}", False),
        (Scope.SUBMIT, "POST", SUBMIT, True),
        (Scope.SUBMIT, "GET", JOBS, False),
        (Scope.SUBMIT, "GET", f"{RESULT}/{UNKNOWN}", False),
        (Scope.SUBMIT, "GET", EVENTS, False),
        (Scope.SUBMIT, "POST", "/api/v1/webhooks", False),
        (Scope.ADMIN, "POST", "/api/v1/models/moving_average/default", True),
        (Scope.SUBMIT, "POST", "/api/v1/models/moving_average/default", False),
        (Scope.ADMIN, "POST", SUBMIT, False),
        (Scope.READ, "POST", "/v2/repository/index", True),
        (Scope.READ, "POST", "/v2/models/moving_average/infer", False),
    ],
)
async def test_scopes(keyed, scope, method, path, allowed):
    key = await keyed.key("default", scope)
    answer = await keyed.http.request(method, path, json=job_body(), headers=bearer(key))
    assert (answer.status_code != 403) is allowed, answer.text


async def test_the_page_and_the_probes_need_no_key(keyed):
    for path in ("/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/v2/health/live"):
        assert (await keyed.http.get(path)).status_code == 200, path
    # Whether jobs are taken is told; what this is made of is not.
    health = (await keyed.http.get("/health")).json()
    assert (health["accepting"], health["parts"]) == (True, {})
    assert (await get(keyed, "/health", await keyed.key())).json()["parts"]["postgres"]["state"] == "ok"
    assert (await get(keyed, "/health/live", "nonsense")).status_code == 200


async def test_machines_are_shown_to_administrators_only(keyed):
    shown = (await get(keyed, "/api/v1/overview", await keyed.key())).json()
    assert shown["cluster"]["nodes"] == [] and shown["cluster"]["ingresses"] == 1
    shown = (await get(keyed, "/api/v1/overview", await keyed.key("default", *EVERYTHING))).json()
    assert shown["cluster"]["nodes"]


async def test_revoked_and_expired_keys(keyed):
    key = await keyed.key()
    assert (await get(keyed, ME, key)).status_code == 200
    revoked = await keyed.issuer.revoke(key)
    with pytest.raises(Conflict):
        await keyed.issuer.revoke(revoked.id)

    async def is_refused():
        return (await get(keyed, ME, key)).status_code == 401

    await eventually(is_refused)
    check_problem(await get(keyed, ME, key), 401, "unauthenticated")
    assert "revoked" in (await get(keyed, ME, key)).json()["detail"]

    short = await keyed.key(expires_at=datetime.now(UTC) + timedelta(seconds=0.5))
    assert (await get(keyed, ME, short)).status_code == 200
    await asyncio.sleep(0.6)
    answer = await get(keyed, ME, short)
    check_problem(answer, 401, "unauthenticated")
    assert "expired" in answer.json()["detail"]


async def test_rotation_leaves_time_to_change_over(keyed):
    old = await keyed.key("acme", Scope.READ, requests_per_s=50, burst=60)
    made, new = await keyed.issuer.rotate(old, overlap_s=1)
    assert (made.tenant, made.scopes, made.limits.burst) == ("acme", (Scope.READ,), 60)
    assert (await get(keyed, ME, new)).json()["tenant"] == "acme"
    assert (await get(keyed, ME, old)).status_code == 200
    await asyncio.sleep(1)

    async def old_has_ended():
        return (await get(keyed, ME, old)).status_code == 401

    await eventually(old_has_ended)
    with pytest.raises(Conflict):
        await keyed.issuer.rotate(old, overlap_s=1)
    with pytest.raises(NotFound):
        await keyed.issuer.rotate("sat_none", overlap_s=1)


async def test_keys_that_cannot_be(keyed):
    for wrong in (
        {"tenant": "Acme"},
        {"tenant": "a:b"},
        {"tenant": ""},
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
        {"requests_per_s": 0},
        {"burst": 5},
    ):
        with pytest.raises(InvalidRequest):
            await keyed.key(**wrong)


async def test_nothing_that_is_stored_is_a_key(keyed, db):
    key = await keyed.key()
    await get(keyed, ME, key)
    rows = await db.fetch(
        "SELECT k::text AS text FROM api_keys AS k UNION ALL SELECT a::text FROM audit_log AS a"
    )
    assert len(rows) == 2
    for row in rows:
        assert key.rpartition("_")[2] not in row["text"] and key not in row["text"]


async def test_a_new_key_works_on_every_ingress_at_once(database_url, redis):
    async with serve_keyed(database_url, redis.url) as one, serve_keyed(database_url, redis.url) as two:
        key = await one.key()
        assert (await get(two, ME, key)).status_code == 200


async def test_guesses_cost_the_database_a_few_looks(keyed, monkeypatch):
    looks = 0
    changed_since = keyed.service.store.keys.changed_since

    async def counted(moment):
        nonlocal looks
        looks += 1
        return await changed_since(moment)

    monkeypatch.setattr(keyed.service.store.keys, "changed_since", counted)
    began = asyncio.get_running_loop().time()
    guesses = [
        "sat_" + "a" * 10 + f"{chr(97 + n % 10)}{chr(97 + n // 10 % 10)}_" + "A" * 43 for n in range(200)
    ]
    answers = await asyncio.gather(*(get(keyed, ME, guess) for guess in guesses))
    assert {answer.status_code for answer in answers} == {401}
    took_s = asyncio.get_running_loop().time() - began
    assert looks <= 2 + took_s / keyring.LOOK_AGAIN_S + took_s / keyring.FOLLOW_S


async def test_known_keys_work_while_postgresql_is_away(keyed, monkeypatch):
    key = await keyed.key()
    assert (await get(keyed, ME, key)).status_code == 200
    monkeypatch.setattr(keyed.service.store.connections, "up", False)
    assert (await get(keyed, ME, key)).status_code == 200
    unknown = "sat_" + "b" * 12 + "_" + "A" * 43
    await asyncio.sleep(keyring.LOOK_AGAIN_S + 0.05)
    check_problem(await get(keyed, ME, unknown), 503, "store_unavailable")


async def test_when_a_key_was_last_used_is_recorded(database_url, redis, db):
    async with serve_keyed(database_url, redis.url) as node:
        key = await node.key()
        await get(node, ME, key)
    assert await db.fetchval("SELECT last_used_at FROM api_keys") is not None


async def test_what_administrators_do_is_recorded(keyed):
    key = await keyed.key("acme", *EVERYTHING)
    path = "/api/v1/models/moving_average/versions/1.0.0/load"
    answer = await keyed.http.post(path, headers=bearer(key) | {"X-Request-ID": "r-1"})
    assert answer.status_code == 200
    newest, made = await keyed.service.store.keys.audited(tenant=None, limit=10)
    assert (newest.action, newest.target, newest.tenant) == ("model.load", "moving_average 1.0.0", "acme")
    assert key.startswith(f"sat_{newest.actor}_") and newest.request_id == "r-1"
    assert made.action == "key.create" and made.actor.startswith("cli:")


# Pages from elsewhere


@pytest.mark.parametrize("keys", ["on", "off"])
@pytest.mark.parametrize(("origin", "status"), [("https://evil.example", 403), ("null", 403), ("same", 202)])
async def test_pages_from_elsewhere_cannot_submit(keys, origin, status, database_url, redis):
    async with serve_keyed(database_url, redis.url) as keyed:
        keyed.context.access.keys_on = keys == "on"
        headers = bearer(await keyed.key()) | {"Origin": keyed.url if origin == "same" else origin}
        answer = await keyed.http.post(SUBMIT, json=job_body(), headers=headers)
        assert answer.status_code == status
        if status == 403:
            check_problem(answer, 403, "origin_refused")


async def test_a_name_that_leads_here_is_refused_while_keys_are_off(node):
    check_problem(await node.http.get(JOBS, headers={"Host": "evil.example"}), 403, "origin_refused")
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "page.localhost"):
        assert (await node.http.get(JOBS, headers={"Host": host})).status_code == 200


async def test_cors_lets_listed_pages_in(database_url, redis):
    page = "https://app.example.org"
    async with serve_keyed(database_url, redis.url, allowed_origins=(page,)) as keyed:
        asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
        answer = await keyed.http.options(
            SUBMIT, headers=asked | {"Access-Control-Request-Headers": "authorization"}
        )
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == page
        headers = bearer(await keyed.key()) | {"Origin": page}
        answer = await keyed.http.post(SUBMIT, json=job_body(), headers=headers)
        assert answer.status_code == 202 and answer.headers["access-control-allow-origin"] == page
        answer = await keyed.http.post(SUBMIT, json=job_body(), headers={"Origin": page})
        assert answer.status_code == 401 and answer.headers["access-control-allow-origin"] == page
        answer = await keyed.http.options(SUBMIT, headers=asked | {"Origin": "https://evil.example"})
        assert answer.status_code == 400


# Sockets and streams


async def say(socket, **message):
    await socket.send(json.dumps(message))


async def hear(socket, type_):
    async with asyncio.timeout(10):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == type_:
                return message


async def closing(socket):
    """The code with which a socket is closed, and the problems that were told before."""
    problems = []
    try:
        async with asyncio.timeout(20):
            while True:
                message = json.loads(await socket.recv())
                if message["type"] == "problem":
                    problems.append(message["code"])
    except websockets.ConnectionClosed:
        return socket.close_code, problems


async def test_a_socket_by_its_first_message(keyed):
    async with websockets.connect(keyed.ws_url) as socket:
        await say(socket, authenticate=await keyed.key("acme"), ref=1)
        said = await hear(socket, "authenticated")
        assert (said["tenant"], said["scopes"], said["ref"]) == ("acme", ["read", "submit"], 1)
        await say(socket, submit=job_body())
        assert (await hear(socket, "accepted"))["status"] == "queued"
        await say(socket, authenticate=await keyed.key("other"))
        assert (await hear(socket, "problem"))["code"] == "invalid_request"


async def test_a_socket_by_its_header(keyed):
    async with websockets.connect(keyed.ws_url, additional_headers=bearer(await keyed.key())) as socket:
        await say(socket, ping=1)
        await hear(socket, "pong")
    async with websockets.connect(keyed.ws_url, additional_headers=bearer("nonsense")) as socket:
        assert await closing(socket) == (4401, ["unauthenticated"])


async def test_a_socket_by_a_ticket_that_is_for_one_use(keyed):
    key = await keyed.key("acme")
    made = (await keyed.http.post(TICKETS, headers=bearer(key))).json()
    address = f"{keyed.ws_url}?ticket={made['ticket']}"
    async with websockets.connect(address) as socket:
        await say(socket, ping=1)
        await hear(socket, "pong")
    async with websockets.connect(address) as socket:
        assert await closing(socket) == (4401, ["unauthenticated"])
    async with websockets.connect(f"{keyed.ws_url}?ticket=nonsense") as socket:
        assert await closing(socket) == (4401, ["unauthenticated"])


@pytest.mark.parametrize("first", [{"ping": 1}, {"authenticate": "nonsense"}, {"authenticate": 5}])
async def test_a_socket_that_does_not_say_who_it_is(keyed, first):
    async with websockets.connect(keyed.ws_url) as socket:
        await say(socket, **first)
        assert await closing(socket) == (4401, ["unauthenticated"])


async def test_a_socket_that_says_nothing(keyed, monkeypatch):
    monkeypatch.setattr(ws, "AUTHENTICATE_S", 0.2)
    async with websockets.connect(keyed.ws_url) as socket:
        assert await closing(socket) == (4401, ["unauthenticated"])


async def test_a_socket_may_do_what_its_key_may(keyed):
    async with websockets.connect(
        keyed.ws_url, additional_headers=bearer(await keyed.key("a", Scope.READ))
    ) as socket:
        await say(socket, submit=job_body())
        assert (await hear(socket, "problem"))["code"] == "forbidden"
    async with websockets.connect(
        keyed.ws_url, additional_headers=bearer(await keyed.key("a", Scope.SUBMIT))
    ) as socket:
        await say(socket, subscribe={"all": True})
        assert (await hear(socket, "problem"))["code"] == "forbidden"


async def test_sockets_and_streams_end_with_their_key(keyed):
    key = await keyed.key()
    async with (
        websockets.connect(keyed.ws_url, additional_headers=bearer(key)) as socket,
        keyed.http.stream("GET", EVENTS, headers=bearer(key)) as stream,
    ):
        assert stream.status_code == 200
        await say(socket, subscribe={"all": True})
        await keyed.issuer.revoke(key)
        assert await closing(socket) == (4401, ["unauthenticated"])
        async with asyncio.timeout(20):
            lines = [line async for line in stream.aiter_lines()]
        assert any("unauthenticated" in line for line in lines)


async def test_a_stream_by_a_ticket(keyed):
    key = await keyed.key()
    ticket = (await keyed.http.post(TICKETS, headers=bearer(key))).json()["ticket"]
    async with keyed.http.stream("GET", EVENTS, params={"ticket": ticket}) as stream:
        assert stream.status_code == 200
    check_problem(await keyed.http.get(EVENTS, params={"ticket": ticket}), 401, "unauthenticated")
    # A ticket opens what a header cannot be sent to, and nothing else.
    ticket = (await keyed.http.post(TICKETS, headers=bearer(key))).json()["ticket"]
    check_problem(await keyed.http.get(JOBS, params={"ticket": ticket}), 401, "unauthenticated")


async def test_a_socket_of_a_page_from_elsewhere_is_refused(keyed, node):
    for ingress in (keyed, node):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(ingress.ws_url, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403
    async with websockets.connect(node.ws_url, origin=node.url) as socket:
        await say(socket, ping=1)
        await hear(socket, "pong")


# Limits


async def statuses(node, key, count, **kwargs):
    answers = await asyncio.gather(*(get(node, ME, key, **kwargs) for _ in range(count)))
    return [answer.status_code for answer in answers], answers


async def test_a_rate_holds_on_all_ingresses_together(database_url, redis):
    async with serve_keyed(database_url, redis.url) as one, serve_keyed(database_url, redis.url) as two:
        key = await one.key(requests_per_s=2, burst=20)
        (first, answers), (second, _) = await asyncio.gather(statuses(one, key, 30), statuses(two, key, 30))
        let_in = [*first, *second].count(200)
        assert 20 <= let_in <= 26, let_in  # the burst, and what came back within the test
        refused = next(answer for answer in answers if answer.status_code == 429)
        check_problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) >= 1


async def test_a_rate_holds_without_redis(database_url):
    async with serve_keyed(database_url, "redis://127.0.0.1:1/0") as node:
        key = await node.key(requests_per_s=2, burst=10)
        found, _ = await statuses(node, key, 40)
        assert 10 <= found.count(200) <= 14


async def test_each_job_of_a_batch_counts(keyed):
    key = await keyed.key(requests_per_s=5, burst=10)
    batch = {"items": [job_body(n) for n in range(20)]}
    answer = await keyed.http.post("/api/v1/inference/batch", json=batch, headers=bearer(key))
    assert answer.json()["accepted"] == 20  # more than the bucket holds: let in, and paid for afterwards
    check_problem(await get(keyed, ME, key), 429, "rate_limited")


async def test_keys_without_a_rate_ask_redis_for_nothing(keyed, monkeypatch):
    async def fail(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(keyed.context.access._rates, "_refill", fail)
    assert (await get(keyed, ME, await keyed.key())).status_code == 200


async def test_open_requests_are_counted(keyed):
    key = await keyed.key(max_concurrent=2)
    async with (
        keyed.http.stream("GET", EVENTS, headers=bearer(key)),
        websockets.connect(keyed.ws_url) as socket,
    ):
        await say(socket, authenticate=key)
        await hear(socket, "authenticated")
        check_problem(await get(keyed, ME, key), 429, "rate_limited")

    async def is_free():
        return (await get(keyed, ME, key)).status_code == 200

    await eventually(is_free)


async def test_a_tenant_may_have_so_many_open_jobs(keyed):
    key = await keyed.key("acme", max_queued=3)
    later = {"run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}

    async def submit():
        return await keyed.http.post(SUBMIT, json=job_body() | later, headers=bearer(key))

    ids = [(await submit()).json()["job_id"] for _ in range(3)]
    refused = await submit()
    check_problem(refused, 429, "quota_exceeded")
    assert refused.headers["retry-after"] == "1"
    batch = {"items": [job_body() | later]}
    answer = await keyed.http.post("/api/v1/inference/batch", json=batch, headers=bearer(key))
    assert answer.json()["items"][0]["problem"]["code"] == "quota_exceeded"
    # Another tenant has room, and one that ends makes some.
    other = await keyed.key("other", max_queued=3)
    answer = await keyed.http.post(SUBMIT, json=job_body() | later, headers=bearer(other))
    assert answer.status_code == 202
    await keyed.http.post(f"{JOBS}/{ids[0]}/cancel", headers=bearer(key))
    await asyncio.sleep(0.3)
    assert (await submit()).status_code == 202


async def test_a_refusal_comes_before_the_body(keyed):
    """Who has no key cannot make an ingress read megabytes."""
    read = 0

    async def body():
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b" " * 4096

    async with httpx.AsyncClient(base_url=keyed.url) as http:
        try:
            answer = await http.post(SUBMIT, content=body())
            assert answer.status_code == 401
        except httpx.WriteError:
            pass  # it was closed while we still wrote


async def test_answers_are_not_kept_and_not_taken_for_others(keyed):
    answer = await get(keyed, JOBS, await keyed.key())
    assert answer.headers["cache-control"] == "no-store"
    for each in (answer, await keyed.http.get(JOBS), await keyed.http.get("/docs")):
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["x-frame-options"] == "DENY"
