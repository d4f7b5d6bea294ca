"""The messages as JSON Schema: what other programs generate their code from."""

from __future__ import annotations

from typing import Any

from satellite.api.openapi import JOB_OPTIONS
from satellite.kafka.messages import EventMessage, ResultMessage

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(topic: str) -> dict[str, Any]:
    """The schema of the values in a topic.

    Args:
        topic: `jobs`, `results` or `events`.
    """
    return {"$schema": DIALECT, **SCHEMAS[topic]}


SCHEMAS: dict[str, dict[str, Any]] = {
    "jobs": {
        "title": "A message of the topic satellite.jobs",
        "description": "A request for a job, as POST /api/v1/inference/submit takes it. `data` and `config` "
        "are checked against the model's own schemas: GET /api/v1/models/{name} has them.",
        "type": "object",
        "required": ["model_name", "data"],
        "additionalProperties": False,
        "properties": {
            "model_name": {"type": "string"},
            "data": {"description": "The model's Input."},
            "config": {"type": "object", "description": "The model's Config."},
            **JOB_OPTIONS,
            "idempotency_key": {
                "type": "string",
                "pattern": "^[\\x21-\\x7e]{1,255}$",
                "description": "Your own name for this request: sent again with it, it is the same job. It "
                "may stand in the header `idempotency-key` instead. Without one each message is a request of "
                "its own, however often it is delivered.",
            },
        },
    },
    "results": ResultMessage.model_json_schema(),
    "events": EventMessage.model_json_schema(),
}
