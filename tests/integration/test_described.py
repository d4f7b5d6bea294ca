"""Every call that the OpenAPI document describes, with keys on: no 500, no answer that it does not know."""

import asyncio
import contextlib

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi import checks

from .conftest import new_database
from .keyed import EVERYTHING, bearer, serve_keyed

EXAMPLES = 15
CONFORMS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
# Streams go on for ever.
STREAMS = ("/api/v1/events",)


@pytest.fixture(scope="module")
async def described(postgres, template, redis):
    limits = {"max_wait_s": 1, "predict_wait_s": 1, "webhook_allow": ("127.0.0.1",)}
    async with new_database(postgres, template) as url, serve_keyed(url, redis.url, **limits) as node:
        node.all_scopes = await node.key("acme", *EVERYTHING)
        node.read_only = await node.key("acme", EVERYTHING[0])
        yield node


def operations(schema):
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path not in STREAMS]


async def walk(node, key, mode, examples=EXAMPLES):
    """Ask every operation with made-up values; the answers' status codes by operation."""
    document = (await node.http.get("/openapi.json")).json()
    schema = schemathesis.openapi.from_dict(document)
    seen = {}
    for operation in operations(schema):
        seen[operation.label] = await asyncio.to_thread(ask, node, operation, key, mode, examples)
    return seen


def ask(node, operation, key, mode, examples):
    codes = set()

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def calls(case):
        headers = {} if key is None else bearer(key)
        response = case.call(base_url=node.url, headers=headers, timeout=20)
        assert response.status_code != 500, response.text
        case.validate_response(response, checks=CONFORMS, headers=headers)
        codes.add(response.status_code)

    # What takes neither parameters nor a body cannot be asked in a wrong way.
    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        calls()
    return codes


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
async def test_every_answer_is_described(described, mode):
    seen = await walk(described, described.all_scopes, mode)
    assert len(seen) > 40
    if mode is schemathesis.GenerationMode.POSITIVE:
        # It got beyond the door; wrong values are those of the header with the key, too.
        assert not any({401, 403} & codes for codes in seen.values())
        assert 202 in seen["POST /api/v1/inference/submit"] and 200 in seen["GET /api/v1/jobs"]


@pytest.mark.parametrize("who", ["nobody", "reader"])
async def test_every_refusal_is_described(described, who):
    key = described.read_only if who == "reader" else None
    seen = await walk(described, key, schemathesis.GenerationMode.POSITIVE, examples=3)
    refused = {401} if key is None else {403}
    for label, codes in seen.items():
        if label.startswith(("POST", "PATCH", "DELETE")) and "/api/v1/" in label and "tickets" not in label:
            assert codes == refused, label
