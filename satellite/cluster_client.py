"""The client over Serve handles: what `satellite.connect()` gives to notebooks and jobs on the cluster.

It has the methods of `satellite.Client`; only the transport is another. This module is the one place outside
`deployments/` that needs Ray, and is imported by `satellite.connect()` alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from satellite.client import Client
from satellite.client.async_client import PREFIX
from satellite.client.wire import Answer, Call, answer_error
from satellite.errors import ModelNotFound, SatelliteError, Unavailable, WaitTimeout
from satellite.jobs import DEFAULT_TENANT

APP_NAME = "satellite"
INGRESS = "Ingress"


class ClusterClient(Client):
    """Calls the deployments of a running cluster directly. Made by `satellite.connect()`.

    `predict` goes straight to a replica of the model, all else to an ingress. Close it or use it in `with`;
    the connection to Ray stays, as other code may use it.

    Args:
        address: the Ray cluster's address.
        app_name: the Serve application.
        tenant: whose jobs it makes and sees; see `HandleTransport`.

    Raises:
        Unavailable: there is no such cluster, or Satellite is not deployed on it.
    """

    def __init__(self, address: str, *, app_name: str = APP_NAME, tenant: str = DEFAULT_TENANT) -> None:
        try:
            if not ray.is_initialized():
                ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise Unavailable(f"no Ray cluster answers at {address}: {error}") from None
        transport = HandleTransport(app_name, tenant)
        super().__init__(transport=transport)
        try:
            self.run_in_loop(transport.deployments())
        except KeyError:
            self.close()
            raise Unavailable(
                f"the application '{app_name}' is not deployed on the cluster at {address}"
            ) from None


class HandleTransport:
    """Calls of the API over Serve handles. In Serve's fast mode they work only inside an event loop.

    They need no key: who is in the cluster could reach the database as well.

    Args:
        app_name: the Serve application.
        tenant: for whom the calls are.
    """

    def __init__(self, app_name: str, tenant: str = DEFAULT_TENANT) -> None:
        self._app_name = app_name
        self._tenant = tenant
        self._handles: dict[str, Any] = {}

    async def deployments(self) -> list[str]:
        """The names of the deployments.

        Raises:
            KeyError: there is no such application.
        """
        status = await asyncio.to_thread(serve.status)
        return sorted(status.applications[self._app_name].deployments)

    async def send(self, call: Call) -> Answer:
        """One call and its answer."""
        if call.path == f"{PREFIX}/inference/predict":
            return await self._predict(json.loads(call.body or b"{}"))
        handle = await self._handle(INGRESS)
        status, headers, body = await _answered(handle.call.remote(*self._parts(call)))
        return Answer(status=status, headers=headers, body=body)

    @asynccontextmanager
    async def lines(self, call: Call) -> AsyncGenerator[AsyncGenerator[str]]:
        """The lines of an endless answer."""
        handle = (await self._handle(INGRESS)).options(stream=True)
        response = handle.call_streaming.remote(*self._parts(call))
        try:
            status, headers = await _answered(anext(response))
            if status != 200:
                body = b"".join([chunk async for chunk in response])
                raise answer_error(Answer(status=status, headers=headers, body=body))
            yield _lines(response)
        finally:
            response.cancel()

    async def close(self) -> None:
        """Handles need no closing."""

    async def _predict(self, asked: dict[str, Any]) -> Answer:
        handle = await self._handle(asked["model_name"])
        version = {"model_version": asked["model_version"]} if "model_version" in asked else {}
        work = handle.predict.remote(asked["data"], flush=True, **version, **asked["config"])
        try:
            output = await asyncio.wait_for(_answered(work), asked["wait_s"])
        except TimeoutError:
            raise WaitTimeout(f"not finished within {asked['wait_s']:g} s") from None
        told = {
            "status": "succeeded",
            "model_name": asked["model_name"],
            "model_version": asked.get("model_version"),
            "result": output,
        }
        return Answer(status=200, headers={}, body=json.dumps(told).encode())

    async def _handle(self, deployment: str) -> Any:
        if deployment not in self._handles:
            known = [name for name in await self.deployments() if name != INGRESS]
            if deployment not in (INGRESS, *known):
                raise ModelNotFound(f"there is no model '{deployment}'; there are: {', '.join(known)}")
            self._handles[deployment] = serve.get_deployment_handle(deployment, self._app_name)
        return self._handles[deployment]

    def _parts(self, call: Call) -> tuple[Any, ...]:
        """As `deployments.asgi_call.call` takes them."""
        return call.method, call.path, list(call.query), call.headers, call.body or b"", self._tenant


async def _answered(work: Any) -> Any:
    """What a handle answers.

    Raises:
        SatelliteError: as it was raised there, without Ray's stack traces around it.
        Unavailable: the replica died, or Serve has none.
    """
    try:
        return await work
    except RayTaskError as error:
        if isinstance(error.cause, SatelliteError):
            raise error.cause from None
        raise
    except (RayError, RayServeException) as error:
        raise Unavailable(f"the replica that was asked does not answer ({type(error).__name__})") from None


async def _lines(response: Any) -> AsyncGenerator[str]:
    rest = b""
    while (chunk := await _answered(anext(response, None))) is not None:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()
