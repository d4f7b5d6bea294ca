"""`satellite deploy`: hand a Serve config to the system that is up."""

from __future__ import annotations

from pathlib import Path

from satellite.cli.cluster import find_cluster
from satellite.cli.console import CommandFailed, console
from satellite.cli.rendering import Rendering
from satellite.cli.serve_api import wait_until_ready
from satellite.errors import EnvironmentProblem
from satellite.settings import Settings


def deploy(settings: Settings, file: Path, *, dashboard_url: str | None = None) -> dict[str, str]:
    """Puts the config and waits until everything in it runs.

    Args:
        settings: of the system.
        file: a Serve config file.
        dashboard_url: the Ray dashboard of a cluster that was not started by `satellite up`.

    Returns:
        What was deployed, and where it answers.

    Raises:
        ConfigError: the file, or one under `configs/` or `models/`, is not valid, or Serve refuses it.
        CommandFailed: nothing is up, or a deployment failed.
    """
    cluster = find_cluster(settings, dashboard_url)
    serve = cluster.serve_api()
    try:
        with console.status("deploying ...") as spinner:
            with Rendering(file, cluster.settings, cluster.dashboard_url) as rendering:
                serve.put(rendering.result())
            try:
                wait_until_ready(
                    serve,
                    cluster.api_url,
                    timeout_s=settings.start_timeout_s,
                    on_progress=lambda words: spinner.update(f"deploying: {words}"),
                )
            except EnvironmentProblem as exc:
                raise CommandFailed(f"{exc}\nServe's logs: {cluster.logs}") from None
        console.print(f"[green]Deployed[/] {file}: {cluster.api_url}")
        return {"file": str(file), "api_url": cluster.api_url}
    finally:
        serve.close()
