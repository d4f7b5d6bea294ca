"""Checks the JSON body of a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from satellite.artifacts import VERSION
from satellite.errors import InvalidJSON, InvalidRequest
from satellite.jobs import MAX_PRIORITY
from satellite.submission import Submission
from satellite.webhooks.records import EVENTS, JobWebhook

# Objects that the garbage collector looks at: a body of 4 MiB could hold 1.4 million, and take a second.
MAX_CONTAINERS = 100_000
MAX_LABELS = 16
MAX_ATTEMPTS = 20
MAX_SECONDS = 30 * 86400
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceBody:
    """The envelope of a request; `data` and `config` are checked by the model's own schema later."""

    submission: Submission
    store: bool = False
    wait_s: float | None = None
    job_fields: tuple[str, ...] = ()  # those given that only a stored job has


def parse_json(body: bytes | str) -> Any:
    """Parse JSON strictly: no NaN, no infinity, bounded depth and number of containers.

    Of keys that are there twice the last one counts.

    Raises:
        InvalidJSON: it is not JSON; the message says where.
        InvalidRequest: it has too many arrays and objects: each costs far more than its bytes.
    """
    if len(body) > MAX_CONTAINERS and _openers(body) > MAX_CONTAINERS:
        raise InvalidRequest(
            f"the body has more than {MAX_CONTAINERS} opening brackets and braces; send tensors in binary "
            "(/v2), or fewer items at a time"
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJSON(f"{error} (NaN and infinity are not JSON)") from None


def _openers(body: bytes | str) -> int:
    if isinstance(body, str):
        return body.count("[") + body.count("{")
    return body.count(b"[") + body.count(b"{")


def parse_inference(value: Any, *, idempotency_key: str | None = None) -> InferenceBody:
    """Check the envelope of an inference request.

    Args:
        value: the parsed body.
        idempotency_key: the request's `Idempotency-Key`.

    Raises:
        InvalidRequest: a key is missing, unknown or of the wrong type.
    """
    fields = parse_fields(value, _FIELDS, required=("model_name", "data"))
    store, wait_s = fields.pop("store", False), fields.pop("wait_s", None)
    if idempotency_key is not None:
        fields["idempotency_key"] = parse_key(idempotency_key, "/headers/idempotency-key")
    job_fields = tuple(name for name in fields if name in _JOB_FIELDS)
    return InferenceBody(submission=Submission(**fields), store=store, wait_s=wait_s, job_fields=job_fields)


def parse_item(value: Any) -> Submission:
    """Check one item of a batch: as a submission, with its idempotency key in it.

    Raises:
        InvalidRequest: a key is missing, unknown or of the wrong type.
    """
    return Submission(**parse_fields(value, _ITEM_FIELDS, required=("model_name", "data")))


def parse_edits(value: Any) -> dict[str, Any]:
    """Check what a retry changes: fields of a submission.

    Raises:
        InvalidRequest: a key is unknown or of the wrong type.
    """
    return parse_fields(value, _EDIT_FIELDS)


def parse_fields(
    value: Any, known: dict[str, Callable[[Any, str], Any]], *, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check an object's keys, and each value with the function that is known for it.

    Raises:
        InvalidRequest: a key is missing, unknown or of the wrong type.
    """
    if not isinstance(value, dict):
        raise invalid("", f"must be an object with {', '.join(known)}")
    fields: dict[str, Any] = {}
    for key, item in cast("dict[str, Any]", value).items():
        check = known.get(key)
        if check is None:
            raise invalid(f"/{key[:80]}", f"unknown key; known keys: {', '.join(known)}")
        fields[key] = check(item, f"/{key}")
    for key in required:
        if key not in fields:
            raise invalid(f"/{key}", "is missing")
    return fields


def parse_key(value: Any, pointer: str) -> str:
    """Check an idempotency key."""
    if not (isinstance(value, str) and _KEY.fullmatch(value)):
        raise invalid(pointer, "must be 1 to 255 printable ASCII characters without spaces")
    return value


def parse_text(value: Any, pointer: str) -> str:
    """Check a string."""
    if not isinstance(value, str):
        raise invalid(pointer, "must be a string")
    return value


def parse_sought(value: Any, pointer: str) -> str:
    """Check a string that PostgreSQL is asked for: no text of it holds a NUL."""
    text = parse_text(value, pointer)
    if "\0" in text:
        raise invalid(pointer, "must not hold NUL")
    return text


def parse_version(value: Any, pointer: str) -> str | None:
    """Check the name of a model's version; null stands for the default."""
    if value is not None and not (isinstance(value, str) and VERSION.fullmatch(value)):
        raise invalid(pointer, "must be the name of a version, such as 1.0.0")
    return value


def parse_int(low: int, high: int) -> Callable[[Any, str], int]:
    """A check for whole numbers between two bounds."""

    def check(value: Any, pointer: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(pointer, f"must be a whole number from {low} to {high}")
        return value

    return check


def parse_time(value: Any, pointer: str) -> datetime:
    """Check a moment: ISO 8601 with a time zone, no further away than jobs are kept by default."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise invalid(pointer, "must be a time with a zone, such as 2026-01-05T12:00:00Z") from None
    return moment


def parse_label(text: str, pointer: str) -> str:
    """Check a label as it is asked for in a list: `key=value`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise invalid(pointer, "must be key=value")
    return _label(key, value, pointer)


def _label(key: str, value: Any, pointer: str) -> str:
    if not _LABEL_KEY.fullmatch(key):
        raise invalid(pointer, "a label's name has 1 to 63 letters, digits, '.', '_', '-' or '/'")
    if not (isinstance(value, str) and len(value) <= 255 and value.isprintable()):
        raise invalid(pointer, "a label's value is a text of at most 255 printable characters")
    return f"{key}={value}"


def _anything(value: Any, _pointer: str) -> Any:
    return value


def _config(value: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(pointer, "must be an object")
    return cast("dict[str, Any]", value)


def parse_bool(value: Any, pointer: str) -> bool:
    """Check a truth value."""
    if not isinstance(value, bool):
        raise invalid(pointer, "must be true or false")
    return value


def _wait_s(value: Any, pointer: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(pointer, "must be a number of seconds")
    return float(value)


def _deadline_s(value: Any, pointer: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SECONDS:
        raise invalid(pointer, f"must be a number of seconds above 0, at most {MAX_SECONDS}")
    return float(value)


def _run_at(value: Any, pointer: str) -> datetime:
    moment = parse_time(value, pointer)
    if (moment - datetime.now(UTC)).total_seconds() > MAX_SECONDS:
        raise invalid(pointer, f"must be within the next {MAX_SECONDS // 86400} days")
    return moment


def _labels(value: Any, pointer: str) -> tuple[str, ...]:
    if not isinstance(value, dict):
        raise invalid(pointer, 'must be an object of texts, such as {"device": "a1"}')
    labels = cast("dict[str, Any]", value)
    if len(labels) > MAX_LABELS:
        raise invalid(pointer, f"a job may have {MAX_LABELS} labels")
    return tuple(sorted(_label(key, text, f"{pointer}/{key[:80]}") for key, text in labels.items()))


def parse_events(value: Any, pointer: str) -> tuple[str, ...]:
    """Check the kinds of events that a webhook is for."""
    names = cast("list[Any]", value) if isinstance(value, list) else []
    if not names or any(name not in EVENTS for name in names):
        raise invalid(pointer, f"must be a list of one or more of {', '.join(EVENTS)}")
    return tuple(name for name in EVENTS if name in names)


def _webhook(value: Any, pointer: str) -> JobWebhook | None:
    if value is None:
        return None
    try:
        return JobWebhook(
            **parse_fields(value, {"url": parse_text, "events": parse_events}, required=("url",))
        )
    except InvalidRequest as error:
        (entry,) = error.errors or [{"pointer": "", "detail": error.detail}]
        raise invalid(pointer + entry["pointer"], entry["detail"]) from None


_priority = parse_int(0, MAX_PRIORITY)

_EDIT_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "data": _anything,
    "config": _config,
    "model_version": parse_version,
    "priority": _priority,
    "deadline_s": _deadline_s,
    "run_at": _run_at,
    "labels": _labels,
    "max_attempts": parse_int(1, MAX_ATTEMPTS),
    "webhook": _webhook,
}
_JOB_FIELDS = frozenset(_EDIT_FIELDS) - {"data", "config", "model_version"}
_SUBMIT_FIELDS = {"model_name": parse_text, **_EDIT_FIELDS}
_ITEM_FIELDS = {**_SUBMIT_FIELDS, "idempotency_key": parse_key}
_FIELDS = {**_SUBMIT_FIELDS, "store": parse_bool, "wait_s": _wait_s}


def invalid(pointer: str, detail: str) -> InvalidRequest:
    """The error for one place in a request."""
    return InvalidRequest(
        f"{pointer or 'the body'}: {detail}", errors=[{"pointer": pointer, "detail": detail}]
    )
