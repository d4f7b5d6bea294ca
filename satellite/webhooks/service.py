"""What a process runs that sends webhooks: the outbox and the sender."""

from __future__ import annotations

from satellite.events import EventHub, Wake
from satellite.settings import Settings
from satellite.store import Store
from satellite.webhooks.outbox import Outbox
from satellite.webhooks.post import Poster
from satellite.webhooks.receivers import Receivers
from satellite.webhooks.sender import Sender


class Webhooks:
    """Sends webhooks; in the ingress, or in a deployment of its own.

    Args:
        store: where everything is. Closed by whoever opened it, as `events`.
        events: says when there is something to do.
        settings: the settings.
        receivers: where webhooks may go; left out: what the settings say.
    """

    def __init__(
        self, store: Store, events: EventHub, settings: Settings, *, receivers: Receivers | None = None
    ) -> None:
        self._events = events
        self._poster = Poster(
            receivers or Receivers.of(settings),
            timeout_s=settings.webhook_timeout_s,
            ca_file=settings.webhook_ca_file,
        )
        self.sender = Sender(
            store,
            self._poster,
            timeout_s=settings.webhook_timeout_s,
            retries_s=settings.webhook_retries_s,
            concurrency=settings.webhook_concurrency,
            per_host=settings.webhook_host_concurrency,
            max_bytes=settings.webhook_max_bytes,
        )
        self.outbox = Outbox(
            store,
            self.sender.wake,
            retention_days=settings.webhook_retention_days,
            job_retention_days=settings.retention_days,
        )

    def start(self) -> None:
        """Begin to send."""
        self._events.on_wake(Wake.LOG, self.outbox.grew)
        self._events.on_wake(Wake.WEBHOOK, self.outbox.ask)
        self._events.on_wake(Wake.WEBHOOK, self.sender.wake)
        self.outbox.start()
        self.sender.start()

    async def close(self) -> None:
        """Stop, once what is being sent has been answered."""
        await self.outbox.close()
        await self.sender.close()
        await self._poster.close()
