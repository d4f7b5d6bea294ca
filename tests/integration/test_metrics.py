"""What an ingress counts, where it happens; that Ray and Prometheus see it is for tests/cluster."""

import pytest
from websockets.asyncio.client import connect

from satellite import lease
from satellite.api.middleware import OTHER

from .conftest import MODEL
from .helpers import JOBS, UNKNOWN, accepted, ended, eventually, held_back, job_body, soon, submitted
from .test_api import PREDICT, RESULT, SUBMIT
from .test_lease import kill


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(lease, "GRACE_S", 0.5)
    monkeypatch.setattr(lease, "MARGIN_S", 0.1)


def count(histogram, *labels):
    cells = histogram.cells.get(labels)
    return 0 if cells is None else sum(cells.counts)


async def test_requests_are_counted_by_template_and_nothing_that_a_client_made_up_is_a_label(node):
    requests = node.service.metrics.http_request_seconds
    await node.http.post(PREDICT, json=job_body())
    await node.http.post(PREDICT, json=job_body(data=["x"]))
    await node.http.post(SUBMIT, content=b"{")
    await node.http.get(f"{RESULT}/{UNKNOWN}")  # the hot route
    await node.http.get(f"{RESULT}/not-an-id")  # FastAPI's
    await node.http.post(f"{JOBS}/{UNKNOWN}/cancel")
    await node.http.get(f"{JOBS}/{UNKNOWN}/nothing-here")
    await node.http.request("TRACE", f"/pots/{UNKNOWN}")
    await node.http.put(SUBMIT)
    for version in ("", "/versions/1"):
        await node.http.post(f"/v2/models/{MODEL}{version}/infer", content=b"{")
        await node.http.get(f"/v2/models/{MODEL}{version}")
    found = {labels: sum(cells.counts) for labels, cells in requests.cells.items()}
    infer = "/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}"
    assert found == {
        (PREDICT, "POST", "2xx"): 1,
        (PREDICT, "POST", "4xx"): 1,
        (SUBMIT, "POST", "4xx"): 1,
        (f"{RESULT}/{{job_id}}", "GET", "4xx"): 2,
        (f"{JOBS}/{{job_id}}/cancel", "POST", "4xx"): 1,
        (OTHER, "GET", "4xx"): 1,
        (OTHER, OTHER, "4xx"): 1,
        (SUBMIT, "PUT", "4xx"): 1,
        (f"{infer[0]}/infer", "POST", "4xx"): 1,
        (f"{infer[1]}/infer", "POST", "4xx"): 1,
        (infer[0], "GET", "2xx"): 1,
        (infer[1], "GET", "4xx"): 1,
    }


async def test_a_stream_is_counted_when_it_begins_and_an_open_socket_is_seen(node):
    metrics = node.service.metrics
    async with node.http.stream("GET", "/api/v1/events"), connect(node.ws_url):
        assert count(metrics.http_request_seconds, "/api/v1/events", "GET", "2xx") == 1
        assert metrics.websockets_open.values == {(): 1}
        await ended(node, await submitted(node))
        await eventually(lambda: count(metrics.event_lag_seconds) >= 1)
    await eventually(lambda: metrics.websockets_open.values == {(): 0})


async def test_a_job_is_counted_from_its_commit_to_the_record_of_its_end(node):
    metrics = node.service.metrics
    await ended(node, await submitted(node))
    assert metrics.jobs_submitted.values[MODEL,] == metrics.jobs_ended.values[MODEL, "succeeded"] == 1
    assert count(metrics.job_seconds, MODEL, "succeeded") == count(metrics.job_wait_seconds, MODEL) == 1
    assert count(metrics.record_seconds, "submit") == count(metrics.record_seconds, "end") == 1
    assert metrics.job_wait_seconds.cells[MODEL,].total <= metrics.job_seconds.cells[MODEL, "succeeded"].total
    # One that no ingress holds is cancelled, and counted, by the one that is asked.
    delayed = await accepted(node, run_at=soon(60))
    assert (await node.http.post(delayed["links"]["cancel"])).status_code == 200
    assert metrics.jobs_ended.values[MODEL, "cancelled"] == 1


async def test_every_ingress_sees_all_jobs_that_have_not_ended_and_its_own_queue(nodes):
    one, two = nodes
    with held_back(one, two):
        ids = [await submitted(one, number) for number in range(3)]
        await submitted(one, run_at=soon(60))  # it cannot run yet: it is queued, and does not wait

        def seen(node):
            node.service.look()
            metrics = node.service.metrics
            return (
                metrics.jobs.values.get((MODEL, "queued")),
                metrics.queue_depth.values[MODEL,],
                0 < metrics.oldest_job_wait_seconds.values.get((MODEL,), 0) < 30,
            )

        await eventually(lambda: seen(one) == (4, 3, True) and seen(two) == (4, 0, True))
    for job_id in ids:
        await ended(one, job_id)
    await eventually(lambda: seen(two) == (1, 0, False))


async def test_a_lost_lease_and_its_jobs_are_counted_by_who_gives_them_back(nodes):
    one, two = nodes
    kill(one)
    job_id = await submitted(one)
    await ended(two, job_id)
    metrics = two.service.metrics
    assert metrics.leases_lost.values == {(): 1}
    assert metrics.jobs_recovered.values[MODEL, "requeued"] == 1
    assert one.service.metrics.leases_lost.values == {(): 0}


async def test_stores_and_tables_are_seen(node, db):
    metrics = node.service.metrics
    await eventually(lambda: ("jobs",) in metrics.table_bytes.values)
    assert metrics.table_overdue_days.values == {("jobs",): 0, ("events",): 0}
    node.service.look()
    assert metrics.store_up.values == {("postgresql",): 1, ("redis",): 1}
    node.service.events.connected = False
    node.service.look()
    assert metrics.store_up.values["redis",] == 0
    await db.execute("SELECT ensure_partitions(current_date - 40, 1)")
    node.service._upkeep._tables_due = 0
    await eventually(lambda: metrics.table_overdue_days.values["jobs",] == 10)
