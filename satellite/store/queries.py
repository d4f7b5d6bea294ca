"""Reads `queries.sql` once, at import: one attribute per named statement."""

import re
from importlib.resources import files

_text = files("satellite.store").joinpath("queries.sql").read_text(encoding="utf-8")
_named = dict(re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", _text, re.DOTALL | re.MULTILINE))

INSERT_JOBS = _named["insert_jobs"]
TAKE_KEYS = _named["take_keys"]
FIND_KEYS = _named["find_keys"]
FORGET_KEYS = _named["forget_keys"]
START_JOBS = _named["start_jobs"]
COMPLETE_JOBS = _named["complete_jobs"]
FIND_COMPLETION = _named["find_completion"]
REQUEUE_JOBS = _named["requeue_jobs"]
HEARTBEAT = _named["heartbeat"]
MARK_LOST = _named["mark_lost"]
BURY_ORPHANS = _named["bury_orphans"]
REQUEUE_ORPHANS = _named["requeue_orphans"]
RELEASE_JOBS = _named["release_jobs"]
RELEASE_STRAYS = _named["release_strays"]
FORGET_INGRESSES = _named["forget_ingresses"]
CLAIM_JOBS = _named["claim_jobs"]
EXPIRE_JOBS = _named["expire_jobs"]
CANCEL_JOB = _named["cancel_job"]
REQUEST_CANCEL = _named["request_cancel"]
CANCELS_REQUESTED = _named["cancels_requested"]
WAITING_ELSEWHERE = _named["waiting_elsewhere"]
AHEAD_OF_JOB = _named["ahead_of_job"]
GET_JOB = _named["get_job"]
GET_JOBS = _named["get_jobs"]
LIST_JOBS = _named["list_jobs"]
REPLAYABLE_JOBS = _named["replayable_jobs"]
BATCH_MATES = _named["batch_mates"]
DELETE_JOB = _named["delete_job"]
LOG_POSITION = _named["log_position"]
READ_LOG = _named["read_log"]
LOG_HORIZON = _named["log_horizon"]
ENSURE_PARTITIONS = _named["ensure_partitions"]
DROP_PARTITIONS = _named["drop_partitions"]
PING = _named["ping"]
