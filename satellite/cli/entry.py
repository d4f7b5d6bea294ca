"""Where `satellite` begins: says what to install where the commands' own packages are missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs one command."""
    try:
        from satellite.cli.main import app
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("satellite"):
            raise
        sys.stderr.write(
            f"error: the commands need more than the client ({exc.name} is missing): "
            "pip install 'satellite[cli]' for those that talk to a system elsewhere, "
            "'satellite[server]' for all of them.\n"
        )
        sys.exit(2)
    app()
