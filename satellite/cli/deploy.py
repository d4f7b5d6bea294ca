"""`satellite deploy`: hand a Serve config to the system that is up."""

from __future__ import annotations

from pathlib import Path

from satellite.cli.console import CommandFailed, console
from satellite.cli.lifecycle import running_state
from satellite.cli.rendering import Rendering
from satellite.cli.serve_api import ServeApi, wait_until_ready
from satellite.cli.state import Paths
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
    if dashboard_url is not None:
        api_url, token, logs = settings.api_url, settings.ray_token, "the dashboard"
    else:
        state = running_state(Paths(settings.home))
        if state is None or state.phase != "ready":
            raise CommandFailed(
                "Nothing is running: `satellite up` first (or --dashboard URL of a Ray cluster)."
            )
        # The cluster builds the models that it was started with; what is rendered here must be the same ones.
        settings = settings.model_copy(update={"models": state.models})
        dashboard_url, api_url, token = state.dashboard_url, state.api_url, None
        logs = f"{state.session_folder}/logs/serve"
    serve = ServeApi(dashboard_url, token)
    try:
        with console.status("deploying ...") as spinner:
            with Rendering(file, settings, dashboard_url) as rendering:
                serve.put(rendering.result())
            try:
                wait_until_ready(
                    serve,
                    api_url,
                    timeout_s=settings.start_timeout_s,
                    on_progress=lambda words: spinner.update(f"deploying: {words}"),
                )
            except EnvironmentProblem as exc:
                raise CommandFailed(f"{exc}\nServe's logs: {logs}") from None
        console.print(f"[green]Deployed[/] {file}: {api_url}")
        return {"file": str(file), "api_url": api_url}
    finally:
        serve.close()
