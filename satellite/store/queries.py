"""Reads `queries.sql` once, at import: one attribute per named statement."""

import re
from importlib.resources import files

_text = files("satellite.store").joinpath("queries.sql").read_text(encoding="utf-8")
_named = dict(re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", _text, re.DOTALL | re.MULTILINE))

INSERT_JOBS = _named["insert_jobs"]
START_JOBS = _named["start_jobs"]
COMPLETE_JOBS = _named["complete_jobs"]
GET_JOB = _named["get_job"]
REQUEUE_JOB = _named["requeue_job"]
HEARTBEAT = _named["heartbeat"]
RETIRE = _named["retire"]
BURY_ORPHANS = _named["bury_orphans"]
CLAIM_ORPHANS = _named["claim_orphans"]
ENSURE_PARTITIONS = _named["ensure_partitions"]
PING = _named["ping"]
