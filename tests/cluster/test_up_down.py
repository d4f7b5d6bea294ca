"""`satellite up` and `down` for real: what they start, what listens, and that nothing stays behind.

Every test has a home and ports of its own, so it runs beside any other Satellite on the machine.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil
import pytest

from satellite.cli.processes import find_run
from satellite.cli.state import Paths, State, lock_is_free, read_state

SATELLITE = str(Path(sys.executable).with_name("satellite"))
SYSTEM_BYTES = 4 * 1024**3

APP = """
from ray import serve
from starlette.responses import JSONResponse


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Echo:
    async def __call__(self, request):
        return JSONResponse({"path": request.url.path})


def build(args):
    return Echo.bind()


def build_bad(args):
    raise RuntimeError("the weights are missing")
"""


@dataclass(kw_only=True)
class Home:
    """One home with its ports, and a tiny Serve app to run in it."""

    folder: Path
    config: Path
    environment: dict[str, str]

    @property
    def paths(self) -> Paths:
        return Paths(self.folder)

    @property
    def state(self) -> State:
        state = read_state(self.paths)
        assert state is not None
        return state

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [SATELLITE, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Where pytest itself runs in the background, SIGINT is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # type: ignore[func-returns-value]
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.popen(*arguments)
        output, _ = process.communicate(timeout=150)
        return process.returncode, output

    def up(self) -> State:
        code, output = self.run("up", "--config", str(self.config))
        assert code == 0, output
        return self.state

    def wait_for(self, condition: str, timeout_s: float = 30) -> State:
        """Waits for `run/state.json` to say something: an expression over `state`."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            state = read_state(self.paths)
            if state is not None and eval(condition, {"state": state}):
                return state
            time.sleep(0.05)
        raise AssertionError(f"{condition} did not come true")

    def assert_nothing_left(self, state: State, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        roots = [part.process for part in state.parts.values() if part.process]
        roots += [state.guard] if state.guard else []
        while True:
            left = find_run(state.run_id, session=state.supervisor, roots=roots)
            gone = read_state(self.paths) is None and lock_is_free(self.paths)
            if not left and gone:
                return
            assert time.monotonic() < deadline, (left, read_state(self.paths))
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def make_home() -> Iterator[Home]:
    # Not pytest's folder: unix sockets need a short path, and PostgreSQL's user must be able to get there.
    folder = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))
    app_folder = folder / "app"
    app_folder.mkdir()
    module = f"app_{folder.name}"
    (app_folder / f"{module}.py").write_text(APP)
    config = app_folder / "serve.yaml"
    application = {"name": "tiny", "route_prefix": "/", "import_path": f"{module}:build"}
    config.write_text(json.dumps({"applications": [application]}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SATELLITE_")}
    environment |= {
        "SATELLITE_HOME": str(folder / "h"),
        "SATELLITE_HTTP_PORT": str(free_port()),
        "SATELLITE_DASHBOARD_PORT": str(free_port()),
    }
    home = Home(folder=folder / "h", config=config, environment=environment)
    try:
        yield home
    finally:
        home.run("down")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home() -> Iterator[Home]:
    with make_home() as made:
        yield made


def listening(state: State) -> dict[str, str]:
    """Every TCP address on which a process of the run listens, and who does."""
    roots = [part.process for part in state.parts.values() if part.process]
    found: dict[str, str] = {}
    for process in find_run(state.run_id, session=state.supervisor, roots=roots):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found[f"{connection.laddr.ip} {connection.laddr.port}"] = process.name()
    return found


def is_loopback(address: str) -> bool:
    ip = ip_address(address.split()[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)


@pytest.mark.timeout(300)
def test_up_status_down_and_a_second_system_that_dies_beside_it(home: Home) -> None:
    room_for_two = psutil.virtual_memory().available > 2 * SYSTEM_BYTES
    state = home.up()
    assert state.phase == "ready"
    assert httpx.get(f"{state.api_url}/hello").json() == {"path": "/hello"}

    sockets = listening(state)
    assert {
        name for name in sockets.values() if name in ("postgres", "redis-server", "haproxy", "gcs_server")
    }
    assert [f"{name}: {address}" for address, name in sockets.items() if not is_loopback(address)] == []

    code, output = home.run("status", "--json")
    status = json.loads(output)
    assert (code, status["healthy"]) == (0, True), output
    assert {"supervisor", "postgres", "redis", "ray", "tiny/Echo", "api"} == {
        part["part"] for part in status["parts"]
    }
    code, output = home.run("up", "--config", str(home.config))
    assert (code, "Already up" in output) == (0, True)
    assert home.state.run_id == state.run_id
    code, output = home.run("logs", "-n", "3")
    assert code == 0
    assert {"supervisor", "postgres", "redis", "ray"} <= {
        line.split()[0] for line in output.splitlines() if line
    }

    # Another home cannot take this one's port, and says whose it is.
    with make_home() as other:
        other.environment["SATELLITE_HTTP_PORT"] = home.environment["SATELLITE_HTTP_PORT"]
        code, output = other.run("up", "--config", str(other.config))
        assert code == 2
        assert "SATELLITE_HTTP_PORT" in output
        assert "Traceback" not in output
        assert read_state(other.paths) is None
        if room_for_two:
            other.environment["SATELLITE_HTTP_PORT"] = str(free_port())
            kill_one_part_after_the_other(other)

    assert httpx.get(f"{state.api_url}/still").json() == {"path": "/still"}
    code, output = home.run("down")
    assert (code, "Stopped" in output) == (0, True), output
    home.assert_nothing_left(state)
    code, output = home.run("status")
    assert code == 3
    if not room_for_two:
        kill_one_part_after_the_other(home)


def kill_one_part_after_the_other(home: Home) -> None:
    """The databases come back; of a system whose supervisor is killed nothing stays."""
    state = home.up()
    for name in ("postgres", "redis"):
        part = state.parts[name]
        assert part.process is not None
        os.kill(part.process.pid, signal.SIGKILL)
        again = home.wait_for(f"state.parts[{name!r}].restarts == 1 and state.parts[{name!r}].state == 'up'")
        assert again.parts[name].address == part.address
    assert httpx.get(f"{state.api_url}/there").json() == {"path": "/there"}
    before_kill = home.state
    os.kill(state.supervisor.pid, signal.SIGKILL)
    home.assert_nothing_left(before_kill)


def test_ray_that_dies_stops_everything_and_is_told(home: Home) -> None:
    state = home.up()
    assert state.parts["ray"].process is not None
    os.kill(state.parts["ray"].process.pid, signal.SIGKILL)
    home.wait_for("state.phase == 'failed'")
    code, output = home.run("status")
    assert (code, "Ray ended by itself" in output) == (3, True)
    home.run("down")
    home.assert_nothing_left(state)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_start_that_is_broken_off_leaves_nothing(home: Home, number: signal.Signals) -> None:
    up = home.popen("up", "--config", str(home.config))
    # Ray's processes are being started, its dashboard does not answer yet.
    state = home.wait_for("state.parts['ray'].process and state.parts['postgres'].state == 'up'")
    up.send_signal(number)
    up.communicate(timeout=30)
    assert up.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    home.assert_nothing_left(state)


def test_an_app_that_does_not_build_is_told_and_stopped(home: Home) -> None:
    home.config.write_text(home.config.read_text().replace(":build", ":build_bad"))
    code, output = home.run("up", "--config", str(home.config))
    assert code == 1
    assert "the weights are missing" in output
    assert str(home.paths.ray) in output
    state = home.state
    home.run("down")
    home.assert_nothing_left(state)
