"""The commands on jobs and on the database, against a real ingress and a real PostgreSQL."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from satellite.cli import db as database
from satellite.cli import inference, jobs
from satellite.cli.main import app
from satellite.errors import EnvironmentProblem, JobFinished, JobNotFinished
from satellite.settings import Settings
from satellite.store import migrate

DATA = "1,2,3,4"


@pytest.fixture
def command(node, capsys):
    """Runs one command's function in a thread, and returns what it printed."""

    async def run(function, *args, **kwargs):
        capsys.readouterr()
        await asyncio.to_thread(function, Settings(url=node.url), *args, **kwargs)
        return capsys.readouterr().out

    return run


async def submit(command, **fields):
    fields, key = fields, fields.pop("idempotency_key", None)
    printed = await command(
        inference.submit,
        "moving_average",
        DATA,
        [],
        wait=fields.pop("wait", False),
        job_fields=fields,
        idempotency_key=key,
    )
    return printed.strip()


async def listed(command, **filters):
    asked = {"model": None, "statuses": [], "labels": [], "limit": 20} | filters
    return json.loads(await command(jobs.list_jobs, **asked, as_json=True))


async def test_everything_that_is_asked_of_a_job_arrives(node, command):
    run_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    job_id = await submit(
        command,
        priority=9,
        deadline_s=7200,
        run_at=run_at,
        labels={"device": "a1"},
        max_attempts=5,
        idempotency_key="k",
    )
    again = await submit(
        command,
        priority=9,
        deadline_s=7200,
        run_at=run_at,
        labels={"device": "a1"},
        max_attempts=5,
        idempotency_key="k",
    )
    assert again == job_id
    job = (await node.http.get(f"/api/v1/jobs/{job_id}")).json()
    assert (job["priority"], job["labels"], job["max_attempts"]) == (9, {"device": "a1"}, 5)
    assert datetime.fromisoformat(job["run_at"]) == datetime.fromisoformat(run_at)
    assert job["deadline_at"] is not None


async def test_jobs_are_listed_and_filtered(command):
    red = await submit(command, labels={"line": "red"})
    blue = await submit(command, labels={"line": "blue"})
    await command(inference.result, blue, wait_s=10)
    assert [job["job_id"] for job in await listed(command)] == [blue, red]
    assert [job["job_id"] for job in await listed(command, labels=["line=red"])] == [red]
    assert [job["job_id"] for job in await listed(command, limit=1)] == [blue]
    assert await listed(command, statuses=["dead", "failed"]) == []
    assert await listed(command, model="another") == []
    table = await command(jobs.list_jobs, model=None, statuses=[], labels=[], limit=1, as_json=False)
    assert blue in table and "line=blue" in table and "--limit" in table


async def test_more_than_a_page_is_listed(command, monkeypatch):
    monkeypatch.setattr("satellite.client.async_client.PAGE", 2)
    submitted = [await submit(command) for _ in range(5)]
    assert [job["job_id"] for job in await listed(command, limit=4)] == submitted[:0:-1]


async def test_an_explanation_fits_a_screen(command):
    job_id = json.loads(await submit(command, wait=True))["job_id"]
    text = await command(jobs.explain, job_id, as_json=False)
    assert len(text.splitlines()) < 24
    for words in (job_id, "It succeeded after", "batch fill", "█", "Flush reason: timer", "Attempt (of 3)"):
        assert words in text
    found = json.loads(await command(jobs.explain, job_id, as_json=True))
    assert sum(found["parts_s"].values()) == pytest.approx(found["total_s"])


async def test_a_cancelled_job_is_repeated(node, command):
    job_id = await submit(command, run_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    with pytest.raises(JobNotFinished, match="only one that has ended"):
        await command(jobs.retry, job_id, as_json=False)
    assert await command(jobs.cancel, job_id, as_json=False) == "Cancelled.\n"
    new = (await command(jobs.retry, job_id, as_json=False)).strip()
    assert (await node.http.get(f"/api/v1/jobs/{new}")).json()["parent_id"] == job_id


async def test_an_ended_job_cannot_be_cancelled(command):
    job_id = json.loads(await submit(command, wait=True))["job_id"]
    with pytest.raises(JobFinished):
        await command(jobs.cancel, job_id, as_json=False)


async def test_dead_jobs_are_repeated_once(node, command, db):
    dead = sorted([await submit(command) for _ in range(3)])
    for job_id in dead:
        await command(inference.result, job_id, wait_s=10)
    await db.execute("ALTER TABLE jobs DISABLE TRIGGER jobs_guard_status")
    await db.execute("UPDATE jobs SET status = 'dead', result = NULL, error = '{\"code\": \"replica_died\"}'")
    await db.execute("ALTER TABLE jobs ENABLE TRIGGER jobs_guard_status")

    async def repeat(model=None, error_code=None, limit=None, as_json=False):
        return await command(
            jobs.retry_dead, model=model, error_code=error_code, limit=limit, as_json=as_json
        )

    assert await repeat(error_code="lease_lost") == "No such dead jobs.\n"
    lines = (await repeat(model="moving_average", limit=2)).splitlines()
    assert [line.split()[0] for line in lines[:2]] == dead[:2]
    assert lines[2] == "Repeated 2 dead jobs."
    assert [item["parent_id"] for item in json.loads(await repeat(as_json=True))["items"]] == dead[2:]


# The database


def db_command(name, url, *options):
    result = CliRunner().invoke(app, ["db", name, *options], env={"SATELLITE_DATABASE_URL": url})
    return result.exit_code, result.output


async def test_an_empty_database_is_upgraded_once(empty_database_url):
    code, text = await asyncio.to_thread(db_command, "status", empty_database_url)
    assert (code, "satellite db upgrade" in text) == (1, True)
    answers = await asyncio.gather(
        *(asyncio.to_thread(database.upgrade, Settings(database_url=empty_database_url)) for _ in range(3))
    )
    assert answers == [None] * 3
    code, text = await asyncio.to_thread(db_command, "upgrade", empty_database_url)
    assert (code, text) == (0, f"The schema is up to date: {migrate.NEWEST}.\n")
    assert (await asyncio.to_thread(db_command, "status", empty_database_url))[0] == 0


async def test_an_old_schema_is_told(empty_database_url, monkeypatch):
    monkeypatch.setattr(migrate, "NEWEST", "0002")
    await upgrade_to(empty_database_url, "0002")
    monkeypatch.undo()
    code, text = await asyncio.to_thread(db_command, "status", empty_database_url, "--json")
    found = json.loads(text)
    assert (code, found["schema"], found["revision"]) == (1, "behind", "0002")
    assert found["ingresses"] == {}


async def test_a_newer_schema_is_left_alone(database_url, db):
    await db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(EnvironmentProblem, match="9999"):
        await asyncio.to_thread(database.upgrade, Settings(database_url=database_url))
    assert (await asyncio.to_thread(db_command, "status", database_url))[0] == 1


async def test_the_status_counts_what_is_there(node, command, database_url, db):
    await submit(command, wait=True)
    await submit(command, run_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await db.execute("INSERT INTO ingresses VALUES ($1, now() - interval '1 minute')", uuid4())
    code, text = await asyncio.to_thread(db_command, "status", database_url, "--json")
    found = json.loads(text)
    assert (code, found["schema"]) == (0, "current")
    assert (found["jobs"]["succeeded"], found["jobs"]["queued"], found["jobs"]["dead"]) == (1, 1, 0)
    assert found["ingresses"] == {"live": 1, "silent": 1, "lost": 0}
    assert found["partitions"]["jobs"]["count"] == 9
    assert found["partitions"]["jobs"]["oldest"] == str(datetime.now(UTC).date() - timedelta(days=1))
    assert found["size_bytes"] > 0
    text = (await asyncio.to_thread(db_command, "status", database_url))[1]
    for words in ("up to date", "1 queued, 1 succeeded", "1 live"):
        assert words in text


async def test_the_status_estimates_where_counting_would_take_long(
    node, command, database_url, db, monkeypatch
):
    monkeypatch.setattr("satellite.store.overview.EXACT_BYTES", 0)
    await submit(command, wait=True)
    await db.execute("ANALYZE jobs")
    text = (await asyncio.to_thread(db_command, "status", database_url))[1]
    assert "about 1 succeeded" in text


async def upgrade_to(url, revision):
    from alembic import command as alembic
    from alembic.config import Config
    from sqlalchemy.ext.asyncio import create_async_engine

    config = Config()
    config.set_main_option("script_location", str(migrate._FOLDER))

    def run(connection):
        config.attributes["connection"] = connection
        alembic.upgrade(config, revision)

    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()
