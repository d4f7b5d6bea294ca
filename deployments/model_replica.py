"""A replica of one model: takes chunks, batches them, answers each request in its place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import ray
from ray import serve
from uuid_utils.compat import uuid7

from deployments.freezing import freeze
from deployments.logs import configure_logging
from satellite.batching import Chunk, ChunkResult, Outcome, batch_size
from satellite.catalog import CatalogEntry
from satellite.config import Batching, ModelConfig
from satellite.device import Device, DType, limit_torch_threads
from satellite.registry import load_model
from satellite.runner import BatchRunner

logger = logging.getLogger("satellite.replica")


class _Queued(NamedTuple):
    """A chunk in the batch queue, with the limit in force: `batch_size_fn` sees nothing but its items."""

    chunk: Chunk
    max_batch_size: int


def _batch_size(queued: list[_Queued]) -> int:
    return batch_size([item.chunk for item in queued], queued[0].max_batch_size)


class ModelReplica:
    """The deployment of every model; the builder gives each one its name, resources and settings.

    From another process on the cluster it is called through its handle::

        handle = serve.get_deployment_handle("lstm_timeseries", "satellite")
        answer = await handle.predict.remote([1.2, 2.3, 3.1, 2.8], forecast_steps=5)

    Args:
        model_file: the file that registers the model.
        torch_threads: intra-op threads of torch on a CPU.
        log_level: of Satellite's own log lines.
        dtype: what the model may compute in; see `satellite/device.py`.
    """

    def __init__(self, model_file: str, torch_threads: int, log_level: str, dtype: DType = "float32") -> None:
        configure_logging(log_level)
        self._spec = load_model(Path(model_file))
        self._batching = Batching()
        self._replica_id = serve.get_replica_context().replica_id.unique_id
        # Ray has set CUDA_VISIBLE_DEVICES to what it gave this replica, before torch was imported.
        device = Device("cuda" if ray.get_gpu_ids() else "cpu", dtype)
        # One thread computes, so that the event loop goes on taking chunks in.
        self._compute = ThreadPoolExecutor(1, "compute")
        self._runner = self._compute.submit(self._load, device, torch_threads).result()
        freeze()
        logger.info(
            "The model is loaded.",
            extra={"action": "model_loaded", "model": self._spec.name, "device": device, "dtype": dtype},
        )

    def _load(self, device: Device, torch_threads: int) -> BatchRunner:
        runner = BatchRunner(self._spec, device)
        if device == "cpu":
            limit_torch_threads(torch_threads)
        return runner

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over batching settings while running. Serve calls this at start and after a deploy."""
        self._batching = Batching.model_validate(user_config["batching"])
        self._run_batch.set_max_batch_size(self._batching.max_batch_size)
        self._run_batch.set_batch_wait_timeout_s(self._batching.batch_wait_timeout_s)

    async def run_chunks(self, chunks: Sequence[Chunk]) -> list[ChunkResult]:
        """Compute chunks that came in one call, each in a batch; see `run_chunk`."""
        if len(chunks) == 1:
            return [await self.run_chunk(chunks[0])]
        return list(await asyncio.gather(*map(self.run_chunk, chunks)))

    async def run_chunk(self, chunk: Chunk) -> ChunkResult:
        """Compute 1 to `max_batch_size` validated requests, in one batch with whatever else waits."""
        limit = self._batching.max_batch_size
        if len(chunk.items) <= limit:
            return await self._run_batch(_Queued(chunk, limit))
        # The limit was lowered and the caller does not know yet.
        pieces = [Chunk(chunk.items[i : i + limit], chunk.flush) for i in range(0, len(chunk.items), limit)]
        results = [await self._run_batch(_Queued(piece, limit)) for piece in pieces]
        outcomes = [outcome for result in results for outcome in result.outcomes]
        last = results[-1]
        return ChunkResult(
            outcomes=outcomes,
            model_version=last.model_version,
            replica_id=last.replica_id,
            batch_id=last.batch_id,
            batch_size=last.batch_size,
            started_at_s=results[0].started_at_s,
            compute_s=sum(result.compute_s for result in results),
        )

    async def predict(self, data: Any, *, flush: bool = False, **config: Any) -> dict[str, Any]:
        """Answer one request: the call for notebooks and other deployments.

        It waits for company like any other request, up to the model's `batch_wait_timeout_s`.

        Args:
            data: the model's input, as JSON values.
            flush: do not wait for a batch to fill.
            **config: the model's config.

        Returns:
            The model's output, as JSON values.

        Raises:
            InvalidRequest: `data` or `config` do not fit the model's schema.
            InferenceError: the model could not answer.
        """
        request = CatalogEntry(spec=self._spec, config=ModelConfig()).validate_unstored(data, config)
        result = await self.run_chunk(Chunk([(request.data, request.config)], flush))
        outcome: Outcome = result.outcomes[0]
        if outcome.error is not None:
            raise outcome.error
        assert outcome.output is not None
        return orjson.loads(outcome.output)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=2, batch_size_fn=_batch_size)
    async def _run_batch(self, queued: list[_Queued]) -> list[ChunkResult]:
        items = [item for entry in queued for item in entry.chunk.items]
        started_at_s, began = time.time(), time.perf_counter()
        loop = asyncio.get_running_loop()
        outcomes = iter(await loop.run_in_executor(self._compute, self._runner.run, items))
        compute_s = time.perf_counter() - began
        batch_id = str(uuid7())  # ordered by time: see the index jobs_by_batch
        return [
            ChunkResult(
                outcomes=[next(outcomes) for _ in entry.chunk.items],
                model_version=self._spec.version,
                replica_id=self._replica_id,
                batch_id=batch_id,
                batch_size=len(items),
                started_at_s=started_at_s,
                compute_s=compute_s,
            )
            for entry in queued
        ]
