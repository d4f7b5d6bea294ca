"""Writes what `configs/` says into a Serve config: `python -m deployments.render serve_config.yaml`.

Serve rebuilds an application, and restarts all its replicas, only when its `import_path`, `args` or
`runtime_env` change; a changed file under `configs/` it does not see at all. Rendered, every setting of every
deployment stands in the config itself, under `deployments`, and Serve changes just the ones that differ: new
batching settings are taken over while running, new resources restart the replicas of that model alone.

What takes effect only in a new build goes into `args`: where the models are, and a fingerprint of their code
and of what the builder hands to their replicas. A new, renamed or edited model file is deployed with that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic import SecretStr

from deployments.app import AppArgs, build, resolve_profile
from deployments.registry import ModelDeployment, find_deployments, ingress_options, kafka_options
from deployments.webhooks import webhooks_options
from satellite.cli.serve_api import token_headers
from satellite.config import load_environment
from satellite.errors import SatelliteError, Unavailable
from satellite.model import INGRESS, KAFKA, WEBHOOKS
from satellite.registry import code_digest
from satellite.settings import Settings

DASHBOARD_TIMEOUT_S = 100
IMPORT_PATH = f"{build.__module__}:{build.__name__}"


def render(config: dict[str, Any], settings: Settings, gpus: float) -> dict[str, Any]:
    """A Serve config with the options of every deployment of Satellite spelled out.

    Args:
        config: a parsed Serve config file. What it says under `deployments` has the last word.
        settings: where `configs/` and `models/` are.
        gpus: how many GPUs the cluster has, for the profile `auto`.

    Raises:
        ConfigError, ModelDefinitionError: a file under `configs/` or `models/` does not validate.
    """
    applications = [
        _render_app(app, settings, gpus) if app.get("import_path") == IMPORT_PATH else app
        for app in config["applications"]
    ]
    return {**config, "applications": applications}


def _render_app(app: dict[str, Any], settings: Settings, gpus: float) -> dict[str, Any]:
    args = AppArgs(**app.get("args", {}))
    if args.models_path is not None:
        settings = settings.model_copy(update={"models_path": tuple(args.models_path)})
    environment = load_environment(settings.root / "configs", args.environment or settings.environment)
    models = find_deployments(settings, resolve_profile(settings, environment, gpus))
    options = {name: model.options() for name, model in models.items()}
    options[INGRESS] = ingress_options(environment.ingress, models)
    if settings.kafka_bootstrap:
        options[KAFKA] = kafka_options(environment.kafka, models)
    run_in = settings.webhooks or environment.webhooks.run_in
    if run_in == "deployment":
        options[WEBHOOKS] = webhooks_options(environment.webhooks, settings)
    for given in app.get("deployments", []):
        options[given["name"]] = {**options.get(given["name"], {}), **given}
    built = {
        "environment": args.environment or settings.environment,
        "models_path": [str(folder) for folder in settings.models_path],
        "fingerprint": _fingerprint(settings, models, run_in),
    }
    return {
        **app,
        "args": {**app.get("args", {}), **built},
        "deployments": [{"name": name, **fields} for name, fields in options.items()],
    }


def _fingerprint(settings: Settings, models: dict[str, ModelDeployment], webhooks: str) -> str:
    dtypes = {name: model.resources.dtype for name, model in models.items()}
    kafka = [settings.kafka_bootstrap, settings.kafka_prefix] if settings.kafka_bootstrap else []
    content = json.dumps([code_digest(*settings.model_folders), dtypes, webhooks, *kafka])
    return hashlib.sha256(content.encode()).hexdigest()


def cluster_gpus(dashboard_url: str, token: SecretStr | None = None) -> float:
    """How many GPUs the cluster has, waiting for its dashboard to come up."""
    deadline = time.monotonic() + DASHBOARD_TIMEOUT_S
    while True:
        try:
            answer = httpx.get(
                f"{dashboard_url}/api/v0/nodes", timeout=10, trust_env=False, headers=token_headers(token)
            ).raise_for_status()
            nodes = answer.json()["data"]["result"]["result"]
            return sum(node["resources_total"].get("GPU", 0) for node in nodes if node["state"] == "ALIVE")
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"Ray's dashboard at {dashboard_url} does not answer: {error}") from None
            time.sleep(0.1)


def main() -> None:
    """Print the rendered config as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", help="a Serve config file; '-' reads it from standard input")
    parser.add_argument("--dashboard", help="address of the Ray dashboard that knows the cluster's GPUs")
    arguments = parser.parse_args()
    text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text(encoding="utf-8")
    try:
        config, settings = yaml.safe_load(text), Settings()
        rendered = render(config, settings, 0)  # before anything else: a mistake should be told at once
        if arguments.dashboard and (gpus := cluster_gpus(arguments.dashboard, settings.ray_token)):
            rendered = render(config, settings, gpus)
    except SatelliteError as error:
        sys.exit(str(error))
    print(json.dumps(rendered, indent=1))


if __name__ == "__main__":
    main()
