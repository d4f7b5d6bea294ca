"""The loads of the comparison, bounded in count."""

from __future__ import annotations

import time

from benchmarks import lstm64
from benchmarks.client import Answer, Measured, encode, measure

BODY = {"model_name": "lstm64", "data": lstm64.SERIES, "config": {"forecast_steps": lstm64.STEPS}}


async def predicts(url: str, *, clients: int, count: int) -> Measured:
    """Synchronous requests from `clients` callers, each with one at a time."""
    request = encode("POST", "/api/v1/inference/predict", BODY)
    return await measure(url, [request] * count, clients=clients, on_answer=must_have_succeeded)


async def durable_jobs(url: str, *, clients: int, count: int) -> tuple[Measured, float]:
    """Submit `count` jobs, then wait until every result can be read.

    Returns:
        The submits, and finished jobs per second over all.
    """
    answers: list[Answer] = []
    submit = encode("POST", "/api/v1/inference/submit", BODY)
    began = time.perf_counter()
    accepted = await measure(url, [submit] * count, clients=clients, status=202, on_answer=answers.append)
    reads = (
        encode("GET", f"/api/v1/inference/result/{answer.json()['job_id']}?wait_s=60") for answer in answers
    )
    await measure(url, reads, clients=clients, on_answer=must_have_succeeded)
    return accepted, count / (time.perf_counter() - began)


def must_have_succeeded(answer: Answer) -> None:
    """A predict and the result of a job say in their body what became of them.

    Raises:
        RuntimeError: it did not succeed.
    """
    if b'"status":"succeeded"' not in answer.body:
        raise RuntimeError(f"it did not succeed: {answer.body[:500]!r}")
