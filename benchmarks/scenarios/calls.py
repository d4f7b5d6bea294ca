"""The calls that loads are made of, over as many connections as they need at once."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from benchmarks.client import Answer, Connection, encode
from benchmarks.loads import must_have_succeeded

T = TypeVar("T")

ENDED = {"succeeded", "failed", "cancelled", "expired", "dead"}
WAIT_S = 60
POINTS = [1.0, 2.0, 3.0, 4.0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """How a job was computed, as `GET /api/v1/jobs/{job_id}/explain` tells it."""

    total_s: float
    batch_id: str
    batch_size: int
    flush_reason: str


class Api:
    """The API of one system; a connection for each call under way, kept for the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []
        self.opened = 0  # connections, which is how many calls were under way at once, or were broken

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()

    async def send(self, request: bytes, *, status: int = 200) -> Answer:
        """Send a request.

        Raises:
            RuntimeError: the answer has another status; it holds the body.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                break
        else:
            connection = await Connection.open(self._url)
            self.opened += 1
        answer = await connection.send(request)
        self._idle.append(connection)
        if answer.status != status:
            raise RuntimeError(f"answer {answer.status}, not {status}: {answer.body[:500]!r}")
        return answer

    async def predict(self, request: bytes) -> None:
        """Send an encoded predict.

        Raises:
            RuntimeError: it did not succeed.
        """
        must_have_succeeded(await self.send(request))

    async def submit(self, body: dict[str, Any]) -> str:
        """Submit a job and return its id."""
        answer = await self.send(encode("POST", "/api/v1/inference/submit", body), status=202)
        return answer.json()["job_id"]

    async def submit_all(self, bodies: Sequence[dict[str, Any]]) -> list[str]:
        """Submit up to 1,000 jobs in one call and return their ids."""
        answer = await self.send(encode("POST", "/api/v1/inference/batch", {"items": bodies}), status=207)
        items = answer.json()["items"]
        if refused := [item for item in items if item["status_code"] != 202]:
            raise RuntimeError(f"{len(refused)} jobs were refused: {refused[0]}")
        return [item["job_id"] for item in items]

    async def result(self, job_id: str) -> dict[str, Any]:
        """The job, once it has succeeded.

        Raises:
            RuntimeError: it ended otherwise.
        """
        request = encode("GET", f"/api/v1/inference/result/{job_id}?wait_s={WAIT_S}")
        while True:
            job = (await self.send(request)).json()
            if job["status"] == "succeeded":
                return job
            if job["status"] in ENDED:
                raise RuntimeError(f"a job did not succeed: {job}")

    async def explain(self, job_ids: Iterable[str]) -> list[Explained]:
        """How these jobs were computed, asked one after the other."""
        found: list[Explained] = []
        for job_id in job_ids:
            answer = (await self.send(encode("GET", f"/api/v1/jobs/{job_id}/explain"))).json()
            batch = answer["batch"]
            found.append(
                Explained(
                    total_s=answer["total_s"],
                    batch_id=batch["batch_id"],
                    batch_size=batch["size"],
                    flush_reason=batch["flush_reason"],
                )
            )
        return found


def body_of(
    model_name: str, *, compute_s: float = 0, data: Sequence[float] = POINTS, **job: Any
) -> dict[str, Any]:
    """A request to one of the paced models; `job`: its other fields."""
    return {"model_name": model_name, "data": data, "config": {"compute_s": compute_s}, **job}


def mean_batch_size(jobs: Sequence[Explained]) -> float:
    """The mean size of the batches that some jobs were in: each job stands for its share of a batch."""
    return len(jobs) / sum(1 / job.batch_size for job in jobs)


def for_seconds(request: bytes, seconds: float) -> Iterator[bytes]:
    """The same request again and again, until so long after the first."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        yield request


def steady(per_s: float, count: int) -> list[float]:
    """Moments at a fixed rate, in seconds from the first."""
    return [number / per_s for number in range(count)]


def poisson(per_s: float, count: int, *, seed: int = 0) -> list[float]:
    """Moments at random, at exactly this rate over all: what many independent callers make together."""
    draw = random.Random(seed)
    moments = list(itertools.accumulate(draw.expovariate(1) for _ in range(count)))
    return [moment * count / per_s / moments[-1] for moment in moments]


async def at_moments(moments: Sequence[float], call: Callable[[], Awaitable[T]]) -> list[tuple[float, T]]:
    """Make calls at these moments, however many are still under way.

    Returns:
        For each the seconds from the moment at which it was due to its end, and what it returned.
    """
    began = time.perf_counter()

    async def timed(due: float) -> tuple[float, T]:
        answer = await call()
        return time.perf_counter() - due, answer

    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[tuple[float, T]]] = []
        for moment in moments:
            if (left_s := began + moment - time.perf_counter()) > 0:
                await asyncio.sleep(left_s)
            tasks.append(group.create_task(timed(began + moment)))
    return [task.result() for task in tasks]
