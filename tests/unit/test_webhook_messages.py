"""What a receiver gets: the signature, the body, and how its answers are taken."""

import json
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from satellite.jobs import Job, JobStatus
from satellite.settings import Settings
from satellite.webhooks.payload import message
from satellite.webhooks.post import _retry_after_s
from satellite.webhooks.records import Claimed
from satellite.webhooks.signing import new_secret, signed_headers

NOW = datetime.now(UTC)
ID = UUID("0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d")
JOB = Job(
    job_id=ID,
    tenant="default",
    model_name="m",
    status=JobStatus.SUCCEEDED,
    attempt=2,
    created_at=NOW,
    finished_at=NOW,
    result=b'{"forecast":[1.5]}',
    labels=("line=red",),
)


def claimed(event="job.succeeded"):
    return Claimed(
        id=ID,
        claim=ID,
        tenant="default",
        endpoint_id=None,
        url="https://example.org",
        host="example.org:443",
        event=event,
        at=NOW,
        job_id=ID,
        model_name="m",
        attempt=2,
        tries=1,
    )


def test_a_signature_is_that_of_the_standard_with_either_secret_and_no_other():
    old, new = new_secret(), new_secret()
    body = b'{"text": "\xc3\xa4"}'
    headers = signed_headers("msg_1", int(NOW.timestamp()), body, secrets=(new, old))
    for secret in (new, old):
        assert Webhook(secret).verify(body, headers) == {"text": "ä"}
    for secret, changed in [(new_secret(), body), (new, body + b" ")]:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, headers)


def test_a_message_holds_the_ended_job_and_leaves_out_what_is_too_large():
    whole = json.loads(message(claimed(), JOB, max_bytes=10_000))
    assert whole["type"] == "job.succeeded" and datetime.fromisoformat(whole["timestamp"]) == NOW
    data = whole["data"]
    assert (data["job_id"], data["status"], data["attempt"]) == (str(ID), "succeeded", 2)
    assert (data["result"], data["result_omitted"]) == ({"forecast": [1.5]}, False)
    assert data["labels"] == {"line": "red"}
    large = message(
        claimed(), JOB._replace(result=b'{"forecast":[' + b"1," * 9999 + b"1]}"), max_bytes=10_000
    )
    assert len(large) < 10_000
    assert json.loads(large)["data"] | {"result": 1} == data | {"result": 1, "result_omitted": True}


def test_a_message_of_a_job_that_was_deleted_or_has_not_ended_says_what_is_known():
    data = json.loads(message(claimed("job.running"), None, max_bytes=10_000))["data"]
    assert data == {"job_id": str(ID), "status": "running", "model_name": "m", "attempt": 2}


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        (429, "120", 120),
        (503, "0", 0),
        (503, "Fri, 31 Dec 1999 23:59:59 GMT", 0),
        (503, "Fri, 31 Dec 2199 23:59:59 GMT", 86400),
        (429, "9" * 4000, 86400),
        (429, "soon", None),
        (429, "-5", None),
        (429, "", None),
        (500, "120", None),
    ],
)
def test_what_a_receiver_asks_for_is_a_number_or_a_date_and_no_more_than_a_day(status, header, expected):
    assert _retry_after_s(httpx.Response(status, headers={"Retry-After": header}), NOW) == expected


def test_the_schedule_and_the_lists_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SATELLITE_WEBHOOK_RETRIES_S", "0.5, 2")
    monkeypatch.setenv("SATELLITE_WEBHOOK_ALLOW", "a.example,10.0.0.0/8")
    monkeypatch.setenv("SATELLITE_WEBHOOK_PORTS", "443,8443")
    settings = Settings()
    assert settings.webhook_retries_s == (0.5, 2.0) and settings.webhook_ports == (443, 8443)
    assert settings.webhook_allow == ("a.example", "10.0.0.0/8")
    monkeypatch.delenv("SATELLITE_WEBHOOK_RETRIES_S")
    assert len(Settings().webhook_retries_s) == 9 and sum(Settings().webhook_retries_s) > 3 * 86400
