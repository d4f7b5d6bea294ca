"""What JSON costs: inputs of very different lengths through a model that does next to nothing."""

from __future__ import annotations

from benchmarks.client import encode, measure
from benchmarks.scenarios.calls import body_of
from benchmarks.scenarios.result import Finding, Result
from benchmarks.system import System

# By length: how many requests for one client, and for eight.
COUNTS = {24: (400, 3000), 1000: (400, 2000), 100_000: (24, 48)}


async def run(system: System) -> Result:
    """Predict with every length, alone and with eight clients."""
    findings: list[Finding] = []
    for points, counts in COUNTS.items():
        data = [10.5 + i % 7 for i in range(points)]
        request = encode("POST", "/api/v1/inference/predict", body_of("echo", data=data))
        for clients, count in zip((1, 8), counts, strict=True):
            findings.append(await _predict(system.url, request, points=points, clients=clients, count=count))
    return Result(name="sizes", title="predict by the length of its input", findings=tuple(findings))


async def _predict(url: str, request: bytes, *, points: int, clients: int, count: int) -> Finding:
    succeeded: list[bool] = []
    await measure(url, [request] * clients, clients=clients)  # warm-up
    speed = await measure(
        url,
        [request] * count,
        clients=clients,
        on_answer=lambda answer: succeeded.append(b'"status":"succeeded"' in answer.body),
    )
    mb_per_s = speed.per_s * len(request) / 1e6
    failed = count - sum(succeeded)
    return Finding(
        what=f"{points:,} points ({len(request) / 1e3:,.1f} kB), {clients} client{'s' * (clients > 1)}",
        measured=f"{speed.per_s:,.1f}/s, p50 {speed.p50_ms:.1f} ms, {mb_per_s:.2f} MB/s"
        + (f"; {failed} of {count} failed" if failed else ""),
        wanted="all succeed",
        met=not failed,
        figures={
            "points": points,
            "clients": clients,
            "request_bytes": len(request),
            "per_s": speed.per_s,
            "p50_ms": speed.p50_ms,
            "p99_ms": speed.p99_ms,
            "mb_per_s": mb_per_s,
            "failed": failed,
        },
    )
