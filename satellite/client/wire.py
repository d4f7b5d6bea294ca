"""What goes over the wire, and what comes back: calls, answers, problems, events. Nothing is sent here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID

from satellite.errors import InvalidRequest, SatelliteError, Unavailable

Json = dict[str, Any]

# Answers that the same call may not get again. A 504 is none: it says that `wait_s` was too short.
RETRIED = frozenset({429, 502, 503})
# Serve's own proxy says this, as a 404, before the application is deployed and after it is gone.
NO_APPLICATION = b"/-/routes for available routes"
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API.

    Attributes:
        method: GET, POST or DELETE.
        path: after the base address.
        query: pairs; a name may come more than once.
        body: JSON, as bytes.
        headers: beside the usual ones.
        wait_s: for how long the server was asked to wait before it answers.
        repeatable: sent twice it does what it does once.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    wait_s: float = 0
    repeatable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return self.status < HTTPStatus.BAD_REQUEST

    def json(self) -> Json:
        """The document; an answer that has none (204) is an empty one.

        Raises:
            SatelliteError: it is not a JSON object, so whoever answered was not this API.
        """
        if self.status == HTTPStatus.NO_CONTENT:
            return {}
        document = _parse(self.body)
        if document is None:
            raise SatelliteError(f"the answer is not a JSON object but {self.body[:200]!r}: is this the API?")
        return document


def make_call(
    method: str,
    path: str,
    *,
    body: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
    wait_s: float = 0,
    repeatable: bool | None = None,
) -> Call:
    """A call; what is None is left out.

    Args:
        method: GET, POST or DELETE.
        path: after the base address.
        body: to be sent as JSON; see `encode`.
        params: of the query; a list or tuple is sent as several.
        headers: beside the usual ones.
        idempotency_key: makes a POST repeatable.
        wait_s: for how long the server is asked to wait.
        repeatable: None: a GET is, and so is what has a key.

    Raises:
        InvalidRequest: the body cannot be written as JSON.
    """
    pairs = [
        (name, _text(one))
        for name, value in (params or {}).items()
        for one in (cast("Iterable[Any]", value) if isinstance(value, list | tuple) else (value,))
        if one is not None
    ]
    sent = dict(headers or {})
    if body is not None:
        sent["Content-Type"] = "application/json"
    if idempotency_key is not None:
        sent["Idempotency-Key"] = idempotency_key
    return Call(
        method=method,
        path=path,
        query=tuple(pairs),
        body=None if body is None else encode(body),
        headers=sent,
        wait_s=wait_s,
        repeatable=(method == "GET" or idempotency_key is not None) if repeatable is None else repeatable,
    )


def encode(value: Any) -> bytes:
    """A body as JSON.

    Arrays, tensors, series and frames (whatever knows how to become a list), numpy's numbers, times and UUIDs
    may stand anywhere in it.

    Raises:
        InvalidRequest: it holds NaN, infinity, or something that has no JSON form.
    """
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise InvalidRequest(f"{error}: fill or drop NaN and infinity, which JSON has no form for") from None
    except TypeError as error:
        raise InvalidRequest(str(error)) from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    # A frame has no `tolist`; a frame of one column is a series.
    if hasattr(value, "to_numpy") and not hasattr(value, "tolist"):
        value = value.to_numpy()
        if getattr(value, "ndim", 1) == 2 and value.shape[1] == 1:
            value = value[:, 0]
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return list(cast("Iterable[Any]", value))
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    raise TypeError(f"a {type(value).__name__} has no JSON form: give numbers, texts, lists or objects")


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:g}" if isinstance(value, float) else str(value)


class OtherError(SatelliteError):
    """An error whose code this version does not know: a newer server, or something between here and it."""

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after_s: int | None = None,
        errors: list[dict[str, str]] | None = None,
        status: int = 500,
        code: str = "unknown",
        title: str = "Error",
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s, errors=errors)
        # What is a class's own elsewhere is here the instance's.
        self.__dict__.update(status=status, code=code, title=title)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_other, (
            self.detail,
            self.retry_after_s,
            self.errors,
            self.status,
            self.code,
            self.title,
        )


def _rebuild_other(
    detail: str,
    retry_after_s: int | None,
    errors: list[dict[str, str]] | None,
    status: int,
    code: str,
    title: str,
) -> OtherError:
    return OtherError(
        detail, retry_after_s=retry_after_s, errors=errors, status=status, code=code, title=title
    )


def to_error(problem: Mapping[str, Any]) -> SatelliteError:
    """The error that a problem, or the `error` of a job, tells of: of the class that owns its code."""
    code, detail = str(problem.get("code") or "unknown"), str(problem.get("detail") or "")
    retry_after_s, errors = problem.get("retry_after_s"), problem.get("errors")
    cls = _CLASSES.get(code)
    if cls is None:
        error: SatelliteError = OtherError(
            detail,
            retry_after_s=retry_after_s,
            errors=errors,
            status=int(problem.get("status") or 500),
            code=code,
            title=str(problem.get("title") or "Error"),
        )
    else:
        error = cls(detail, retry_after_s=retry_after_s, errors=errors)
    error.request_id = problem.get("request_id")
    return error


def _tree(cls: type[SatelliteError]) -> Iterator[tuple[str, type[SatelliteError]]]:
    yield cls.code, cls
    for child in cls.__subclasses__():
        # Those of other modules are no errors of the API, and have codes of their parents.
        if child.__module__ == SatelliteError.__module__:
            yield from _tree(child)


_CLASSES = dict(_tree(SatelliteError))


def answer_error(answer: Answer) -> SatelliteError:
    """The error that an answer is."""
    if answer.status == HTTPStatus.NOT_FOUND and NO_APPLICATION in answer.body:
        return Unavailable("the system is starting or stopping: its proxy knows no application yet")
    problem: Json = _parse(answer.body) or {}
    if "code" not in problem:
        # A proxy, or another server altogether.
        text = answer.body[:200].decode(errors="replace").strip()
        problem = {"title": f"HTTP {answer.status}", "detail": text, "status": answer.status}
    if "retry_after_s" not in problem:
        after = answer.headers.get("retry-after", "")
        problem["retry_after_s"] = int(after) if after.isdigit() else None
    return to_error(problem)


def pause_s(failures: int, error: SatelliteError, rng: random.Random) -> float:
    """How long to wait before the next try.

    Args:
        failures: tries that have failed; 1 after the first.
        error: the last failure. What its sender asks for is the least.
        rng: for jitter, so that those who failed together do not come back together.
    """
    grown_s = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE_S)
    return (error.retry_after_s or 0) + grown_s * rng.uniform(0.5, 1)


class EventParser:
    """Server-sent events out of lines. A stream is resumed after `last_id`, the last that was complete."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.forget()

    def forget(self) -> None:
        """Drop what is not complete: the connection was lost."""
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> Json | None:
        """Take one line.

        Returns:
            The event that it completes.

        Raises:
            SatelliteError: the stream ends with a problem.
        """
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields = self._fields
        self.forget()
        if "data" not in fields:
            return None
        document: Json = json.loads(fields["data"])
        if fields.get("event") == "problem":
            raise to_error(document)
        self.last_id = fields.get("id", self.last_id)
        return document


def _parse(body: bytes) -> Json | None:
    try:
        document: object = json.loads(body)
    except ValueError:
        return None
    return cast("Json", document) if isinstance(document, dict) else None
