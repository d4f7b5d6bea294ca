"""`satellite keys`: API keys, made and ended by whoever can reach the database, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from satellite.cli.commands.options import AsJson
from satellite.cli.console import foreseen_errors, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from satellite.access.callers import Scope
    from satellite.access.issuing import Issuer
    from satellite.access.keys import ApiKey
    from satellite.settings import Settings
    from satellite.store.keys import KeyStore

    T = TypeVar("T")

keys = typer.Typer(help="API keys, and who has done what.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="Its id, see `satellite keys list`; or the whole key.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")]

SCOPES = ("read", "submit")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="To tell it from others, such as `forecast-page`.")],
    tenant: Annotated[str, typer.Option(help="Whose jobs it makes and sees.")] = "default",
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, submit or admin; may be repeated. Default: read and submit."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="It ends after so many days; default: never.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per second, on all ingresses.")] = None,
    burst: Annotated[int | None, typer.Option(help="So many at once, after a pause.")] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(help="Open requests and sockets, on each ingress.")
    ] = None,
    max_queued: Annotated[int | None, typer.Option(help="Jobs of the tenant that have not ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It cannot be shown again."""
    with foreseen_errors(as_json=as_json):
        from datetime import UTC, timedelta

        from satellite.access.callers import Limits

        limits = Limits(
            requests_per_s=rate, burst=burst, max_concurrent=max_concurrent, max_queued=max_queued
        )
        scopes = _scopes(scope or SCOPES)
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
        settings = load_settings()
        key, text = _issue(
            settings,
            lambda issuer: issuer.create(
                tenant=tenant, name=name, scopes=scopes, expires_at=expires_at, limits=limits
            ),
        )
        _show_new(settings, key, text, as_json=as_json)


@keys.command("list")
def list_(tenant: Tenant = None, as_json: AsJson = False) -> None:
    """List the keys, oldest first; what they are is not stored."""
    with foreseen_errors(as_json=as_json):
        from rich.table import Table

        from satellite.cli.console import console, print_json

        found = _ask(load_settings(), lambda store: store.list(tenant))
        if as_json:
            print_json([_described(key) for key in found])
            return
        if not found:
            console.print("No keys: `satellite keys create NAME` makes one.")
            return
        table = Table(box=None, pad_edge=False)
        for title in ("Key", "Name", "Tenant", "Scopes", "State", "Made", "Ends", "Last used", "Limits"):
            table.add_column(title, overflow="fold")
        for key in found:
            times = (key.created_at, key.expires_at, key.last_used_at)
            table.add_row(
                key.id,
                key.name,
                key.tenant,
                " ".join(key.scopes),
                key.state,
                *(_moment(at) for at in times),
                _limits(key),
            )
        console.print(table)


@keys.command()
def revoke(key: KeyId, as_json: AsJson = False) -> None:
    """End a key at once: calls with it are refused, and its open sockets closed."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli.console import console, print_json

        ended = _issue(load_settings(), lambda issuer: issuer.revoke(key))
        console.print(f"Revoked: {ended.id} ({ended.name}, of {ended.tenant}).")
        if as_json:
            print_json({"id": ended.id, "revoked": True})


@keys.command()
def rotate(
    key: KeyId,
    overlap_hours: Annotated[float, typer.Option(min=0, help="For so long the old one works, too.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Make a key like another one and print it; the old one ends after a day."""
    with foreseen_errors(as_json=as_json):
        settings = load_settings()
        made, text = _issue(settings, lambda issuer: issuer.rotate(key, overlap_s=overlap_hours * 3600))
        _show_new(settings, made, text, as_json=as_json)


@keys.command()
def audit(
    tenant: Tenant = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Lines at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who has made and ended keys, and changed what touches all tenants; newest first."""
    with foreseen_errors(as_json=as_json):
        import json
        from dataclasses import asdict

        from rich.table import Table

        from satellite.cli.console import console, print_json

        entries = _ask(load_settings(), lambda store: store.audited(tenant=tenant, limit=limit))
        if as_json:
            print_json([asdict(entry) for entry in entries])
            return
        table = Table(box=None, pad_edge=False)
        for title in ("At", "Who", "Tenant", "What", "To", "Details"):
            table.add_column(title, overflow="fold")
        for entry in entries:
            details = json.dumps(entry.details) if entry.details else ""
            table.add_row(
                _moment(entry.at), entry.actor, entry.tenant or "", entry.action, entry.target, details
            )
        console.print(table if entries else "Nothing yet.")


def _issue(settings: Settings, work: Callable[[Issuer], Awaitable[T]]) -> T:
    """Do something to keys, and tell the ingresses."""
    from satellite.access.issuing import Issuer

    key_secret = find_key_secret(settings)
    done = _ask(settings, lambda store: work(Issuer(store, key_secret)))
    _wake(settings)
    return done


def _ask(settings: Settings, work: Callable[[KeyStore], Awaitable[T]]) -> T:
    from satellite.cli.db import find_database, run
    from satellite.store import migrate
    from satellite.store.connection import Connections
    from satellite.store.keys import KeyStore

    url = find_database(settings)

    async def ask() -> T:
        await migrate.upgrade(url)
        connections = await Connections.open(url, pool_size=2)
        try:
            return await work(KeyStore(connections))
        finally:
            await connections.close()

    return run(url, ask())


def find_key_secret(settings: Settings) -> bytes:
    """What keys are hashed with: what is set, else what `satellite up` keeps in its home.

    Raises:
        ConfigError: neither is there. A secret of its own would make keys that no ingress knows.
    """
    from satellite.cli.embedded import Secrets
    from satellite.cli.state import Paths
    from satellite.errors import ConfigError

    if settings.key_secret is not None:
        return settings.key_secret.get_secret_value().encode()
    paths = Paths(settings.home)
    if settings.database_url is not None and not paths.secrets.exists():
        raise ConfigError("SATELLITE_KEY_SECRET is not set: set it to that of the ingresses")
    return Secrets.of(paths).keys.encode()


def _wake(settings: Settings) -> None:
    """Tell the ingresses to look at once; without it they look every two seconds."""
    import contextlib
    import json

    from redis import Redis
    from redis.exceptions import RedisError

    from satellite.cli.lifecycle import running_state
    from satellite.cli.state import Paths
    from satellite.events import CONTROL, Wake

    url = settings.redis_url
    if url is None:
        state = running_state(Paths(settings.home))
        url = state.redis_url if state else None
    if url:
        with contextlib.suppress(RedisError, OSError), Redis.from_url(url, socket_timeout=1) as redis:
            redis.publish(CONTROL, json.dumps(["cli", Wake.KEYS, ""]))


def _scopes(names: list[str] | tuple[str, ...]) -> list[Scope]:
    from satellite.access.callers import Scope
    from satellite.errors import ConfigError

    try:
        return [Scope(name) for name in names]
    except ValueError as error:
        raise ConfigError(f"--scope: {error}; there are {', '.join(Scope)}") from None


def _show_new(settings: Settings, key: ApiKey, text: str, *, as_json: bool) -> None:
    from satellite.cli.console import console, note, print_json

    if as_json:
        print_json({**_described(key), "key": text})
        return
    print(text)
    console.print(
        f"Keep it: it is not shown again. Callers send it as `Authorization: Bearer {text[:16]}...`"
    )
    if not settings.keys:
        note("keys are off here (SATELLITE_KEYS): it is asked for where they are on")


def _described(key: ApiKey) -> dict[str, object]:
    from dataclasses import asdict

    found = asdict(key)
    del found["digest"]
    return {**found, "state": key.state}


def _limits(key: ApiKey) -> str:
    limits = key.limits
    parts = (
        f"{limits.requests_per_s:g}/s" if limits.requests_per_s else "",
        f"burst {limits.burst}" if limits.burst else "",
        f"{limits.max_concurrent} open" if limits.max_concurrent else "",
        f"{limits.max_queued} jobs" if limits.max_queued else "",
    )
    return ", ".join(filter(None, parts))


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}" if at else ""
