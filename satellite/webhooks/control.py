"""What callers do with webhooks: register receivers, look at deliveries, send them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from satellite.errors import (
    DeliveryNotFound,
    JobNotFound,
    WebhookDisabled,
    WebhookLimit,
    WebhookNotFound,
)
from satellite.events import Wake
from satellite.service import Service
from satellite.settings import Settings
from satellite.webhooks.records import DEFAULT_EVENTS, TEST_EVENT, Delivery, Endpoint
from satellite.webhooks.signing import new_secret

# For how long the secret before signs along, so that receivers can change over.
OVERLAP_S = 86400.0
# Of one job: its steps times the endpoints that want them.
MAX_OF_JOB = 1000


class WebhookControl:
    """Commands on webhooks, for one ingress.

    Args:
        service: the ingress.
        settings: its settings.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._webhooks = service.store.webhooks

    async def register(
        self,
        tenant: str,
        *,
        url: str,
        events: Sequence[str] = DEFAULT_EVENTS,
        model_name: str | None = None,
        enabled: bool = True,
    ) -> tuple[Endpoint, str]:
        """Add an endpoint.

        Returns:
            It, and the secret that signs its messages: shown this once.

        Raises:
            InvalidRequest: no webhook may go to this URL, or webhooks are off.
            ModelNotFound: there is no such model.
            WebhookLimit: there are enough already.
        """
        self._check_model(model_name)
        receiver = await self._service.receivers.admit(url, "/url", must_resolve=True)
        secret = new_secret()
        endpoint = Endpoint(
            id=uuid7(),
            tenant=tenant,
            url=url,
            host=receiver.key,
            events=tuple(events),
            model_name=model_name,
            enabled=enabled,
            created_at=datetime.now(UTC),
            disabled_at=None,
            disabled_reason=None,
        )
        at_most = self._settings.webhook_max_endpoints
        added = await self._webhooks.add_endpoint(endpoint, secret=secret, at_most=at_most)
        if added is None:
            raise WebhookLimit(
                f"there are {at_most} endpoints, and no more are allowed (SATELLITE_WEBHOOK_MAX_ENDPOINTS); "
                "delete one first"
            )
        self._service.events.wake(Wake.WEBHOOK)
        return added, secret

    async def endpoints(self, tenant: str) -> list[Endpoint]:
        """All endpoints of a tenant, oldest first."""
        return await self._webhooks.list_endpoints(tenant)

    async def get(self, endpoint_id: UUID, tenant: str) -> Endpoint:
        """One endpoint.

        Raises:
            WebhookNotFound: there is none.
        """
        endpoint = await self._webhooks.get_endpoint(endpoint_id, tenant)
        if endpoint is None:
            raise _no_endpoint(endpoint_id)
        return endpoint

    async def change(self, endpoint_id: UUID, tenant: str, edits: dict[str, Any]) -> Endpoint:
        """Change an endpoint.

        Args:
            endpoint_id: the endpoint.
            tenant: whose it is.
            edits: any of `url`, `events`, `model_name` and `enabled`.

        Raises:
            WebhookNotFound, InvalidRequest, ModelNotFound: it stays as it is.
        """
        endpoint = await self.get(endpoint_id, tenant)
        if "url" in edits:
            receiver = await self._service.receivers.admit(edits["url"], "/url", must_resolve=True)
            edits = {**edits, "host": receiver.key}
        self._check_model(edits.get("model_name"))
        changed = await self._webhooks.change_endpoint(replace(endpoint, **edits), reason="disabled by hand")
        if changed is None:
            raise _no_endpoint(endpoint_id)
        self._service.events.wake(Wake.WEBHOOK)
        return changed

    async def delete(self, endpoint_id: UUID, tenant: str) -> None:
        """Delete an endpoint, with the log of its deliveries.

        Raises:
            WebhookNotFound: there is none.
        """
        if not await self._webhooks.delete_endpoint(endpoint_id, tenant):
            raise _no_endpoint(endpoint_id)

    async def rotate(self, endpoint_id: UUID | None, tenant: str) -> tuple[str, datetime | None]:
        """Make a new secret, of an endpoint or (None) of the URLs that jobs bring along.

        Returns:
            It, and until when the one before signs too.

        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        secret = new_secret()
        if endpoint_id is None:
            until = await self._webhooks.rotate_job_secret(tenant, secret, overlap_s=OVERLAP_S)
            return secret, until
        until = await self._webhooks.rotate_endpoint_secret(endpoint_id, tenant, secret, overlap_s=OVERLAP_S)
        if until is None:
            raise _no_endpoint(endpoint_id)
        return secret, until

    async def test(self, endpoint_id: UUID, tenant: str) -> Delivery:
        """Send a test event, even to an endpoint that is disabled.

        Raises:
            WebhookNotFound: there is none.
        """
        delivery = await self._webhooks.add_test(endpoint_id, tenant, TEST_EVENT)
        if delivery is None:
            raise _no_endpoint(endpoint_id)
        self._service.events.wake(Wake.WEBHOOK)
        return delivery

    async def deliveries(
        self, endpoint_id: UUID, tenant: str, *, before: UUID | None, status: str | None, limit: int
    ) -> list[Delivery]:
        """Deliveries to an endpoint, newest first.

        Raises:
            WebhookNotFound: there is no such endpoint.
        """
        await self.get(endpoint_id, tenant)
        return await self._webhooks.endpoint_deliveries(
            endpoint_id, tenant, before=before, status=status, limit=limit
        )

    async def of_job(self, job_id: UUID, tenant: str) -> list[Delivery]:
        """Deliveries of a job's steps, oldest first.

        Raises:
            JobNotFound: there is no such job.
        """
        found = await self._webhooks.job_deliveries(job_id, tenant, limit=MAX_OF_JOB)
        if not found and await self._service.store.get(job_id, tenant) is None:
            raise JobNotFound(f"there is no job {job_id}")
        return found

    async def redeliver(
        self,
        delivery_id: UUID,
        tenant: str,
        *,
        endpoint_id: UUID | None = None,
        job_id: UUID | None = None,
    ) -> Delivery:
        """Send a delivery again, with the same `webhook-id`: at once, and with all its tries.

        Args:
            delivery_id: the delivery.
            tenant: whose it is.
            endpoint_id: where it goes; None: to the URL that the job has brought along.
            job_id: the job, where there is no endpoint.

        Raises:
            WebhookNotFound, DeliveryNotFound: there is none.
            WebhookDisabled: the endpoint is disabled.
        """
        if endpoint_id is not None and not (await self.get(endpoint_id, tenant)).enabled:
            raise WebhookDisabled(f"endpoint {endpoint_id} is disabled; enable it first")
        delivery = await self._webhooks.redeliver(delivery_id, tenant, endpoint_id=endpoint_id, job_id=job_id)
        if delivery is None:
            raise DeliveryNotFound(
                f"there is no delivery {delivery_id} "
                + (f"to the URL of job {job_id}" if endpoint_id is None else f"to endpoint {endpoint_id}")
            )
        self._service.events.wake(Wake.WEBHOOK)
        return delivery

    def _check_model(self, model_name: str | None) -> None:
        if model_name is not None:
            self._service.catalog.find(model_name)


def _no_endpoint(endpoint_id: UUID) -> WebhookNotFound:
    return WebhookNotFound(f"there is no webhook endpoint {endpoint_id}")
