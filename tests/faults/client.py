"""The callers: they submit, retry as our users would, cancel, hang up, read, and write it all down."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.faults.evidence import TERMINAL
from tests.faults.history import (
    Acknowledged,
    CancelAnswered,
    History,
    Refused,
    ResultRead,
    Submitted,
    Unknown,
)
from tests.faults.load import Operation
from tests.faults.watchers import watch_sse, watch_ws

SUBMIT = "/api/v1/inference/submit"
BATCH = "/api/v1/inference/batch"
RESULT = "/api/v1/inference/result"
# Callers give an answer this long, then it is lost; and give up altogether after PATIENCE_S.
ANSWER_S = 4.0
PATIENCE_S = 40.0
WATCH_S = 60.0
# Answers of the proxy, not of the system: whether the request reached it is not known.
LOST_ON_THE_WAY = (500, 502, 504)
TRY_AGAIN = (429, 503)


class Clients:
    """All callers of one run.

    Args:
        url: the system's address.
        history: where everything goes.
        seed: for the pauses between tries.
    """

    def __init__(self, url: str, history: History, *, seed: int) -> None:
        self.url, self.history = url, history
        self._sends = itertools.count(1)
        self._rng = random.Random(seed)
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(ANSWER_S, pool=30),
            limits=httpx.Limits(max_connections=100),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, operations: list[Operation]) -> None:
        """Carry the plan out; returns when the last caller is done."""
        began = time.monotonic()
        batches: defaultdict[int, list[Operation]] = defaultdict(list)
        async with asyncio.TaskGroup() as group:
            for operation in operations:
                if operation.batch is None:
                    group.create_task(self._at(began, operation.at_s, self._one(operation)))
                else:
                    batches[operation.batch].append(operation)
            for batch in batches.values():
                group.create_task(self._at(began, batch[0].at_s, self._batch(batch)))

    async def _at(self, began: float, at_s: float, what: Any) -> None:
        await asyncio.sleep(began + at_s - time.monotonic())
        await what

    async def _one(self, operation: Operation) -> None:
        body = operation.body()
        if operation.hang_up_after_s is not None:
            await self.hang_up(operation, body, operation.hang_up_after_s)
            if operation.key is None:
                return  # nobody knows whether it was accepted: only a key makes it safe to send it again
        job_id = await self.submit(operation.nonce, operation.key, body)
        if job_id is None:
            return
        if operation.resend:
            await self.submit(operation.nonce, operation.key, body)
        if operation.conflict:
            other = {**body, "data": {**body["data"], "nonce": f"{operation.nonce}-other"}}
            await self.submit(f"{operation.nonce}-other", operation.key, other)
        await self._after(operation, job_id)

    async def _batch(self, batch: list[Operation]) -> None:
        left = {operation.nonce: (operation, operation.body()) for operation in batch}
        accepted: dict[str, str] = {}
        deadline = time.monotonic() + PATIENCE_S
        while left and time.monotonic() < deadline:
            accepted |= await self._send_batch(list(left.values()))
            left = {nonce: item for nonce, item in left.items() if nonce not in accepted}
            if left:
                await asyncio.sleep(self._rng.uniform(0.2, 1))
        await asyncio.gather(*(self._after(o, accepted[o.nonce]) for o in batch if o.nonce in accepted))

    async def _after(self, operation: Operation, job_id: str) -> None:
        """What a caller does with a job it has."""
        doings: list[Any] = []
        if operation.cancel_after_s is not None:
            doings.append(self._cancel_later(job_id, operation.cancel_after_s))
        name = f"{operation.watch} {operation.nonce}"
        match operation.watch:
            case "poll":
                doings.append(self.poll(job_id, name))
            case "ws":
                subject = {"job_id": job_id}
                doings.append(
                    watch_ws(self.url, self.history, name, subject, operation.hang_ups, give_up_s=WATCH_S)
                )
            case "sse":
                subject = {"job_id": job_id}
                doings.append(
                    watch_sse(self.url, self.history, name, subject, operation.hang_ups, give_up_s=WATCH_S)
                )
        await asyncio.gather(*doings)

    async def submit(self, nonce: str, key: str | None, body: dict[str, Any]) -> str | None:
        """Submit until there is an answer that another try would not change.

        Returns:
            The job's id; None if it was refused, or if nobody knows.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            send = next(self._sends)
            self.history.add(Submitted(send=send, nonce=nonce, key=key, body=body))
            headers = {"Idempotency-Key": key} if key else {}
            pause_s = self._rng.uniform(0.1, 0.5)
            safe = key is not None
            try:
                answer = await self._http.post(SUBMIT, json=body, headers=headers)
            except httpx.TransportError as error:
                self.history.add(Unknown(send=send, nonce=nonce, reason=type(error).__name__))
                safe = safe or isinstance(
                    error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
                )
            else:
                if answer.status_code == 202:
                    return self._acknowledged(send, nonce, answer)
                if answer.status_code in LOST_ON_THE_WAY:
                    self.history.add(Unknown(send=send, nonce=nonce, reason=f"HTTP {answer.status_code}"))
                else:
                    problem = _problem(answer)
                    self._refused(send, nonce, answer.status_code, problem)
                    # Without a code it is the proxy's own answer: one that has just started knows no routes.
                    if problem.get("code") and answer.status_code not in TRY_AGAIN:
                        return None
                    safe = True
                    pause_s += min(float(answer.headers.get("Retry-After", 0)), 2)
            if not safe or time.monotonic() + pause_s > deadline:
                return None
            await asyncio.sleep(pause_s)

    def _acknowledged(self, send: int, nonce: str, answer: httpx.Response) -> str:
        job_id = answer.json()["job_id"]
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        self.history.add(Acknowledged(send=send, nonce=nonce, job_id=job_id, replayed=replayed))
        return job_id

    def _refused(self, send: int, nonce: str, status: int, problem: dict[str, Any]) -> None:
        self.history.add(Refused(send=send, nonce=nonce, status=status, code=problem.get("code", "")))

    async def _send_batch(self, items: list[tuple[Operation, dict[str, Any]]]) -> dict[str, str]:
        """Send one batch submit; returns the ids of what was accepted, by nonce."""
        sends = []
        for operation, body in items:
            sends.append(next(self._sends))
            self.history.add(Submitted(send=sends[-1], nonce=operation.nonce, key=operation.key, body=body))
        bodies = [{**body, "idempotency_key": operation.key} for operation, body in items]
        nonces = [operation.nonce for operation, _ in items]
        try:
            answer = await self._http.post(BATCH, json={"items": bodies})
            lost = f"HTTP {answer.status_code}" if answer.status_code in LOST_ON_THE_WAY else ""
        except httpx.TransportError as error:
            lost = type(error).__name__
        if lost:
            for send, nonce in zip(sends, nonces, strict=True):
                self.history.add(Unknown(send=send, nonce=nonce, reason=lost))
            return {}
        if answer.status_code != 207:
            for send, nonce in zip(sends, nonces, strict=True):
                self._refused(send, nonce, answer.status_code, _problem(answer))
            return {}
        accepted: dict[str, str] = {}
        for item in answer.json()["items"]:
            send, nonce = sends[item["index"]], nonces[item["index"]]
            if "job_id" in item:
                self.history.add(Acknowledged(send=send, nonce=nonce, job_id=item["job_id"]))
                accepted[nonce] = item["job_id"]
            else:
                status = item.get("status_code", item.get("status"))
                self._refused(send, nonce, status, item.get("problem", {}))
        return accepted

    async def hang_up(self, operation: Operation, body: dict[str, Any], after_s: float) -> None:
        """Write a submit and break the connection off, without reading an answer."""
        send = next(self._sends)
        self.history.add(Submitted(send=send, nonce=operation.nonce, key=operation.key, body=body))
        content = json.dumps(body).encode()
        address = urlsplit(self.url)
        head = [f"POST {SUBMIT} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json"]
        head += [f"Content-Length: {len(content)}"]
        head += [f"Idempotency-Key: {operation.key}"] if operation.key else []
        try:
            async with asyncio.timeout(ANSWER_S):
                _, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write("\r\n".join([*head, "", ""]).encode() + content)
                await writer.drain()
                await asyncio.sleep(after_s)
                writer.transport.abort()
        except OSError:
            pass
        self.history.add(Unknown(send=send, nonce=operation.nonce, reason="hung up"))

    async def _cancel_later(self, job_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            asked_at_s = time.time()
            try:
                answer = await self._http.post(f"/api/v1/jobs/{job_id}/cancel")
                status, fields = answer.status_code, _problem(answer)
            except httpx.TransportError:
                status, fields = 0, {}
            self.history.add(
                CancelAnswered(
                    job_id=job_id,
                    asked_at_s=asked_at_s,
                    status=status,
                    job_status=fields.get("status") if status == 200 else None,
                    started=fields.get("started_at") is not None if status == 200 else None,
                )
            )
            if status in (200, 202, 404, 409):
                return
            await asyncio.sleep(self._rng.uniform(0.2, 0.6))

    async def poll(self, job_id: str, reader: str, *, patience_s: float = WATCH_S, wait_s: float = 2) -> None:
        """Read a job until it has ended."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                answer = await self._http.get(f"{RESULT}/{job_id}", params={"wait_s": wait_s})
            except httpx.TransportError:
                await asyncio.sleep(0.3)
                continue
            if answer.status_code == 404 and _problem(answer).get("code") == "job_not_found":
                self.history.add(ResultRead(job_id=job_id, reader=reader, status="missing", attempt=0))
                return
            if answer.status_code != 200:
                await asyncio.sleep(0.3)
                continue
            job = answer.json()
            self.history.add(
                ResultRead(
                    job_id=job_id,
                    reader=reader,
                    status=job["status"],
                    attempt=job["attempt"],
                    result=job["result"],
                )
            )
            if job["status"] in TERMINAL:
                return

    async def read_all(self, job_ids: Iterable[str]) -> None:
        """Read every job once more, now that all is over."""
        room = asyncio.Semaphore(16)

        async def read(job_id: str) -> None:
            async with room:
                await self.poll(job_id, "final", patience_s=10, wait_s=0.1)

        await asyncio.gather(*(read(job_id) for job_id in job_ids))


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        fields = answer.json()
    except ValueError:
        return {}  # the proxy's own page
    return fields if isinstance(fields, dict) else {}
