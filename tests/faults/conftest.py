"""The session's system, lent to the fault tests: with the probe and a second ingress, given back as found."""

import asyncio

import pytest

from tests.faults.run import add_probe, prepare, remove_audit


@pytest.fixture(scope="module")
async def features(system):
    add_probe(system)
    await asyncio.to_thread(system.deploy)
    yield await prepare(system)
    await remove_audit(system)
    system.give_back()
