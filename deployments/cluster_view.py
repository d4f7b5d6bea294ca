"""What the cluster looks like, as last seen: asks Serve's controller, and who watches has Ray asked, too.

The controller's one answer tells of the deployments and of their replicas.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import ray
from ray._private.services import get_webui_url_from_internal_kv
from ray.serve.context import _get_global_client

from satellite.api.context import ClusterState, DeploymentState, GpuState, NodeState, ReplicaState
from satellite.model import INGRESS

logger = logging.getLogger("satellite.cluster")

POLL_S = 2.0
# Until every model runs the answer changes often, and readiness waits for it.
STARTING_POLL_S = 0.25
# However many watch, nodes are looked at no more often than this.
LOOK_S = 5.0
DASHBOARD_TIMEOUT_S = 2.0
# Ray remembers nodes that have gone: so many of them are shown.
MAX_GONE = 10
_MIB = 1024 * 1024


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
        self._replicas: list[ReplicaState] = []
        self._ingresses = 0
        self._nodes: list[NodeState] = []
        self._dashboard_url: str | None = None
        self._looked_at_s = float("-inf")
        self._looking = asyncio.Lock()
        self._task = asyncio.create_task(self._watch())

    def deployments(self) -> Mapping[str, DeploymentState]:
        """The deployments by name."""
        return self._deployments

    async def look(self) -> ClusterState:
        """The nodes and replicas, as they were at most a few seconds ago; if Ray does not answer, longer."""
        async with self._looking:
            if time.monotonic() - self._looked_at_s >= LOOK_S:
                try:
                    self._nodes, self._dashboard_url = await asyncio.to_thread(_look_at_nodes)
                except Exception:
                    logger.warning(
                        "Ray does not tell of its nodes.", exc_info=True, extra={"action": "cluster_away"}
                    )
                self._looked_at_s = time.monotonic()
        return ClusterState(
            nodes=self._nodes,
            replicas=self._replicas,
            ingresses=self._ingresses,
            dashboard_url=self._dashboard_url,
        )

    def close(self) -> None:
        """Stop watching."""
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                self._take(await asyncio.to_thread(self._ask))
                self._on_change()
            except Exception:
                logger.warning(
                    "Serve's controller does not answer.", exc_info=True, extra={"action": "controller_away"}
                )
            states = [self._deployments.get(name) for name in self._names]
            ready = all(state is not None and (state.running or state.sleeps) for state in states)
            await asyncio.sleep(POLL_S if ready else STARTING_POLL_S)

    def _ask(self) -> dict[str, dict[str, Any]]:
        """What the controller says of the application's deployments, by name."""
        app = _get_global_client().get_serve_details()["applications"].get(self._app_name)
        return app["deployments"] if app else {}

    def _take(self, found: dict[str, dict[str, Any]]) -> None:
        self._deployments = {
            name: DeploymentState(
                state=_text(found[name]["status"]),
                message=found[name]["message"],
                replicas=dict(Counter(_text(replica["state"]) for replica in found[name]["replicas"])),
            )
            for name in self._names
            if name in found
        }
        self._replicas = [
            ReplicaState(
                model_name=name,
                replica_id=replica["replica_id"],
                state=_text(replica["state"]),
                node_id=replica["node_id"],
            )
            for name in self._deployments
            for replica in found[name]["replicas"]
        ]
        ingresses = found[INGRESS]["replicas"] if INGRESS in found else []
        self._ingresses = sum(_text(replica["state"]) == "RUNNING" for replica in ingresses)


def _text(state: Any) -> str:
    """A state as Serve spells it, be it an enum or a text already."""
    return str(getattr(state, "value", state))


def _look_at_nodes() -> tuple[list[NodeState], str | None]:
    """The nodes, and where Ray's dashboard is."""
    url = get_webui_url_from_internal_kv()
    return _nodes(_summaries(url) if url else {}), f"http://{url}" if url else None


def _summaries(url: str) -> dict[str, dict[str, Any]]:
    """What the agent of each node reports of it, by the node's id; empty if the dashboard is out of reach.

    It may listen on loopback only, and this be another node.
    """
    try:
        answer = httpx.get(
            f"http://{url}/nodes", params={"view": "summary"}, timeout=DASHBOARD_TIMEOUT_S, trust_env=False
        )
        summaries = answer.raise_for_status().json()["data"]["summary"]
    except (httpx.HTTPError, ValueError, KeyError):
        return {}
    return {summary["raylet"]["nodeId"]: summary for summary in summaries if summary.get("raylet")}


def _nodes(summaries: dict[str, dict[str, Any]]) -> list[NodeState]:
    nodes = sorted(ray.nodes(), key=lambda node: node["NodeManagerAddress"])
    alive = [node for node in nodes if node["Alive"]]
    gone = [node for node in nodes if not node["Alive"]]
    return [_node(node, summaries.get(node["NodeID"], {})) for node in [*alive, *gone[:MAX_GONE]]]


def _node(node: dict[str, Any], summary: dict[str, Any]) -> NodeState:
    """A node as Ray's control service knows it, with what its agent reports."""
    summary = summary if node["Alive"] else {}
    total, available, *_ = summary.get("mem") or (None, None)
    return NodeState(
        node_id=node["NodeID"],
        address=node["NodeManagerAddress"],
        alive=node["Alive"],
        head="node:__internal_head__" in node["Resources"],
        cpu_percent=summary.get("cpu"),
        cpus=(summary.get("cpus") or (None,))[0],
        memory_used_bytes=None if total is None else total - available,
        memory_total_bytes=total,
        gpus=[
            GpuState(
                name=gpu["name"],
                utilization_percent=gpu.get("utilizationGpu"),
                memory_used_bytes=gpu["memoryUsed"] * _MIB,
                memory_total_bytes=gpu["memoryTotal"] * _MIB,
            )
            for gpu in summary.get("gpus") or ()
        ],
    )
