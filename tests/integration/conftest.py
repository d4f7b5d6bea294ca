"""One real PostgreSQL and Redis per run; the API on a real socket, models computed in this process."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import orjson
import pytest
import uvicorn

from satellite.access.access import Access
from satellite.api.app import Application
from satellite.api.context import ApiContext, ClusterState, DeploymentState, NodeState, ReplicaState
from satellite.api.server import server_options
from satellite.batching import ChunkResult, Tensor
from satellite.catalog import Catalog, CatalogEntry
from satellite.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths
from satellite.config import Batching, ModelConfig
from satellite.control import JobControl
from satellite.dispatch import ModelQueue
from satellite.events import EventHub
from satellite.metrics import Metrics
from satellite.overview import Overview
from satellite.registry import load_model
from satellite.releases import Loaded
from satellite.runner import BatchRunner
from satellite.service import Service
from satellite.settings import REPO_ROOT, Settings
from satellite.store import Store
from satellite.tensors import unpack
from satellite.watching import Watching
from satellite.webhooks.control import WebhookControl

MEMORY, ROOM_BYTES = Path("/dev/shm"), 2**30
MODEL = "moving_average"
WINDOW_S = 0.05


def free_port():
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def home():
    # A database is 700 files, made and removed for each test: in memory that takes a tenth of the time.
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="sat-", dir=MEMORY if roomy else None))
    paths = Paths(folder)
    paths.create()
    yield paths
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(home):
    server = EmbeddedPostgres(paths=home, port=free_port(), password="test")
    server.start()
    server.wait_ready()
    yield server
    server.process.terminate()
    server.process.wait(10)


@pytest.fixture(scope="session")
def redis(home):
    server = EmbeddedRedis(paths=home, port=free_port(), password="test")
    server.start()
    server.wait_ready()
    yield server
    server.process.terminate()
    server.process.wait(10)


@contextlib.asynccontextmanager
async def new_database(postgres, template):
    """A database of one test's own, copied from a template."""
    name = f"t_{uuid4().hex}"
    admin = await asyncpg.connect(postgres.url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield postgres.url.rsplit("/", 1)[0] + f"/{name}"
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def empty_database_url(postgres):
    async with new_database(postgres, "template0") as url:
        yield url


@pytest.fixture(scope="session")
async def template(postgres):
    """A database with the schema, to be copied: migrating takes longer than copying."""
    admin = await asyncpg.connect(postgres.url)
    await admin.execute("CREATE DATABASE migrated")
    await admin.close()
    await (await Store.open(postgres.url.rsplit("/", 1)[0] + "/migrated", pool_size=2)).close()
    return "migrated"


@pytest.fixture
async def database_url(postgres, template):
    async with new_database(postgres, template) as url:
        yield url


@pytest.fixture
async def store(database_url):
    store = await Store.open(database_url, pool_size=4)
    yield store
    await store.close()


@pytest.fixture
async def db(database_url, store):
    """A connection of its own, to look at what was really written."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


class LocalReplica:
    """Computes chunks in this process, with the real runner and the real model."""

    def __init__(self, spec, source=None):
        self.spec, self.source = spec, source
        self.runners = {}
        self.default = None
        self.sizes = []
        self.inputs = []  # the data of each request, in the order of computing
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure = None
        self.takes_s = 0.0

    async def __call__(self, chunks):
        return [await self.run(chunk) for chunk in chunks]

    async def run(self, chunk):
        self.sizes.append(len(chunk.items))
        await self.gate.wait()
        if self.failure:
            raise self.failure
        loop = asyncio.get_running_loop()
        began = loop.time()
        started_at_s = time.time()
        await asyncio.sleep(self.takes_s)
        self.inputs += [
            unpack(data).tolist() if isinstance(data, Tensor) else orjson.loads(data)
            for data, _ in chunk.items
        ]
        runner = self.runner(chunk.version)
        outcomes = runner.run(chunk.items)
        return ChunkResult(
            outcomes=outcomes,
            model_version=runner.version,
            replica_id="local",
            batch_id=str(uuid4()),
            batch_size=len(outcomes),
            started_at_s=started_at_s,
            compute_s=loop.time() - began,
        )

    def runner(self, version):
        version = version or self.spec.version
        if version not in self.runners:
            artifact = self.source.fetch(version) if self.source else None
            self.runners[version] = BatchRunner(self.spec, "cpu", artifact)
        return self.runners[version]

    # As `satellite.releases.Replicas`

    async def load(self, model_name, version):
        self.runner(version)
        return 1

    async def unload(self, model_name, version):
        return int(self.runners.pop(version, None) is not None)

    async def loaded(self, model_name):
        return {"local": Loaded(versions=list(self.runners))}

    def follow_default(self, model_name, version):
        self.default = version


class LocalCluster:
    async def look(self):
        node = NodeState(node_id="n", address="127.0.0.1", alive=True, head=True, cpu_percent=12.5, cpus=2)
        replica = ReplicaState(model_name=MODEL, replica_id="local", state="RUNNING", node_id="n")
        return ClusterState(nodes=[node], replicas=[replica], ingresses=1)

    def deployments(self):
        return {MODEL: DeploymentState(state="HEALTHY", message="", replicas={"RUNNING": 1})}


class Node:
    """One ingress without Ray: its service, its replica, its address."""

    def __init__(self, context, replica, url):
        self.context, self.replica, self.url = context, replica, url
        self.service, self.watching = context.service, context.watching
        self.ws_url = url.replace("http", "ws") + "/api/v1/ws"
        self.http = httpx.AsyncClient(base_url=url, timeout=30)


@contextlib.asynccontextmanager
async def serve(
    database_url,
    redis_url,
    *,
    max_queued=10_000,
    window_s=WINDOW_S,
    flush="window",
    spec=None,
    source=None,
    **settings,
):
    """Start an ingress. `spec` and `source`: a model of the test's own under the usual name, its versions."""
    settings = Settings(database_url=database_url, redis_url=redis_url, **settings)
    spec = spec or load_model(REPO_ROOT / "models" / f"{MODEL}.py")
    batching = Batching(batch_wait_timeout_s=window_s, flush=flush)
    model_config = ModelConfig(batching=batching, retry_delay_s=0.05)
    replica = LocalReplica(spec, source)
    metrics = Metrics([MODEL])
    queues = {
        MODEL: ModelQueue(MODEL, model_config.batching, replica, max_queued=max_queued, metrics=metrics)
    }
    events = EventHub(redis_url, result_cache_s=settings.result_cache_s)
    service = Service(
        catalog=Catalog({MODEL: CatalogEntry(spec=spec, config=model_config)}),
        queues=queues,
        store=await Store.open(database_url, pool_size=4),
        events=events,
        metrics=metrics,
        settings=settings,
        sources={MODEL: source} if source else {},
        replicas=replica,
    )
    watching = Watching(service)
    await service.start()
    access = Access(service.store.keys, events, settings)
    await access.start()
    overview = Overview(metrics, queues, redis_url)
    overview.start()
    details = {MODEL: {"resources": {"num_cpus": 0.1}, "autoscaling": {"min_replicas": 1, "max_replicas": 1}}}
    context = ApiContext(
        service=service,
        access=access,
        watching=watching,
        control=JobControl(service),
        webhooks=WebhookControl(service, settings),
        settings=settings,
        overview=overview,
        cluster=LocalCluster(),
        details=details,
    )
    port = free_port()
    config = uvicorn.Config(
        Application(context),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
        **server_options(settings),
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    node = Node(context, replica, f"http://127.0.0.1:{port}")
    try:
        yield node
    finally:
        replica.gate.set()
        await node.http.aclose()
        server.should_exit = True
        await task
        await watching.close()
        await access.close()
        await service.close()
        await overview.close()


@pytest.fixture
async def node(database_url, redis):
    async with serve(database_url, redis.url) as node:
        yield node


@pytest.fixture
async def nodes(database_url, redis):
    """Two ingresses on one database and one Redis."""
    async with serve(database_url, redis.url) as one, serve(database_url, redis.url) as two:
        yield one, two


@pytest.fixture(scope="module")
async def shared(postgres, template, redis):
    """One ingress for all those tests of a file that leave nothing behind which another one would notice."""
    async with new_database(postgres, template) as url, serve(url, redis.url) as node:
        yield node


BODY = {"model_name": MODEL, "data": [1.0, 2.0, 3.0, 4.0], "config": {"forecast_steps": 2}}


@pytest.fixture
def body():
    return dict(BODY)
