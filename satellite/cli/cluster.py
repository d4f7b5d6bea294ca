"""The cluster that a command changes: the one that `satellite up` started, or one that others did."""

from __future__ import annotations

from dataclasses import dataclass

from satellite.cli.console import CommandFailed
from satellite.cli.lifecycle import running_state
from satellite.cli.serve_api import ServeApi
from satellite.cli.state import Paths
from satellite.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCluster:
    """Where a cluster is, and with which settings it runs."""

    settings: Settings
    dashboard_url: str
    api_url: str
    logs: str  # where Serve's are, for people

    def serve_api(self) -> ServeApi:
        """Serve's REST API there; to be closed."""
        return ServeApi(self.dashboard_url, self.settings.ray_token)


def find_cluster(settings: Settings, dashboard_url: str | None) -> ServedCluster:
    """The cluster behind a dashboard, or that of `satellite up`.

    Args:
        settings: of this command.
        dashboard_url: the Ray dashboard of a cluster that was not started by `satellite up`.

    Raises:
        CommandFailed: no dashboard is named, and nothing is up.
    """
    if dashboard_url is not None:
        return ServedCluster(
            settings=settings, dashboard_url=dashboard_url, api_url=settings.api_url, logs="the dashboard"
        )
    state = running_state(Paths(settings.home))
    if state is None or state.phase != "ready":
        raise CommandFailed("Nothing is running: `satellite up` first (or --dashboard URL of a Ray cluster).")
    # It builds the models that it was started with, and asks nobody on loopback for a token.
    theirs = settings.model_copy(update={"models": state.models, "ray_token": None})
    return ServedCluster(
        settings=theirs,
        dashboard_url=state.dashboard_url,
        api_url=state.api_url,
        logs=f"{state.session_folder}/logs/serve",
    )
