"""Has `deployments.render` spell out what `configs/` says, in a process of its own.

The CLI knows neither Ray nor the deployments. Started early, that process does its imports while Ray starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from satellite.cli.serve_api import Json, render_config
from satellite.errors import ConfigError
from satellite.settings import Settings

TIMEOUT_S = 120


def model_variables(settings: Settings) -> dict[str, str]:
    """Which models there are and where, for a process that may run in another folder than this one."""
    return {
        "SATELLITE_MODELS": settings.models or "",
        "SATELLITE_MODELS_PATH": os.pathsep.join(map(str, settings.models_path)),
    }


class Rendering:
    """A Serve config on its way to being rendered. Use it in `with`, so that its process never stays behind.

    Args:
        file: a Serve config file.
        settings: the settings the system runs with.
        dashboard_url: where the cluster says how many GPUs it has; it may not be up yet.

    Raises:
        ConfigError: the file is not a Serve config.
    """

    def __init__(self, file: Path, settings: Settings, dashboard_url: str) -> None:
        self._file = file
        config = render_config(file, settings)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deployments.render", "-", "--dashboard", dashboard_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **model_variables(settings), "SATELLITE_ROOT": str(settings.root)},
            cwd=settings.root,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(config).encode())
        self._process.stdin.close()
        self._process.stdin = None

    def __enter__(self) -> Rendering:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def check(self) -> None:
        """Say at once what is wrong with a config or model file.

        Raises:
            ConfigError: with the file and line or field.
        """
        if self._process.poll() not in (None, 0):
            self.result()

    def result(self) -> Json:
        """The rendered config.

        Raises:
            ConfigError: a config or model file does not validate.
        """
        try:
            output, errors = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{self._file} could not be rendered within {TIMEOUT_S} s.") from None
        if self._process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise ConfigError(lines[-1] if lines else f"{self._file} could not be rendered.")
        return json.loads(output)
