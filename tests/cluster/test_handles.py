"""From a notebook: the handle-based client, the raw handle, and the quickstart notebook itself."""

import os
import subprocess
import sys
from textwrap import dedent

import nbformat
import pytest
from nbclient import NotebookClient

from satellite.settings import REPO_ROOT

# Each in a process of its own: a process joins one Ray cluster.
CLIENT = """
    from datetime import UTC, datetime, timedelta

    import satellite
    from satellite.errors import InvalidRequest, JobFinished, JobNotFound, ModelNotFound

    with satellite.connect() as client:
        assert {model.name for model in client.models()} == {"lstm_timeseries", "moving_average"}
        answer = client.predict("lstm_timeseries", [1.2, 2.3, 3.1, 2.8, 3.5], forecast_steps=5)
        assert len(answer["forecast"]) == 5
        submitted = client.submit("moving_average", [1, 2, 3, 4], forecast_steps=2)
        steps = list(client.stream(submitted))
        assert [step.status for step in steps] == ["queued", "running", "succeeded"], steps
        job = client.result(submitted)
        assert job == steps[-1].job and job.result == {"forecast": [2.5, 2.5]}, job
        assert [r["forecast"][0] for r in client.map("moving_average", ([n] * 4 for n in range(50)))] == [
            *range(50)
        ]
        options = {"priority": 9, "labels": {"line": "red"}, "idempotency_key": "k"}
        options["run_at"] = datetime.now(UTC) + timedelta(hours=1)
        waits = client.submit("moving_average", [1, 2, 3, 4], job=options, forecast_steps=2)
        again = client.submit("moving_average", [1, 2, 3, 4], job=options, forecast_steps=2)
        assert (again.job_id, again.replayed) == (waits.job_id, True)
        job = client.job(waits)
        assert (job.priority, job.labels, job.data) == (9, {"line": "red"}, [1, 2, 3, 4]), job
        found = client.jobs(status="queued", labels={"line": "red"})
        assert [j.job_id for j in found] == [waits.job_id]
        assert client.explain(waits).parts_s["delay"] > 0
        assert client.cancel(waits).status == "cancelled"
        assert client.retry(waits).parent_id == waits.job_id
        with satellite.connect(tenant="acme") as acme:
            assert list(acme.jobs()) == []
            own = acme.submit("moving_average", [1, 2, 3, 4])
            assert [step.status for step in acme.stream(own)][-1] == "succeeded"
            assert own.job_id not in {j.job_id for j in client.jobs()}
        for error, call in [
            (InvalidRequest, lambda: client.submit("moving_average", [1, 2, 3], job={"priorty": 1})),
            (JobFinished, lambda: client.cancel(submitted)),
            (ModelNotFound, lambda: client.predict("lstm", [1, 2, 3, 4])),
            (InvalidRequest, lambda: client.predict("moving_average", [1])),
            (JobNotFound, lambda: client.result("0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d")),
        ]:
            try:
                call()
            except error as caught:
                assert caught.detail
            else:
                raise AssertionError(error)
    print("done")
"""

RAW_HANDLE = """
    import asyncio
    import satellite

    client = satellite.connect()  # joins the cluster
    from ray import serve

    async def main():
        handle = serve.get_deployment_handle("lstm_timeseries", "satellite")
        answers = await asyncio.gather(
            *(handle.predict.remote([1.2, 2.3, 3.1, 2.8], forecast_steps=3) for _ in range(8))
        )
        assert all(len(answer["forecast"]) == 3 for answer in answers)

    asyncio.run(main())
    print("done")
"""


def run(system, program):
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        env=system.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip().endswith("done"), done.stdout + done.stderr


def test_connect_finds_the_running_system(system):
    run(system, CLIENT)


def test_the_raw_handle_works_and_batches(system):
    run(system, RAW_HANDLE)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_quickstart_notebook_runs(system, monkeypatch):
    for name in ("SATELLITE_HOME", "SATELLITE_HTTP_PORT"):
        monkeypatch.setitem(os.environ, name, system.env[name])
    notebook = nbformat.read(REPO_ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert any(cell.get("outputs") for cell in notebook.cells)
