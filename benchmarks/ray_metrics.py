"""Satellite's own metrics, as Ray exports them on this machine."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass

import httpx

from benchmarks.system import System

REPORTS_EVERY_S = 5  # Ray's processes report their metrics now and then
SAMPLE = re.compile(
    r"^\w*satellite_(?P<name>batch_size_sum|batch_size_count|batch_compute_seconds_sum)"
    r"\{(?P<labels>[^}]*)\} (?P<value>\S+)$",
    re.M,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What a model has been given since its ingress started."""

    requests: float
    batches: float
    compute_s: float


async def batches(system: System, model_name: str) -> Batches:
    """What has been reported by now."""
    targets = json.loads((system.paths.ray / "prom_metrics_service_discovery.json").read_text())
    found: Counter[str] = Counter()
    async with httpx.AsyncClient() as client:
        for address in {address for target in targets for address in target["targets"]}:
            text = (await client.get(f"http://{address}/metrics")).text
            for sample in SAMPLE.finditer(text):
                if f'model="{model_name}"' in sample["labels"]:
                    found[sample["name"]] += float(sample["value"])
    return Batches(
        requests=found["batch_size_sum"],
        batches=found["batch_size_count"],
        compute_s=found["batch_compute_seconds_sum"],
    )


async def settled_batches(system: System, model_name: str) -> Batches:
    """The same, once nothing is reported late any more."""
    before = None
    while (now := await batches(system, model_name)) != before:
        before = now
        await asyncio.sleep(REPORTS_EVERY_S + 1)
    return now
