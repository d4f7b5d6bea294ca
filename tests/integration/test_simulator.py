"""`satellite simulate` against a real ingress: every sink, what goes wrong, and Ctrl-C."""

import asyncio
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from satellite.cli import batch
from satellite.cli import simulate as command
from satellite.errors import ConfigError, ModelNotFound, Unreached
from satellite.settings import Settings
from satellite.simulator import replay
from satellite.simulator.run import RealClock, Run
from satellite.simulator.sinks import Asked, RestSink
from satellite.simulator.summary import Summary

from .conftest import MODEL, free_port, serve
from .helpers import eventually, held_back, queue_of, submitted

DEFAULTS = command.Options(
    to=command.To.SUBMIT,
    model=MODEL,
    config={"forecast_steps": 3},
    sockets=2,
    output=None,
    channels=[],
    devices=4,
    points=32,
    stride=4,
    anomaly_every=0,
    gap_every=0,
    seed=5,
    load=command.Load.CONSTANT,
    rate="200",
    burst=10,
    day_s=10,
    duration_s=None,
    count=40,
    replay=None,
    time_column="timestamp",
    value_column="value",
    device_column="device",
    speed="1",
    timeout_s=10,
    drain_s=10,
    allow_remote=False,
)


def options(**changes):
    return dataclasses.replace(DEFAULTS, **changes)


async def run(node, **changes):
    summary, interrupted = await command.run(Settings(url=node.url), options(**changes))
    assert not interrupted
    return summary.as_dict()


def expected_error(count=40):
    """Of moving_average, from the same plan without a system."""
    absolute, points = {}, {}
    for _, reading in command.make_plan(options(count=count)):
        told = np.mean(reading.points()[-8:])
        name = reading.channel
        absolute[name] = absolute.get(name, 0) + np.abs(reading.truth - told).sum()
        points[name] = points.get(name, 0) + len(reading.truth)
    return {name: total / points[name] for name, total in absolute.items()}


@pytest.mark.parametrize("to", ["submit", "predict", "batch", "ws"])
async def test_every_way_brings_each_reading_its_own_answer(shared, to):
    found = await run(shared, to=command.To(to))
    assert (found["sent"], found["accepted"], found["ended"]) == (40, 40, {"succeeded": 40})
    assert not (found["rejected"] or found["lost"] or found["retried"] or found["unanswered"])
    assert found["took_s"] > 39 / 200
    assert found["submit_s"]["p50"] <= found["end_to_end_s"]["p50"] < 5
    # The error is that of these readings and their truths: an answer for another one would show.
    errors = {name: score["mae"] for name, score in found["forecast"]["channels"].items()}
    assert errors == pytest.approx(expected_error())


async def test_its_jobs_are_found_by_their_labels(node):
    await run(node, count=6)
    found = (await node.http.get("/api/v1/jobs", params={"label": "simulator=seed-5"})).json()["jobs"]
    assert len(found) == 6
    assert {job["labels"]["channel"] for job in found} == {
        "sensor", "battery_voltage", "temperature", "attitude_error",
    }  # fmt: skip


@pytest.mark.parametrize("to", ["submit", "predict", "batch", "ws"])
async def test_what_is_refused_is_counted_by_its_code(shared, to):
    found = await run(shared, to=command.To(to), count=5, config={"forecast_steps": 3, "window": 0})
    assert (found["sent"], found["accepted"], found["rejected"]) == (5, 0, {"invalid_request": 5})


async def test_a_full_queue_is_tried_again_and_counted(database_url, redis):
    async with serve(database_url, redis.url, max_queued=1) as node:
        summary = Summary()
        asked = Asked(model_name=MODEL, config={"forecast_steps": 3}, labels={})
        sink = RestSink(node.url, asked, summary.retried, timeout_s=10)
        async with sink:
            with held_back(node):
                await submitted(node)
                plan = command.make_plan(options(count=1))
                sending = asyncio.create_task(Run(sink, summary, RealClock()).send_all(plan, drain_s=10))
                await eventually(lambda: summary.retried["queue_full"] >= 1)
                assert (summary.sent, summary.accepted, summary.unanswered) == (1, 0, 1)
            await sending
    assert (summary.accepted, summary.ended, summary.rejected) == (1, {"succeeded": 1}, {})
    # What was refused at first has waited: latencies hold it.
    assert min(summary.submit_s) > 0.05


@pytest.mark.parametrize("to", ["submit", "ws"])
async def test_a_system_that_goes_away_and_comes_back_loses_nothing(database_url, redis, to, monkeypatch):
    port = free_port()
    monkeypatch.setattr("tests.integration.conftest.free_port", lambda: port)
    async with serve(database_url, redis.url) as node:
        sending = asyncio.create_task(run(node, to=command.To(to), count=60, rate="60"))
        while len(node.replica.inputs) < 10:
            await asyncio.sleep(0.01)
    async with serve(database_url, redis.url):
        found = await sending
    assert (found["accepted"], found["ended"]) == (60, {"succeeded": 60}), found
    assert found["retried"].get("unreached" if to == "submit" else "socket_closed", 0) >= 1


async def test_a_file_of_requests_is_one_that_batch_runs(shared, tmp_path):
    file, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path in (file, again):
        await run(shared, to=command.To.FILE, output=path, gap_every=50)
    assert file.read_bytes() == again.read_bytes()
    output = tmp_path / "out.jsonl"
    await asyncio.to_thread(
        batch.run, Settings(url=shared.url), file, output, model=None, concurrency=32, as_json=True
    )
    statuses = [json.loads(line)["status"] for line in output.read_text().splitlines()]
    assert statuses == ["succeeded"] * 40


async def test_what_was_written_is_what_is_replayed(shared, tmp_path):
    written = {}
    for suffix in ("csv", "parquet"):
        path = tmp_path / f"a.{suffix}"
        told = {"output": path, "gap_every": 60.0, "anomaly_every": 60.0, "count": 80}
        await run(shared, to=command.To.FILE, **told)
        first = path.read_bytes()
        await run(shared, to=command.To.FILE, **told)
        assert path.read_bytes() == first
        written[suffix] = replay.read(path, replay.Columns())
    assert pq.ParquetFile(tmp_path / "a.parquet").schema_arrow.names[0] == "timestamp"
    assert len(written["csv"]) == 4
    for one, other in zip(*written.values(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one.kinds.any() and np.isnan(one.values).any()
    found = await run(shared, replay=tmp_path / "a.csv", speed="max", count=None)
    # 32 points and 19 times 4 more; a gap at the very end is no row.
    assert found["sent"] in range(4 * 19, 4 * 20 + 1)
    assert (found["ended"], found["gap_points"] > 0) == ({"succeeded": found["sent"]}, True)


async def test_ctrl_c_ends_it_with_the_summary(shared):
    shared.replica.gate.clear()
    arguments = ["simulate", "--model", MODEL, "--rate", "50", "--duration-s", "60", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from satellite.cli.entry import main; main()",
        *arguments,
        env={**os.environ, "SATELLITE_URL": shared.url},
        stdout=asyncio.subprocess.PIPE,
    )
    await eventually(lambda: len(queue_of(shared)) > 0, timeout_s=30)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        told, _ = await process.communicate()
    shared.replica.gate.set()
    found = json.loads(told)
    assert process.returncode == 130
    assert 0 < found["sent"] < 3000 and found["unfinished"] + found["unanswered"] == found["sent"]


async def test_mistakes_are_told_before_anything_is_sent(shared, tmp_path):
    with pytest.raises(ModelNotFound):
        await run(shared, model="none")
    with pytest.raises(Unreached):
        await command.run(Settings(url=f"http://127.0.0.1:{free_port()}"), options())
    mistakes = {
        "belong together": {"to": command.To.FILE},
        "must end in": {"to": command.To.FILE, "output": tmp_path / "a.txt"},
        "No such file": {"to": command.To.FILE, "output": Path("/nowhere/a.csv")},
        "no channel": {"channels": ["none"]},
        "whole number": {"config": {"forecast_steps": 0}},
        "such as 50": {"rate": "0"},
    }
    for told, changes in mistakes.items():
        with pytest.raises(ConfigError, match=told):
            await run(shared, **changes)
    with pytest.raises(ConfigError, match="--allow-remote"):
        await command.run(Settings(url="http://10.0.0.1:8000"), options())
