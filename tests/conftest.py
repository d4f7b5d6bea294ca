"""One real system and one Kafka per run, shared by the tests that need a whole one."""

import contextlib
import os
import warnings

import pytest

from tests import broker
from tests.system import System, running

pytest_plugins = ("tests.recording",)


def _with_webhooks(system):
    """As in production, sent by a deployment of their own; to receivers on this machine."""
    system.env |= {"SATELLITE_WEBHOOKS": "deployment", "SATELLITE_WEBHOOK_ALLOW": "127.0.0.1"}


@pytest.fixture(scope="session")
def kafka_or_why_not():
    """A broker, or why there can be none here; in CI there must be one."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(broker.running())
        except broker.BrokerUnavailable as error:
            if os.environ.get("CI"):
                raise
            found = str(error)
        yield found


@pytest.fixture(scope="session")
def kafka(kafka_or_why_not):
    if isinstance(kafka_or_why_not, str):
        pytest.skip(f"no Kafka: {kafka_or_why_not}")
    return kafka_or_why_not


SYSTEM = pytest.StashKey[System]()


@pytest.fixture(scope="session")
def system(kafka_or_why_not, request):
    kafka = None if isinstance(kafka_or_why_not, str) else kafka_or_why_not
    with running(_with_webhooks, kafka=kafka) as system:
        request.session.stash[SYSTEM] = system
        yield system


@pytest.fixture(scope="module", autouse=True)
def _as_shipped(request):
    """Files find the system as shipped, but for those with `DEPLOYS`: they deploy over what is there."""
    system = request.session.stash.get(SYSTEM, None)
    if system is not None and not getattr(request.module, "DEPLOYS", False):
        mine = (item for item in request.session.items if item.path == request.path)
        if any("system" in item.fixturenames for item in mine):
            system.restore()


def pytest_unconfigure():
    # What the garbage collector finds once all tests have ended is nobody's failure: it goes to the log.
    warnings.simplefilter("default", pytest.PytestUnraisableExceptionWarning)
