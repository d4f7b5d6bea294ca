"""A replica of one model: takes chunks, batches them by version, answers each request in its place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import ray
from ray import serve
from uuid_utils.compat import uuid7

from deployments.autoscaling import LOAD
from deployments.collector import tune_collector
from deployments.logs import configure_logging
from deployments.metrics import Exporter
from satellite.artifacts import Artifact, ArtifactSource, first_version
from satellite.batching import Chunk, ChunkResult, Outcome, batch_size
from satellite.catalog import CatalogEntry
from satellite.config import Batching, ModelConfig, Scaling, Versions
from satellite.device import Device, DType, limit_torch_threads
from satellite.errors import EnvironmentProblem, InferenceError, VersionFailed, VersionUnavailable
from satellite.metrics import VersionMetrics
from satellite.registry import load_model
from satellite.releases import Loaded
from satellite.runner import BatchRunner
from satellite.versions import LoadedVersions

logger = logging.getLogger("satellite.replica")

# A wait for a version that is loaded already is no wait.
LOADED_S = 0.001


class _Queued(NamedTuple):
    """A chunk in a batch queue, with the limit in force: `batch_size_fn` sees nothing but its items."""

    chunk: Chunk
    max_batch_size: int
    runner: BatchRunner


def _batch_size(queued: list[_Queued]) -> int:
    return batch_size([item.chunk for item in queued], queued[0].max_batch_size)


BatchQueue = Callable[[_Queued], Awaitable[ChunkResult]]


class _Declared(NamedTuple):
    """What a model without artifacts is made of: nothing but its class."""

    size_bytes: int = 0


class _Loaded(NamedTuple):
    """A version, and the batch queue it has for as long as it is loaded."""

    runner: BatchRunner
    queue: BatchQueue


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
        source: where the model's versions lie; None for a model without artifacts.
    """

    def __init__(
        self,
        model_file: str,
        torch_threads: int,
        log_level: str,
        dtype: DType = "float32",
        source: ArtifactSource | None = None,
    ) -> None:
        configure_logging(log_level)
        self._spec = load_model(Path(model_file))
        self._source = source
        self._batching = Batching()
        self._replica_id = serve.get_replica_context().replica_id.unique_id
        # Ray has set CUDA_VISIBLE_DEVICES to what it gave this replica, before torch was imported.
        self._device = Device("cuda" if ray.get_gpu_ids() else "cpu", dtype)
        self._torch_threads = torch_threads
        # One thread computes, so that the event loop goes on taking chunks in; another one loads, so that the
        # versions that are loaded go on computing.
        self._compute = ThreadPoolExecutor(1, "compute")
        self._loading = ThreadPoolExecutor(1, "load")
        # Each loaded version has a batch queue, so no batch holds two; one that is put away leaves its queue
        # to the next.
        self._queues: list[BatchQueue] = []
        self._free_queues: list[BatchQueue] = []
        limits = Versions()
        self._versions: LoadedVersions[Artifact | _Declared, _Loaded] = LoadedVersions(
            self._fetch, self._load, self._close, max_versions=limits.max_loaded_versions
        )
        self._default: str | None = None
        self._metrics = VersionMetrics(self._spec.name)
        self._exporter: Exporter | None = None
        self._scaling = Scaling()
        self._measured = (time.monotonic(), time.process_time())  # the last look of the autoscaler

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over settings while running. Serve calls this at start and after a deploy."""
        self._batching = Batching.model_validate(user_config["batching"])
        self._scaling = Scaling.model_validate(user_config.get("scaling", {}))
        for queue in self._queues:
            self._configure(queue)
        versions = Versions.model_validate(user_config.get("versions", {}))
        self._versions.set_limits(
            max_versions=versions.max_loaded_versions, max_bytes=versions.max_loaded_bytes
        )
        if self._exporter is None:
            await self._start(versions.default)
            self._exporter = Exporter(self._metrics, lambda: self._metrics.take(self._versions))

    async def _start(self, default: str | None) -> None:
        """Load the version that requests will ask for first.

        Raises:
            Exception: the only version there is cannot be loaded: then this replica must not start.
        """
        found = await asyncio.to_thread(self._source.list) if self._source else {}
        self._default = first_version(default, self._spec.version, found)
        try:
            await self.load_version(self._default)
        except InferenceError as error:
            if len(found) < 2:
                raise
            logger.error("The default version cannot be loaded.", extra=self._about("load_failed", error))
        tune_collector()

    async def run_chunks(self, chunks: Sequence[Chunk]) -> list[ChunkResult]:
        """Compute chunks that came in one call, each in a batch; see `run_chunk`."""
        if len(chunks) == 1:
            return [await self.run_chunk(chunks[0])]
        return list(await asyncio.gather(*map(self.run_chunk, chunks)))

    async def run_chunk(self, chunk: Chunk) -> ChunkResult:
        """Compute 1 to `max_batch_size` validated requests, in a batch with others of their version."""
        began = time.perf_counter()
        try:
            async with self._versions.use(chunk.version or self._default or "") as loaded:
                load_s = time.perf_counter() - began
                result = await self._run_chunk(loaded, chunk)
        except (VersionFailed, VersionUnavailable) as error:
            return self._refused(chunk, error, time.perf_counter() - began)
        return result if load_s < LOADED_S else result.loaded_in(load_s)

    async def _run_chunk(self, loaded: _Loaded, chunk: Chunk) -> ChunkResult:
        limit = self._batching.max_batch_size
        if len(chunk.items) <= limit:
            return await loaded.queue(_Queued(chunk, limit, loaded.runner))
        # The limit was lowered and the caller does not know yet.
        pieces = [Chunk(chunk.items[i : i + limit], chunk.flush) for i in range(0, len(chunk.items), limit)]
        results = [await loaded.queue(_Queued(piece, limit, loaded.runner)) for piece in pieces]
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

    def _refused(self, chunk: Chunk, error: InferenceError, load_s: float) -> ChunkResult:
        """The answer to a chunk whose version there is no way to run: an error for each of its requests."""
        logger.warning("A version cannot be used.", extra=self._about("version_failed", error))
        return ChunkResult(
            outcomes=[Outcome(error=error)] * len(chunk.items),
            model_version=chunk.version or self._default or self._spec.version,
            replica_id=self._replica_id,
            batch_id=None,
            batch_size=len(chunk.items),
            started_at_s=time.time(),
            compute_s=0.0,
            load_s=load_s,
        )

    async def predict(
        self, data: Any, *, flush: bool = False, model_version: str | None = None, **config: Any
    ) -> dict[str, Any]:
        """Answer one request: the call for notebooks and other deployments.

        It waits for company like any other request, up to the model's `batch_wait_timeout_s`.

        Args:
            data: the model's input, as JSON values.
            flush: do not wait for a batch to fill.
            model_version: which version answers; None: the default.
            **config: the model's config.

        Returns:
            The model's output, as JSON values.

        Raises:
            InvalidRequest: `data` or `config` do not fit the model's schema.
            InferenceError: the model could not answer, or has no such version.
        """
        request = CatalogEntry(spec=self._spec, config=ModelConfig()).validate_unstored(data, config)
        chunk = Chunk([(request.data, request.config)], flush, version=model_version)
        outcome: Outcome = (await self.run_chunk(chunk)).outcomes[0]
        if outcome.error is not None:
            raise outcome.error
        assert outcome.output is not None
        return orjson.loads(outcome.output)

    # Versions: for every replica at once, by `handle.broadcast`

    async def load_version(self, version: str) -> None:
        """Load a version, if it is not, so that the first request for it need not wait.

        Raises:
            VersionFailed, VersionUnavailable: it cannot be.
        """
        async with self._versions.use(version):
            pass

    async def unload_version(self, version: str) -> bool:
        """Put a version away as soon as nothing uses it. Returns False if it was not loaded."""
        return await self._versions.unload(version)

    async def take_default(self, version: str) -> None:
        """Answer with this version from now on where none is named.

        Raises:
            VersionFailed, VersionUnavailable: it cannot be loaded; the default stays.
        """
        if version != self._default:  # it is told again and again
            await self.load_version(version)
            self._default = version

    async def loaded_versions(self) -> tuple[str, Loaded]:
        """The id of this replica, and what it has loaded."""
        totals = self._versions.totals
        return self._replica_id, Loaded(
            versions=self._versions.loaded,
            hits=totals.hits,
            misses=totals.misses,
            evictions=totals.evictions,
        )

    # Inside

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """How busy this replica's processors are, see `deployments/autoscaling.py`; called by Serve."""
        then, used_then = self._measured
        now, used_now = self._measured = (time.monotonic(), time.process_time())
        share = (used_now - used_then) / max(now - then, 1e-3) / self._torch_threads
        return {LOAD: share / (self._scaling.target_cpu_percent / 100)}

    async def _run_batch(self, queued: list[_Queued]) -> list[ChunkResult]:
        items = [item for entry in queued for item in entry.chunk.items]
        runner = queued[0].runner
        started_at_s, began = time.time(), time.perf_counter()
        loop = asyncio.get_running_loop()
        outcomes = iter(await loop.run_in_executor(self._compute, runner.run, items))
        compute_s = time.perf_counter() - began
        batch_id = str(uuid7())  # ordered by time: see the index jobs_by_batch
        return [
            ChunkResult(
                outcomes=[next(outcomes) for _ in entry.chunk.items],
                model_version=runner.version,
                replica_id=self._replica_id,
                batch_id=batch_id,
                batch_size=len(items),
                started_at_s=started_at_s,
                compute_s=compute_s,
            )
            for entry in queued
        ]

    def _new_queue(self) -> BatchQueue:
        queue = serve.batch(max_batch_size=8, batch_wait_timeout_s=2, batch_size_fn=_batch_size)(
            self._run_batch
        )
        self._configure(queue)
        self._queues.append(queue)
        return queue

    def _configure(self, queue: Any) -> None:
        queue.set_max_batch_size(self._batching.max_batch_size)
        queue.set_batch_wait_timeout_s(self._batching.batch_wait_timeout_s)

    async def _fetch(self, version: str) -> Artifact | _Declared:
        if self._source is not None:
            return await asyncio.to_thread(self._source.fetch, version)
        if version != self._spec.version:
            raise VersionFailed(
                f"'{self._spec.name}' has no version {version[:80]!r}; it has {self._spec.version}"
            )
        return _Declared()

    async def _load(self, made_of: Artifact | _Declared) -> _Loaded:
        artifact = made_of if isinstance(made_of, Artifact) else None
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        try:
            runner = await loop.run_in_executor(self._loading, self._read, artifact)
            # It is this thread that the model will compute in.
            await loop.run_in_executor(self._compute, self._warm_up, runner)
        except (EnvironmentProblem, VersionFailed, VersionUnavailable):
            raise
        except Exception as error:
            name = f"version {artifact.version if artifact else self._spec.version} of '{self._spec.name}'"
            logger.exception("A version could not be loaded.", extra=self._about("load_failed", error))
            raise VersionFailed(f"{name} could not be loaded: {type(error).__name__}: {error}") from error
        logger.info(
            "A version is loaded.",
            extra={
                **self._about("version_loaded"),
                "version": runner.version,
                "device": self._device,
                "dtype": self._device.dtype,
                "load_s": round(time.perf_counter() - began, 3),
            },
        )
        return _Loaded(runner, self._free_queues.pop() if self._free_queues else self._new_queue())

    def _read(self, artifact: Artifact | None) -> BatchRunner:
        runner = BatchRunner(self._spec, self._device, artifact)
        self._limit_torch_threads()
        return runner

    def _warm_up(self, runner: BatchRunner) -> None:
        self._limit_torch_threads()
        runner.warm_up()

    async def _close(self, loaded: _Loaded) -> None:
        self._free_queues.append(loaded.queue)
        await asyncio.get_running_loop().run_in_executor(self._loading, loaded.runner.close)

    def _limit_torch_threads(self) -> None:
        """The number is a thread's own."""
        if self._device == "cpu":
            limit_torch_threads(self._torch_threads)

    def _about(self, action: str, error: Exception | None = None) -> dict[str, Any]:
        extra = {"action": action, "model": self._spec.name}
        return extra if error is None else {**extra, "error": str(error)}


class VersionedReplica(ModelReplica):
    """The deployment of a model with several versions: requests go first to the replicas that hold theirs."""

    def record_routing_stats(self) -> dict[str, Any]:
        """Asked by Serve now and then, and given to the routers: see `deployments/routing.py`."""
        return {"versions": sorted(self._versions.loaded)}
