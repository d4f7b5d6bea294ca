"""`satellite scale`: give a model a number of replicas by hand, or give it back to the autoscaler."""

from __future__ import annotations

from typing import Any

from satellite.cli.cluster import find_cluster
from satellite.cli.console import CommandFailed, console
from satellite.config import load_model_config
from satellite.model import INGRESS
from satellite.settings import Settings

AUTO = "auto"


def scale(
    settings: Settings, model: str, replicas: str, *, dashboard_url: str | None = None
) -> dict[str, Any]:
    """Change the bounds of one deployment, and nothing else; the next deploy puts those of its config back.

    Args:
        settings: of the system.
        model: its name.
        replicas: a number, or `auto`. 0 lets the model sleep until its next job.
        dashboard_url: the Ray dashboard of a cluster that was not started by `satellite up`.

    Returns:
        The model's `autoscaling_config` as it is now.

    Raises:
        CommandFailed: nothing is up, or there is no such model.
    """
    if replicas != AUTO and not (replicas.isdecimal() and int(replicas) <= 1000):
        raise CommandFailed(f"'{replicas}' is neither a number of replicas (0 to 1000) nor '{AUTO}'.")
    serve = find_cluster(settings, dashboard_url).serve_api()
    try:
        config = serve.config()
        deployment = _deployment(config, model)
        deployment["autoscaling_config"] = _bounds(settings, model, replicas, deployment)
        serve.put(config)
    finally:
        serve.close()
    bounds = deployment["autoscaling_config"]
    console.print(
        f"[green]{model}[/]: {bounds['min_replicas']} to {bounds['max_replicas']} replicas"
        + (", until the next deploy." if replicas != AUTO else ", as its config says.")
    )
    return bounds


def _deployment(config: dict[str, Any], model: str) -> dict[str, Any]:
    found = {
        deployment["name"]: deployment
        for app in config["applications"]
        for deployment in app.get("deployments", [])
    }
    found.pop(INGRESS, None)
    if model not in found:
        raise CommandFailed(f"There is no model '{model}'; there are: {', '.join(sorted(found)) or 'none'}.")
    return found[model]


def _bounds(settings: Settings, model: str, replicas: str, deployment: dict[str, Any]) -> dict[str, Any]:
    if replicas == AUTO:
        for folder in settings.model_folders:
            if (folder / f"{model}.py").exists():
                return load_model_config(settings.model_configs(folder), model).autoscaling
        raise CommandFailed(f"The config of '{model}' is not here; `satellite deploy` where it is.")
    given: dict[str, Any] = {**(deployment.get("autoscaling_config") or {})}
    given.pop("initial_replicas", None)
    count = int(replicas)
    # By hand is meant now: the delays are the autoscaler's.
    now = {"upscale_delay_s": 0, "downscale_delay_s": 0}
    return {**given, **now, "min_replicas": count, "max_replicas": max(count, 1)}
