"""Programs of Debian that tests start: where they are, and what their absence means."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program. Without it a test is skipped; under CI that is an error."""
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if found is None:
        message = f"{name} is missing: apt install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
