"""Webhooks from the API to a real receiver, which fails, hangs, redirects, or has gone."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from satellite.cli import webhooks as commands
from satellite.settings import Settings
from satellite.webhooks.post import Poster
from satellite.webhooks.receivers import Receivers
from satellite.webhooks.sender import Sender
from satellite.webhooks.service import Webhooks

from .conftest import MODEL, serve
from .helpers import BATCH, JOBS, UNKNOWN, accepted, ended, eventually, job_body, submitted
from .receiver import receiving
from .test_api import SUBMIT
from .test_kafka import line as line

HOOKS = "/api/v1/webhooks"
QUICK = {"webhook_retries_s": (0.05, 0.05, 0.05), "webhook_timeout_s": 0.5}


@contextlib.asynccontextmanager
async def sending(database_url, redis, **settings):
    """An ingress that sends webhooks, to this machine too, with little patience."""
    settings = {"webhook_allow": ("127.0.0.1",), **QUICK, **settings}
    async with serve(database_url, redis.url, **settings) as node:
        webhooks = Webhooks(node.service.store, node.service.events, node.context.settings)
        webhooks.start()
        try:
            yield node
        finally:
            await webhooks.close()


@pytest.fixture
async def sender(database_url, redis):
    async with sending(database_url, redis) as node:
        yield node


async def registered(node, url, **fields):
    answer = await node.http.post(HOOKS, json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def deliveries(node, hook, **params):
    answer = await node.http.get(f"{HOOKS}/{hook['id']}/deliveries", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()["deliveries"]


async def delivered(node, hook, status="delivered", count=1):
    """The deliveries of an endpoint, once so many have come to this status."""

    async def there():
        return len(await deliveries(node, hook, status=status)) >= count

    await eventually(there)
    return await deliveries(node, hook, status=status)


async def test_a_job_of_its_own_url_and_an_endpoint_is_told_to_both_signed_by_their_secrets(sender):
    async with receiving() as receiver, receiving() as own:
        hook = await registered(sender, receiver.url(), events=["job.running", "job.succeeded"])
        secret = (await sender.http.post(f"{HOOKS}/secret")).json()
        assert secret["previous_valid_until"] is None
        job_id = await submitted(sender, 7, labels={"line": "red"}, webhook={"url": own.url(path="/a?b=c")})
        result = await ended(sender, job_id)
        await eventually(lambda: len(receiver.got) == 2 and len(own.got) == 1)
        assert sorted(receiver.of_job(job_id)) == ["job.running", "job.succeeded"]
        assert own.of_job(job_id) == ["job.succeeded"] and own.path == "/a?b=c"
        headers, body = own.got[0]
        assert Webhook(secret["secret"]).verify(own.raw[0], headers) == body
        assert headers["host"] == f"127.0.0.1:{own.port}"
        assert body["data"]["result"] == result["result"] and body["data"]["labels"] == {"line": "red"}
        for (headers, body), raw in zip(receiver.got, receiver.raw, strict=True):
            assert Webhook(hook["secret"]).verify(raw, headers) == body
        log = (await sender.http.get(f"{JOBS}/{job_id}/deliveries")).json()["deliveries"]
        assert sorted((d["webhook_id"], d["event"]) for d in log if d["webhook_id"]) == [
            (hook["id"], "job.running"),
            (hook["id"], "job.succeeded"),
        ]
        (mine,) = (d for d in log if not d["webhook_id"])
        assert (mine["url"], mine["message_id"]) == (own.url(path="/a?b=c"), own.ids[0])
        again = await sender.http.post(f"{JOBS}/{job_id}/deliveries/{mine['id']}/redeliver")
        assert again.status_code == 202, again.text
        await eventually(lambda: len(own.got) == 2)
        assert len(set(own.ids)) == 1


async def test_every_way_to_submit_takes_a_webhook_and_a_repeated_job_keeps_it(sender):
    async with receiving() as receiver:
        webhook = {"url": receiver.url(), "events": ["job.succeeded"]}
        items = [job_body(n, webhook=webhook, idempotency_key=f"k{n}") for n in (1, 2)] + [job_body(3)]
        batch = (await sender.http.post(BATCH, json={"items": items})).json()
        assert batch["accepted"] == 3, batch
        first, second, _ = (item["job_id"] for item in batch["items"])
        await ended(sender, first)
        predict = {**job_body(4, webhook=webhook), "store": True}
        third = (await sender.http.post("/api/v1/inference/predict", json=predict)).json()["job_id"]
        again = (await sender.http.post(f"{JOBS}/{first}/retry", json={})).json()["job_id"]
        await eventually(lambda: len(receiver.got) == 4)
        assert {body["data"]["job_id"] for _, body in receiver.got} == {first, second, third, again}
        other = job_body(1, webhook={"url": receiver.url(path="/other")})
        answer = await sender.http.post(SUBMIT, json=other, headers={"Idempotency-Key": "k1"})
        assert answer.status_code == 409  # another receiver is another request


async def test_what_comes_by_kafka_takes_a_webhook_and_is_rejected_with_one_that_cannot_be(line, redis):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(sending(line.database_url, redis))
        receiver = await stack.enter_async_context(receiving())
        await stack.enter_async_context(line.bridge(webhook_allow=("127.0.0.1",)))
        for url in (receiver.url(), "http://10.0.0.1/"):
            line.send(job_body(webhook={"url": url}))
        (rejected,) = await asyncio.to_thread(line.read, line.topics.rejected, 1)
        assert b"/webhook/url" in dict(rejected.headers)["satellite-errors"]
        await eventually(lambda: len(receiver.got) == 1)


async def test_a_receiver_that_fails_is_told_again_with_the_same_id_until_it_takes_it(sender):
    failures = [(500, {}), (302, {"Location": "http://169.254.169.254/"}), None]
    async with receiving(*failures) as receiver:
        hook = await registered(sender, receiver.url())
        await ended(sender, await submitted(sender))
        (delivery,) = await delivered(sender, hook)
        assert len(receiver.got) == 4 and len(set(receiver.ids)) == 1
        assert len({raw for raw in receiver.raw}) == 1
        tries = [(attempt["status_code"], attempt["error"]) for attempt in delivery["attempts"]]
        assert tries == [
            (500, "it answered Internal Server Error"),
            (302, "it answered with a redirect, which is not followed"),
            (None, "no answer within 0.5 s"),
            (204, None),
        ]
        assert delivery["tries"] == 4 and delivery["next_try_at"] is None


async def test_after_the_last_try_it_has_failed_and_can_be_sent_again_by_hand(sender):
    async with receiving(*[(500, {})] * 4) as receiver:
        hook = await registered(sender, receiver.url())
        await ended(sender, await submitted(sender))
        (delivery,) = await delivered(sender, hook, "failed")
        assert len(delivery["attempts"]) == 4
        path = f"{HOOKS}/{hook['id']}/deliveries/{delivery['id']}/redeliver"
        assert (await sender.http.post(path)).status_code == 202
        (delivery,) = await delivered(sender, hook)
        assert len(delivery["attempts"]) == 5 and len(set(receiver.ids)) == 1


async def test_one_that_is_gone_is_disabled_and_hears_only_a_test_until_it_is_enabled(sender):
    async with receiving((410, {})) as receiver:
        hook = await registered(sender, receiver.url())
        path = f"{HOOKS}/{hook['id']}"
        await ended(sender, await submitted(sender))
        (delivery,) = await delivered(sender, hook, "failed")

        async def disabled():
            return (await sender.http.get(path)).json()["disabled_reason"]

        await eventually(disabled)
        found = (await sender.http.get(path)).json()
        assert (found["enabled"], found["disabled_reason"]) == (False, "the receiver answered 410 Gone")
        refused = await sender.http.post(f"{path}/deliveries/{delivery['id']}/redeliver")
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_disabled")
        unheard = await submitted(sender)
        await ended(sender, unheard)
        assert (await sender.http.post(f"{path}/test")).status_code == 202
        await eventually(lambda: len(receiver.got) == 2)
        assert receiver.got[1][1]["type"] == "webhook.test"
        enabled = (await sender.http.patch(path, json={"enabled": True})).json()
        assert enabled["enabled"] and enabled["disabled_reason"] is None
        heard = await submitted(sender)
        await eventually(lambda: receiver.of_job(heard))
        assert not receiver.of_job(unheard)


async def test_one_that_asks_to_be_left_alone_is(sender, db):
    async with receiving((429, {"Retry-After": "3600"})) as receiver:
        hook = await registered(sender, receiver.url())
        await ended(sender, await submitted(sender))

        async def tried():
            return (await deliveries(sender, hook))[0]["attempts"]

        await eventually(lambda: receiver.got)
        await eventually(tried)
        (delivery,) = await deliveries(sender, hook)
        left = datetime.fromisoformat(delivery["next_try_at"]) - datetime.now(UTC)
        assert delivery["status"] == "pending" and timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_a_receiver_that_hangs_does_not_hold_up_another(database_url, redis):
    settings = {"webhook_concurrency": 6, "webhook_host_concurrency": 2, "webhook_timeout_s": 20}
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(sending(database_url, redis, **settings))
        # They leave first, so that what hangs is broken off.
        hanging = await stack.enter_async_context(receiving(*[None] * 50))
        quick = await stack.enter_async_context(receiving())
        for receiver in (hanging, quick):
            await registered(node, receiver.url(), events=["job.queued"])
        await asyncio.gather(*(submitted(node, n) for n in range(20)))
        await eventually(lambda: len(quick.got) == 20, timeout_s=5)
        assert hanging.open == 2  # and no more


async def test_a_sender_that_dies_between_post_and_record_leaves_it_to_the_next(node, monkeypatch):
    there = node.service.store
    async with receiving() as receiver:
        monkeypatch.setattr("satellite.webhooks.sender.LEASE_MARGIN_S", 0.3)
        options = {"timeout_s": 0.2, "retries_s": (), "concurrency": 4, "per_host": 4, "max_bytes": 10_000}

        def new_sender(kind=Sender):
            return kind(there, Poster(Receivers(allow=("127.0.0.1",)), timeout_s=5), **options)

        class Dying(Sender):
            async def _record(self, delivery, tried):
                self.tried = delivery, tried
                self._task.cancel()

        node.service.receivers = Receivers(allow=("127.0.0.1",))
        hook = await registered(node, receiver.url())
        await node.http.post(f"{HOOKS}/{hook['id']}/test")
        dying = new_sender(Dying)
        dying.start()
        await eventually(lambda: len(receiver.got) == 1)
        await dying.close()
        (delivery,) = await deliveries(node, hook)
        assert delivery["status"] == "pending" and delivery["attempts"] == []
        next_one = new_sender()
        next_one.start()
        # Its only try was used up, and yet it is sent: nobody knows what came of that one.
        (delivery,) = await delivered(node, hook)
        assert len(receiver.got) == 2 and len(set(receiver.ids)) == 1
        # The first one was only frozen: what it records now counts no more.
        await Sender._record(dying, *dying.tried)
        await next_one.close()
        assert await deliveries(node, hook) == [delivery]


async def test_several_senders_share_the_work_and_send_nothing_twice(database_url, redis):
    async with contextlib.AsyncExitStack() as stack:
        one, _ = [await stack.enter_async_context(sending(database_url, redis)) for _ in range(2)]
        receiver = await stack.enter_async_context(receiving())
        hook = await registered(one, receiver.url())
        ids = await asyncio.gather(*(submitted(one, n) for n in range(40)))
        await delivered(one, hook, count=40)
        assert sorted(body["data"]["job_id"] for _, body in receiver.got) == sorted(ids)


async def test_an_endpoint_hears_only_of_what_it_asked_for_and_not_of_the_past(sender):
    async with receiving() as receiver:
        before = await submitted(sender)
        await ended(sender, before)
        await registered(sender, receiver.url(), events=["job.failed"], model_name=MODEL)
        hook = await registered(sender, receiver.url(), model_name=MODEL)
        after = await submitted(sender)
        await delivered(sender, hook)
        assert [body["data"]["job_id"] for _, body in receiver.got] == [after]


async def test_what_happened_while_nothing_sent_is_sent_later(node, database_url, redis):
    node.service.receivers = Receivers(allow=("127.0.0.1",))
    async with receiving() as receiver:
        job_id = await submitted(node, webhook={"url": receiver.url()})
        await ended(node, job_id)
        assert not receiver.got
        async with sending(database_url, redis):
            await eventually(lambda: receiver.of_job(job_id) == ["job.succeeded"])


async def test_a_rotated_secret_signs_beside_the_one_before(sender):
    async with receiving() as receiver:
        hook = await registered(sender, receiver.url())
        new = (await sender.http.post(f"{HOOKS}/{hook['id']}/secret")).json()
        left = datetime.fromisoformat(new["previous_valid_until"]) - datetime.now(UTC)
        assert timedelta(hours=23) < left <= timedelta(days=1)
        await sender.http.post(f"{HOOKS}/{hook['id']}/test")
        await eventually(lambda: receiver.got)
        headers, body = receiver.got[0]
        for secret in (hook["secret"], new["secret"]):
            assert Webhook(secret).verify(receiver.raw[0], headers) == body


async def test_endpoints_are_listed_changed_and_deleted_and_never_show_their_secret(sender):
    async with receiving() as receiver, receiving() as other:
        hook = await registered(sender, receiver.url())
        path = f"{HOOKS}/{hook['id']}"
        (listed,) = (await sender.http.get(HOOKS)).json()["webhooks"]
        assert listed == {name: value for name, value in hook.items() if name != "secret"}
        assert (await sender.http.get(path)).json() == listed
        edits = {"url": other.url(), "events": ["job.queued"], "model_name": MODEL}
        changed = (await sender.http.patch(path, json=edits)).json()
        assert changed == {**listed, **edits}
        await submitted(sender)
        await delivered(sender, hook)
        assert len(other.got) == 1 and not receiver.got
        assert (await sender.http.delete(path)).status_code == 204
        for gone in (path, f"{path}/deliveries"):
            answer = await sender.http.get(gone)
            assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")


async def test_pages_of_deliveries_hold_each_once(sender):
    async with receiving() as receiver:
        hook = await registered(sender, receiver.url())
        for _ in range(5):
            await sender.http.post(f"{HOOKS}/{hook['id']}/test")
        await delivered(sender, hook, count=5)
        found, cursor = [], None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await sender.http.get(f"{HOOKS}/{hook['id']}/deliveries", params=params)).json()
            found += [delivery["id"] for delivery in page["deliveries"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert len(found) == len(set(found)) == 5 and found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": 1}, "/url"),
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "http://[::1]/"}, "/url"),
        ({"url": "https://no-such-name.invalid/"}, "/url"),
        ({"url": "http://127.0.0.1/", "events": []}, "/events"),
        ({"url": "http://127.0.0.1/", "events": ["job.done"]}, "/events"),
        ({"url": "http://127.0.0.1/", "events": [{}]}, "/events"),
        ({"url": "http://127.0.0.1/", "enabled": 1}, "/enabled"),
        ({"url": "http://127.0.0.1/", "model_name": "a\0"}, "/model_name"),
        ({"url": "http://127.0.0.1/", "secret": "x"}, "/secret"),
    ],
)
async def test_an_endpoint_that_cannot_be_says_where_and_why(shared, body, pointer):
    answer = await shared.http.post(HOOKS, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ("http://127.0.0.1/", "/webhook"),
        ({}, "/webhook/url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "/webhook/url"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "/webhook/url"),
        ({"url": "http://127.0.0.1/", "events": "job.succeeded"}, "/webhook/events"),
    ],
)
async def test_a_job_whose_webhook_cannot_be_is_refused(shared, webhook, pointer):
    answer = await shared.http.post(SUBMIT, json=job_body(webhook=webhook))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), answer.text
    items = [job_body(1, webhook=webhook), job_body(2)]
    verdicts = (await shared.http.post(BATCH, json={"items": items})).json()["items"]
    assert [verdict["status_code"] for verdict in verdicts] == [422, 202]
    assert verdicts[0]["problem"]["errors"][0]["pointer"] == f"/items/0{pointer}"


async def test_what_there_is_not_and_what_is_too_much(database_url, redis):
    async with sending(database_url, redis, webhook_max_endpoints=1) as node:
        hook = await registered(node, "http://127.0.0.1/")
        for method, path, code in [
            ("GET", f"{HOOKS}/{UNKNOWN}", "webhook_not_found"),
            ("PATCH", f"{HOOKS}/{UNKNOWN}", "webhook_not_found"),
            ("DELETE", f"{HOOKS}/{UNKNOWN}", "webhook_not_found"),
            ("POST", f"{HOOKS}/{UNKNOWN}/secret", "webhook_not_found"),
            ("POST", f"{HOOKS}/{UNKNOWN}/test", "webhook_not_found"),
            ("POST", f"{HOOKS}/{hook['id']}/deliveries/{UNKNOWN}/redeliver", "delivery_not_found"),
            ("POST", f"{JOBS}/{UNKNOWN}/deliveries/{UNKNOWN}/redeliver", "delivery_not_found"),
            ("GET", f"{JOBS}/{UNKNOWN}/deliveries", "job_not_found"),
        ]:
            body = {"enabled": True} if method == "PATCH" else None
            answer = await node.http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, code), path
        unknown = await node.http.post(HOOKS, json={"url": "http://127.0.0.1/", "model_name": "averge"})
        assert unknown.json()["code"] == "model_not_found"
        more = await node.http.post(HOOKS, json={"url": "http://127.0.0.1/"})
        assert (more.status_code, more.json()["code"]) == (409, "webhook_limit")
        answer = await node.http.patch(f"{HOOKS}/{hook['id']}", json={})
        assert answer.status_code == 422


async def test_where_webhooks_are_off_none_are_taken(database_url, redis):
    async with serve(database_url, redis.url, webhooks="off", webhook_allow=("127.0.0.1",)) as node:
        for path, body in [
            (HOOKS, {"url": "http://127.0.0.1/"}),
            (SUBMIT, job_body(webhook={"url": "http://127.0.0.1/"})),
        ]:
            answer = await node.http.post(path, json=body)
            assert answer.status_code == 422 and "SATELLITE_WEBHOOKS" in answer.json()["detail"]
        await ended(node, (await accepted(node))["job_id"])


async def test_old_deliveries_are_forgotten_and_webhooks_only_with_their_jobs(sender, db):
    async with receiving() as receiver:
        hook = await registered(sender, receiver.url())
        kept = await submitted(sender, webhook={"url": receiver.url()})
        gone = await submitted(sender, webhook={"url": receiver.url()})
        await delivered(sender, hook, count=2)
        await eventually(lambda: len(receiver.got) == 4)
        assert (await sender.http.delete(f"{JOBS}/{gone}")).status_code == 204
        later = datetime.now(UTC) + timedelta(seconds=1)
        await sender.service.store.webhooks.forget(deliveries_before=later, jobs_before=later)
        assert await deliveries(sender, hook) == []
        assert [str(row["job_id"]) for row in await db.fetch("SELECT job_id FROM job_webhooks")] == [kept]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed one for hook.example."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2", "-nodes"]
    names = ["-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *made, *names]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return folder


async def test_tls_goes_to_the_checked_address_and_still_holds_the_name_against_the_certificate(certificate):
    asked, got = [], []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def answer(reader, writer):
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 X\r\n\r\n")
        await writer.drain()
        writer.close()

    async def resolve(host, port):
        return ["127.0.0.1"]  # of every name: nothing else could lead here

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    there = Receivers(allow=("127.0.0.1",), resolve=resolve)
    poster = Poster(there, timeout_s=5, ca_file=certificate / "cert.pem")
    try:
        tried = await poster.post(f"https://hook.example:{port}/", "msg_1", b"{}", secrets=("whsec_aa==",))
        assert (tried.status_code, tried.error) == (204, None)
        assert asked == ["hook.example"] and f"host: hook.example:{port}".encode() in got[0].lower()
        tried = await poster.post(f"https://other.example:{port}/", "msg_1", b"{}", secrets=("whsec_aa==",))
        assert tried.status_code is None and tried.error.startswith("TLS failed")
    finally:
        await poster.close()
        server.close()


async def test_the_next_address_is_tried_where_one_takes_no_connection():
    async def resolve(host, port):
        return ["127.0.0.2", "127.0.0.1"]  # the receiver listens on the second

    async with receiving() as receiver:
        poster = Poster(Receivers(allow=("127.0.0.0/8",), resolve=resolve), timeout_s=5)
        url = receiver.url(host="hook.example")
        tried = await poster.post(url, "msg_1", b'{"type":"x"}', secrets=("whsec_aa==",))
        assert (tried.status_code, tried.error) == (204, None)
    tried = await poster.post(url, "msg_1", b'{"type":"x"}', secrets=("whsec_aa==",))
    await poster.close()
    assert (tried.status_code, tried.error) == (None, "no connection")


async def test_the_proxies_of_the_environment_are_not_used(monkeypatch):
    async with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(path=""))
        monkeypatch.setenv("ALL_PROXY", proxy.url(path=""))
        poster = Poster(Receivers(allow=("127.0.0.1",)), timeout_s=5)
        tried = await poster.post(receiver.url(), "msg_1", b'{"type":"x"}', secrets=("whsec_aa==",))
        await poster.close()
        assert tried.error is None and receiver.got and not proxy.got


# The commands


async def test_the_commands_show_add_and_remove_what_there_is(sender, capsys):
    async def run(function, *args, **kwargs):
        capsys.readouterr()
        await asyncio.to_thread(function, Settings(url=sender.url), *args, **kwargs)
        return capsys.readouterr().out

    async with receiving() as receiver:
        added = await run(commands.add, receiver.url(), events=["job.succeeded"], model=MODEL, as_json=False)
        hook_id, secret = added.split()[:2]
        assert secret.startswith("whsec_")
        (hook,) = json.loads(await run(commands.list_endpoints, as_json=True))
        assert (hook["id"], hook["events"], hook["model_name"]) == (hook_id, ["job.succeeded"], MODEL)
        assert receiver.url() in await run(commands.list_endpoints, as_json=False)
        delivery_id = json.loads(await run(commands.test, hook_id, as_json=True))["id"]
        await delivered(sender, hook)
        await run(commands.redeliver, hook_id, delivery_id, as_json=False)
        await eventually(lambda: receiver.ids == [f"msg_{delivery_id}"] * 2)
        await delivered(sender, hook)
        shown = {"status": "delivered", "limit": 5}
        (delivery,) = json.loads(await run(commands.deliveries, hook_id, **shown, as_json=True))
        assert delivery["id"] == delivery_id and len(delivery["attempts"]) == 2
        assert "webhook.test" in await run(commands.deliveries, hook_id, **shown, as_json=False)
        await run(commands.remove, hook_id)
        assert "No webhooks" in await run(commands.list_endpoints, as_json=False)
