import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from satellite.cli import preflight
from satellite.cli.console import load_settings
from satellite.cli.state import Paths
from satellite.errors import ConfigError, EnvironmentProblem
from satellite.settings import Settings


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    # Short, unlike pytest's own: with a longer one the sockets' folders would lie elsewhere.
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "home")
    paths.create()
    return paths


def test_windows_is_refused_with_a_way_out() -> None:
    with pytest.raises(EnvironmentProblem, match="WSL"):
        preflight.check_platform("win32")


def test_a_taken_port_names_its_owner_and_the_setting() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem) as caught:
            preflight.check_port("127.0.0.1", port, "SATELLITE_HTTP_PORT")
    assert str(port) in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "SATELLITE_HTTP_PORT" in str(caught.value)
    assert "\n" not in str(caught.value)
    preflight.check_port("127.0.0.1", port, "SATELLITE_HTTP_PORT")


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(EnvironmentProblem, match="SATELLITE_HTTP_HOST"):
        preflight.check_port("198.51.100.7", 8000, "SATELLITE_HTTP_PORT")


def test_a_new_home_gets_its_version_file_and_keeps_it(paths: Paths) -> None:
    preflight.check_version(paths)
    assert json.loads(paths.version.read_text()) == {"layout": 1, "postgres": 18}
    preflight.check_version(paths)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"layout": 99, "postgres": 18}', "layout 99"),
        ('{"layout": 1, "postgres": 17}', "PostgreSQL 17"),
        ("no json", "damaged"),
        ("{}", "damaged"),
    ],
)
def test_data_of_another_version_is_left_alone(paths: Paths, content: str, words: str) -> None:
    paths.version.write_text(content)
    with pytest.raises(EnvironmentProblem, match=words):
        preflight.check_version(paths)
    assert paths.version.read_text() == content


def test_the_cluster_itself_tells_its_postgres_version(paths: Paths) -> None:
    (paths.postgres / "data").mkdir(parents=True)
    (paths.postgres / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EnvironmentProblem, match="PostgreSQL 16"):
        preflight.check_version(paths)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        preflight.check_home(Paths(tmp_path / "file" / "home"))


def test_too_little_disk_and_memory(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="disk"):
        preflight.check_disk(tmp_path, needed_bytes=10**18)
    with pytest.raises(EnvironmentProblem, match="memory"):
        preflight.check_memory(needed_bytes=10**18)


def test_databases_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match="SATELLITE_DATABASE_URL") as caught:
            preflight.check_external(Settings(database_url=f"postgresql://u:secret@127.0.0.1:{port}/x"))
        assert "secret" not in str(caught.value)
        with pytest.raises(EnvironmentProblem, match="SATELLITE_REDIS_URL"):
            preflight.check_external(Settings(redis_url=f"redis://127.0.0.1:{port}/0"))


def test_invalid_settings_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATELLITE_HTTP_PORT", "many")
    monkeypatch.setenv("SATELLITE_NUM_CPUS", "0")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("SATELLITE_HTTP_PORT='many'")


def test_an_invalid_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATELLITE_RAY_TOKEN", "too-short")
    with pytest.raises(ConfigError, match=r"SATELLITE_RAY_TOKEN: .* 16") as caught:
        load_settings()
    assert "too-short" not in str(caught.value)


def test_a_missing_config_file_is_told_first(paths: Paths) -> None:
    with pytest.raises(ConfigError, match="--config"):
        preflight.check_all(Settings(), paths, Path("/nowhere/serve.yaml"))
