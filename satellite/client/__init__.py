"""The Python client of the HTTP API: `Client`, and `AsyncClient` for programs with an event loop.

It needs httpx and nothing else of what the server needs. `AsyncClient` is the implementation; `Client` runs
the same methods in a thread of its own. `caller.py` tries calls again, over whatever carries them
(`transport.py`: HTTP; `satellite.cluster_client`: Serve handles). What a call looks like on the wire is in
`wire.py`, which knows of no connection.
"""

from satellite.client.async_client import AsyncClient, JobOptions, JobRef
from satellite.client.blocking import Client
from satellite.client.results import (
    Attempt,
    Batch,
    Event,
    Explanation,
    JobDetail,
    JobError,
    JobSummary,
    Model,
    Result,
    Submitted,
)
from satellite.status import JobStatus

__all__ = [
    "AsyncClient",
    "Attempt",
    "Batch",
    "Client",
    "Event",
    "Explanation",
    "JobDetail",
    "JobError",
    "JobOptions",
    "JobRef",
    "JobStatus",
    "JobSummary",
    "Model",
    "Result",
    "Submitted",
]
