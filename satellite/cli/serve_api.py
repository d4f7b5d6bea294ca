"""Ray Serve's REST API on the dashboard: hand over the config, watch the deployments, ask for readiness."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from pydantic import SecretStr

from satellite.errors import ConfigError, EnvironmentProblem
from satellite.settings import Settings

Json = dict[str, Any]
# The first PUT starts Serve's controller and proxy, which takes seconds.
PUT_TIMEOUT_S = 60


def render_config(path: Path, settings: Settings) -> Json:
    """The Serve config as it is handed to Ray: the file, with the settings' address in place of its own.

    Args:
        path: a Serve config file (YAML).
        settings: `http_host` and `http_port`.

    Raises:
        ConfigError: the file is not a Serve config.
    """
    import yaml

    try:
        loaded: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from None
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(exc).split())}") from None
    if not isinstance(loaded, dict) or not isinstance(cast("Json", loaded).get("applications"), list):
        raise ConfigError(f"{path} is not a Serve config: it needs a list `applications`.")
    config = cast("Json", loaded)
    config["http_options"] = {
        **(config.get("http_options") or {}),
        "host": settings.http_host,
        "port": settings.http_port,
    }
    return config


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """One deployment as Serve reports it."""

    application: str
    name: str
    state: str
    message: str
    running: int
    replicas: int
    pids: tuple[int, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether Serve calls it healthy."""
        return self.state == "HEALTHY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeStatus:
    """All applications: each one's state and message, and their deployments."""

    applications: dict[str, tuple[str, str]]
    deployments: tuple[DeploymentStatus, ...]

    @property
    def is_running(self) -> bool:
        """Whether there are applications and all of them run."""
        return bool(self.applications) and all(state == "RUNNING" for state, _ in self.applications.values())

    @property
    def failure(self) -> str:
        """Serve's own words about what failed for good; empty if nothing did."""
        lines: list[str] = []
        for name, (state, message) in self.applications.items():
            if state == "DEPLOY_FAILED":
                lines.append(f"application {name}: {state}: {_last_lines(message)}")
                lines += [
                    f"deployment {deployment.name}: {_last_lines(deployment.message)}"
                    for deployment in self.deployments
                    if deployment.application == name and not deployment.is_healthy and deployment.message
                ]
        return "\n".join(lines)

    @property
    def progress(self) -> str:
        """A few words for the progress line."""
        ready = sum(deployment.is_healthy for deployment in self.deployments)
        waiting = [deployment.name for deployment in self.deployments if not deployment.is_healthy]
        tail = f", waiting for {', '.join(waiting)}" if waiting else ""
        return (
            f"{ready} of {len(self.deployments)} deployments{tail}"
            if self.deployments
            else "building the graph"
        )


def _last_lines(message: str, count: int = 3) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " | ".join(lines[-count:])


class ServeApi:
    """The REST API of one cluster.

    Args:
        dashboard_url: base address of the Ray dashboard.
        token: what Ray asks for, if it does.
    """

    def __init__(self, dashboard_url: str, token: SecretStr | None = None) -> None:
        self._url = f"{dashboard_url}/api/serve/applications/"
        self._version_url = f"{dashboard_url}/api/version"
        # trust_env=False: a proxy set for the internet must not catch loopback calls.
        self._client = httpx.Client(timeout=10, trust_env=False, headers=token_headers(token))

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def is_up(self) -> bool:
        """Whether the dashboard answers."""
        try:
            return self._client.get(self._version_url, timeout=2).is_success
        except httpx.HTTPError:
            return False

    def put(self, config: Json) -> None:
        """Hands over the config; Serve makes the cluster match it.

        Raises:
            ConfigError: Serve refuses it.
            EnvironmentProblem: the dashboard does not answer.
        """
        try:
            answer = self._client.put(self._url, json=config, timeout=PUT_TIMEOUT_S)
        except httpx.HTTPError as exc:
            raise EnvironmentProblem(
                f"Ray's dashboard does not answer ({exc or type(exc).__name__})."
            ) from None
        if not answer.is_success:
            raise ConfigError(f"Serve refuses the config: {_last_lines(answer.text, 6)}")

    def config(self) -> Json:
        """What was handed over last, in the form that `put` takes.

        Raises:
            EnvironmentProblem: the dashboard does not answer.
        """
        try:
            found = cast("Json", self._client.get(self._url).raise_for_status().json())
        except httpx.HTTPError as exc:
            raise EnvironmentProblem(
                f"Ray's dashboard does not answer ({exc or type(exc).__name__})."
            ) from None
        apps = cast("dict[str, Json]", found["applications"])
        kept = {key: found[key] for key in ("proxy_location", "http_options") if found.get(key)}
        return {**kept, "applications": [app["deployed_app_config"] for app in apps.values()]}

    def shut_down(self, *, timeout_s: float) -> None:
        """Asks Serve to stop all applications and waits for it, but not for ever."""
        try:
            self._client.delete(self._url, timeout=timeout_s)
        except httpx.HTTPError:
            return

    def status(self) -> ServeStatus | None:
        """All applications and deployments; None if the dashboard does not answer."""
        try:
            answer = self._client.get(self._url)
            if not answer.is_success:
                return None
            applications = cast("dict[str, Json]", answer.json()["applications"])
        except (httpx.HTTPError, ValueError, KeyError):
            return None
        deployments = tuple(
            _deployment(app_name, name, details)
            for app_name, app in applications.items()
            for name, details in cast("dict[str, Json]", app["deployments"]).items()
        )
        states = {name: (str(app["status"]), str(app["message"])) for name, app in applications.items()}
        return ServeStatus(applications=states, deployments=deployments)


def _deployment(application: str, name: str, details: Json) -> DeploymentStatus:
    replicas = cast("list[Json]", details.get("replicas") or [])
    return DeploymentStatus(
        application=application,
        name=name,
        state=str(details["status"]),
        message=str(details.get("message") or ""),
        running=sum(replica["state"] == "RUNNING" for replica in replicas),
        replicas=int(details.get("target_num_replicas") or len(replicas)),
        pids=tuple(replica["pid"] for replica in replicas if replica.get("pid")),
    )


def token_headers(token: SecretStr | None) -> dict[str, str]:
    """How a request to Ray's dashboard shows its token."""
    return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}


def api_is_ready(api_url: str) -> bool:
    """Whether `GET /health/ready` answers 200."""
    try:
        return httpx.get(f"{api_url}/health/ready", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until_ready(
    serve: ServeApi,
    api_url: str,
    *,
    timeout_s: float,
    on_progress: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
) -> None:
    """Returns once every application runs and the API says that it is ready.

    Args:
        serve: the cluster.
        api_url: base address of the API.
        timeout_s: for how long to wait.
        on_progress: called with a few words whenever they change.
        check: called in every round; raises to give up.

    Raises:
        EnvironmentProblem: a deployment failed for good, or it takes too long.
    """
    deadline = time.monotonic() + timeout_s
    said = ""
    while True:
        check()
        status = serve.status()
        if status is not None and status.failure:
            raise EnvironmentProblem(status.failure)
        words = "Serve starts" if status is None else status.progress
        if status is not None and status.is_running:
            if api_is_ready(api_url):
                return
            words = f"{words}; {api_url}/health/ready is not 200 yet"
        if words != said:
            said = words
            on_progress(words)
        if time.monotonic() > deadline:
            raise EnvironmentProblem(f"Not ready after {timeout_s:.0f} s: {said}")
        time.sleep(0.1)
