"""What the cluster's deployments look like, as last seen: asks Serve's controller now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from ray import serve

from satellite.api.context import DeploymentState

logger = logging.getLogger("satellite.cluster")

POLL_S = 2.0
# Until every model runs the answer changes often, and readiness waits for it.
STARTING_POLL_S = 0.25


class ClusterView:
    """Implements `satellite.api.context.Cluster`.

    Args:
        app_name: the Serve application.
        names: the deployments to watch.
        on_change: called after every look.
    """

    def __init__(self, app_name: str, names: list[str], on_change: Callable[[], None]) -> None:
        self._app_name = app_name
        self._names = names
        self._on_change = on_change
        self._deployments: dict[str, DeploymentState] = {}
        self._task = asyncio.create_task(self._watch())

    def deployments(self) -> Mapping[str, DeploymentState]:
        """The deployments by name."""
        return self._deployments

    def close(self) -> None:
        """Stop watching."""
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                self._deployments = await asyncio.to_thread(self._look)
                self._on_change()
            except Exception:
                logger.warning(
                    "Serve's controller does not answer.", exc_info=True, extra={"action": "controller_away"}
                )
            states = [self._deployments.get(name) for name in self._names]
            ready = all(state is not None and (state.running or state.sleeps) for state in states)
            await asyncio.sleep(POLL_S if ready else STARTING_POLL_S)

    def _look(self) -> dict[str, DeploymentState]:
        app = serve.status().applications.get(self._app_name)
        if app is None:
            return {}
        return {
            name: DeploymentState(
                state=str(deployment.status.value),
                message=deployment.message,
                replicas={str(getattr(s, "value", s)): n for s, n in deployment.replica_states.items()},
            )
            for name, deployment in app.deployments.items()
            if name in self._names
        }
