"""SIGKILL of a replica and of the ingress under load: every accepted job ends, once, with its own result."""

import asyncio
import json
import os
import signal
from uuid import UUID

import asyncpg
import httpx
import pytest

from .test_main_job import SUBMIT

CLIENTS = 8
JOBS_EACH = 20


async def load_and_kill(system, deployment):
    """Submit jobs, each with a nonce, and kill the deployment's replica in the middle.

    Returns:
        The nonce of each accepted job, by id.
    """
    accepted = {}

    async def client(number):
        async with httpx.AsyncClient(base_url=system.url, timeout=30) as http:
            for i in range(JOBS_EACH):
                nonce = float(number * JOBS_EACH + i)
                try:
                    answer = await http.post(
                        SUBMIT, json={"model_name": "moving_average", "data": [nonce] * 4}
                    )
                except httpx.TransportError:
                    continue  # not accepted: nothing was promised
                if answer.status_code == 202:
                    accepted[answer.json()["job_id"]] = nonce
                await asyncio.sleep(0.05)

    async def kill():
        await asyncio.sleep(0.4)
        for pid in system.replicas()[deployment]:
            os.kill(pid, signal.SIGKILL)

    await asyncio.gather(kill(), *(client(number) for number in range(CLIENTS)))
    return accepted


@pytest.mark.parametrize("deployment", ["moving_average", "Ingress"])
async def test_a_kill_loses_no_job(system, deployment):
    accepted = await load_and_kill(system, deployment)
    assert len(accepted) > JOBS_EACH  # the load went on after the kill
    db = await asyncpg.connect(system.database_url)
    query = """SELECT id, status, result FROM jobs
               WHERE id = ANY($1::uuid[]) AND status NOT IN ('queued', 'running')"""
    async with asyncio.timeout(60):
        while len(rows := await db.fetch(query, [UUID(job_id) for job_id in accepted])) < len(accepted):
            await asyncio.sleep(0.2)
    await db.close()
    system.wait_ready()
    for row in rows:
        assert row["status"] == "succeeded"
        assert set(json.loads(row["result"])["forecast"]) == {accepted[str(row["id"])]}
