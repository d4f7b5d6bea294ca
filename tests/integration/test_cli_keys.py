"""`satellite keys` against a real PostgreSQL, and an ingress that asks for what it makes."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from satellite.cli.main import app

from .keyed import KEY_SECRET, bearer, serve_keyed
from .test_keys import ME


@pytest.fixture
async def keyed(database_url, redis):
    async with serve_keyed(database_url, redis.url) as node:
        yield node


@pytest.fixture
def command(database_url, redis, monkeypatch, tmp_path):
    """Runs one command in a thread; its exit code and output."""
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis.url,
        "KEY_SECRET": KEY_SECRET,
        "KEYS": "on",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"SATELLITE_{name}", value)

    async def run(*arguments):
        done = await asyncio.to_thread(CliRunner().invoke, app, ["keys", *arguments])
        return done.exit_code, done.stdout, done.stderr

    return run


async def me(node, key):
    return await node.http.get(ME, headers=bearer(key))


async def test_a_key_from_its_making_to_its_end(keyed, command):
    code, out, _ = await command("create", "first", "--tenant", "acme", "--scope", "read", "--days", "30")
    assert code == 0
    key = out.splitlines()[0]
    found = (await me(keyed, key)).json()
    assert (found["tenant"], found["scopes"], found["key_name"]) == ("acme", ["read"], "first")
    assert found["expires_at"] is not None

    code, out, _ = await command("list", "--json")
    (listed,) = json.loads(out)
    assert (listed["id"], listed["state"], listed["name"]) == (found["key_id"], "active", "first")
    assert key not in out and "digest" not in listed

    code, out, _ = await command("rotate", found["key_id"], "--overlap-hours", "0", "--json")
    assert code == 0
    newer = json.loads(out)
    assert (await me(keyed, newer["key"])).json()["tenant"] == "acme"
    assert (await me(keyed, key)).status_code == 401

    code, out, _ = await command("revoke", newer["key"])
    assert code == 0 and newer["id"] in out
    async with asyncio.timeout(1):  # Redis tells it: sooner than the ingress looks by itself
        while (await me(keyed, newer["key"])).status_code != 401:
            await asyncio.sleep(0.02)

    code, out, _ = await command("audit", "--json")
    entries = json.loads(out)
    assert [entry["action"] for entry in entries] == ["key.revoke", "key.rotate", "key.create"]
    assert all(entry["tenant"] == "acme" and entry["actor"].startswith("cli:") for entry in entries)
    code, out, _ = await command("list")
    assert "revoked" in out and "expired" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "x", "--tenant", "No Name"), "no name for a tenant"),
        (("create", "x", "--scope", "write"), "read, submit, admin"),
        (("create", "x", "--burst", "5"), "requests per second"),
        (("create", "x", "--rate", "-1"), "must be more than 0"),
        (("create", ""), "needs a name"),
        (("revoke", "nothing"), "satellite keys list"),
        (("rotate", "nothing"), "satellite keys list"),
    ],
)
async def test_what_cannot_be_is_said(command, arguments, said):
    code, out, err = await command(*arguments)
    assert code != 0 and said in err and not out


async def test_without_the_systems_secret_no_key_is_made(command, monkeypatch):
    monkeypatch.delenv("SATELLITE_KEY_SECRET")
    code, _, err = await command("create", "x")
    assert code == 2 and "SATELLITE_KEY_SECRET" in err
