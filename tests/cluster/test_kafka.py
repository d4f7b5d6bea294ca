"""Kafka beside a whole system: a message goes all the way, and /health says when the brokers are away."""

import asyncio
import json
import time

import httpx
from kafka import KafkaConsumer, KafkaProducer

from satellite.kafka.connect import Topics

TOPICS = Topics(prefix="satellite")
BODY = {"model_name": "moving_average", "data": [1, 2, 3, 4], "config": {"forecast_steps": 1}}


def part(system):
    health = httpx.get(f"{system.url}/health", timeout=10)
    assert health.status_code == 200
    return health.json()["parts"]["kafka"]


def wait_for(system, state, timeout_s=40):
    deadline = time.monotonic() + timeout_s
    while (found := part(system))["state"] != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def test_a_message_goes_all_the_way(system, kafka):
    results = KafkaConsumer(
        TOPICS.results, bootstrap_servers=kafka.bootstrap, group_id=None, auto_offset_reset="earliest"
    )
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(TOPICS.jobs, json.dumps({**BODY, "labels": {"who": "test"}}).encode()).get(10)
    found, deadline = None, time.monotonic() + 30
    while found is None and time.monotonic() < deadline:
        for records in results.poll(timeout_ms=200).values():
            for record in records:
                body = json.loads(record.value)
                found = body if body["labels"] == {"who": "test"} else found
    results.close()
    producer.close()
    assert found is not None
    assert found["result"] == {"forecast": [2.5]}
    answer = httpx.get(f"{system.url}{found['links']['result']}")
    assert answer.json()["result"] == found["result"]
    wait_for(system, "ok")


async def test_health_says_when_the_brokers_are_away(system, kafka):
    await asyncio.to_thread(wait_for, system, "ok")
    kafka.kill()
    try:
        found = await asyncio.to_thread(wait_for, system, "degraded")
        assert "Kafka" in found["detail"]
        assert httpx.get(f"{system.url}/health/ready", timeout=10).status_code == 200
    finally:
        await asyncio.to_thread(kafka.start)
    await asyncio.to_thread(wait_for, system, "ok")
