"""One real system per run, shared by the tests that need a whole one."""

import pytest

from tests.system import running


@pytest.fixture(scope="session")
def system():
    with running() as system:
        yield system
