"""The WebSocket over real sockets, with one ingress and with two."""

import asyncio
import json

import pytest
import websockets

from satellite import eventlog, watching
from satellite.api import websocket as module
from satellite.api.overview_schemas import WsChanges

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def receive(socket, **fields):
    """The next message, which must have these fields."""
    message = json.loads(await asyncio.wait_for(socket.recv(), 10))
    assert fields.items() <= message.items(), message
    return message


async def send(socket, **message):
    await socket.send(json.dumps(message))


async def submit(node, body):
    return (await node.http.post("/api/v1/inference/submit", json=body)).json()["job_id"]


async def test_a_watched_job_is_seen_queued_running_succeeded(node, body):
    node.replica.gate.clear()
    async with websockets.connect(node.ws_url) as socket:
        job_id = await submit(node, body)
        await send(socket, subscribe={"job_id": job_id}, ref=7)
        await receive(socket, type="job", job_id=job_id, status="queued", id="1.0", job=None)
        await receive(socket, type="job", job_id=job_id, status="running", attempt=1)
        node.replica.gate.set()
        last = await receive(socket, type="job", job_id=job_id, status="succeeded")
        assert last["job"]["result"] == {"forecast": [2.5, 2.5]}


async def test_events_reach_the_other_ingress(nodes, body):
    one, two = nodes
    one.replica.gate.clear()
    async with websockets.connect(two.ws_url) as socket:
        job_id = await submit(one, body)
        await send(socket, subscribe={"job_id": job_id})
        await receive(socket, type="job", status="queued")
        # Without the whole job: it came as an event, not from a look at the database.
        await receive(socket, type="job", status="running", job=None)
        one.replica.gate.set()
        last = await receive(socket, type="job", status="succeeded")
        assert last["job"]["result"] == {"forecast": [2.5, 2.5]}


async def test_a_finished_job_tells_all_its_steps_once(node, body):
    job_id = await submit(node, body)
    await node.http.get(f"/api/v1/inference/result/{job_id}", params={"wait_s": 10})
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, subscribe={"job_id": job_id})
        for status in ("queued", "running", "succeeded"):
            await receive(socket, type="job", status=status)
        await send(socket, ping=1)
        await receive(socket, type="pong", ping=1)


async def test_submit_over_the_socket(node, body):
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, submit=body, ref="mine")
        accepted = await receive(socket, type="accepted", status="queued", ref="mine")
        statuses = []
        while "succeeded" not in statuses:
            statuses.append((await receive(socket, type="job", job_id=accepted["job_id"]))["status"])
        assert statuses == ["queued", "running", "succeeded"]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_watched_model_tells_of_all_its_jobs_once(nodes, body, where):
    one, two = nodes
    async with websockets.connect((one if where == "here" else two).ws_url) as socket:
        await send(socket, subscribe={"model_name": "moving_average"})
        await receive(socket, type="model", name="moving_average", state="HEALTHY")
        ids = {await submit(one, body) for _ in range(3)}
        seen = {job_id: [] for job_id in ids}
        while not all(states and states[-1] == "succeeded" for states in seen.values()):
            message = await receive(socket, type="job")
            seen[message["job_id"]].append(message["status"])
        assert all(states == ["queued", "running", "succeeded"] for states in seen.values())


async def test_unsubscribe_ends_the_events(node, body):
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, subscribe={"model_name": "moving_average"})
        await receive(socket, type="model")
        await send(socket, unsubscribe={"model_name": "moving_average"}, ref=1)
        await receive(socket, type="unsubscribed", ref=1)
        job_id = await submit(node, body)
        await node.http.get(f"/api/v1/inference/result/{job_id}", params={"wait_s": 10})
        await send(socket, ping="still here")
        await receive(socket, type="pong", ping="still here")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "invalid_json"),
        ("[]", "invalid_request"),
        ("{}", "invalid_request"),
        ('{"subscribe": {}}', "invalid_request"),
        ('{"subscribe": {"job_id": "x"}}', "invalid_request"),
        ('{"subscribe": {"job_id": 1}}', "invalid_request"),
        ('{"subscribe": {"model_name": "x"}}', "model_not_found"),
        ('{"subscribe": {"job_id": "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d"}}', "job_not_found"),
        ('{"submit": {"model_name": "moving_average", "data": []}}', "invalid_request"),
        ('{"submit": 1}', "invalid_request"),
        ('{"subscribe": {"model_name": "moving_average"}, "submit": {}}', "invalid_request"),
    ],
)
async def test_a_mistake_is_answered_and_the_socket_stays_open(node, text, code):
    async with websockets.connect(node.ws_url) as socket:
        await socket.send(text)
        problem = await receive(socket, type="problem", code=code)
        assert problem["request_id"]
        await send(socket, ping=1)
        await receive(socket, type="pong")


async def test_an_oversized_message_ends_the_socket(node):
    async with websockets.connect(node.ws_url) as socket:
        await socket.send(" " * (5 * 1024 * 1024))
        await receive(socket, type="problem", code="body_too_large")
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009
    async with websockets.connect(node.ws_url) as socket:
        with pytest.raises(websockets.ConnectionClosed):
            await socket.send(" " * (9 * 1024 * 1024))
            await socket.recv()
        assert socket.close_code == 1009


async def test_a_slow_reader_is_let_go_and_others_are_not_held_up(node, body, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNSENT", 5)
    monkeypatch.setattr(module, "SEND_TIMEOUT_S", 0.5)
    slow = await websockets.connect(node.ws_url, max_queue=1, ping_interval=None, compression=None)
    await send(slow, subscribe={"model_name": "moving_average"})
    # Nothing is read from here on: the answers to the pings fill the buffers on the way.
    blob = "x" * 60_000
    with pytest.raises((websockets.ConnectionClosed, TimeoutError)):
        async with asyncio.timeout(5):
            while True:
                await send(slow, ping=blob)
    async with websockets.connect(node.ws_url) as quick:
        await send(quick, submit=body)
        await receive(quick, type="accepted")
    async with asyncio.timeout(10):
        while node.watching._log._readers:
            await asyncio.sleep(0.05)
    slow.transport.abort()


async def test_an_idle_socket_is_pinged(node, monkeypatch):
    monkeypatch.setattr(module, "PING_INTERVAL_S", 0.05)
    async with websockets.connect(node.ws_url) as socket:
        await receive(socket, type="ping")
        await receive(socket, type="ping")


async def test_a_gone_peer_leaves_nothing_behind(node, body):
    node.replica.gate.clear()
    socket = await websockets.connect(node.ws_url)
    await send(socket, submit=body)
    await receive(socket, type="accepted")
    await receive(socket, type="job")
    socket.transport.abort()
    async with asyncio.timeout(10):
        while node.service.events._watchers:
            await asyncio.sleep(0.02)


async def test_an_ingress_that_leaves_closes_with_1012(node, body):
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, ping=1)
        await receive(socket, type="pong")
        node.service.drain()
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)
        assert socket.close_code == 1012


async def test_a_submit_in_hand_is_answered_before_the_ingress_leaves(node, body, monkeypatch):
    taken, go_on = asyncio.Event(), asyncio.Event()
    submit_to_service = node.service.submit

    async def slow_submit(*args, **kwargs):
        taken.set()
        await go_on.wait()
        return await submit_to_service(*args, **kwargs)

    monkeypatch.setattr(node.service, "submit", slow_submit)
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, submit=body)
        await taken.wait()
        node.service.drain()
        await asyncio.sleep(0.05)
        go_on.set()
        await receive(socket, type="accepted")
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await asyncio.wait_for(socket.recv(), 10)
        assert socket.close_code == 1012


async def test_an_ingress_that_leaves_lets_long_polls_go(node, body):
    node.replica.gate.clear()
    job_id = await submit(node, body)
    poll = asyncio.create_task(node.http.get(f"/api/v1/inference/result/{job_id}", params={"wait_s": 30}))
    await asyncio.sleep(0.05)
    node.service.drain()
    answer = await asyncio.wait_for(poll, 5)
    assert answer.json()["status"] in ("queued", "running")


async def changes(socket):
    message = await receive(socket, type="changes")
    WsChanges.model_validate(message)
    return message


@pytest.fixture
def quick_changes(monkeypatch):
    monkeypatch.setattr(watching, "CHANGES_S", 0.2)


async def test_changes_tell_the_newest_step_of_each_job(nodes, body, quick_changes):
    one, two = nodes
    async with websockets.connect(two.ws_url) as socket:
        await send(socket, subscribe={"changes": True})
        await send(socket, ping=1)
        await receive(socket, type="pong")
        ids = [await submit(one, body) for _ in range(3)]
        newest = {}
        while set(newest.values()) != {"succeeded"} or set(newest) != set(ids):
            message = await changes(socket)
            assert len({step["job_id"] for step in message["steps"]}) == len(message["steps"])
            assert message["more"] is False
            newest |= {step["job_id"]: step["status"] for step in message["steps"]}
    # What was missed comes in one message, on the other ingress, and nothing twice.
    ids = [await submit(one, body) for _ in range(3)]
    for job_id in ids:
        await one.http.get(f"/api/v1/inference/result/{job_id}", params={"wait_s": 10})
    async with websockets.connect(one.ws_url) as socket:
        await send(socket, subscribe={"changes": True, "after": message["id"]})
        missed = await changes(socket)
        assert {step["job_id"] for step in missed["steps"]} == set(ids)
        assert {step["status"] for step in missed["steps"]} == {"succeeded"}
        assert {step["model_name"] for step in missed["steps"]} == {"moving_average"}


async def test_changes_leave_out_the_oldest_and_never_end_for_slowness(node, body, monkeypatch):
    monkeypatch.setattr(watching, "CHANGES_S", 0.2)
    monkeypatch.setattr(watching, "MAX_CHANGES", 5)
    monkeypatch.setattr(eventlog, "MAX_UNREAD", 10)
    monkeypatch.setattr(eventlog, "DIGEST_BACK", 30)
    start = await node.watching.now()
    ids = [await submit(node, body) for _ in range(20)]
    for job_id in ids:
        await node.http.get(f"/api/v1/inference/result/{job_id}", params={"wait_s": 10})
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, subscribe={"changes": True, "after": f"{start[0]}-0"})
        message = await changes(socket)
        assert message["more"] is True
        assert len(message["steps"]) == 5
        # Forty more while nothing is sent: others would have been cut off after ten.
        items = [body] * 40
        answer = await node.http.post("/api/v1/inference/batch", json={"items": items})
        ids = {item["job_id"] for item in answer.json()["items"]}
        seen = set()
        more = False
        while not (seen and more):
            message = await changes(socket)
            assert len(message["steps"]) <= 5
            more = more or message["more"]
            seen |= ids & {step["job_id"] for step in message["steps"]}


@pytest.mark.parametrize("after", ["1.1", "x", 1])
async def test_changes_after_what_is_no_position_are_refused(node, after):
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, subscribe={"changes": True, "after": after})
        await receive(socket, type="problem", code="invalid_request")
        await send(socket, subscribe={"changes": True})
        await send(socket, unsubscribe={"changes": True})
        await receive(socket, type="unsubscribed", changes=True)
