"""One tenant is nothing to another: every route, stream and list, with the ids of somebody else."""

import asyncio
import json
import re

import pytest
import websockets

from satellite.access.callers import Scope
from satellite.access.rules import is_open, needed_scopes
from satellite.errors import ReplicaDied

from .conftest import MODEL
from .helpers import BATCH, EVENTS, JOBS, UNKNOWN, busy, eventually, job_body
from .keyed import EVERYTHING, bearer, serve_keyed
from .test_api import PREDICT, RESULT, SUBMIT

WEBHOOKS = "/api/v1/webhooks"
DEAD_LETTERS = "/api/v1/dead-letters"
# Routes with an id in them that is nobody's: models are all tenants'.
SHARED = re.compile(r"/api/v1/models|/v2/")
BODIES = {
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): {"enabled": False},
    ("POST", "/api/v1/jobs/{job_id}/retry"): {},
}
NOBODYS = {
    "job_id": UNKNOWN,
    "webhook_id": UNKNOWN,
    "delivery_id": {"webhooks": UNKNOWN, "jobs": UNKNOWN},
}


class Tenant:
    """Calls with a key that may do everything."""

    def __init__(self, node, name, key):
        self.node, self.name, self.key = node, name, key

    async def call(self, method, path, **kwargs):
        headers = bearer(self.key) | kwargs.pop("headers", {})
        return await self.node.http.request(method, path, headers=headers, **kwargs)

    async def get(self, path, **params):
        answer = await self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submit(self, number=1, **fields):
        headers = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
        answer = await self.call("POST", SUBMIT, json=job_body(number, **fields), headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["job_id"]

    async def ended(self, job_id):
        return await self.get(f"{RESULT}/{job_id}", wait_s=10)

    def socket(self):
        return websockets.connect(self.node.ws_url, additional_headers=bearer(self.key))


async def tenant(node, name):
    return Tenant(node, name, await node.key(name, *EVERYTHING))


@pytest.fixture
async def keyed(database_url, redis):
    allow = {"webhook_allow": ("127.0.0.1",)}
    async with serve_keyed(database_url, redis.url, **allow) as node:
        yield node


@pytest.fixture
async def two(keyed):
    return await tenant(keyed, "acme"), await tenant(keyed, "rival")


async def everything_of(owner, db):
    """Ids of all kinds that a tenant has: a job that has ended, its webhook, a delivery of each sort."""
    hook = await owner.call("POST", WEBHOOKS, json={"url": "http://127.0.0.1:9/"})
    assert hook.status_code == 201, hook.text
    hook_id = hook.json()["id"]
    delivery = await owner.call("POST", f"{WEBHOOKS}/{hook_id}/test")
    job_id = await owner.submit(webhook={"url": "http://127.0.0.1:9/"})
    await owner.ended(job_id)
    # As the sender makes them; it is not part of this ingress.
    await db.execute(
        "INSERT INTO webhook_deliveries (id, tenant, url, host, event, at, job_id, status, finished_at) "
        "VALUES (gen_random_uuid(), $1, 'http://x/', 'h', 'job.succeeded', now(), $2, 'failed', now())",
        owner.name,
        job_id,
    )
    of_job = (await owner.get(f"{JOBS}/{job_id}/deliveries"))["deliveries"][0]["id"]
    return {
        "job_id": job_id,
        "webhook_id": hook_id,
        "delivery_id": {"webhooks": delivery.json()["id"], "jobs": of_job},
    }


def filled(path, ids):
    """A template with somebody's ids."""
    kind = "webhooks" if "/webhooks/" in path else "jobs"
    values = {**ids, "delivery_id": ids["delivery_id"][kind]}
    return path.format(**values)


async def test_every_route_with_an_id_of_another_tenant_is_404(keyed, two, db):
    owner, rival = two
    ids = await everything_of(owner, db)
    before = await owner.get(f"{JOBS}/{ids['job_id']}")
    paths = (await keyed.http.get("/openapi.json")).json()["paths"]
    walked = []
    for path, operations in paths.items():
        if "{" not in path or SHARED.match(path):
            continue
        for method in map(str.upper, operations):
            address = filled(path, ids)
            answer = await rival.call(method, address, json=BODIES.get((method, path)))
            assert answer.status_code == 404, (method, path, answer.text)
            # Nor can it tell by the words that there is something.
            elsewhere = filled(path, NOBODYS)
            unknown = await rival.call(method, elsewhere, json=BODIES.get((method, path)))
            assert _shape(answer, ids) == _shape(unknown, ids), (method, path)
            walked.append((method, path))
    assert len(walked) >= 15, walked
    assert await owner.get(f"{JOBS}/{ids['job_id']}") == before
    assert (await owner.get(f"{WEBHOOKS}/{ids['webhook_id']}"))["enabled"]


def _shape(answer, ids):
    """An answer without the ids that were asked for."""
    text = answer.text
    for id_ in (ids["job_id"], ids["webhook_id"], *ids["delivery_id"].values(), UNKNOWN):
        text = text.replace(id_, "ID")
    return answer.status_code, re.sub(r'"request_id":"[^"]*"', "", text)


async def test_every_route_needs_a_key(keyed):
    """By the description, and by asking: a route that is added is closed until somebody opens it."""
    paths = (await keyed.http.get("/openapi.json")).json()["paths"]
    for path, operations in paths.items():
        address = re.sub(r"\{[^}]*\}", UNKNOWN, path)
        for method in map(str.upper, operations):
            open_ = is_open(method, address)
            answer = await keyed.http.request(method, address)
            assert (answer.status_code == 401) is not open_, (method, path, answer.status_code)
            assert ("security" in operations[method.lower()]) is not open_
            if not open_ and (needed := needed_scopes(method, address)):
                wrong = await keyed.key("acme", *(set(Scope) - needed))
                answer = await keyed.http.request(method, address, headers=bearer(wrong))
                assert answer.status_code == 403, (method, path, answer.status_code)


async def test_lists_hold_ones_own(keyed, two, db):
    owner, rival = two
    ids = await everything_of(owner, db)
    own = await rival.submit()
    await rival.ended(own)
    assert [job["job_id"] for job in (await rival.get(JOBS))["jobs"]] == [own]
    assert (await rival.get(JOBS, parent_id=ids["job_id"]))["jobs"] == []
    assert (await rival.get(WEBHOOKS))["webhooks"] == []
    assert (await rival.get(f"{JOBS}/{own}/deliveries"))["deliveries"] == []


async def test_a_job_that_is_held_here_is_hidden_too(keyed, two):
    owner, rival = two
    async with busy_by(keyed, owner):
        job_id = await owner.submit(50)
        for path in (f"{RESULT}/{job_id}", f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/explain"):
            assert (await rival.call("GET", path)).status_code == 404
        assert (await rival.call("POST", f"{JOBS}/{job_id}/cancel")).status_code == 404
        answer = (await rival.call("POST", f"{JOBS}/cancel", json={"job_ids": [job_id]})).json()
        assert answer["items"][0]["problem"]["code"] == "job_not_found"
    assert (await owner.ended(job_id))["status"] == "succeeded"
    assert (await rival.call("GET", f"{RESULT}/{job_id}")).status_code == 404  # from memory
    keyed.service.held.recent.clear()
    assert (await owner.ended(job_id))["status"] == "succeeded"  # from Redis
    assert (await rival.call("GET", f"{RESULT}/{job_id}")).status_code == 404


def busy_by(node, owner):
    """As `busy`, with the owner's key."""

    class Keyed:
        service, replica = node.service, node.replica

        class http:
            @staticmethod
            async def post(path, **kwargs):
                return await owner.call("POST", path, **kwargs)

    return busy(Keyed)


async def test_the_same_idempotency_key_of_two_tenants_is_two_jobs(two):
    owner, rival = two
    first, second = await owner.submit(1, key="order-1"), await rival.submit(2, key="order-1")
    assert first != second
    assert await owner.submit(1, key="order-1") == first
    items = [job_body() | {"idempotency_key": "order-2"}]
    made = [
        (await each.call("POST", BATCH, json={"items": items})).json()["items"][0]["job_id"] for each in two
    ]
    assert made[0] != made[1]


async def test_dead_letters_and_replays_are_ones_own(keyed, two):
    owner, rival = two
    keyed.replica.failure = ReplicaDied("it died")
    job_id = await owner.submit(max_attempts=1)
    assert (await owner.ended(job_id))["status"] == "dead"
    keyed.replica.failure = None
    assert (await rival.get(DEAD_LETTERS))["groups"] == []
    for body in ({"job_ids": [job_id]}, {"model_name": MODEL}, {}):
        answer = (await rival.call("POST", f"{JOBS}/retry", json=body)).json()
        assert (answer["replayed"], answer["remaining"]) == (0, 0)
    assert (await owner.get(DEAD_LETTERS))["groups"][0]["count"] == 1
    answer = (await owner.call("POST", f"{JOBS}/retry", json={})).json()
    assert answer["replayed"] == 1
    # What repeats it is its tenant's.
    assert (await rival.call("GET", f"{JOBS}/{answer['items'][0]['job_id']}")).status_code == 404


async def test_streams_tell_ones_own(keyed, two):
    owner, rival = two
    heard = []

    async def listen(socket):
        async for text in socket:
            heard.append(json.loads(text))

    seen = []

    async def read(stream):
        async for line in stream.aiter_lines():
            seen.append(line)

    async with (
        rival.socket() as socket,
        keyed.http.stream("GET", EVENTS, headers=bearer(rival.key)) as stream,
    ):
        listening = [asyncio.create_task(listen(socket)), asyncio.create_task(read(stream))]
        for target in ({"all": True}, {"changes": True}, {"model_name": MODEL}):
            await socket.send(json.dumps({"subscribe": target}))
        await eventually(lambda: any(message["type"] == "model" for message in heard))
        await asyncio.sleep(0.2)
        job_id = await owner.submit()
        await owner.ended(job_id)
        await socket.send(json.dumps({"subscribe": {"job_id": job_id}}))
        own = await rival.submit()
        await rival.ended(own)
        await eventually(
            lambda: any(message["type"] == "changes" and own in json.dumps(message) for message in heard)
        )
        await eventually(lambda: any(own in line and "succeeded" in line for line in seen))
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    problems = of_type(heard, "problem")
    assert [problem["code"] for problem in problems] == ["job_not_found"]
    rest = [message for message in heard if message["type"] != "problem"]
    assert own in json.dumps(rest)
    assert job_id not in json.dumps(rest) and not any(job_id in line for line in seen)
    answer = await rival.call("GET", EVENTS, params={"job_id": job_id})
    assert answer.status_code == 404


def of_type(messages, type_):
    return [message for message in messages if message["type"] == type_]


async def test_what_was_missed_is_ones_own(keyed, two):
    """A stream that goes on after a position reads the log of its tenant only."""
    owner, rival = two
    before = await keyed.service.store.log_position()
    job_id, own = await owner.submit(), await rival.submit()
    await owner.ended(job_id)
    await rival.ended(own)
    after = f"{before[0]}-{before[1]}"
    found = []
    headers = bearer(rival.key) | {"Last-Event-ID": after}
    async with keyed.http.stream("GET", EVENTS, headers=headers) as stream:
        async with asyncio.timeout(10):
            async for line in stream.aiter_lines():
                found.append(line)
                if own in line and "succeeded" in line:
                    break
    assert not any(job_id in line for line in found)


async def test_a_predict_is_nobody_elses(two):
    owner, rival = two
    for each in two:
        answer = await each.call("POST", PREDICT, json=job_body() | {"store": True})
        assert answer.status_code == 200
        theirs = answer.json()["job_id"]
        other = rival if each is owner else owner
        assert (await other.call("GET", f"{JOBS}/{theirs}")).status_code == 404


async def test_batch_mates_of_others_are_not_named(keyed, two):
    owner, rival = two
    async with busy_by(keyed, owner):
        ids = [await each.submit(60 + n) for n, each in enumerate((owner, rival, owner, rival))]
    for id_, each in zip(ids, (owner, rival, owner, rival), strict=True):
        await each.ended(id_)
    explained = await owner.get(f"{JOBS}/{ids[0]}/explain")
    assert explained["batch"]["size"] == 4, explained["batch"]
    text = json.dumps(explained)
    assert ids[2] in text and ids[1] not in text and ids[3] not in text
