"""Programs of Debian that tests start: where they are, and what their absence means."""

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str, package: str) -> str:
    """The path of a program. Without it a test is skipped; under CI that is an error."""
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    return found or missing(f"{name} is missing: apt install {package}")


def missing(message: str) -> NoReturn:
    """Skip the test; under CI that is an error."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
