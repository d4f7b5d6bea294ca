"""One real system per run, shared by the tests that need a whole one."""

import pytest

from tests import broker
from tests.system import running


@pytest.fixture(scope="session")
def system():
    with running() as system:
        yield system


@pytest.fixture(scope="session")
def kafka():
    with broker.running_or_skip() as kafka:
        yield kafka
