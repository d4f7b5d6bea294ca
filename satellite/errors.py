"""Every error Satellite raises on purpose.

::

    SatelliteError                        500 internal_error
    ├── BadRequest                        400
    │   ├── InvalidJSON                   400 invalid_json
    │   ├── BodyTimeout                   408 body_timeout        (the connection is closed)
    │   ├── UnsupportedMediaType          415 unsupported_media_type
    │   ├── UnsupportedEncoding           415 unsupported_encoding
    │   ├── BodyTooLarge                  413 body_too_large
    │   └── InvalidRequest                422 invalid_request     (has `errors`: where and why)
    ├── Unauthenticated                   401 unauthenticated     (no key, or not one that is valid now)
    ├── Forbidden                         403 forbidden           (the key's scopes do not reach so far)
    │   └── OriginRefused                 403 origin_refused      (a page from elsewhere in a browser)
    ├── NotFound                          404 not_found
    │   ├── JobNotFound                   404 job_not_found
    │   ├── ModelNotFound                 404 model_not_found     (names the nearest)
    │   ├── VersionNotFound               404 version_not_found   (names those there are)
    │   ├── WebhookNotFound               404 webhook_not_found
    │   └── DeliveryNotFound              404 delivery_not_found
    ├── MethodNotAllowed                  405 method_not_allowed
    ├── Conflict                          409 conflict
    │   ├── IdempotencyConflict           409 idempotency_conflict
    │   ├── JobFinished                   409 job_finished
    │   ├── JobNotFinished                409 job_not_finished
    │   ├── VersionRefused                409 version_refused     (it cannot be loaded, or there is no other)
    │   ├── WebhookLimit                  409 webhook_limit
    │   └── WebhookDisabled               409 webhook_disabled
    ├── CursorExpired                     410 cursor_expired
    ├── QueueFull                         429 queue_full          (has `retry_after_s`)
    ├── RateLimited                       429 rate_limited        (has `retry_after_s`)
    ├── QuotaExceeded                     429 quota_exceeded      (has `retry_after_s`)
    ├── ClientClosed                      499 client_closed       (the caller hung up: nobody reads it)
    ├── Unavailable                       503 unavailable         (has `retry_after_s`)
    │   ├── Busy                          503 busy                (this ingress holds as much as it may)
    │   ├── StoreUnavailable              503 store_unavailable
    │   └── Unreached                     503 unreached           (the client's: nobody takes its calls)
    ├── WaitTimeout                       504 wait_timeout
    ├── SlowReader                        a watcher lets too many events pile up; its socket is closed
    ├── InferenceError                    500: why a job failed, recorded with it
    │   ├── InvalidInput                  422 invalid_input       (the model refused this input)
    │   ├── ModelFailed                   500 model_failed        (the model raised)
    │   ├── InvalidOutput                 500 invalid_output      (the model broke its contract)
    │   ├── OutOfMemory                   413 out_of_memory       (it does not fit, even alone)
    │   ├── TransientFailure              503 transient_failure   (the model raised what it calls retryable)
    │   ├── VersionFailed                 500 version_failed      (what the version is made of is wrong)
    │   ├── VersionUnavailable            503 version_unavailable (where it lies does not answer)
    │   ├── ReplicaDied                   503 replica_died
    │   ├── LeaseLost                     503 lease_lost          (the ingress that held the job was lost)
    │   ├── DeadlinePassed                504 deadline_passed     (it could not start in time)
    │   └── Cancelled                     409 cancelled           (somebody cancelled it)
    ├── ModelDefinitionError              a model file that does not fit the contract; start-up stops
    ├── ConfigError                       a setting or config file that does not validate; start-up stops
    └── EnvironmentProblem                the machine lacks something; the message says what to do

Each class owns its HTTP `status`, its stable `code` and its `title`. Every class survives pickling, because
errors cross from replica to ingress inside handle calls.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SatelliteError(Exception):
    """Base of the tree.

    Args:
        detail: what happened and what to do, for the person who reads it.
        retry_after_s: after how many seconds the same call may work.
        errors: one entry per problem in the input, each with `pointer` (RFC 6901) and `detail`.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[tuple[tuple[str, str], ...]] = ()  # of its HTTP answer

    # Which request the API refused; set by the client that reads the problem.
    request_id: str | None = None

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after_s: int | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.errors = errors

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.detail, self.retry_after_s, self.errors)

    def __str__(self) -> str:
        return self.detail or self.title


def _rebuild(
    cls: type[SatelliteError], detail: str, retry_after_s: int | None, errors: list[dict[str, str]] | None
) -> SatelliteError:
    return cls(detail, retry_after_s=retry_after_s, errors=errors)


class BadRequest(SatelliteError):
    """The request cannot be understood as sent."""

    status, code, title = 400, "bad_request", "Bad request"


class InvalidJSON(BadRequest):
    """The body is not JSON."""

    status, code, title = 400, "invalid_json", "The body is not valid JSON"


class BodyTimeout(BadRequest):
    """The body did not come in time."""

    status, code, title = 408, "body_timeout", "The body did not come in time"
    headers = (("Connection", "close"),)


class UnsupportedMediaType(BadRequest):
    """The body has a content type other than JSON."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class UnsupportedEncoding(BadRequest):
    """The body is compressed in a way that is not known here."""

    status, code, title = 415, "unsupported_encoding", "Unsupported content encoding"
    headers = (("Accept-Encoding", "gzip, deflate"),)  # RFC 9110, 12.5.3


class BodyTooLarge(BadRequest):
    """The body is larger than the limit."""

    status, code, title = 413, "body_too_large", "The body is too large"


class InvalidRequest(BadRequest):
    """The request is JSON, but not a valid request."""

    status, code, title = 422, "invalid_request", "The request does not validate"


class Unauthenticated(SatelliteError):
    """The call needs an API key, and has none that is valid now."""

    status, code, title = 401, "unauthenticated", "An API key is needed"
    headers = (("WWW-Authenticate", "Bearer"),)


class Forbidden(SatelliteError):
    """The key is not for this."""

    status, code, title = 403, "forbidden", "Not allowed"


class OriginRefused(Forbidden):
    """A page from elsewhere makes somebody's browser call."""

    status, code, title = 403, "origin_refused", "Not allowed from this page"


class NotFound(SatelliteError):
    """There is nothing at this address."""

    status, code, title = 404, "not_found", "Not found"


class JobNotFound(NotFound):
    """No job has this id."""

    status, code, title = 404, "job_not_found", "No such job"


class ModelNotFound(NotFound):
    """No model has this name."""

    status, code, title = 404, "model_not_found", "No such model"


class VersionNotFound(NotFound):
    """The model has no version of this name."""

    status, code, title = 404, "version_not_found", "No such version"


class WebhookNotFound(NotFound):
    """No endpoint for webhooks has this id."""

    status, code, title = 404, "webhook_not_found", "No such webhook"


class DeliveryNotFound(NotFound):
    """No delivery of a webhook has this id."""

    status, code, title = 404, "delivery_not_found", "No such delivery"


class MethodNotAllowed(SatelliteError):
    """The address exists, but not for this method."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class Conflict(SatelliteError):
    """The request contradicts what is there."""

    status, code, title = 409, "conflict", "Conflict"


class IdempotencyConflict(Conflict):
    """An idempotency key came with another request than the first time."""

    status, code, title = 409, "idempotency_conflict", "The idempotency key was used for another request"


class JobFinished(Conflict):
    """What was asked for needs a job that has not ended."""

    status, code, title = 409, "job_finished", "The job has ended"


class JobNotFinished(Conflict):
    """What was asked for needs a job that has ended."""

    status, code, title = 409, "job_not_finished", "The job has not ended"


class VersionRefused(Conflict):
    """The version cannot be what it was asked to be: it does not load, or there is none to go back to."""

    status, code, title = 409, "version_refused", "The version cannot be used"


class WebhookLimit(Conflict):
    """There are as many endpoints for webhooks as there may be."""

    status, code, title = 409, "webhook_limit", "Too many webhooks"


class WebhookDisabled(Conflict):
    """What was asked for needs an endpoint that is enabled."""

    status, code, title = 409, "webhook_disabled", "The webhook is disabled"


class CursorExpired(SatelliteError):
    """The events after this cursor are no longer kept."""

    status, code, title = 410, "cursor_expired", "The cursor is too old"


class QueueFull(SatelliteError):
    """The model has as many waiting requests as it may have."""

    status, code, title = 429, "queue_full", "The queue is full"


class RateLimited(SatelliteError):
    """The key has asked for as much as it may in this time, or at once."""

    status, code, title = 429, "rate_limited", "Too many requests"


class QuotaExceeded(SatelliteError):
    """The tenant has as many jobs that have not ended as the key may have."""

    status, code, title = 429, "quota_exceeded", "Too many open jobs"


class ClientClosed(SatelliteError):
    """The caller hung up before the answer; the number is the one proxies log for it."""

    status, code, title = 499, "client_closed", "The caller hung up"


class Unavailable(SatelliteError):
    """A part that is needed for this call is away."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"


class Busy(Unavailable):
    """This ingress holds as much for its callers as it may."""

    status, code, title = 503, "busy", "Too busy"


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""

    status, code, title = 503, "store_unavailable", "The job store is unavailable"


class Unreached(Unavailable):
    """Nobody took the client's call, so that it may always be sent again."""

    status, code, title = 503, "unreached", "Nobody answers"


class WaitTimeout(SatelliteError):
    """The answer was not there within `wait_s`."""

    status, code, title = 504, "wait_timeout", "Not finished in time"


class SlowReader(SatelliteError):
    """A watcher lets too many events pile up."""

    status, code, title = 429, "slow_reader", "Events are not read fast enough"


class InferenceError(SatelliteError):
    """Why one request failed; recorded as the job's error."""

    status, code, title = 500, "inference_failed", "Inference failed"
    retryable: ClassVar[bool] = False  # another attempt may succeed


class InvalidInput(InferenceError):
    """The model refused this input; the message is the model's own and is shown to the caller."""

    status, code, title = 422, "invalid_input", "The model refused the input"


class ModelFailed(InferenceError):
    """The model raised; what it raised is in the log."""

    status, code, title = 500, "model_failed", "The model raised an error"


class InvalidOutput(InferenceError):
    """The model answered with something its contract forbids."""

    status, code, title = 500, "invalid_output", "The model's answer is not valid"


class OutOfMemory(InferenceError):
    """This input alone needs more memory than the replica has."""

    status, code, title = 413, "out_of_memory", "The input does not fit into memory"


class TransientFailure(InferenceError):
    """The model raised an exception that it declares `retryable`."""

    status, code, title = 503, "transient_failure", "The model failed for a passing reason"
    retryable = True


class VersionFailed(InferenceError):
    """The model's version cannot be loaded: its files are missing, damaged, or not what the model reads."""

    status, code, title = 500, "version_failed", "The version cannot be loaded"


class VersionUnavailable(InferenceError):
    """The model's version cannot be fetched now: where it lies does not answer."""

    status, code, title = 503, "version_unavailable", "The version cannot be fetched"
    retryable = True


class ReplicaDied(InferenceError):
    """The replica that held the request died."""

    status, code, title = 503, "replica_died", "The model replica died"
    retryable = True


class LeaseLost(InferenceError):
    """The ingress that held the job was lost."""

    status, code, title = 503, "lease_lost", "The ingress was lost"


class DeadlinePassed(InferenceError):
    """The request could not start before its deadline."""

    status, code, title = 504, "deadline_passed", "The deadline has passed"


class Cancelled(InferenceError):
    """Somebody cancelled the job."""

    status, code, title = 409, "cancelled", "Cancelled"


class ModelDefinitionError(SatelliteError):
    """A model file does not fit the contract; the message starts with its file and line."""

    code, title = "model_definition_error", "A model does not fit the contract"


class ConfigError(SatelliteError):
    """A setting or a config file does not validate."""

    code, title = "config_error", "The configuration does not validate"


class EnvironmentProblem(SatelliteError):
    """The machine lacks something that is needed to start; the message says what to do."""

    code, title = "environment_problem", "The system cannot start here"
