"""Celery: the worker, which runs 8 jobs at once and writes their results in one statement."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import psycopg
import redis
from celery import Celery
from celery.signals import worker_process_init
from celery_batches import Batches

from benchmarks import lstm64

REDIS_URL = os.environ["BENCH_REDIS_URL"]
FINISHED = "finished"  # the channel on which the API hears of results

app = Celery("bench", broker=REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_serializer="json",
    accept_content=["json"],
    worker_concurrency=1,
    # Late acknowledgements let this many be underway: the batch that runs and those that are collected.
    worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]),
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)

COMPLETE = """
UPDATE jobs SET status = 'succeeded', result = done.result, finished_at = now()
FROM unnest(%s::uuid[], %s::json[]) AS done(id, result)
WHERE jobs.id = done.id AND jobs.status = 'queued'
"""


class Worker:
    """What the pool's process opens once: the model and the connections."""

    def __init__(self) -> None:
        self.forecast = lstm64.load()
        self.database = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
        self.redis = redis.Redis.from_url(REDIS_URL)


_worker: list[Worker] = []


@worker_process_init.connect
def open_worker(**_: Any) -> None:
    _worker.append(Worker())


@app.task(
    name="forecast",
    base=Batches,
    flush_every=8,
    flush_interval=float(os.environ["BENCH_FLUSH_INTERVAL_S"]),
)
def forecast(requests: Sequence[Any]) -> None:
    """Run one batch; each request's arguments are the job's id and its series."""
    worker = _worker[0]
    forecasts = worker.forecast([request.args[1] for request in requests])
    ids = [request.args[0] for request in requests]
    results = [json.dumps(item) for item in forecasts]
    worker.database.execute(COMPLETE, (ids, results))
    worker.redis.publish(FINISHED, json.dumps(dict(zip(ids, results, strict=True))))
