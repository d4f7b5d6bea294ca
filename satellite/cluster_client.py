"""The handle-based client: calls the deployments of a running cluster directly, without HTTP.

This module, the client's twin in the library, is the one place outside `deployments/` that needs Ray; it is
imported only by `satellite.connect()`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import ray
from ray import serve
from ray.exceptions import RayTaskError

from satellite.errors import ModelNotFound, SatelliteError, Unavailable
from satellite.jobs import JobStatus

T = TypeVar("T")

APP_NAME = "satellite"


class ClusterClient:
    """Submits and predicts over Serve handles. Made by `satellite.connect()`; close it or use it in `with`.

    Args:
        address: the Ray cluster's address.
        app_name: the Serve application.

    Raises:
        Unavailable: there is no such cluster, or Satellite is not deployed on it.
    """

    def __init__(self, address: str, *, app_name: str = APP_NAME) -> None:
        try:
            if not ray.is_initialized():
                ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise Unavailable(f"no Ray cluster answers at {address}: {error}") from None
        # In Serve's fast mode a handle works only inside an event loop: this client brings one of its own.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="satellite-client", daemon=True)
        self._thread.start()
        self._app_name = app_name
        self._handles: dict[str, Any] = {}
        if app_name not in self._run(asyncio.to_thread(lambda: serve.status().applications)):
            self.close()
            raise Unavailable(f"the application '{app_name}' is not deployed on the cluster at {address}")

    def predict(
        self,
        model_name: str,
        data: Any,
        *,
        timeout_s: float = 60,
        model_version: str | None = None,
        **config: Any,
    ) -> dict[str, Any]:
        """Compute now, on a replica of the model; nothing is stored.

        Args:
            model_name: which model.
            data: the model's input. Arrays are taken as lists.
            timeout_s: how long to wait for the answer.
            model_version: which version of the model; None: its default.
            **config: the model's config.

        Returns:
            The model's output.

        Raises:
            SatelliteError: `InvalidRequest`, `InferenceError` and so on, as the API would answer.
            TimeoutError: there was no answer in time.
        """
        call = self._handle(model_name).predict.remote
        if model_version is not None:
            config["model_version"] = model_version
        return self._run(_await(call, _plain(data), flush=True, **config), timeout_s)

    def submit(
        self, model_name: str, data: Any, *, job: Mapping[str, Any] | None = None, **config: Any
    ) -> UUID:
        """Store a job. When this returns it is committed; read it with `result`.

        Args:
            model_name: which model.
            data: the model's input. Arrays are taken as lists.
            job: what is asked of the job beside its input, as in the body of `POST /api/v1/inference/submit`:
                `model_version`, `priority`, `deadline_s`, `run_at`, `labels`, `max_attempts`, and
                `idempotency_key`.
            **config: the model's config.

        Raises:
            SatelliteError: it was not accepted.
        """
        fields = {key: _plain(value) for key, value in (job or {}).items()}
        call = self._handle("Ingress").submit.remote
        return UUID(self._run(_await(call, model_name, _plain(data), config, fields))["job_id"])

    def result(self, job_id: UUID | str, *, wait_s: float = 60) -> dict[str, Any]:
        """The job, once it has ended or `wait_s` are over: the body of `GET /api/v1/inference/result`.

        Raises:
            JobNotFound: there is no such job.
        """
        deadline = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            job = self._run(_await(self._handle("Ingress").result.remote, str(job_id), left_s))
            # An ingress that is about to stop answers early: the next one is asked for the rest.
            if JobStatus(job["status"]).is_terminal or time.monotonic() >= deadline:
                return job

    def job(self, job_id: UUID | str) -> dict[str, Any]:
        """Everything that is stored of a job: the body of `GET /api/v1/jobs/{job_id}`.

        Raises:
            JobNotFound: there is no such job.
        """
        return self._run(_await(self._handle("Ingress").job.remote, str(job_id)))

    def explain(self, job_id: UUID | str) -> dict[str, Any]:
        """Where a job's time went, and why: the body of `GET /api/v1/jobs/{job_id}/explain`.

        Raises:
            JobNotFound: there is no such job.
        """
        return self._run(_await(self._handle("Ingress").explain.remote, str(job_id)))

    def cancel(self, job_id: UUID | str) -> dict[str, Any]:
        """Cancel a job. One that waits never runs; of one that runs the result is discarded.

        Returns:
            The job; if it is not `cancelled` yet, it has been asked for.

        Raises:
            JobNotFound, JobFinished: there is nothing to cancel.
        """
        return self._run(_await(self._handle("Ingress").cancel.remote, str(job_id)))

    def jobs(
        self,
        *,
        model_name: str | None = None,
        status: str | Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """The newest jobs, without their payloads.

        Args:
            model_name: only of this model.
            status: only in this state, or one of these.
            labels: only with all of these.
            limit: so many at most.
        """
        statuses = [JobStatus(name) for name in ([status] if isinstance(status, str) else status)]
        call = self._handle("Ingress").jobs.remote
        return self._run(_await(call, model_name, statuses, dict(labels or {}), limit))

    def models(self) -> list[str]:
        """The names of the deployed models."""
        status = self._run(asyncio.to_thread(serve.status))
        return sorted(name for name in status.applications[self._app_name].deployments if name != "Ingress")

    def close(self) -> None:
        """End the client's thread. The connection to Ray stays, as other code may use it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> ClusterClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self, deployment: str) -> Any:
        if deployment not in self._handles:
            if deployment != "Ingress" and deployment not in (known := self.models()):
                raise ModelNotFound(f"there is no model '{deployment}'; there are: {', '.join(known)}")
            self._handles[deployment] = self._run(_make_handle(deployment, self._app_name))
        return self._handles[deployment]

    def _run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except RayTaskError as error:
            # The error as it was raised there, without Ray's stack traces around it.
            if isinstance(error.cause, SatelliteError):
                raise error.cause from None
            raise


async def _make_handle(deployment: str, app_name: str) -> Any:
    return serve.get_deployment_handle(deployment, app_name)


async def _await(call: Any, *args: Any, **kwargs: Any) -> Any:
    return await call(*args, **kwargs)


def _plain(value: Any) -> Any:
    """Arrays and series (anything with `tolist`) as lists, times as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value.tolist() if hasattr(value, "tolist") else value
