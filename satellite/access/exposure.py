"""Who can reach this system: without keys, nobody but this machine may."""

from __future__ import annotations

import ipaddress

from satellite.errors import ConfigError
from satellite.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether what listens on this address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: Settings, host: str) -> None:
    """Check that who listens beyond this machine asks for keys.

    Args:
        settings: whether keys are on.
        host: the address that the API listens on.

    Raises:
        ConfigError: everybody could do everything.
    """
    if not settings.keys and not is_loopback(host):
        raise ConfigError(
            f"the API listens on {host}, where others reach it, and API keys are off: set SATELLITE_KEYS=on "
            "and SATELLITE_KEY_SECRET (then `satellite keys create NAME`), or listen on 127.0.0.1"
        )


def check_key_secret(settings: Settings) -> None:
    """Check that keys can be checked, if they are on.

    Raises:
        ConfigError: there is nothing to hash them with.
    """
    if settings.keys and settings.key_secret is None:
        raise ConfigError(
            "SATELLITE_KEYS is on, and SATELLITE_KEY_SECRET is not set: set it to 32 characters or more, the "
            "same on every node (`openssl rand -hex 32` makes one)"
        )
