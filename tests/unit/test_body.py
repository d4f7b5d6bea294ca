"""The envelope of an inference request."""

from datetime import UTC, datetime

import pytest

from satellite.api.body import InferenceBody, parse_inference, parse_json
from satellite.errors import InvalidJSON, InvalidRequest
from satellite.submission import Submission


def test_a_whole_envelope():
    body = parse_inference({"model_name": "m", "data": [1], "config": {"a": 1}, "store": True, "wait_s": 2})
    assert body == InferenceBody(
        submission=Submission(model_name="m", data=[1], config={"a": 1}), store=True, wait_s=2.0
    )


def test_what_a_caller_may_ask_of_a_job():
    asked = {
        "priority": 9,
        "deadline_s": 1.5,
        "run_at": "2026-01-05T12:00:00+01:00",
        "labels": {"site": "north", "device": "a=1"},
        "max_attempts": 5,
    }
    body = parse_inference({"model_name": "m", "data": [1], **asked}, idempotency_key="k-1")
    assert body.submission == Submission(
        model_name="m",
        data=[1],
        priority=9,
        deadline_s=1.5,
        run_at=datetime(2026, 1, 5, 11, tzinfo=UTC),
        labels=("device=a=1", "site=north"),
        max_attempts=5,
        idempotency_key="k-1",
    )


def test_the_digest_covers_all_that_is_asked_and_no_order_of_keys():
    def digest(**changes):
        value = {"model_name": "m", "data": [1], "config": {"a": 1, "b": 2}, **changes}
        return parse_inference(value, idempotency_key="k").submission.idempotency.digest

    assert digest() == digest(config={"b": 2, "a": 1}) == digest(priority=4)
    others = [
        digest(data=[2]),
        digest(config={"a": 1}),
        digest(priority=5),
        digest(labels={"a": "b"}),
        digest(deadline_s=1),
        digest(run_at="2026-01-05T12:00:00Z"),
        digest(max_attempts=1),
        digest(model_name="n"),
    ]
    assert len({digest(), *others}) == 9


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ([], ""),
        (None, ""),
        ({}, "/model_name"),
        ({"model_name": "m"}, "/data"),
        ({"model_name": 1, "data": []}, "/model_name"),
        ({"model_name": "m", "data": [], "config": []}, "/config"),
        ({"model_name": "m", "data": [], "config": None}, "/config"),
        ({"model_name": "m", "data": [], "store": 1}, "/store"),
        ({"model_name": "m", "data": [], "wait_s": "1"}, "/wait_s"),
        ({"model_name": "m", "data": [], "wait_s": True}, "/wait_s"),
        ({"model_name": "m", "data": [], "modle": 1}, "/modle"),
        ({"model_name": "m", "data": [], "priority": 10}, "/priority"),
        ({"model_name": "m", "data": [], "priority": True}, "/priority"),
        ({"model_name": "m", "data": [], "priority": 1.0}, "/priority"),
        ({"model_name": "m", "data": [], "deadline_s": 0}, "/deadline_s"),
        ({"model_name": "m", "data": [], "deadline_s": 10**9}, "/deadline_s"),
        ({"model_name": "m", "data": [], "run_at": "2026-01-05T12:00:00"}, "/run_at"),
        ({"model_name": "m", "data": [], "run_at": "tomorrow"}, "/run_at"),
        ({"model_name": "m", "data": [], "run_at": 1}, "/run_at"),
        ({"model_name": "m", "data": [], "run_at": "9999-12-31T23:59:59-23:00"}, "/run_at"),
        ({"model_name": "m", "data": [], "run_at": "2126-01-05T12:00:00Z"}, "/run_at"),
        ({"model_name": "m", "data": [], "labels": ["a"]}, "/labels"),
        ({"model_name": "m", "data": [], "labels": {"a b": "c"}}, "/labels/a b"),
        ({"model_name": "m", "data": [], "labels": {"a": "\x1f"}}, "/labels/a"),
        ({"model_name": "m", "data": [], "labels": {"a": 1}}, "/labels/a"),
        ({"model_name": "m", "data": [], "labels": {str(i): "" for i in range(17)}}, "/labels"),
        ({"model_name": "m", "data": [], "max_attempts": 0}, "/max_attempts"),
    ],
)
def test_what_does_not_fit_is_pointed_at(value, pointer):
    with pytest.raises(InvalidRequest) as caught:
        parse_inference(value)
    assert caught.value.errors[0]["pointer"] == pointer


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[NaN]", b"[Infinity]", b"[1e999]", b"[" * 5000, b"\xff\xfe", b'{"a":1,}', b"'a'"]
)
def test_what_is_not_json_says_so(text):
    with pytest.raises(InvalidJSON):
        parse_json(text)
