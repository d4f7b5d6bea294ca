"""The envelope of an inference request."""

import pytest

from satellite.api.body import parse_inference, parse_json
from satellite.errors import InvalidJSON, InvalidRequest


def test_a_whole_envelope():
    body = parse_inference({"model_name": "m", "data": [1], "config": {"a": 1}, "store": True, "wait_s": 2})
    assert (body.model_name, body.data, body.config, body.store, body.wait_s) == (
        "m",
        [1],
        {"a": 1},
        True,
        2.0,
    )


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
