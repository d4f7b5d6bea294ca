"""What the client sends, and what it makes of what comes back; no server."""

import asyncio
import json
import pickle
import random
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import torch

from satellite import errors
from satellite.client import AsyncClient, Result, Submitted
from satellite.client.results import document, read
from satellite.client.spread import as_they_end, in_order
from satellite.client.transport import HttpTransport
from satellite.client.wire import Answer, EventParser, answer_error, encode, make_call, pause_s, to_error
from satellite.errors import ConfigError, InvalidRequest, JobNotFinished, QueueFull, ReplicaDied, SlowReader

ID = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (np.array([1, 2], dtype=np.float32), [1.0, 2.0]),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ([np.float32(1.5), np.int64(2)], [1.5, 2]),
        (pd.Series([1.0, 2.0], index=["a", "b"]), [1.0, 2.0]),
        (pd.DataFrame({"a": [1.0, 2.0]}), [1.0, 2.0]),
        (pd.DataFrame({"a": [1, 2], "b": [3, 4]}), [[1, 3], [2, 4]]),
        (torch.tensor([1.0, 2.0], requires_grad=True), [1.0, 2.0]),
        ({"series": np.zeros(2), "until": datetime(2026, 1, 5, tzinfo=UTC)}, None),
        (range(3), [0, 1, 2]),
        ((n * n for n in range(3)), [0, 1, 4]),
    ],
)
def test_arrays_of_all_kinds_become_lists(given, sent):
    expected = {"series": [0.0, 0.0], "until": "2026-01-05T00:00:00+00:00"} if sent is None else sent
    assert json.loads(encode({"data": given}))["data"] == expected


@pytest.mark.parametrize("given", [float("nan"), [np.inf], np.array([np.nan]), b"ab", object()])
def test_what_has_no_json_form_is_refused(given):
    with pytest.raises(InvalidRequest):
        encode({"data": given})


def test_a_call_may_be_repeated_if_it_then_does_the_same():
    assert make_call("GET", "/x").repeatable
    assert not make_call("POST", "/x", body={}).repeatable
    keyed = make_call("POST", "/x", body={}, idempotency_key="k")
    assert keyed.repeatable and keyed.headers["Idempotency-Key"] == "k"
    assert make_call("GET", "/x", params={"a": ["1", "2"], "b": None, "wait_s": 0.5}).query == (
        ("a", "1"),
        ("a", "2"),
        ("wait_s", "0.5"),
    )


def test_every_error_of_the_tree_comes_back_as_itself():
    for cls in {cls.code: cls for cls in _below(errors.SatelliteError)}.values():
        problem = {
            "code": cls.code,
            "title": cls.title,
            "detail": "d",
            "status": cls.status,
            "request_id": "r",
        }
        error = to_error(problem)
        assert (type(error), error.detail, error.request_id) == (cls, "d", "r")


def _below(cls):
    return [
        cls,
        *(
            found
            for sub in cls.__subclasses__()
            if sub.__module__ == errors.__name__
            for found in _below(sub)
        ),
    ]


def test_an_unknown_code_is_kept():
    error = to_error({"code": "new_one", "status": 418, "title": "New", "detail": "d"})
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert isinstance(one, errors.SatelliteError)
        assert (one.code, one.status, one.title, one.detail) == ("new_one", 418, "New", "d")


def test_an_answer_of_a_proxy_is_an_error_too():
    error = answer_error(Answer(status=502, headers={"retry-after": "3"}, body=b"<html>Bad Gateway</html>"))
    assert (error.status, error.retry_after_s, error.title) == (502, 3, "HTTP 502")
    assert "Bad Gateway" in error.detail
    text = b"Path '/api/v1/jobs' not found. Ping http://.../-/routes for available routes."
    assert answer_error(Answer(status=404, headers={}, body=text)).status == 503
    assert answer_error(Answer(status=404, headers={}, body=b"no such page")).status == 404
    with pytest.raises(errors.SatelliteError, match="is this the API"):
        Answer(status=200, headers={}, body=b"<html>").json()


def test_pauses_grow_and_keep_what_the_server_asks_for():
    rng = random.Random(1)
    pauses = [pause_s(n, errors.Unavailable(), rng) for n in range(1, 100)]
    assert pauses[0] <= 0.1 and 2.5 <= pauses[-1] <= 5
    assert pause_s(1, QueueFull(retry_after_s=3), rng) > 3


def test_events_are_read_line_by_line():
    parser = EventParser()
    lines = [
        "retry: 1000",
        "",
        "id: 1.0",
        "event: job",
        'data: {"n": 1}',
        "",
        ": ping",
        "",
        "id: 1.1",
        'data: {"n": 2}',
    ]
    assert [found for line in lines if (found := parser.feed(line))] == [{"n": 1}]
    assert parser.last_id == "1.0"
    parser.forget()
    assert parser.feed("") is None
    parser.feed("event: problem")
    parser.feed('data: {"code": "slow_reader", "detail": "d"}')
    with pytest.raises(SlowReader):
        parser.feed("")


def test_documents_are_read_into_classes_and_written_as_they_came():
    told = {
        "job_id": ID,
        "status": "dead",
        "model_name": "m",
        "model_version": None,
        "result": None,
        "error": {"code": "replica_died", "title": "t", "detail": "d"},
        "attempt": 3,
        "created_at": "2026-01-05T12:00:00.123000Z",
        "started_at": None,
        "finished_at": "2026-01-05T12:00:00.123000+00:00",
        "a_field_of_tomorrow": 1,
    }
    result = read(Result, told)
    assert (result.job_id, result.attempt) == (UUID(ID), 3)
    assert result.created_at == result.finished_at == datetime(2026, 1, 5, 12, 0, 0, 123000, UTC)
    with pytest.raises(ReplicaDied, match="d"):
        _ = result.output
    del told["a_field_of_tomorrow"]
    assert document(result) == told | {"created_at": told["finished_at"]}
    with pytest.raises(JobNotFinished):
        _ = Result(status="queued", model_name="m")["forecast"]
    with pytest.raises(TypeError):
        read(Submitted, {"status": "queued"})


def test_a_forecast_becomes_a_table():
    output = {"forecast": [1.0, 2.0], "quantiles": {"0.1": [0.0, 1.0], "0.9": [2.0, 3.0]}, "note": "n"}
    frame = Result(status="succeeded", model_name="m", result=output).to_frame()
    assert list(frame.columns) == ["forecast", "0.1", "0.9"]
    assert list(frame.index) == [1, 2] and frame.attrs == {"note": "n"}
    times = pd.date_range("2026-01-05", periods=2, freq="h")
    assert (
        Result(status="succeeded", model_name="m", result=output).to_frame(times).loc[times[1], "0.9"] == 3.0
    )
    judged = {"scores": [0.1, 0.2, 9.0], "threshold": 5.0, "anomalies": [2]}
    frame = Result(status="succeeded", model_name="m", result=judged).to_frame()
    assert list(frame.columns) == ["scores"] and frame.attrs == {"threshold": 5.0, "anomalies": [2]}


@pytest.mark.parametrize(("spread", "comes"), [(in_order, [0, 1, 2, 3]), (as_they_end, [1, 2, 0, 3])])
async def test_work_is_bounded_and_comes_in_order_or_as_it_ends(spread, comes):
    begun, gates = [], [asyncio.Event() for _ in range(4)]

    async def work(n):
        begun.append(n)
        await gates[n].wait()
        return n

    async def ended():
        return [n async for n in spread(work, range(4), 2)]

    collecting = asyncio.create_task(ended())
    for n in (1, 2, 0, 3):
        for _ in range(10):
            await asyncio.sleep(0)
        # Two at a time; what is behind one that still runs has not begun where the order is kept.
        assert begun == ([0, 1] if spread is in_order and n != 3 else list(range(len(begun))))
        gates[n].set()
    assert await collecting == comes
    assert begun == [0, 1, 2, 3]


async def test_what_is_left_is_cancelled():
    cancelled = []

    async def work(n):
        try:
            await asyncio.sleep(0 if n == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(n)
            raise
        return n

    results = in_order(work, range(10), 4)
    assert await anext(results) == 0
    await results.aclose()
    assert cancelled == [1, 2, 3]


def test_the_client_is_imported_without_the_servers_packages():
    code = (
        "import sys, satellite; satellite.Client; "
        "print({'ray', 'torch', 'numpy', 'pandas', 'pydantic', 'orjson', 'fastapi'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_key_is_sent_and_never_shown(monkeypatch):
    key = "sat_k1_secret"
    monkeypatch.setenv("SATELLITE_API_KEY", f"{key}\n")
    for transport in (HttpTransport("http://a", api_key=key), AsyncClient("http://a")._transport):
        request = transport._request(make_call("GET", "/x"), None)
        assert request.headers["authorization"] == f"Bearer {key}"
        shown = repr((transport, vars(transport), request, request.headers, transport._client.headers))
        assert "secret" not in shown
    own = HttpTransport("http://a", {"authorization": "Basic abc"}, api_key=key)
    assert own._request(make_call("GET", "/x"), None).headers["authorization"] == "Basic abc"
    monkeypatch.setenv("SATELLITE_API_KEY", "")
    assert "authorization" not in AsyncClient("http://a")._transport._client.headers


@pytest.mark.parametrize("key", [" ", "sat_k1_\u00e9secret", "sat_k1 secret", "sat_k1_\nsecret"])
def test_what_is_no_key_is_refused_without_being_shown(key):
    with pytest.raises(ConfigError, match="not one") as refused:
        AsyncClient("http://a", api_key=key)
    assert "secret" not in str(refused.value)
