"""Where webhooks may go: a URL is taken apart, its name resolved once, every address of it looked at.

Who may give us a URL could otherwise reach, through us, what only we can reach: databases on this network,
the metadata of a cloud, other services on this machine. A name may lead elsewhere the next time, so all of
this is done before every single try, and the connection then goes to the very addresses that were looked at.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import httpx

from satellite.errors import ConfigError, InvalidRequest
from satellite.settings import Settings
from satellite.webhooks.addresses import Address, Network, is_public, meant, parse_address, parse_network
from satellite.webhooks.records import JobWebhook

MAX_URL = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
# For how long whoever registers a receiver waits for its name.
RESOLVE_TIMEOUT_S = 5.0
# Names that are slow to resolve hold a thread each, and shall not hold up others.
RESOLVERS = 32
# How long the URL of a job need not be looked at again. Each try of a delivery looks anew.
JUDGED_S = 30.0
MAX_JUDGED = 1000

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class ForbiddenReceiver(Exception):
    """This is no place where a webhook may go; the message says why."""


class UnknownHost(Exception):
    """The name cannot be resolved now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A URL that has been taken apart."""

    url: httpx.URL
    host: str  # ASCII, in lower case; of an IPv6 address without brackets
    port: int

    @property
    def key(self) -> str:
        """What is sent to at a time is counted by this."""
        return f"{self.host}:{self.port}"

    def at(self, address: Address) -> httpx.URL:
        """The URL with an address in place of the name."""
        return self.url.copy_with(host=str(address))


class Receivers:
    """Decides where webhooks may go.

    Args:
        allow: names of hosts and networks (CIDR) that may be reached although they are not public, on any
            port. `*.example.org` stands for all names that end like it.
        ports: those of public receivers.
        off: whether no new ones are taken.
        resolve: finds the addresses of a name; raises OSError if there are none.

    Raises:
        ConfigError: an entry of `allow` is neither.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        ports: Iterable[int] = (80, 443),
        off: bool = False,
        resolve: Resolve | None = None,
    ) -> None:
        self._off = off
        self._networks: list[Network] = []
        self._names: set[str] = set()
        self._suffixes: list[str] = []
        for entry in allow:
            self._allow(entry.strip().lower())
        self._ports = frozenset(ports)
        self._resolve = resolve or _Resolver().resolve
        # What became of the last URLs: the same one comes with many jobs.
        self._judged: dict[str, tuple[float, Receiver | str]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Receivers:
        """Those that the settings name."""
        off = settings.webhooks == "off"
        return cls(allow=settings.webhook_allow, ports=settings.webhook_ports, off=off)

    def _allow(self, entry: str) -> None:
        network = parse_network(entry)
        if network is not None:
            self._networks.append(network)
        elif entry.startswith("*.") and len(entry) > 2:
            self._suffixes.append(entry[1:])
        elif entry and not set("/: *") & set(entry):
            self._names.add(entry)
        else:
            raise ConfigError(
                f"SATELLITE_WEBHOOK_ALLOW: {entry!r} is neither a host's name nor a network such as "
                "10.1.0.0/16"
            )

    def parse(self, text: str) -> Receiver:
        """Take a URL apart.

        Raises:
            ForbiddenReceiver: no webhook may go there, whatever its name leads to.
        """
        if len(text) > MAX_URL:
            raise ForbiddenReceiver(f"must have at most {MAX_URL} characters")
        if not text.isprintable() or " " in text:
            raise ForbiddenReceiver("must not hold spaces or control characters")
        try:
            url = httpx.URL(text)
            host = url.raw_host.decode("ascii").lower()
        except (httpx.InvalidURL, ValueError):
            raise ForbiddenReceiver("must be a URL such as https://example.org/hook") from None
        if url.scheme not in DEFAULT_PORTS or not host:
            raise ForbiddenReceiver("must be a URL that begins with https:// or http://, and a host")
        if url.userinfo:
            raise ForbiddenReceiver("must not hold a user or a password; check the signature instead")
        if url.fragment:
            raise ForbiddenReceiver("must not have a part after #: it would not be sent")
        if url.port is not None and not 1 <= url.port <= 65535:
            raise ForbiddenReceiver("must be a URL whose port is from 1 to 65535")
        receiver = Receiver(
            url=url, host=host, port=DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        )
        address = parse_address(host)
        if address is not None:
            self._check([address], receiver)
        elif not self._knows(host) and receiver.port not in self._ports and not self._networks:
            raise self._wrong_port()
        return receiver

    async def addresses(self, receiver: Receiver) -> list[Address]:
        """The addresses of a receiver, every one of which may be reached.

        Raises:
            ForbiddenReceiver: one of them may not.
            UnknownHost: there is none.
        """
        address = parse_address(receiver.host)
        if address is None:
            try:
                found = await self._resolve(receiver.host, receiver.port)
            except (OSError, UnicodeError):
                found = ()
            addresses = [address for text in found if (address := parse_address(text)) is not None]
        else:
            addresses = [address]
        if not addresses:
            raise UnknownHost(f"the name {receiver.host} cannot be resolved")
        self._check(addresses, receiver)
        return addresses

    async def admit(self, text: str, pointer: str, *, must_resolve: bool) -> Receiver:
        """Check the URL of a request.

        Args:
            text: the URL.
            pointer: where it stands in the request.
            must_resolve: whether a name that cannot be resolved now is refused; else only one that leads to
                where it must not.

        Raises:
            InvalidRequest: it is refused.
        """
        now_s = time.monotonic()
        until_s, verdict = (0.0, "") if must_resolve else self._judged.get(text, (0.0, ""))
        if now_s >= until_s:
            verdict = await self._judge(text, must_resolve=must_resolve)
            if len(self._judged) >= MAX_JUDGED:
                self._judged.clear()
            if not must_resolve:
                self._judged[text] = now_s + JUDGED_S, verdict
        if isinstance(verdict, str):
            raise InvalidRequest(f"{pointer}: {verdict}", errors=[{"pointer": pointer, "detail": verdict}])
        return verdict

    async def of_job(self, webhook: JobWebhook) -> JobWebhook:
        """Check the webhook that comes with a job.

        Raises:
            InvalidRequest: it is refused.
        """
        if webhook.host:  # checked already, for the job that this one repeats
            return webhook
        # A name that cannot be resolved now may well be when the job has ended.
        receiver = await self.admit(webhook.url, "/webhook/url", must_resolve=False)
        return replace(webhook, host=receiver.key)

    async def admit_all(self, texts: Iterable[str]) -> None:
        """Look at many URLs at the same time, so that `admit` knows about each."""
        await asyncio.gather(
            *(self.admit(text, "", must_resolve=False) for text in set(texts)), return_exceptions=True
        )

    async def _judge(self, text: str, *, must_resolve: bool) -> Receiver | str:
        """The receiver, or why it is none."""
        if self._off:
            return "webhooks are off here (SATELLITE_WEBHOOKS)"
        try:
            receiver = self.parse(text)
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                await self.addresses(receiver)
        except (UnknownHost, TimeoutError):
            receiver = self.parse(text)
            if must_resolve:
                return f"the name {receiver.host} cannot be resolved; is it spelled right?"
        except ForbiddenReceiver as error:
            return str(error)
        return receiver

    def _check(self, addresses: Sequence[Address], receiver: Receiver) -> None:
        if self._knows(receiver.host):
            return
        for address in addresses:
            if any(meant(address) in network for network in self._networks):
                continue
            if not is_public(address):
                # Which address it is would tell of our network.
                raise ForbiddenReceiver(
                    f"{receiver.host} is not on the public internet; whoever runs this system can allow it "
                    "(SATELLITE_WEBHOOK_ALLOW)"
                )
            if receiver.port not in self._ports:
                raise self._wrong_port()

    def _knows(self, host: str) -> bool:
        return host in self._names or any(host.endswith(suffix) for suffix in self._suffixes)

    def _wrong_port(self) -> ForbiddenReceiver:
        ports = ", ".join(map(str, sorted(self._ports)))
        return ForbiddenReceiver(f"must use one of the ports {ports} (SATELLITE_WEBHOOK_PORTS)")


class _Resolver:
    """The machine's own resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="webhook-names")
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
