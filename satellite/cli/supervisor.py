"""The process that owns everything that runs: it starts the parts, watches them, and stops them.

Started by `satellite up` in a session of its own: `python -m satellite.cli.supervisor`. Its standard input is
a pipe from `up`: the line `keep` means that the system shall outlive `up`; an end without it means that `up`
died, and all stops.

When it is killed itself, nobody can run code in it: the guard (`guard.py`), which holds the other end of a
pipe that only the supervisor keeps open, then cleans up in its place.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from satellite.cli import serve_api
from satellite.cli.console import load_settings
from satellite.cli.embedded import EmbeddedPostgres, EmbeddedRedis, Secrets
from satellite.cli.processes import RUN_ID_VARIABLE, find_run, send, stop_all, stop_run, tree
from satellite.cli.ray_head import RayHead, free_ports, session_folder
from satellite.cli.rendering import Rendering, model_variables
from satellite.cli.state import EXIT_LOCKED, Part, Paths, ProcessRef, State, lock_home, write_state
from satellite.errors import EnvironmentProblem, SatelliteError
from satellite.settings import Settings

log = logging.getLogger("satellite.supervisor")

KEEP = "keep"

WATCH_INTERVAL_S = 0.5
SERVE_STOP_TIMEOUT_S = 6
RAY_STOP_TIMEOUT_S = 5
DATABASE_STOP_TIMEOUT_S = 6
MAX_BACKOFF_S = 30
HEALTHY_AFTER_S = 60


class Stopped(Exception):
    """Somebody asked for the end while the system was starting."""


class Supervisor:
    """One run of the system.

    Args:
        settings: this run's settings.
        config_file: the Serve config to deploy.
        run_id: the mark on every process of this run.
    """

    def __init__(self, settings: Settings, config_file: Path, run_id: str) -> None:
        self.settings = settings
        self.config_file = config_file
        self.paths = Paths(settings.home)
        self.stop_asked = threading.Event()
        self._state_lock = threading.Lock()
        secrets = Secrets.of(self.paths)
        postgres_port, redis_port = free_ports(2)
        self.postgres = (
            None
            if settings.database_url
            else EmbeddedPostgres(paths=self.paths, port=postgres_port, password=secrets.postgres)
        )
        self.redis = (
            None
            if settings.redis_url
            else EmbeddedRedis(paths=self.paths, port=redis_port, password=secrets.redis)
        )
        database_url = settings.database_url or (self.postgres.url if self.postgres else "")
        redis_url = settings.redis_url or (self.redis.url if self.redis else "")
        key_secret = settings.key_secret.get_secret_value() if settings.key_secret else secrets.keys
        self.ray = RayHead(
            settings=settings,
            paths=self.paths,
            variables={
                RUN_ID_VARIABLE: run_id,
                "SATELLITE_HOME": str(self.paths.home),
                "SATELLITE_DATABASE_URL": database_url,
                "SATELLITE_REDIS_URL": redis_url,
                "SATELLITE_KEYS": "on" if settings.keys else "off",
                "SATELLITE_KEY_SECRET": key_secret,
                **model_variables(settings),
            },
            import_folders=[settings.root, config_file.parent],
        )
        dashboard_url = f"http://127.0.0.1:{settings.dashboard_port}"
        self.serve = serve_api.ServeApi(dashboard_url)
        self.state = State(
            run_id=run_id,
            supervisor=ProcessRef.of(os.getpid()),
            started_at=time.time(),
            api_url=local_api_url(settings),
            dashboard_url=dashboard_url,
            database_url=database_url,
            redis_url=redis_url,
            models=settings.models,
            notes=self.ray.notes,
            parts={
                "postgres": Part()
                if self.postgres
                else Part(state="external", address="SATELLITE_DATABASE_URL"),
                "redis": Part() if self.redis else Part(state="external", address="SATELLITE_REDIS_URL"),
                "ray": Part(address=dashboard_url),
                "deployments": Part(address=local_api_url(settings)),
            },
        )

    def run(self) -> int:
        """Starts everything, watches it until asked to stop, stops everything.

        Returns:
            The exit code.
        """
        failed = ""
        try:
            self._start_guard()
            self._save()
            self._start()
            self.state.phase, self.state.ready_at = "ready", time.time()
            self._save()
            log.info("ready after %.1f s", self.state.ready_at - self.state.started_at)
            self._watch()
        except Stopped:
            log.info("asked to stop while starting")
        except SatelliteError as exc:
            log.error("%s", exc)
            failed = str(exc)
        except Exception as exc:
            log.exception("the supervisor failed")
            failed = f"{type(exc).__name__}: {exc}; see {self.paths.log('supervisor')}"
        self._stop(failed)
        return 1 if failed else 0

    # ---- start ----

    def _start_guard(self) -> None:
        read_end, write_end = os.pipe()
        # The write end stays open in this process alone, until it ends.
        os.set_inheritable(write_end, False)
        environment = {name: value for name, value in os.environ.items() if name != RUN_ID_VARIABLE}
        with self.paths.log("supervisor").open("ab") as output:
            guard = subprocess.Popen(
                [sys.executable, "-m", "satellite.cli.guard", str(self.paths.home), self.state.run_id],
                stdin=read_end,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        os.close(read_end)
        self.state.guard = ProcessRef.of(guard.pid)

    def _start(self) -> None:
        with Rendering(self.config_file, self.settings, self.state.dashboard_url) as self._rendering:
            self._start_parts()
            with self._starting("deployments"):
                self.serve.put(self._rendering.result())
                self._wait_for_deployments()

    def _start_parts(self) -> None:
        with ThreadPoolExecutor(max_workers=3, thread_name_prefix="start") as pool:
            starts: list[Future[None]] = [pool.submit(self._start_ray)]
            if self.postgres:
                starts.append(pool.submit(self._start_database, "postgres", self.postgres))
            if self.redis:
                starts.append(pool.submit(self._start_database, "redis", self.redis))
            done, _ = wait(starts, return_when=FIRST_EXCEPTION)
            try:
                for future in done:
                    future.result()
            except BaseException:
                # The pool waits for its other threads on the way out: end them now.
                self.stop_asked.set()
                raise

    def _wait_for_deployments(self) -> None:
        try:
            serve_api.wait_until_ready(
                self.serve,
                self.state.api_url,
                timeout_s=self.settings.start_timeout_s,
                on_progress=lambda words: self._tell("deployments", words),
                check=self._check_start,
            )
        except EnvironmentProblem as exc:
            logs = session_folder(self.paths.ray)
            raise EnvironmentProblem(f"{exc}\nServe's logs: {logs}/logs/serve") from None

    @contextmanager
    def _starting(self, name: str) -> Generator[Part]:
        part = self.state.parts[name]
        part.state, part.began_at = "starting", time.time()
        self._save()
        try:
            yield part
        except BaseException:
            part.state = "failed"
            self._save()
            raise
        part.state, part.ready_at, part.message = "up", time.time(), ""
        self._save()
        log.info("%s is up after %.1f s", name, part.seconds)

    def _start_database(self, name: str, database: EmbeddedPostgres | EmbeddedRedis) -> None:
        with self._starting(name) as part:
            database.start()
            assert database.process is not None
            part.process, part.address = ProcessRef.of(database.process.pid), database.address
            self._save()
            database.wait_ready()

    def _start_ray(self) -> None:
        with self._starting("ray") as part:
            self.ray.start()
            assert self.ray.process is not None
            part.process = ProcessRef.of(self.ray.process.pid)
            self._save()
            deadline = time.monotonic() + self.settings.start_timeout_s
            # The raylet is the last of Ray's processes: with it Serve can be asked to start.
            while not self.serve.is_up():
                self._check_start()
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(f"Ray's dashboard does not answer: see {self.paths.log('ray')}")
                time.sleep(0.1)
            self.state.session_folder = session_folder(self.paths.ray)

    def _check_start(self) -> None:
        if self.stop_asked.is_set():
            raise Stopped
        self._rendering.check()
        if self.ray.process is not None and self.ray.process.poll() is not None:
            raise EnvironmentProblem(
                f"Ray ended (exit code {self.ray.process.returncode}): see {self.paths.log('ray')}"
            )

    # ---- while it is up ----

    def _watch(self) -> None:
        databases = {"postgres": self.postgres, "redis": self.redis}
        backoff_s = dict.fromkeys(databases, 0.5)
        while not self.stop_asked.wait(WATCH_INTERVAL_S):
            if self.ray.process is not None and self.ray.process.poll() is not None:
                raise EnvironmentProblem(
                    f"Ray ended by itself (exit code {self.ray.process.returncode}), so everything was "
                    f"stopped: see {self.paths.log('ray')}, then `satellite up`."
                )
            for name, database in databases.items():
                if database is None or database.process is None or database.process.poll() is None:
                    continue
                part = self.state.parts[name]
                code, lived_s = database.process.returncode, time.time() - (part.ready_at or 0)
                if lived_s > HEALTHY_AFTER_S:
                    backoff_s[name] = 0.5
                log.error("%s ended by itself (exit code %s); again in %.1f s", name, code, backoff_s[name])
                part.state, part.message = "failed", f"ended with exit code {code}; is being restarted"
                self._save()
                if self.stop_asked.wait(backoff_s[name]):
                    return
                backoff_s[name] = min(backoff_s[name] * 2, MAX_BACKOFF_S)
                part.restarts += 1
                try:
                    self._start_database(name, database)
                except EnvironmentProblem as exc:
                    log.error("%s", exc)

    # ---- stop ----

    def _stop(self, failed: str) -> None:
        log.info("stopping")
        was_ready = self.state.phase == "ready" and not failed
        self.state.phase = "stopping"
        self._save()
        if was_ready:
            # So that deployments can give back what they have not begun.
            self.serve.shut_down(timeout_s=SERVE_STOP_TIMEOUT_S)
        self._end("ray", self.ray.process, signal.SIGTERM, RAY_STOP_TIMEOUT_S)
        stopped = self._sweep_all_but_databases()
        if self.redis:
            self._end("redis", self.redis.process, signal.SIGTERM, DATABASE_STOP_TIMEOUT_S)
        if self.postgres:
            self._end("postgres", self.postgres.process, signal.SIGINT, DATABASE_STOP_TIMEOUT_S)
        stopped += stop_run(self.state.run_id, session=self.state.supervisor, roots=[], grace_s=0.5)
        if stopped:
            log.info("stopped %d leftover processes", stopped)
        self.serve.close()
        if failed:
            self.state.phase, self.state.error = "failed", failed
            self._save()
        else:
            self.paths.state.unlink(missing_ok=True)
        log.info("everything is stopped")

    def _sweep_all_but_databases(self) -> int:
        """Stops what outlived Ray, so that nothing writes any more when the databases go."""
        databases = {
            process.pid for name in ("postgres", "redis") for process in tree(self.state.parts[name].process)
        }
        found = find_run(self.state.run_id, session=self.state.supervisor)
        return stop_all((process for process in found if process.pid not in databases), grace_s=1)

    def _end(
        self,
        name: str,
        process: subprocess.Popen[bytes] | None,
        signal_number: signal.Signals,
        timeout_s: float,
    ) -> None:
        if process is None or process.poll() is not None:
            return
        children = tree(self.state.parts[name].process)
        process.send_signal(signal_number)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("%s does not stop within %s s: killed", name, timeout_s)
            for child in children:
                send(child, signal.SIGKILL)
            process.wait(5)

    def _save(self) -> None:
        with self._state_lock:
            write_state(self.paths, self.state)

    def _tell(self, name: str, words: str) -> None:
        self.state.parts[name].message = words
        self._save()


def local_api_url(settings: Settings) -> str:
    """Where this machine reaches the API that it serves itself."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.http_host, settings.http_host)
    return f"http://{host}:{settings.http_port}"


def _obey_parent(supervisor: Supervisor) -> None:
    """Reads the pipe from `up`: without the word to go on, its end is ours."""
    if KEEP not in sys.stdin.read().split():
        log.info("`up` is gone: stopping")
        supervisor.stop_asked.set()


def main() -> int:
    """Runs one supervisor; `up` has checked everything before."""
    parser = argparse.ArgumentParser(prog="satellite.cli.supervisor")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = load_settings()
    with lock_home(Paths(settings.home)) as taken:
        if not taken:
            log.error("another supervisor holds %s", settings.home)
            return EXIT_LOCKED
        supervisor = Supervisor(settings, arguments.config, os.environ[RUN_ID_VARIABLE])
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.stop_asked.set())
        threading.Thread(target=_obey_parent, args=(supervisor,), daemon=True).start()
        return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
