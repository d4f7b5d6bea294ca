"""Judges a run: the clients' history against the database and the probe's log, one invariant at a time.

Pure functions. The twelve invariants, in the order of `INVARIANTS`:

1. Every acknowledged submit reaches exactly one terminal state. 2. Terminal states are immutable. 3. At most
one committed result; attempts rise strictly; a stale owner changes 0 rows. 4. Same idempotency key and body:
same id; another body: 409. 5. Each result is that of its own input. 6. A cancel acknowledged before the start
never runs. 7. Attempts never pass their maximum, crashes counted. 8. A job's event order is the same over WS,
SSE and polling, without gaps after a reconnect. 9. A message's offset is committed only after the durable
insert; one seen twice makes one job; every end leaves. 10. No orphan stays unclaimed past the lease. 11. A
batch is at most 8, of one model and version, and never uses a closed model. 12. The lowest priority is never
starved.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from satellite.feed import CLAIM_AT_A_TIME
from tests.faults import streams
from tests.faults.evidence import TERMINAL, Evidence, JobRow
from tests.faults.history import Acknowledged, CancelAnswered, History, Refused, ResultRead, Submitted

LEASE_S = 15.0
# A claim comes with the next heartbeat (3 s); the rest is for two busy cores.
CLAIM_SLACK_S = 8.0
MAX_BATCH_SIZE = 8
# How many jobs that come later in the order may start while one waits. Several ingresses, each with batches
# on their way, overtake a little; a starved job is overtaken by everyone.
MAX_OVERTAKEN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An invariant that did not hold."""

    invariant: int
    job: str  # the job's id, or what else it is about
    facts: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}, {self.job}: {self.facts}"


def check(history: History, evidence: Evidence) -> list[Violation]:
    """Everything that was violated, in the order of the invariants."""
    return [
        Violation(invariant=number, job=job, facts=facts)
        for number, invariant in INVARIANTS.items()
        for job, facts in invariant(history, evidence)
    ]


Finding = tuple[str, str]  # the job, the facts


def every_acknowledged_job_ends(history: History, evidence: Evidence) -> Iterator[Finding]:
    """1."""
    jobs = {job.job_id: job for job in evidence.jobs}
    asked_to_cancel = {answer.job_id for answer in history.of(CancelAnswered)}
    for job_id in sorted({ack.job_id for ack in history.of(Acknowledged)}):
        job = jobs.get(job_id)
        if job is None:
            yield job_id, "acknowledged, but the database does not have it"
        elif job.status not in TERMINAL:
            yield (
                job_id,
                f"acknowledged, but {job.status} {evidence.taken_at_s - job.due_at_s:.0f} s after it was due",
            )
        elif not _may_end(job, cancel=job_id in asked_to_cancel):
            yield job_id, f"'{job.op}' ended {job.status} ({job.error_code}) in attempt {job.attempt}"

    for read in history.of(ResultRead):
        if read.status == "missing":
            yield read.job_id, f"acknowledged, but {read.reader} was answered that there is no such job"


def _may_end(job: JobRow, *, cancel: bool) -> bool:
    ends = {"raise": {"failed"}, "exit": {"dead"}, "flaky": {"succeeded", "failed", "dead"}}
    allowed = ends.get(job.op, {"succeeded"})
    if job.error_code in ("replica_died", "lease_lost"):
        allowed = allowed | {"dead"}  # after as many crashes as it may have: see 7
    if cancel:
        allowed = allowed | {"cancelled"}
    if job.deadline_at_s is not None:
        allowed = allowed | {"expired"}
    return job.status in allowed


def terminal_states_are_final(history: History, evidence: Evidence) -> Iterator[Finding]:
    """2."""
    for change in evidence.transitions:
        if change.old_status in TERMINAL:
            yield change.job_id, f"was {change.old_status}, then {change.status} (attempt {change.attempt})"
    jobs = {job.job_id: job for job in evidence.jobs}
    told: dict[str, ResultRead] = {}
    for read in history.of(ResultRead):
        if read.status not in TERMINAL:
            continue
        first = told.setdefault(read.job_id, read)
        if (read.status, read.attempt, read.result) != (first.status, first.attempt, first.result):
            yield read.job_id, f"read as {first.status} {first.result}, later as {read.status} {read.result}"
    for job_id, read in told.items():
        job = jobs.get(job_id)
        if job and (job.status, job.attempt) != (read.status, read.attempt):
            yield (
                job_id,
                (
                    f"read as {read.status} in attempt {read.attempt}, "
                    f"but the database says {job.status} in attempt {job.attempt}"
                ),
            )


def one_result_from_the_one_that_holds_it(_: History, evidence: Evidence) -> Iterator[Finding]:
    """3."""
    ends: defaultdict[str, int] = defaultdict(int)
    begun_at_s: dict[str, float] = {}  # when the job's present attempt became possible
    for change in evidence.transitions:
        ends[change.job_id] += change.ends
        if change.attempt > change.old_attempt:
            begun_at_s[change.job_id] = change.at_s
        rise = change.attempt - change.old_attempt
        if rise not in (0, 1):
            yield change.job_id, f"attempt {change.old_attempt} was followed by attempt {change.attempt}"
        elif change.old_status == "running" and change.status == "queued" and rise == 0:
            yield change.job_id, f"went back from running to queued within attempt {change.attempt}"
    for job_id, count in ends.items():
        if count > 1:
            yield job_id, f"an end was recorded {count} times"
    for job in evidence.jobs:
        begun = begun_at_s.get(job.job_id)
        if job.status == "succeeded" and begun and job.started_at_s and job.started_at_s < begun:
            yield (
                job.job_id,
                (
                    f"the result recorded for attempt {job.attempt} was begun "
                    f"{begun - job.started_at_s:.3f} s before it: it is that of a stale owner"
                ),
            )


def a_key_is_one_job(history: History, evidence: Evidence) -> Iterator[Finding]:
    """4."""
    sent = {s.send: s for s in history.of(Submitted) if s.key is not None}
    bodies: defaultdict[str, set[str]] = defaultdict(set)
    for submit in sent.values():
        bodies[submit.key].add(_canonical(submit.body))
    accepted: dict[str, tuple[str, str]] = {}
    for ack in history.of(Acknowledged):
        submit = sent.get(ack.send)
        if submit is None:
            continue
        now = (ack.job_id, _canonical(submit.body))
        first = accepted.setdefault(submit.key, now)
        if now[1] != first[1]:
            yield ack.job_id, f"key {submit.key} was accepted with two different bodies"
        elif now[0] != first[0]:
            yield ack.job_id, f"key {submit.key} is also job {first[0]}"
    for refused in history.of(Refused):
        submit = sent.get(refused.send)
        if submit and refused.code == "idempotency_conflict" and len(bodies[submit.key]) == 1:
            yield submit.key, "answered 409, though all its bodies are the same"
    made: defaultdict[str, list[str]] = defaultdict(list)
    for job in evidence.jobs:
        if job.nonce is not None:
            made[job.nonce].append(job.job_id)
    for nonce in {submit.nonce for submit in sent.values()}:
        if len(made[nonce]) > 1:
            yield nonce, f"one key made {len(made[nonce])} jobs: {', '.join(made[nonce])}"
    for row in evidence.keys:
        if row.key in accepted and row.job_id != accepted[row.key][0]:
            yield row.job_id, f"key {row.key} was answered with job {accepted[row.key][0]}"


def results_are_of_their_own_input(history: History, evidence: Evidence) -> Iterator[Finding]:
    """5."""
    nonces = {ack.job_id: ack.nonce for ack in history.of(Acknowledged)}
    ran = {nonce for run in evidence.runs for nonce in run.nonces}
    for job in evidence.jobs:
        if job.job_id in nonces and job.nonce != nonces[job.job_id]:
            yield job.job_id, f"submitted {nonces[job.job_id]}, but stored {job.nonce}"
        if job.status == "succeeded" and job.result_nonce != job.nonce:
            yield job.job_id, f"its input is {job.nonce}, its result {job.result_nonce}"
        if job.status == "succeeded" and evidence.runs and job.nonce not in ran:
            yield job.job_id, "succeeded, but was never computed"
    for read in history.of(ResultRead):
        if read.result is not None and read.result.get("nonce") != nonces.get(read.job_id):
            yield read.job_id, f"{read.reader} read the result {read.result}, not {nonces.get(read.job_id)}"


def cancelled_before_the_start_never_runs(history: History, evidence: Evidence) -> Iterator[Finding]:
    """6."""
    jobs = {job.job_id: job for job in evidence.jobs}
    for answer in history.of(CancelAnswered):
        job = jobs.get(answer.job_id)
        if answer.status != 200 or answer.job_status != "cancelled" or job is None:
            continue
        if job.status != "cancelled":
            yield job.job_id, f"the cancel was acknowledged, but it is {job.status}"
        # In a later attempt it may have been computed between the question and the answer, before its replica
        # died under it; in the first one, or after the answer, never.
        since_s = answer.asked_at_s if job.attempt == 1 else answer.at_s
        later = [run for run in evidence.runs if job.nonce in run.nonces and run.at_s > since_s]
        if answer.started is False and later:
            yield (
                job.job_id,
                (
                    f"cancelled before its start, but computed {later[0].at_s - answer.asked_at_s:.3f} s "
                    f"after the cancel was sent (answered after {answer.at_s - answer.asked_at_s:.3f} s)"
                ),
            )


def attempts_are_bounded(_: History, evidence: Evidence) -> Iterator[Finding]:
    """7."""
    crashes: defaultdict[str, int] = defaultdict(int)
    for run in evidence.runs:
        for nonce, op in zip(run.nonces, run.ops, strict=False):
            crashes[nonce] += op == "exit"
    for job in evidence.jobs:
        if job.attempt > job.max_attempts:
            yield job.job_id, f"attempt {job.attempt} of at most {job.max_attempts}"
        if job.status == "dead" and job.attempt < job.max_attempts:
            yield job.job_id, f"dead after attempt {job.attempt} of {job.max_attempts}"
        crashed = crashes[job.nonce] if job.nonce else 0
        if crashed > job.attempt:
            yield job.job_id, f"it ended {crashed} processes, but only {job.attempt} attempts were counted"


def events_are_in_order(history: History, evidence: Evidence) -> Iterator[Finding]:
    """8."""
    yield from streams.stored_events(evidence)
    yield from streams.job_streams(history, evidence)
    yield from streams.model_streams(history, evidence)
    yield from streams.reads_go_forward(history)


def offsets_follow_inserts(_: History, evidence: Evidence) -> Iterator[Finding]:
    """9."""
    made: defaultdict[str, set[str]] = defaultdict(set)
    for row in evidence.keys:
        made[row.key].add(row.job_id)
    for message in evidence.messages:
        place = f"partition {message.partition}, offset {message.offset}"
        if message.committed and not made[message.key]:
            yield message.key, f"{place} is committed, but there is no job"
        if len(made[message.key]) > 1:
            yield message.key, f"{place} made {len(made[message.key])} jobs"
    if evidence.results is None:
        return
    told = {result.job_id: result for result in evidence.results}
    for job in evidence.jobs:
        result = told.get(job.job_id)
        if result is None:
            if job.status in TERMINAL:
                yield job.job_id, f"it is {job.status}, and that never left through Kafka"
        elif (result.status, result.nonce) != (job.status, job.result_nonce):
            yield (
                job.job_id,
                f"it left as {result.status} {result.nonce}, and is {job.status} {job.result_nonce}",
            )


def no_orphan_stays(_: History, evidence: Evidence) -> Iterator[Finding]:
    """10."""
    longest_s = LEASE_S + CLAIM_SLACK_S + evidence.outage_s
    moved_at_s: dict[str, float] = {}
    for change in evidence.transitions:
        moved_at_s[change.job_id] = change.at_s
        last_s = evidence.heartbeats.get(change.old_owner or "")
        if change.taken and last_s is not None and change.at_s - last_s > longest_s:
            yield change.job_id, f"taken over {change.at_s - last_s:.1f} s after its owner's last heartbeat"
    for job in evidence.jobs:
        quiet_s = evidence.taken_at_s - max(moved_at_s.get(job.job_id, 0), job.due_at_s)
        if job.status not in TERMINAL and quiet_s > longest_s:
            yield (
                job.job_id,
                f"{job.status}, and nobody has touched it for {quiet_s:.0f} s (owner {job.owner})",
            )


def batches_are_of_one_kind(_: History, evidence: Evidence) -> Iterator[Finding]:
    """11."""
    closed: set[str] = set()
    versions: dict[str, set[str]] = defaultdict(set)
    for run in sorted(evidence.runs, key=lambda run: run.at_s):
        for nonce in run.nonces:
            versions[nonce].add(run.version)
        if run.kind == "close":
            closed.add(run.instance)
        elif run.kind == "batch" and run.instance in closed:
            yield run.nonces[0], f"process {run.pid} computed it with a model that was closed"
        if len(run.nonces) > MAX_BATCH_SIZE:
            yield run.nonces[0], f"process {run.pid} computed {len(run.nonces)} in one batch"
    batches: defaultdict[str, list[JobRow]] = defaultdict(list)
    for job in evidence.jobs:
        if job.batch_id is not None:
            batches[job.batch_id].append(job)
        ran = versions.get(job.nonce or "")
        if job.status == "succeeded" and ran and job.model_version not in ran:
            yield (
                job.job_id,
                f"recorded as version {job.model_version}, but computed by {', '.join(sorted(ran))}",
            )
    for batch_id, mates in batches.items():
        if len(mates) > MAX_BATCH_SIZE or any((job.batch_size or 0) > MAX_BATCH_SIZE for job in mates):
            yield mates[0].job_id, f"batch {batch_id} holds {max(len(mates), mates[0].batch_size or 0)} jobs"
        if len({(job.model_name, job.model_version) for job in mates}) > 1:
            yield mates[0].job_id, f"batch {batch_id} holds jobs of several models or versions"


def no_priority_starves(_: History, evidence: Evidence) -> Iterator[Finding]:
    """12."""
    # What was taken from an ingress that was lost, or tried again, has waited for another reason.
    excused = {change.job_id for change in evidence.transitions if change.taken}
    # One ingress claims many at once from the backlog, and the others go on meanwhile with what comes new.
    claimed = {change.job_id for change in evidence.transitions if change.old_owner is None and change.owner}
    started = sorted(
        (job for job in evidence.jobs if job.started_at_s and job.rank_at_s is not None),
        key=lambda job: job.rank_at_s or 0,
    )
    for place, job in enumerate(started):
        if job.attempt > 1 or job.job_id in excused:
            continue
        overtaking = sum(
            other.model_name == job.model_name and job.due_at_s < other.started_at_s < job.started_at_s
            for other in started[place + 1 :]
        )
        most = MAX_OVERTAKEN + (CLAIM_AT_A_TIME if job.job_id in claimed else 0)
        if overtaking > most:
            yield (
                job.job_id,
                (
                    f"with priority {job.priority} it waited {job.started_at_s - job.due_at_s:.1f} s while "
                    f"{overtaking} jobs that come after it in the order were started"
                ),
            )


def lost(history: History, evidence: Evidence) -> set[str]:
    """The acknowledged jobs that are gone or never ended."""
    ended = {job.job_id for job in evidence.jobs if job.status in TERMINAL}
    return {ack.job_id for ack in history.of(Acknowledged)} - ended


def recorded_twice(history: History, evidence: Evidence) -> set[str]:
    """The jobs whose end was recorded more than once, and the nonces whose key made more than one job."""
    found = {
        job for job, facts in one_result_from_the_one_that_holds_it(history, evidence) if "times" in facts
    }
    return found | {
        nonce for nonce, facts in a_key_is_one_job(history, evidence) if facts.startswith("one key made")
    }


def _canonical(body: object) -> str:
    return json.dumps(body, sort_keys=True)


INVARIANTS: dict[int, Callable[[History, Evidence], Iterator[Finding]]] = {
    1: every_acknowledged_job_ends,
    2: terminal_states_are_final,
    3: one_result_from_the_one_that_holds_it,
    4: a_key_is_one_job,
    5: results_are_of_their_own_input,
    6: cancelled_before_the_start_never_runs,
    7: attempts_are_bounded,
    8: events_are_in_order,
    9: offsets_follow_inserts,
    10: no_orphan_stays,
    11: batches_are_of_one_kind,
    12: no_priority_starves,
}
