"""`satellite batch` against a real ingress: mistakes, results, and a SIGKILL in the middle."""

import asyncio
import json
import os
import signal
import sys

import pytest

from satellite.cli import batch
from satellite.cli.console import CommandFailed
from satellite.errors import ConfigError
from satellite.settings import Settings

from .conftest import MODEL

BATCH = [sys.executable, "-c", "from satellite.cli.entry import main; main()", "batch"]


def write(path, count, **fields):
    """Requests whose input tells them from each other."""
    lines = [
        json.dumps({"custom_id": f"n{n}", "model_name": MODEL, "data": [float(n)] * 4} | fields)
        for n in range(count)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def results_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(node, file, output, **options):
    asked = {"model": None, "concurrency": 64, "as_json": True} | options
    return asyncio.to_thread(batch.run, Settings(url=node.url), file, output, **asked)


async def test_a_killed_batch_goes_on_where_it_was(node, tmp_path):
    """Every custom_id once, and nothing computed twice."""
    count = 400
    file, output = write(tmp_path / "jobs.jsonl", count, config={"forecast_steps": 1}), tmp_path / "out.jsonl"
    command = [*BATCH, str(file), "-o", str(output), "--json"]
    environment = {**os.environ, "SATELLITE_URL": node.url}
    # Batches take long enough for the kill to find some done, some under way and some not begun.
    node.replica.takes_s = 0.02
    killed = await asyncio.create_subprocess_exec(*command, env=environment)
    while len(node.replica.inputs) < count // 3:
        await asyncio.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    kept = results_of(output) if output.read_bytes().endswith(b"\n") else None
    assert 0 < len(output.read_bytes().splitlines()) < count
    with output.open("ab") as torn:
        torn.write(b'{"custom_id": "n39')
    again = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    told, _ = await again.communicate()
    assert again.returncode == 0
    assert json.loads(told)["succeeded"] == count
    results = results_of(output)
    assert kept is None or results[: len(kept)] == kept
    assert {result["custom_id"]: result["result"]["forecast"] for result in results} == {
        f"n{n}": [float(n)] for n in range(count)
    }
    assert len(results) == count
    assert sorted(data[0] for data in node.replica.inputs) == [float(n) for n in range(count)]


async def test_what_is_refused_is_a_result_too(node, tmp_path):
    file, output = tmp_path / "jobs.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"custom_id": "a", "data": [1]}\n\n{"custom_id": "b", "data": [1, 2, 3, 4]}\n')
    for _ in range(2):
        with pytest.raises(CommandFailed, match="1 of 2 did not succeed"):
            await run(node, file, output, model=MODEL)
    found = {result["custom_id"]: result for result in results_of(output)}
    assert (found["a"]["status"], found["a"]["error"]["code"]) == ("failed", "invalid_request")
    assert (found["b"]["status"], found["b"]["result"]["forecast"]) == ("succeeded", [2.5] * 5)
    assert len(results_of(output)) == 2


async def test_mistakes_are_told_by_line_and_nothing_is_submitted(node, tmp_path, db):
    lines = {
        "{": "line 1: not JSON",
        "[]": "line 2: must be an object",
        '{"data": []}': "line 3: custom_id must be a text",
        '{"custom_id": "a", "data": []}': "line 4: model_name is missing",
        '{"custom_id": "a", "model_name": "m", "data": []}': "line 5: custom_id 'a' is that of line 4, too",
        '{"custom_id": "b", "model_name": "m"}': "line 6: data is missing",
        '{"custom_id": "c", "model_name": "m", "data": [], "prio": 1}': "line 7: unknown key 'prio'",
        '{"custom_id": "ok", "model_name": "moving_average", "data": [1, 2, 3, 4]}': "Nothing was submitted",
    }
    file, output = tmp_path / "jobs.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as told:
        await run(node, file, output)
    for expected, line in zip(lines.values(), str(told.value).splitlines(), strict=True):
        assert expected in line
    assert await db.fetchval("SELECT count(*) FROM jobs") == 0
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl: No such file"):
        await run(node, tmp_path / "nowhere.jsonl", output)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "precious", '{"custom_id": 1'])
async def test_another_file_is_not_written_to(node, tmp_path, content):
    file, output = write(tmp_path / "jobs.jsonl", 1), tmp_path / "out.jsonl"
    output.write_text(content)
    with pytest.raises(ConfigError, match="not a result of"):
        await run(node, file, output)
    assert output.read_text() == content


async def test_two_runs_do_not_share_a_file(node, tmp_path):
    file, output = write(tmp_path / "jobs.jsonl", 8), tmp_path / "out.jsonl"
    node.replica.gate.clear()
    one = asyncio.create_task(run(node, file, output))
    while not node.replica.sizes:
        await asyncio.sleep(0.01)
    with pytest.raises(CommandFailed, match="Another"):
        await run(node, file, output)
    node.replica.gate.set()
    await one
    assert len(results_of(output)) == 8
