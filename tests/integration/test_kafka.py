"""Kafka in and out, with a real broker: no message is lost, none makes two jobs, nothing is skipped."""

import asyncio
import contextlib
import json
import time
from uuid import UUID, uuid4

import pytest
from kafka import KafkaConsumer, KafkaProducer
from typer.testing import CliRunner

from satellite.catalog import Catalog, CatalogEntry
from satellite.cli import simulate
from satellite.cli.main import app
from satellite.config import ModelConfig
from satellite.events import EventHub
from satellite.kafka.bridge import Bridge
from satellite.kafka.messages import EventMessage, ResultMessage
from satellite.kafka.topics import Admin
from satellite.metrics import KafkaMetrics
from satellite.registry import load_model
from satellite.releases import NoReplicas, Releases
from satellite.settings import REPO_ROOT, Settings
from satellite.store import Store

from .conftest import MODEL, serve
from .helpers import eventually, job_body
from .test_simulator import options

PARTITIONS = 2


class Line:
    """One test's own topics: what it sends and what it sees."""

    def __init__(self, broker, database_url, redis_url):
        self.broker, self.database_url, self.redis_url = broker, database_url, redis_url
        self.settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            kafka_bootstrap=broker.bootstrap,
            kafka_prefix=f"t{uuid4().hex[:12]}",
            kafka_max_message_bytes=12_000,
        )
        with Admin(self.settings) as admin:
            admin.create(partitions=PARTITIONS, replication=1)
            self.topics = admin.topics
        self._producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
        self.close = self._producer.close

    def send(self, *values, key=None, headers=(), partition=None):
        """Produce to the topic of jobs; bytes as they are, anything else as JSON."""
        for value in values:
            data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
            self._producer.send(self.topics.jobs, data, key=key, headers=list(headers), partition=partition)
        self._producer.flush(10)

    @contextlib.asynccontextmanager
    async def bridge(self, *, max_queued=1000, **settings):
        settings = self.settings.model_copy(update=settings)
        spec = load_model(REPO_ROOT / "models" / f"{MODEL}.py")
        catalog = Catalog({MODEL: CatalogEntry(spec=spec, config=ModelConfig(max_queued=max_queued))})
        store = await Store.open(self.database_url, pool_size=4)
        events = EventHub(self.redis_url, result_cache_s=0)
        releases = Releases(catalog, {}, store, events, NoReplicas())
        bridge = Bridge(
            catalog=catalog,
            releases=releases,
            store=store,
            events=events,
            metrics=KafkaMetrics([MODEL]),
            settings=settings,
        )
        await bridge.start()
        try:
            yield bridge
        finally:
            await bridge.close()

    def read(self, topic, count, timeout_s=15):
        """The first messages of a topic, from its beginning."""
        consumer = KafkaConsumer(
            topic, bootstrap_servers=self.broker.bootstrap, auto_offset_reset="earliest", group_id=None
        )
        with contextlib.closing(consumer):
            found, deadline = [], time.monotonic() + timeout_s
            while len(found) < count and time.monotonic() < deadline:
                for records in consumer.poll(timeout_ms=200).values():
                    found += records
        assert len(found) >= count, (topic, len(found), count)
        return found

    async def lag(self):
        def ask():
            with Admin(self.settings) as admin:
                return sum(row["lag"] for row in admin.lag())

        return await asyncio.to_thread(ask)


@pytest.fixture
def line(kafka, database_url, redis):
    line = Line(kafka, database_url, redis.url)
    yield line
    line.close()


async def jobs(db):
    return await db.fetchval("SELECT count(*) FROM jobs")


async def drained(line):
    """Until every message has been taken and its offset committed."""
    async with asyncio.timeout(20):
        while await line.lag():
            await asyncio.sleep(0.05)


async def test_messages_become_jobs_and_their_ends_and_steps_leave(line, db):
    async with serve(line.database_url, line.redis_url), line.bridge() as bridge:
        await eventually(lambda: all(reader.is_owner for reader in bridge.readers))
        line.send(*(job_body(n, labels={"n": str(n)}) for n in range(40)))
        results = await asyncio.to_thread(line.read, line.topics.results, 40)
        events = await asyncio.to_thread(line.read, line.topics.events, 120)
        await drained(line)
        assert bridge.health()["state"] == "ok"
    bodies = [json.loads(record.value) for record in results]
    assert {body["labels"]["n"] for body in bodies} == {str(n) for n in range(40)}
    for record, body in zip(results, bodies, strict=True):
        ResultMessage.model_validate_json(record.value)
        assert record.key.decode() == body["job_id"]
        assert body["status"] == "succeeded"
        assert body["result"]["forecast"] == [float(body["labels"]["n"])]
    steps = {}
    for record in events:
        event = EventMessage.model_validate_json(record.value)
        assert UUID(record.key.decode()) == event.job_id
        steps.setdefault(event.job_id, []).append(event.status)
    assert len(steps) == 40
    assert all(of_one == ["queued", "running", "succeeded"] for of_one in steps.values())
    assert await jobs(db) == 40


REJECTED = {
    # key: value, headers, code, in the detail
    "text": (b"not json", [], "invalid_json", "line 1"),
    "tombstone": (None, [], "invalid_json", "no value"),
    "model": (job_body(model_name="moving_averag"), [], "model_not_found", "did you mean"),
    "input": (job_body(data="text"), [], "invalid_request", "/data"),
    "option": (job_body(priority=99), [], "invalid_request", "/priority"),
    "keys": (job_body(idempotency_key="a"), [("idempotency-key", b"b")], "invalid_request", "differs"),
    "large": (job_body(data=[0.5] * 4000), [], "body_too_large", "larger than"),  # for the topic, too
}


async def test_what_cannot_be_a_job_is_sent_back_with_the_reason(line, db):
    async with line.bridge(max_body_bytes=10_000):
        for key, (value, headers, _, _) in REJECTED.items():
            line.send(value, key=key.encode(), headers=[*headers, ("x", b"y")])
        line.send(job_body())
        records = await asyncio.to_thread(line.read, line.topics.rejected, len(REJECTED))
        await drained(line)
    assert {record.key.decode() for record in records} == set(REJECTED)
    for record in records:
        value, _, code, in_detail = REJECTED[record.key.decode()]
        found = {name: text.decode() for name, text in record.headers}
        assert found["satellite-code"] == code
        assert in_detail in found["satellite-detail"]
        assert found["satellite-topic"] == line.topics.jobs
        assert int(found["satellite-partition"]) in range(PARTITIONS)
        assert int(found["satellite-offset"]) >= 0
        assert found["x"] == "y"
        sent = value if isinstance(value, bytes) else json.dumps(value).encode() if value else b""
        assert record.value == (b"" if "satellite-omitted" in found else sent)
        assert ("satellite-omitted" in found) is (code == "body_too_large")
    assert await jobs(db) == 1  # the others go their way


async def test_a_message_that_comes_twice_makes_one_job(line, db):
    async with line.bridge():
        line.send(job_body(1), job_body(1))  # two messages: two jobs, if they say nothing else
        line.send(job_body(2), job_body(2), headers=[("Idempotency-Key", b"a")])
        line.send(job_body(3, idempotency_key="b"), job_body(3, idempotency_key="b"))
        line.send(job_body(4, idempotency_key="b"), partition=0)  # another request under the same key
        line.send(job_body(5, idempotency_key="b"), partition=1)
        records = await asyncio.to_thread(line.read, line.topics.rejected, 2)
        await drained(line)
    assert {dict(record.headers)["satellite-code"] for record in records} == {b"idempotency_conflict"}
    assert await jobs(db) == 4


async def test_a_consumer_that_dies_between_insert_and_commit_makes_no_job_twice(line, db):
    line.send(*(job_body(n) for n in range(30)))
    async with line.bridge() as bridge:
        # Inserted, and then never committed: as if it had been killed in between.
        bridge.consumer._commit = lambda *_: bridge.consumer._stopping.set()
        await eventually(lambda: bridge.consumer._stopping.is_set())
        inserted = await jobs(db)
        assert inserted
        assert await line.lag() == 30
    async with line.bridge() as bridge:
        await drained(line)
    assert await jobs(db) == 30


async def test_a_full_queue_stops_the_partition_and_rejects_nothing(line, db):
    async with line.bridge(max_queued=20) as bridge:
        line.send(*(job_body(n) for n in range(30)))
        await eventually(lambda: bridge.consumer.waiting)
        assert 10 <= await jobs(db) < 30
        assert bridge.health()["state"] == "ok"
        assert "jobs or more wait" in bridge.health()["detail"]
        async with serve(line.database_url, line.redis_url):
            await drained(line)
        assert await jobs(db) == 30
        assert bridge.intake.rejected == 0
        await eventually(lambda: not bridge.consumer.waiting)


async def test_a_result_that_does_not_fit_is_a_link(line, db):
    async with serve(line.database_url, line.redis_url) as node, line.bridge() as bridge:
        await eventually(lambda: all(reader.is_owner for reader in bridge.readers))
        line.send(job_body(1.123456789, config={"forecast_steps": 500}), job_body(2))
        records = await asyncio.to_thread(line.read, line.topics.results, 2)
        bodies = sorted((json.loads(record.value) for record in records), key=lambda b: b["omitted"] or "")
        small, large = bodies
        assert (small["omitted"], small["result"]["forecast"]) == (None, [2.0])
        assert (large["omitted"], large["result"]) == ("too_large", None)
        answer = await node.http.get(large["links"]["result"])
        assert len(answer.json()["result"]["forecast"]) == 500


async def test_a_second_consumer_shares_the_work_and_takes_over(line, db):
    async with serve(line.database_url, line.redis_url), contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(line.bridge())
        line.send(*(job_body(n) for n in range(100)))
        await eventually(lambda: first.intake.accepted)
        async with line.bridge() as second:
            sent = 100
            async with asyncio.timeout(20):
                while not (first.intake.accepted and second.intake.accepted):
                    line.send(*(job_body(n) for n in range(10)))
                    sent += 10
                    await asyncio.sleep(0.05)
        line.send(*(job_body(n) for n in range(100)))  # the second has left, and the first goes on
        await drained(line)
    assert await jobs(db) == sent + 100


def test_the_commands(kafka, tmp_path, monkeypatch):
    monkeypatch.setenv("SATELLITE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("SATELLITE_KAFKA_PREFIX", prefix := f"t{uuid4().hex[:12]}")
    monkeypatch.setenv("SATELLITE_HOME", str(tmp_path))
    messages = tmp_path / "messages.ndjson"
    messages.write_text('{"a": 1}\n\n{"a": 2}\n')

    def satellite(*arguments, exit_code=0):
        done = CliRunner().invoke(app, ["kafka", *arguments])
        assert done.exit_code == exit_code, done.output
        return done.stdout

    rows = json.loads(satellite("topics", "--json", exit_code=1))
    assert [row["topic"] for row in rows] == [
        f"{prefix}.{kind}" for kind in ("jobs", "rejected", "results", "events")
    ]
    satellite("tail", "results", exit_code=1)
    for made in (True, False):  # twice without harm
        rows = json.loads(satellite("topics", "--create", "--partitions", "2", "--json"))
        assert {(row["partitions"], row["made"]) for row in rows} == {(2, made)}
    assert len(json.loads(satellite("produce", str(messages), "--key", "k", "--json"))) == 2
    found = json.loads(satellite("lag", "--json"))
    assert sum(row["lag"] for row in found["in"]) == 2
    assert found["out"] is None  # there is no database
    lines = satellite("tail", "jobs", "--from-beginning", "-n", "2", "--json").splitlines()
    assert [json.loads(line)["value"] for line in lines] == ['{"a": 1}', '{"a": 2}']
    assert {json.loads(line)["key"] for line in lines} == {"k"}
    satellite("tail", "nothing", exit_code=2)
    assert json.loads(satellite("schema", "results"))["title"].endswith("satellite.results")
    satellite("schema", "rejected", exit_code=2)


async def test_brokers_that_are_away_at_the_start_are_waited_for(line, db):
    line.send(job_body())
    line.broker.kill()
    try:
        async with serve(line.database_url, line.redis_url), line.bridge() as bridge:
            assert bridge.health()["state"] == "degraded"
            await eventually(lambda: "Kafka does not answer" in bridge.health()["detail"])
            await eventually(lambda: all(reader.is_owner for reader in bridge.readers))
            await asyncio.to_thread(line.broker.start)
            await asyncio.to_thread(line.read, line.topics.results, 1, 30)
            await eventually(lambda: bridge.health()["state"] == "ok")
    finally:
        if line.broker.process.poll() is not None:
            line.broker.start()
    assert await jobs(db) == 1


async def test_the_simulator_reads_the_results_of_its_own_messages(line):
    line.send(job_body())  # another's
    async with serve(line.database_url, line.redis_url), line.bridge():
        for config, ended in (
            ({"forecast_steps": 3}, {"succeeded": 20}),
            ({"window": 0}, {"rejected (invalid_request)": 20}),
        ):
            asked = options(to=simulate.To.KAFKA, count=20, config=config)
            summary, _ = await simulate.run(line.settings, asked)
            assert (summary.sent, summary.accepted, summary.ended) == (20, 20, ended)
            assert len(summary.scores.forecasts) == 4 * ("forecast_steps" in config)
