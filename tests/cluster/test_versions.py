"""Versions of a model on a real cluster: loaded on demand, put away, made the default, and rolled back."""

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import torch
import yaml
from safetensors.torch import save_file

from satellite.artifacts import SAFETENSORS, write_manifest

DEPLOYS = True
MODEL = "multiply"
VERSIONS = [str(number) for number in range(1, 21)]
PREDICT = "/api/v1/inference/predict"
BATCH = "/api/v1/inference/batch"
ABOUT = f"/api/v1/models/{MODEL}"
MAX_LOADED = 3


def make(folder, version):
    """A version that multiplies by its own number."""
    place = folder / version
    place.mkdir(parents=True)
    save_file({"factor": torch.tensor(float(version))}, place / "factor.safetensors")
    write_manifest(place, version, SAFETENSORS, metrics={"mase": 1 / float(version)})
    return place


@pytest.fixture(scope="module", autouse=True)
def artifacts(system):
    """The model, with two replicas of which each keeps three of twenty versions; and one that is damaged."""
    models = system.root / "models"
    shutil.copy(Path(__file__).parent / "versioned_model.py", models / f"{MODEL}.py")
    folder = models / "artifacts" / MODEL
    for version in VERSIONS:
        make(folder, version)
    (make(folder, "666") / "factor.safetensors").write_bytes(b"damaged")
    config = {
        "cpu": {"num_cpus": 0.05},
        "batching": {"batch_wait_timeout_s": 0.5},
        "versions": {"max_loaded_versions": MAX_LOADED},
        "autoscaling": {"min_replicas": 2, "max_replicas": 2},
    }
    (system.root / "configs/models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(config))
    system.deploy()
    yield folder
    system.give_back()


def body(number, version=None):
    fields = {"model_name": MODEL, "data": float(number)}
    return fields if version is None else {**fields, "model_version": version}


def check(job, number, version):
    """The answer is that of its own input, computed by the version that was asked for."""
    assert job["status"] == "succeeded", job
    assert job["model_version"] == version
    assert job["result"]["version"] == version
    assert job["result"]["product"] == number * float(version)


def loaded_in(http):
    return {v["version"]: v["loaded_in"] for v in http.get(f"{ABOUT}/versions").json()["versions"]}


async def test_twenty_versions_take_turns_in_room_for_three(system):
    draw = random.Random(7)
    asked = [(number, version) for number in range(40) for version in VERSIONS]
    draw.shuffle(asked)
    async with httpx.AsyncClient(base_url=system.url, timeout=120) as http:

        async def traffic():
            for number in range(15):
                version = draw.choice(VERSIONS)
                check((await http.post(PREDICT, json=body(number, version))).json(), number, version)

        async def job(job_id, number, version):
            ended = (await http.get(f"/api/v1/inference/result/{job_id}?wait_s=60")).json()
            check(ended, number, version)
            return ended["result"]["batch_size"]

        others = [asyncio.create_task(traffic()) for _ in range(6)]
        verdicts = (await http.post(BATCH, json={"items": [body(*item) for item in asked]})).json()["items"]
        ids = [verdict["job_id"] for verdict in verdicts]
        sizes = Counter(
            await asyncio.gather(*(job(id_, *item) for id_, item in zip(ids, asked, strict=True)))
        )
        await asyncio.gather(*others)
        assert sizes[8] > 0.9 * len(asked), sizes
        answer = (await http.get(f"{ABOUT}/versions")).json()
        cache = answer["cache"]
        assert cache["max_loaded_versions"] == MAX_LOADED
        assert cache["hits"] > 0
        assert cache["misses"] > cache["evictions"] > 0
        each = Counter(replica for version in answer["versions"] for replica in version["loaded_in"])
        assert len(each) == 2
        assert max(each.values()) <= MAX_LOADED


async def test_a_default_is_changed_and_rolled_back_under_load_and_no_request_fails(system):
    async with httpx.AsyncClient(base_url=system.url, timeout=60) as http:
        allowed = {"1"}
        over = asyncio.Event()
        seen = Counter()

        async def traffic():
            number = 0
            while not over.is_set():
                number += 1
                before = set(allowed)
                answer = await http.post(PREDICT, json=body(number))
                assert answer.status_code == 200, answer.text
                job = answer.json()
                version = job["model_version"]
                assert version in before | allowed, (version, before, allowed)
                check(job, number, version)
                seen[version] += 1

        async def change(to, **fields):
            allowed.add(to)
            answer = await http.post(f"{ABOUT}/default", json=fields)
            assert answer.status_code == 200, answer.text
            assert answer.json()["default"] == to
            # Whoever sends from here on gets the new one, and nothing else.
            allowed.intersection_update({to})
            count = seen[to]
            while seen[to] < count + 20:
                await asyncio.sleep(0.01)

        clients = [asyncio.create_task(traffic()) for _ in range(8)]
        for change_of in (
            change("2", version="2"),
            change("3", version="3"),
            change("2", rollback=True),
            change("1", rollback=True),
        ):
            await asyncio.wait([asyncio.create_task(change_of), *clients], return_when="FIRST_COMPLETED")
        over.set()
        await asyncio.gather(*clients)
        assert set(seen) == {"1", "2", "3"}
        history = (await http.get(f"{ABOUT}/versions")).json()["history"]
        assert [change["version"] for change in history] == ["3", "2"]
        assert all(change["undone_at"] for change in history)
        nothing = await http.post(f"{ABOUT}/default", json={"rollback": True})
        assert (nothing.status_code, nothing.json()["code"]) == (409, "version_refused")


def test_a_damaged_version_is_an_error_of_its_own_requests_alone(http):
    job = http.post(PREDICT, json=body(1, "666")).json()
    assert (job["status"], job["error"]["code"]) == ("failed", "version_failed")
    assert "factor.safetensors: the checksum does not match" in job["error"]["detail"]
    refused = http.post(f"{ABOUT}/default", json={"version": "666"})
    assert (refused.status_code, refused.json()["code"]) == (409, "version_refused")
    check(http.post(PREDICT, json=body(2)).json(), 2, "1")


def test_a_version_is_loaded_and_put_away_everywhere(http):
    assert http.post(f"{ABOUT}/versions/9/load").json() == {"version": "9", "replicas": 2}
    assert len(loaded_in(http)["9"]) == 2
    assert http.delete(f"{ABOUT}/versions/9/load").json() == {"version": "9", "replicas": 2}
    assert loaded_in(http)["9"] == []
    assert http.delete(f"{ABOUT}/versions/1/load").status_code == 409  # the default
    check(http.post(PREDICT, json=body(3, "9")).json(), 3, "9")


def test_requests_go_to_the_replica_that_holds_their_version(http):
    for version in ("11", "12"):
        for number in range(12):  # at random they would all go to one replica once in 4,096 times
            check(http.post(PREDICT, json=body(number, version)).json(), number, version)
        assert len(loaded_in(http)[version]) == 1


def test_a_new_version_is_found_when_it_is_asked_for(http, artifacts):
    unknown = http.post(PREDICT, json=body(1, "21"))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "version_not_found")
    assert "there are: " in unknown.json()["detail"]
    make(artifacts, "21")
    deadline = time.monotonic() + 5  # the source is asked once a second at most
    while (answer := http.post(PREDICT, json=body(1, "21"))).status_code == 404:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    check(answer.json(), 1, "21")


def test_a_handle_follows_the_default_too(system, http):
    assert http.post(f"{ABOUT}/default", json={"version": "5"}).status_code == 200
    program = """
        import time
        import satellite

        with satellite.connect() as client:
            assert client.predict("multiply", 2.0, model_version="6")["product"] == 12.0
            while client.predict("multiply", 2.0)["product"] != 10.0:
                time.sleep(0.05)
            job_id = client.submit("multiply", 2.0, job={"model_version": "7"})
            assert client.result(job_id)["product"] == 14.0
            try:
                client.predict("multiply", 2.0, model_version="nine")
            except satellite.errors.VersionFailed as error:
                assert "nine/manifest.json: there is no such file" in error.detail
            else:
                raise AssertionError
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], env=system.env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "done", done.stdout + done.stderr
    assert http.post(f"{ABOUT}/default", json={"rollback": True}).status_code == 200
