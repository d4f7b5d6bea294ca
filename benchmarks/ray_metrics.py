"""Satellite's own metrics, as Ray exports them on this machine."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass

import httpx

from benchmarks.system import System

REPORTS_EVERY_S = 5  # Ray's processes report their metrics now and then
SAMPLE = re.compile(
    r"^\w*satellite_batch_size_(?P<kind>sum|count)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.M
)


@dataclass(frozen=True, slots=True)
class Batches:
    """What a model has been given since its ingress started."""

    requests: float
    batches: float


async def batches(system: System, model_name: str) -> Batches:
    """How many requests in how many batches have been reported by now."""
    targets = json.loads((system.paths.ray / "prom_metrics_service_discovery.json").read_text())
    found = {"sum": 0.0, "count": 0.0}
    async with httpx.AsyncClient() as client:
        for address in {address for target in targets for address in target["targets"]}:
            text = (await client.get(f"http://{address}/metrics")).text
            for sample in SAMPLE.finditer(text):
                if f'model="{model_name}"' in sample["labels"]:
                    found[sample["kind"]] += float(sample["value"])
    return Batches(found["sum"], found["count"])


async def settled_batches(system: System, model_name: str) -> Batches:
    """The same, once nothing is reported late any more."""
    before = None
    while (now := await batches(system, model_name)) != before:
        before = now
        await asyncio.sleep(REPORTS_EVERY_S + 1)
    return now
