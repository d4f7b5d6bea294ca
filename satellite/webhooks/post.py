"""One try: a POST to the very address that was looked at, and what the receiver makes of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

import httpx

from satellite import __version__
from satellite.webhooks.addresses import Address
from satellite.webhooks.receivers import ForbiddenReceiver, Receiver, Receivers, UnknownHost
from satellite.webhooks.records import Tried
from satellite.webhooks.signing import signed_headers

# A receiver that asks for more is asked again after this.
MAX_RETRY_AFTER_S = 86400.0
NO_CONNECTION = "no connection"


class Poster:
    """Sends messages.

    Args:
        receivers: where they may go.
        timeout_s: for a whole try, from the look-up of the name to the receiver's status.
        ca_file: certificates to trust beside the usual ones.
    """

    def __init__(self, receivers: Receivers, *, timeout_s: float, ca_file: Path | None = None) -> None:
        self._receivers = receivers
        self._timeout_s = timeout_s
        trusted = httpx.create_ssl_context()
        if ca_file is not None:
            trusted.load_verify_locations(ca_file)
        self._http = httpx.AsyncClient(
            verify=trusted,
            trust_env=False,  # no proxies: they would look the name up once more, and go elsewhere
            follow_redirects=False,
            # Less for one address: there may be another.
            timeout=httpx.Timeout(timeout_s, connect=timeout_s / 3),
            # No connection is used again: it is known by its address, and another name may lead there, too.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Break off what is being sent."""
        await self._http.aclose()

    async def post(self, url: str, message_id: str, body: bytes, *, secrets: Sequence[str]) -> Tried:
        """Try once. Never raises: what happens is what is told."""
        at, began = datetime.now(UTC), time.monotonic()

        def tried(
            error: str | None,
            status_code: int | None = None,
            retry_after_s: float | None = None,
            is_final: bool = False,
        ) -> Tried:
            return Tried(
                at=at,
                duration_s=time.monotonic() - began,
                status_code=status_code,
                error=error,
                retry_after_s=retry_after_s,
                is_final=is_final,
            )

        try:
            async with asyncio.timeout(self._timeout_s):
                receiver = self._receivers.parse(url)
                addresses = await self._receivers.addresses(receiver)
                headers = signed_headers(message_id, int(at.timestamp()), body, secrets=secrets)
                answer = await self._send(receiver, addresses, headers, body)
        except httpx.ConnectTimeout:
            return tried(NO_CONNECTION)
        except (TimeoutError, httpx.TimeoutException):
            return tried(f"no answer within {self._timeout_s:g} s")
        except (ForbiddenReceiver, UnknownHost) as error:
            return tried(str(error))
        except httpx.HTTPError as error:
            return tried(_failure(error))
        if answer.is_success:
            return tried(None, answer.status_code)
        return tried(
            _refusal(answer),
            answer.status_code,
            _retry_after_s(answer, at),
            is_final=answer.status_code == HTTPStatus.GONE,
        )

    async def _send(
        self, receiver: Receiver, addresses: Sequence[Address], headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        """POST to the first address that takes a connection."""
        for number, address in enumerate(addresses, 1):
            request = self._http.build_request(
                "POST",
                receiver.at(address),
                content=body,
                headers={
                    **headers,
                    "Host": receiver.url.netloc.decode("ascii"),
                    "Content-Type": "application/json",
                    "User-Agent": f"Satellite/{__version__}",
                    "Accept-Encoding": "identity",
                },
                # TLS asks for the name, and holds the certificate against it, not against the address.
                extensions={"sni_hostname": receiver.host},
            )
            try:
                answer = await self._http.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses):
                    raise
                continue
            await answer.aclose()  # what else it says is not read
            return answer
        raise httpx.ConnectError("it has no address")


def _failure(error: httpx.HTTPError) -> str:
    """What went wrong, without the address: that would tell of our network."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {getattr(cause, 'verify_message', None) or cause.reason or 'no agreement'}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return NO_CONNECTION
    return f"the connection broke ({type(error).__name__})"


def _refusal(answer: httpx.Response) -> str:
    if answer.is_redirect or answer.has_redirect_location:
        return "it answered with a redirect, which is not followed"
    try:
        return f"it answered {HTTPStatus(answer.status_code).phrase}"
    except ValueError:
        return "it answered with an unknown status"


def _retry_after_s(answer: httpx.Response, now: datetime) -> float | None:
    """What `Retry-After` of a 429 or 503 asks for, in seconds or as a date."""
    text = answer.headers.get("retry-after", "").strip()
    if answer.status_code not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) or not text:
        return None
    if text.isascii() and text.isdigit():
        wanted_s = float(text[:9])
    else:
        try:
            moment = parsedate_to_datetime(text)
            wanted_s = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(wanted_s, 0.0), MAX_RETRY_AFTER_S)
