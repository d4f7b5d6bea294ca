import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from satellite.cli.processes import RUN_ID_VARIABLE, find_run, stop_run, who_listens
from satellite.cli.state import (
    MAX_HAPROXY_FOLDER_BYTES,
    Part,
    Paths,
    ProcessRef,
    State,
    lock_home,
    lock_is_free,
    read_state,
    write_state,
)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    # Short, unlike pytest's own: with a longer one the sockets' folders would lie elsewhere.
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        yield Path(folder)


def a_state(**changes: object) -> State:
    here = ProcessRef.of(os.getpid())
    fields = {
        "run_id": "r",
        "supervisor": here,
        "started_at": 0,
        "api_url": "",
        "dashboard_url": "",
        "parts": {},
    }
    return State.model_validate({**fields, **changes})


def start_sleeper(run_id: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], env={**os.environ, RUN_ID_VARIABLE: run_id}, **options)  # type: ignore[call-overload]


def test_state_survives_a_round_trip_and_is_private(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.create()
    state = a_state(parts={"redis": Part(state="up", began_at=1.0, ready_at=3.0)})
    write_state(paths, state)
    assert read_state(paths) == state
    assert state.parts["redis"].seconds == 2.0
    assert paths.state.stat().st_mode & 0o077 == 0


def test_a_truncated_state_file_counts_as_none(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.create()
    paths.state.write_text('{"run_id": "x", "par')
    assert read_state(paths) is None


def test_a_pid_with_another_start_time_is_not_the_same_process() -> None:
    me = ProcessRef.of(os.getpid())
    assert me.process() is not None
    assert ProcessRef(pid=me.pid, create_time=me.create_time - 100).process() is None


def test_the_lock_excludes_and_comes_back(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with lock_home(paths) as taken:
        assert taken
        assert not lock_is_free(paths)
    assert lock_is_free(paths)


def test_a_long_home_gets_short_socket_folders() -> None:
    short, long = Paths(Path("/tmp/x")), Paths(Path("/tmp") / ("x" * 90))
    assert short.haproxy == Path("/tmp/x/hap")
    assert len(os.fsencode(long.haproxy)) <= MAX_HAPROXY_FOLDER_BYTES
    assert long.haproxy != Paths(Path("/tmp") / ("y" * 90)).haproxy


def test_run_is_found_by_its_mark_and_stopped() -> None:
    sleeper, stranger = start_sleeper("run-a"), start_sleeper("run-b")
    try:
        assert [process.pid for process in find_run("run-a")] == [sleeper.pid]
        assert stop_run("run-a", session=None, roots=[], grace_s=2) == 1
        assert not psutil.pid_exists(sleeper.pid)
        assert stranger.poll() is None
    finally:
        for process in (sleeper, stranger):
            process.kill()
            process.wait()


def test_run_is_found_by_its_session_when_the_mark_is_gone() -> None:
    # A session leader that dies and leaves a child without the mark.
    code = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); input()"
    leader = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert leader.stdin and leader.stdout
    child = int(leader.stdout.readline())
    reference = ProcessRef.of(leader.pid)
    try:
        leader.kill()
        leader.wait()
        assert [process.pid for process in find_run("no-such-run", session=reference)] == [child]
        another = ProcessRef(pid=os.getpid(), create_time=1.0)
        assert find_run("no-such-run", session=another) == []
    finally:
        psutil.Process(child).kill()
        leader.stdin.close()
        leader.stdout.close()


def test_what_ignores_the_request_to_stop_is_killed() -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{ignore}; print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, RUN_ID_VARIABLE: "run-c"}
    )
    assert process.stdout
    process.stdout.readline()
    stop_run("run-c", session=None, roots=[], grace_s=0.3)
    assert not psutil.pid_exists(process.pid)
    process.wait()
    process.stdout.close()


def test_who_listens_names_the_process() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert f"pid {os.getpid()}" in who_listens(server.getsockname()[1])


@pytest.mark.parametrize("alive", [True, False])
def test_state_knows_whether_its_supervisor_lives(alive: bool) -> None:
    me = ProcessRef.of(os.getpid())
    state = a_state(supervisor=me if alive else ProcessRef(pid=me.pid, create_time=1))
    assert state.is_alive is alive
