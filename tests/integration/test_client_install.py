"""The package without the server's dependencies: built, installed alone, and used against a real ingress."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from satellite.settings import REPO_ROOT

UV = Path(sys.executable).with_name("uv")

PROGRAM = """
import asyncio, sys
from satellite import AsyncClient, Client
from satellite.errors import ModelNotFound

with Client() as client:
    submitted = client.submit("moving_average", [1, 2, 3, 4], forecast_steps=2)
    assert [event.status for event in client.stream(submitted)][-1] == "succeeded"
    results = client.map("moving_average", [[1] * 4, [2] * 4], forecast_steps=1)
    assert [result["forecast"] for result in results] == [[1], [2]]
    try:
        client.predict("none", [1])
    except ModelNotFound:
        pass

async def main():
    async with AsyncClient() as client:
        assert (await client.result(submitted))["forecast"] == [2.5, 2.5]

asyncio.run(main())
missing = [name for name in ("numpy", "pydantic", "ray", "torch", "typer") if name in sys.modules]
assert not missing, missing
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    return done.returncode, done.stdout + done.stderr


def uv(*command, **options):
    """Without the network where its cache holds all that is needed."""
    if run(UV, *command, "--offline", "--quiet", **options)[0] != 0:
        code, text = run(UV, *command, "--quiet", **options)
        assert code == 0, text


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a fresh environment that holds the wheel and its base dependencies."""
    if not UV.exists() and "CI" not in os.environ:
        pytest.skip(f"there is no uv beside {sys.executable}")
    folder = tmp_path_factory.mktemp("install")
    environment = folder / "venv"
    uv("build", "--wheel", "--out-dir", folder, REPO_ROOT)
    uv("venv", "--python", sys.executable, environment)
    # As uv.lock has them: what is installed beside this test is in uv's cache.
    locked = ("--frozen", "--no-dev", "--no-install-project", "--project", REPO_ROOT)
    uv("sync", *locked, env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)})
    python = environment / "bin" / "python"
    uv("pip", "install", "--no-deps", "--python", python, *folder.glob("*.whl"))
    uv("pip", "check", "--python", python)
    return python


@pytest.mark.timeout(120)
async def test_the_client_works_alone(node, python, tmp_path):
    environment = {"SATELLITE_URL": node.url, "PATH": os.environ["PATH"]}
    code, text = await asyncio.to_thread(run, python, "-c", PROGRAM, env=environment, cwd=tmp_path)
    assert code == 0, text


def test_the_commands_say_what_to_install(python, tmp_path):
    code, text = run(python.with_name("satellite"), "up", cwd=tmp_path)
    assert (code, "satellite[server]" in text, "Traceback" in text) == (2, True, False)
