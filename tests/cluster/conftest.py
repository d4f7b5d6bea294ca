"""The session's system over HTTP."""

import httpx
import pytest


@pytest.fixture
def http(system):
    with httpx.Client(base_url=system.url, timeout=60) as client:
        yield client
