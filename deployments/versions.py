"""Reaches every replica of a model at once: to load a version, to put it away, to ask which are loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from satellite.errors import InferenceError, Unavailable, VersionUnavailable
from satellite.releases import Loaded
from satellite.tasks import Background

logger = logging.getLogger("satellite.ingress")

# Who only asks does not wait for a replica that hangs.
ASK_TIMEOUT_S = 2.0
TELL_TIMEOUT_S = 120.0


class BroadcastReplicas:
    """Implements `satellite.releases.Replicas` over Serve's handles.

    Args:
        handles: for each model the handle of its deployment.
    """

    def __init__(self, handles: Mapping[str, DeploymentHandle]) -> None:
        self._handles = handles
        self._background = Background()
        self._telling: set[tuple[str, str]] = set()

    async def load(self, model_name: str, version: str) -> int:
        """Load a version on each replica. Returns on how many."""
        return len(_all_well(await self._call(model_name, "load_version", version)))

    async def unload(self, model_name: str, version: str) -> int:
        """Put a version away on each replica, once nothing uses it. Returns on how many it was loaded."""
        return sum(_all_well(await self._call(model_name, "unload_version", version)))

    async def loaded(self, model_name: str) -> Mapping[str, Loaded]:
        """For each replica that answers, by its id, what it has loaded."""
        try:
            answers = await self._call(model_name, "loaded_versions", timeout_s=ASK_TIMEOUT_S)
        except Unavailable:
            return {}
        return dict(answer for answer in answers if not isinstance(answer, BaseException))

    def follow_default(self, model_name: str, version: str) -> None:
        """Let each replica answer with this version if it is called without one."""
        if (model_name, version) not in self._telling:
            self._telling.add((model_name, version))
            self._background.spawn(self._tell(model_name, version))

    async def _tell(self, model_name: str, version: str) -> None:
        try:
            for answer in await self._call(model_name, "take_default", version):
                if isinstance(answer, BaseException):
                    logger.warning(
                        "A replica does not take the default version.",
                        extra={"action": "default_refused", "model": model_name, "error": str(answer)[:300]},
                    )
        except Unavailable:
            pass  # told again after the next heartbeat
        finally:
            self._telling.discard((model_name, version))

    async def _call(
        self, model_name: str, method: str, *arguments: Any, timeout_s: float = TELL_TIMEOUT_S
    ) -> list[Any]:
        """What each running replica answers: a value, or the error it raised.

        Raises:
            Unavailable: none is running, or not all have answered in time.
        """
        try:
            call = self._handles[model_name].broadcast(method, *arguments)
            return await call.results_async(timeout_s=timeout_s, return_exceptions=True)
        except DeploymentUnavailableError:
            raise Unavailable(f"no replica of '{model_name}' is running", retry_after_s=5) from None
        except (TimeoutError, asyncio.CancelledError, RayError, RayServeException) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise Unavailable(f"not every replica of '{model_name}' answers", retry_after_s=5) from error


def _all_well(answers: list[Any]) -> list[Any]:
    """The answers, if none is an error.

    Raises:
        InferenceError: what the first replica that has failed says.
    """
    for answer in answers:
        cause = answer.cause if isinstance(answer, RayTaskError) else answer
        if isinstance(cause, InferenceError):
            raise cause
        if isinstance(cause, BaseException):
            raise VersionUnavailable(f"a replica has failed: {type(cause).__name__}: {cause}"[:500])
    return answers
