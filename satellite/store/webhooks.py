"""Webhooks in PostgreSQL: endpoints, secrets, and deliveries with their tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from satellite.errors import StoreUnavailable
from satellite.groupcommit import GroupCommit
from satellite.jobs import first_id_at
from satellite.store import queries
from satellite.store.connection import Connections
from satellite.webhooks.records import Claimed, Delivery, Endpoint, JobWebhook, Target, TryEnd

# Rows that are deleted in one statement; the next one follows at once.
ROWS_AT_A_TIME = 5000


class WebhookStore:
    """What is stored for webhooks. Part of `Store`, which opens and closes the connections."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._ends: GroupCommit[TryEnd, bool] = GroupCommit(self._finish, shared=StoreUnavailable)

    async def close(self) -> None:
        """Write what is waiting."""
        await self._ends.close()

    # The outbox

    async def outbox_state(self) -> tuple[bool, bool]:
        """Whether the log has steps that have not been looked at, and whether anybody wants any."""
        row = (await self._fetch(queries.OUTBOX_STATE))[0]
        return row["waits"], row["wanted"]

    async def pass_outbox(self) -> None:
        """Skip all steps up to now, as nobody wants any."""
        await self._fetch(queries.PASS_OUTBOX)

    async def fill_outbox(self, limit: int) -> tuple[int, int]:
        """Make deliveries of the next steps of the log.

        Returns:
            How many steps were looked at, up to `limit`, and how many deliveries came of them.
        """
        row = (await self._fetch(queries.FILL_OUTBOX, limit))[0]
        return row["steps"], row["made"]

    # Sending

    async def claim(
        self, *, limit: int, per_host: int, busy: Mapping[str, int], lease_s: float
    ) -> list[Claimed]:
        """Take deliveries that are due.

        Args:
            limit: at most so many.
            per_host: at most so many that go to the same host, with those of `busy`.
            busy: how many are being sent to each host now.
            lease_s: after so long others may take them.
        """
        claim = uuid4()
        rows = await self._fetch(
            queries.CLAIM_DELIVERIES, claim, limit, per_host, list(busy), list(busy.values()), lease_s
        )
        return [Claimed(claim=claim, **row) for row in rows]

    async def next_due_s(self) -> float | None:
        """In how many seconds a delivery is due; None if there is none."""
        return (await self._fetch(queries.NEXT_DELIVERY_S))[0][0]

    async def target(self, endpoint_id: UUID) -> Target | None:
        """Where an endpoint's messages go, and what signs them; None if it is gone."""
        rows = await self._fetch(queries.ENDPOINT_TARGET, endpoint_id)
        return (
            Target(url=rows[0]["url"], enabled=rows[0]["enabled"], secrets=_secrets(rows[0]))
            if rows
            else None
        )

    async def job_secrets(self, tenant: str, *, new: str) -> tuple[str, ...]:
        """What signs messages to the URLs of this tenant's jobs; `new` from now on if nothing did."""
        while True:
            rows = await self._fetch(queries.JOB_SECRETS, tenant, new)
            if rows:  # none: another one has made it in this very moment
                return _secrets(rows[0])

    async def finish(self, end: TryEnd) -> bool:
        """Record a try. Returns False if the delivery was in other hands by then."""
        return await self._ends.submit(end)

    async def disable(self, endpoint_id: UUID, reason: str) -> None:
        """Send nothing more to an endpoint until it is enabled again."""
        await self._fetch(queries.DISABLE_ENDPOINT, endpoint_id, reason)

    # Endpoints

    async def add_endpoint(self, endpoint: Endpoint, *, secret: str, at_most: int) -> Endpoint | None:
        """Add an endpoint; None if its tenant has as many as it may have."""
        e = endpoint
        rows = await self._fetch(
            queries.ADD_ENDPOINT,
            e.id,
            e.tenant,
            e.url,
            e.host,
            e.events,
            e.model_name,
            e.enabled,
            secret,
            at_most,
        )
        return _endpoint(rows[0]) if rows else None

    async def get_endpoint(self, endpoint_id: UUID, tenant: str) -> Endpoint | None:
        """One endpoint."""
        rows = await self._fetch(queries.GET_ENDPOINT, endpoint_id, tenant)
        return _endpoint(rows[0]) if rows else None

    async def list_endpoints(self, tenant: str) -> list[Endpoint]:
        """All endpoints of a tenant, oldest first."""
        return [_endpoint(row) for row in await self._fetch(queries.LIST_ENDPOINTS, tenant)]

    async def change_endpoint(self, endpoint: Endpoint, *, reason: str) -> Endpoint | None:
        """Store an endpoint as it shall be; `reason`: why, if it is disabled. None: it is gone."""
        e = endpoint
        rows = await self._fetch(
            queries.CHANGE_ENDPOINT, e.id, e.tenant, e.url, e.host, e.events, e.model_name, e.enabled, reason
        )
        return _endpoint(rows[0]) if rows else None

    async def delete_endpoint(self, endpoint_id: UUID, tenant: str) -> bool:
        """Delete an endpoint with its deliveries. Returns False if there is none."""
        return bool(await self._fetch(queries.DELETE_ENDPOINT, endpoint_id, tenant))

    async def rotate_endpoint_secret(
        self, endpoint_id: UUID, tenant: str, secret: str, *, overlap_s: float
    ) -> datetime | None:
        """Give an endpoint a new secret. Returns until when the old one signs too; None: it is gone."""
        rows = await self._fetch(queries.ROTATE_ENDPOINT_SECRET, endpoint_id, tenant, secret, overlap_s)
        return rows[0]["previous_until"] if rows else None

    async def rotate_job_secret(self, tenant: str, secret: str, *, overlap_s: float) -> datetime | None:
        """The same for the URLs that jobs bring along. None: it is the first."""
        return (await self._fetch(queries.ROTATE_JOB_SECRET, tenant, secret, overlap_s))[0]["previous_until"]

    # Deliveries

    async def add_test(self, endpoint_id: UUID, tenant: str, event: str) -> Delivery | None:
        """Make a delivery that no job has caused; None if there is no such endpoint."""
        rows = await self._fetch(queries.INSERT_DELIVERY, endpoint_id, tenant, event)
        return _delivery(rows[0]) if rows else None

    async def redeliver(
        self, delivery_id: UUID, tenant: str, *, endpoint_id: UUID | None, job_id: UUID | None
    ) -> Delivery | None:
        """Send a delivery again, from the first try on; None if there is none of this endpoint or job."""
        rows = await self._fetch(queries.REDELIVER, delivery_id, tenant, endpoint_id, job_id)
        return _delivery(rows[0]) if rows else None

    async def endpoint_deliveries(
        self, endpoint_id: UUID, tenant: str, *, before: UUID | None, status: str | None, limit: int
    ) -> list[Delivery]:
        """Deliveries to an endpoint, newest first, from `before` (exclusive) on."""
        rows = await self._fetch(queries.ENDPOINT_DELIVERIES, endpoint_id, tenant, before, status, limit)
        return [_delivery(row) for row in rows]

    async def job_deliveries(self, job_id: UUID, tenant: str, *, limit: int) -> list[Delivery]:
        """Deliveries of a job's steps, to endpoints and to its own URL, oldest first."""
        return [_delivery(row) for row in await self._fetch(queries.JOB_DELIVERIES, job_id, tenant, limit)]

    async def of_jobs(self, job_ids: Sequence[UUID]) -> dict[UUID, JobWebhook]:
        """The webhooks that these jobs brought along."""
        rows = await self._fetch(queries.JOB_WEBHOOKS, job_ids)
        return {
            row["job_id"]: JobWebhook(url=row["url"], host=row["host"], events=tuple(row["events"]))
            for row in rows
        }

    async def forget(self, *, deliveries_before: datetime, jobs_before: datetime) -> None:
        """Delete deliveries of before a moment that have ended, and webhooks of jobs that are gone."""
        # Clocks differ, and a job is gone only with its whole day.
        for query, moment in (
            (queries.FORGET_DELIVERIES, deliveries_before),
            (queries.FORGET_JOB_WEBHOOKS, jobs_before + timedelta(days=1)),
        ):
            before = first_id_at(moment)
            while len(await self._fetch(query, before, ROWS_AT_A_TIME)) == ROWS_AT_A_TIME:
                pass

    async def _finish(self, ends: Sequence[TryEnd]) -> Sequence[bool]:
        rows = await self._fetch(
            queries.FINISH_TRIES,
            [end.id for end in ends],
            [end.claim for end in ends],
            [orjson.dumps(end.tried.to_json(), option=orjson.OPT_UTC_Z).decode() for end in ends],
            [end.status for end in ends],
            [end.delay_s for end in ends],
        )
        held = {row["id"] for row in rows}
        return [end.id in held for end in ends]

    async def _fetch(self, query: str, *arguments: Any) -> list[Any]:
        return await self._connections.run(lambda: self._connections.pool.fetch(query, *arguments))


def _secrets(row: Any) -> tuple[str, ...]:
    return tuple(secret for secret in (row["secret"], row["previous_secret"]) if secret is not None)


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(
        id=row["id"],
        tenant=row["tenant"],
        url=row["url"],
        host=row["host"],
        events=tuple(row["events"]),
        model_name=row["model_name"],
        enabled=row["enabled"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        disabled_reason=row["disabled_reason"],
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        url=row["url"],
        event=row["event"],
        at=row["at"],
        job_id=row["job_id"],
        model_name=row["model_name"],
        status=row["status"],
        tries=row["tries"],
        next_at=row["next_at"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        attempts=orjson.loads(row["attempts"]),
    )
