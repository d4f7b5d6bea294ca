"""Which version a request gets: the one it names, or the default, the same on every ingress."""

import asyncio
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from satellite.artifacts import SAFETENSORS, ArtifactSource, write_manifest
from satellite.model import forget
from satellite.registry import load_model

from .conftest import MODEL, serve
from .helpers import BATCH, accepted, ended, row_of, shown
from .test_api import PREDICT

VERSIONED = Path(__file__).parents[1] / "cluster" / "versioned_model.py"
ABOUT = f"/api/v1/models/{MODEL}"


@pytest.fixture(scope="module")
def spec():
    spec = load_model(VERSIONED)
    yield spec
    forget(spec.name)


def make(folder, version):
    place = folder / version
    place.mkdir(parents=True)
    save_file({"factor": torch.tensor(float(version))}, place / "factor.safetensors")
    write_manifest(place, version, SAFETENSORS, metrics={"mase": 0.5})


@pytest.fixture
def folder(tmp_path):
    for version in ("1", "2", "3"):
        make(tmp_path, version)
    return tmp_path


@pytest.fixture
async def nodes(database_url, redis, spec, folder):
    """Two ingresses of a model with three versions."""
    options = {"spec": spec, "source": ArtifactSource(str(folder))}
    async with (
        serve(database_url, redis.url, **options) as one,
        serve(database_url, redis.url, **options) as two,
    ):
        yield one, two


async def answered(node, **fields):
    answer = await node.http.post(PREDICT, json={"model_name": MODEL, "data": 2.0, **fields})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["result"]["version"] == job["model_version"]
    return job["model_version"]


async def set_default(node, **fields):
    return await node.http.post(f"{ABOUT}/default", json=fields)


async def until(node, version):
    async with asyncio.timeout(5):
        while await answered(node) != version:
            await asyncio.sleep(0.01)


async def test_a_request_runs_on_the_version_it_names_however_it_comes(nodes, db):
    node, _ = nodes
    assert [await answered(node), await answered(node, model_version="3")] == ["1", "3"]
    job = await accepted(node, model_version="2", data=2.0, config={})
    assert job["requested_version"] == "2"
    assert (await ended(node, job["job_id"]))["result"]["product"] == 4.0
    assert (await row_of(db, job["job_id"]))["requested_version"] == "2"
    stored = await node.http.post(
        PREDICT, json={"model_name": MODEL, "data": 2.0, "model_version": "3", "store": True}
    )
    assert stored.json()["model_version"] == "3"
    items = [{"model_name": MODEL, "data": 2.0, "model_version": version} for version in ("3", "9", "1")]
    verdicts = (await node.http.post(BATCH, json={"items": items})).json()["items"]
    assert [verdict["status_code"] for verdict in verdicts] == [202, 404, 202]
    assert verdicts[1]["problem"]["detail"] == f"'{MODEL}' has no version '9'; there are: 1, 2, 3"
    again = await node.http.post(f"/api/v1/jobs/{job['job_id']}/retry")
    assert again.json()["requested_version"] == "2"  # what it was computed with
    other = await node.http.post(f"/api/v1/jobs/{job['job_id']}/retry", json={"model_version": None})
    assert other.json()["requested_version"] == "1"
    explained = (await node.http.get(f"/api/v1/jobs/{job['job_id']}/explain")).json()
    assert explained["model_version"] == "2"
    assert "by version 2" in explained["summary"]


async def test_a_default_is_changed_everywhere_and_rolled_back(nodes):
    one, two = nodes
    answer = (await set_default(one, version="2")).json()
    assert (answer["default"], [change["version"] for change in answer["history"]]) == ("2", ["2"])
    assert await answered(one) == "2"
    await until(two, "2")
    assert (await set_default(two, version="3")).json()["default"] == "3"
    await until(one, "3")
    assert (await one.http.get(ABOUT)).json()["version"] == "3"
    assert (await set_default(one, rollback=True)).json()["default"] == "2"
    answer = (await set_default(one, rollback=True)).json()
    assert answer["default"] == "1"
    assert [(c["version"], c["undone_at"] is not None) for c in answer["history"]] == [
        ("3", True),
        ("2", True),
    ]
    await until(two, "1")
    assert two.replica.default == "1"
    refused = await set_default(two, rollback=True)
    assert (refused.status_code, refused.json()["code"]) == (409, "version_refused")


async def test_without_redis_a_change_is_found_out_after_a_heartbeat(database_url, spec, folder):
    options = {"spec": spec, "source": ArtifactSource(str(folder))}
    nowhere = "redis://127.0.0.1:9"
    async with (
        serve(database_url, nowhere, **options) as one,
        serve(database_url, nowhere, **options) as two,
    ):
        assert (await set_default(one, version="2")).status_code == 200
        await until(two, "2")


async def test_a_waiting_job_keeps_the_version_it_was_accepted_for(nodes, db):
    one, two = nodes
    one.replica.gate.clear()
    waiting = [await accepted(one, data=2.0, config={}) for _ in range(3)]
    delayed = await accepted(one, data=2.0, config={}, run_at="2026-01-01T00:00:00Z")
    await set_default(one, version="2")
    one.replica.gate.set()
    for job in [*waiting, delayed]:
        assert (await ended(two, job["job_id"]))["model_version"] == "1"


async def test_a_job_from_the_database_runs_on_its_version(database_url, redis, spec, folder):
    options = {"spec": spec, "source": ArtifactSource(str(folder))}
    async with serve(database_url, redis.url, **options) as node:
        node.service.held._queues[MODEL].set_replicas(0)
        node.service.held._queues[MODEL]._busy = 99
        job = await accepted(node, model_version="3", data=2.0, config={})
        node.service.held._queues[MODEL]._busy = 0
        await node.service.lease.close()  # it hands back what waits
    async with serve(database_url, redis.url, **options) as node:
        assert (await ended(node, job["job_id"]))["model_version"] == "3"
        assert (await shown(node, job["job_id"]))["requested_version"] == "3"


async def test_what_cannot_be_the_default_changes_nothing(nodes, folder):
    node, _ = nodes
    (folder / "2" / "factor.safetensors").write_bytes(b"damaged")
    for fields, status, code in [
        ({"version": "2"}, 409, "version_refused"),
        ({"version": "9"}, 404, "version_not_found"),
        ({"version": None}, 422, "invalid_request"),
        ({"version": "3", "rollback": True}, 422, "invalid_request"),
        ({"rollback": False}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
    ]:
        answer = await set_default(node, **fields)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await answered(node) == "1"


async def test_versions_are_shown_with_what_is_known_of_them(nodes, folder):
    node, _ = nodes
    (folder / "2" / "manifest.json").write_text("{}")
    make(folder, "4")
    assert (await node.http.post(f"{ABOUT}/versions/4/load")).json() == {"version": "4", "replicas": 1}
    shown = {v["version"]: v for v in (await node.http.get(f"{ABOUT}/versions")).json()["versions"]}
    assert list(shown) == ["2", "1", "3", "4"]
    assert shown["4"]["loaded_in"] == ["local"]
    assert (shown["4"]["metrics"], shown["4"]["format"]) == ({"mase": 0.5}, SAFETENSORS)
    assert "manifest.json: not a manifest" in shown["2"]["problem"]
    assert (shown["1"]["default"], shown["3"]["default"]) == (True, False)
    assert (await node.http.delete(f"{ABOUT}/versions/4/load")).json()["replicas"] == 1
    assert (await node.http.delete(f"{ABOUT}/versions/1/load")).status_code == 409
    assert (await node.http.post(f"{ABOUT}/versions/9/load")).status_code == 404


async def test_the_default_that_was_taken_away_is_told(nodes, folder):
    node, _ = nodes
    assert (await set_default(node, version="3")).status_code == 200
    shutil.rmtree(folder / "3")
    node.service.releases._looks[MODEL].found = None
    await node.service.releases._look(MODEL)
    answer = await node.http.post(PREDICT, json={"model_name": MODEL, "data": 2.0})
    assert (answer.status_code, answer.json()["code"]) == (404, "version_not_found")
    assert (await set_default(node, rollback=True)).json()["default"] == "1"


async def test_a_model_without_artifacts_has_the_version_it_declares(node):
    body = {"model_name": MODEL, "data": [1.0, 2.0, 3.0, 4.0]}
    for version, status in (("1.0.0", 200), (None, 200), ("2.0.0", 404)):
        answer = await node.http.post(PREDICT, json={**body, "model_version": version})
        assert answer.status_code == status
    assert (await set_default(node, version="1.0.0")).status_code == 200
    assert (await set_default(node, version="2.0.0")).status_code == 404
    about = (await node.http.get(f"{ABOUT}/versions")).json()
    assert about["versions"] == [
        {
            **{"version": "1.0.0", "default": True, "created": None, "size_bytes": None, "format": None},
            **{"metrics": {}, "problem": None, "loaded_in": ["local"]},
        }
    ]
