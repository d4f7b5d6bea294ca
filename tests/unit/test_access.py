"""What decides about access and needs no server: rules, exposure, tickets, texts of keys."""

import pytest

from satellite.access.callers import Scope
from satellite.access.exposure import check_exposure, check_key_secret, is_loopback
from satellite.access.keys import digest_of, id_of, new_key
from satellite.access.rules import is_open, needed_scopes
from satellite.api.guard import _is_here
from satellite.errors import ConfigError
from satellite.settings import Settings

SECRET = b"s" * 32


def test_a_key_is_256_bits_and_known_by_its_id():
    key_id, text, digest = new_key(SECRET)
    assert id_of(text) == key_id and text.startswith(f"sat_{key_id}_")
    assert len(text.rpartition(f"{key_id}_")[2]) == 43  # 256 bits in base64
    assert digest_of(text, SECRET) == digest != digest_of(text, b"t" * 32)
    assert len({new_key(SECRET)[1] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["", "sat_", "sat_x_y", f"sat_{'a' * 12}_{'A' * 42}", "x" * 10**6, "sat_\x00"]
)
def test_what_is_no_key(text):
    assert id_of(text) is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/jobs"),
        ("GET", "/v2"),
        ("GET", "/v2/models/a"),
        ("GET", "/api/v9/new"),
        ("GET", "/a/b"),
        ("POST", "/"),
        ("POST", "/health"),
        ("DELETE", "/docs"),
        ("GET", "/assetsx/y"),
        ("GET", "//api/v1/jobs"),
    ],
)
def test_what_nobody_has_opened_is_closed(method, path):
    assert not is_open(method, path)


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready", "/docs", "/assets/x.js", "/favicon.svg"])
def test_what_is_open(path):
    assert is_open("GET", path) and is_open("HEAD", path)


def test_what_touches_all_tenants_needs_admin():
    assert needed_scopes("POST", "/api/v1/models/m/default") == {Scope.ADMIN}
    assert needed_scopes("DELETE", "/api/v1/models/m/versions/1/load") == {Scope.ADMIN}
    assert needed_scopes("POST", "/api/v1/something/new") == {Scope.SUBMIT}


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_without_keys_only_loopback(host, here):
    assert is_loopback(host) is here
    check_exposure(Settings(keys=True, key_secret="k" * 32), host)
    if here:
        check_exposure(Settings(), host)
    else:
        with pytest.raises(ConfigError, match="SATELLITE_KEYS=on"):
            check_exposure(Settings(), host)


def test_keys_need_a_secret():
    check_key_secret(Settings())
    with pytest.raises(ConfigError, match="SATELLITE_KEY_SECRET"):
        check_key_secret(Settings(keys=True))


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("a.localhost", True),
        ("127.0.0.1:80", True),
        ("[::1]:80", True),
        ("[::1]", True),
        ("192.168.0.7", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[evil", False),
        ("", False),
    ],
)
def test_names_that_can_be_made_to_lead_here(host, here):
    assert _is_here(host) is here
