import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from satellite.cli import serve_mode
from satellite.cli.ray_head import RayHead, free_ports, remove_old_sessions
from satellite.cli.serve_api import DeploymentStatus, ServeStatus, render_config
from satellite.cli.state import Paths
from satellite.errors import ConfigError, Unavailable
from satellite.settings import Settings


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    # Short, unlike pytest's own: with a longer one the sockets' folders would lie elsewhere.
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


def head(home: Path, **settings: object) -> RayHead:
    paths = Paths(home)
    paths.create()
    return RayHead(
        settings=Settings.model_validate(settings), paths=paths, variables={"X": "1"}, import_folders=[home]
    )


def test_ray_is_started_on_loopback_with_ports_of_its_own(tmp_path: Path) -> None:
    first, second = (head(tmp_path, dashboard_port=1234, num_cpus=3).command() for _ in range(2))
    assert "--node-ip-address=127.0.0.1" in first
    assert "--dashboard-port=1234" in first
    assert "--num-cpus=3" in first
    ports = [option.split("=")[1] for option in first if "port=" in option and "worker" not in option]
    assert len(set(ports)) == len(ports) == 7
    assert first != second


def test_a_token_that_another_ray_left_behind_does_not_lock_us_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert head(tmp_path).environment()["RAY_AUTH_MODE"] == "disabled"


def test_the_key_of_who_starts_it_is_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATELLITE_API_KEY", "sat_k1_secret")
    assert "secret" not in "".join(head(tmp_path).environment().values())


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(50))) == 50


def test_fast_mode_keeps_all_of_haproxy_below_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_mode, "haproxy_binary", lambda: Path("/bin/true"))
    ray = head(tmp_path, serve_mode="fast")
    environment = ray.environment()
    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert environment["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    files = [
        value for name, value in environment.items() if name.startswith("RAY_SERVE_HAPROXY_") and "/" in value
    ]
    assert len(files) == 6
    assert all(value.startswith(str(ray.paths.haproxy)) for value in files)
    assert ray.notes == []


def test_without_haproxy_the_fallback_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_mode, "haproxy_binary", lambda: None)
    ray = head(tmp_path, serve_mode="fast")
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in ray.environment()
    assert ray.environment()["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert "Serve's own proxy" in ray.notes[0]


def test_default_mode_sets_no_flag(tmp_path: Path) -> None:
    environment = head(tmp_path, serve_mode="default").environment()
    assert not {"RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED"} & set(environment)


def test_somebody_elses_cluster_is_never_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    environment = head(tmp_path).environment()
    assert "RAY_ADDRESS" not in environment
    assert environment["X"] == "1"


def test_the_wrapper_narrows_haproxys_ports_and_becomes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_mode, "haproxy_binary", lambda: Path("/bin/echo"))
    environment = head(tmp_path).environment()
    metrics, stats = (environment[f"RAY_SERVE_HAPROXY_{name}_PORT"] for name in ("METRICS", "STATS"))
    config = tmp_path / "a folder" / "haproxy.cfg"
    config.parent.mkdir()
    config.write_text(
        f"frontend a\n    bind :{metrics}\n"
        "frontend http_frontend\n    bind *:8000\n"
        f"listen stats\n  bind *:{stats}\n"
    )
    arguments = ["-db", "-f", str(config), "-sf", "12", "-x", "/some/sock"]
    wrapper = environment["RAY_SERVE_HAPROXY_BINARY_PATH"]
    done = subprocess.run([wrapper, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == " ".join(arguments)
    binds = [line.strip() for line in config.read_text().splitlines() if "bind" in line]
    # The front door listens where the settings say.
    assert binds == [f"bind 127.0.0.1:{metrics}", "bind *:8000", f"bind 127.0.0.1:{stats}"]
    front_door = config.read_text().partition("frontend http_frontend\n")[2]
    assert front_door.startswith(serve_mode.HAPROXY_RULES)
    headers, _, body = (config.parent / "500.http").read_bytes().partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 503 ")
    assert b"Content-Type: application/problem+json" in headers
    assert f"Content-Length: {len(body)}".encode() in headers
    assert json.loads(body)["code"] == Unavailable.code


def test_old_sessions_go_and_the_newest_keeps_its_logs(tmp_path: Path) -> None:
    for name in ("session_2026-01-01_1", "session_2026-01-02_2"):
        for part in ("logs", "sockets"):
            (tmp_path / name / part).mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_2026-01-02_2")
    remove_old_sessions(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["session_2026-01-02_2", "session_latest"]
    assert [path.name for path in (tmp_path / "session_2026-01-02_2").iterdir()] == ["logs"]


def test_config_gets_the_settings_address(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("http_options: {port: 1, keep_alive_timeout_s: 7}\napplications: [{name: a}]\n")
    config = render_config(file, Settings(http_port=8123))
    assert config["http_options"] == {"host": "127.0.0.1", "port": 8123, "keep_alive_timeout_s": 7}
    assert config["applications"] == [{"name": "a"}]


@pytest.mark.parametrize("text", ["applications: 3", "- a\n- b", "a: [", ""])
def test_what_is_no_serve_config_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        render_config(file, Settings())
    assert "\n" not in str(caught.value)


def test_the_failure_is_in_serves_own_words() -> None:
    deployment = DeploymentStatus(
        application="app",
        name="Bad",
        state="DEPLOY_FAILED",
        message="Traceback\n\nRuntimeError: no weights\n",
        running=0,
        replicas=1,
        pids=(),
    )
    status = ServeStatus(applications={"app": ("DEPLOY_FAILED", "gave up")}, deployments=(deployment,))
    assert "RuntimeError: no weights" in status.failure
    assert not status.is_running
    assert ServeStatus(applications={"app": ("RUNNING", "")}, deployments=()).is_running
    assert not ServeStatus(applications={}, deployments=()).is_running
