-- Every statement Satellite sends to PostgreSQL outside migrations. `-- name:` starts one.
-- Parameters that are arrays have one element per job: a group commit is one statement.
-- A statement that moves a job writes the step into `events` too: the log is as true as the jobs.

-- name: insert_jobs
-- A job is inserted already claimed by the ingress that took it (`owner`), so that its whole life is two writes.
-- One without an owner waits in the database (it is delayed, or the ingress holds enough).
WITH inserted AS (
    INSERT INTO jobs (id, tenant, model_name, input, config, max_attempts, owner, created_at, priority, run_at,
                      rank_at, deadline_at, labels, parent_id, requested_version, attempt)
    SELECT id, tenant, model_name, input, config, max_attempts, owner, created_at, priority, run_at,
           rank_at, deadline_at, CASE WHEN labels <> '' THEN string_to_array(labels, E'\x1f') END, parent_id,
           requested_version, 1
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::json[], $5::json[], $6::int[], $7::uuid[],
                $8::timestamptz[], $9::smallint[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[],
                $13::text[], $14::uuid[], $15::text[])
         AS n (id, tenant, model_name, input, config, max_attempts, owner, created_at, priority, run_at, rank_at,
               deadline_at, labels, parent_id, requested_version)
    -- A connection that breaks may have committed: the same jobs are then sent once more.
    ON CONFLICT (id) DO NOTHING
    RETURNING id, tenant, model_name, created_at)
INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
SELECT id, tenant, model_name, 'queued', 1, created_at FROM inserted;

-- name: take_keys
-- Sorted, so that two ingresses that bring the same keys do not wait for each other in a circle; of one key that
-- comes twice the older request takes it.
INSERT INTO idempotency_keys (tenant, key, digest, job_id)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[]) AS k (tenant, key, digest, job_id)
ORDER BY tenant, key, job_id
ON CONFLICT (tenant, key) DO NOTHING;

-- name: find_keys
SELECT k.tenant, k.key, k.digest, k.job_id
FROM unnest($1::text[], $2::text[]) AS wanted (tenant, key) JOIN idempotency_keys AS k USING (tenant, key);

-- name: forget_keys
DELETE FROM idempotency_keys
WHERE (tenant, key) IN (SELECT tenant, key FROM idempotency_keys
                        WHERE created_at < now() - make_interval(secs => $1) ORDER BY created_at LIMIT $2)
RETURNING key;

-- name: start_jobs
-- Only jobs that compute for longer than a moment get this write; the others pass through `running` in
-- complete_jobs. Found by their ids, here and below: for the few unfinished jobs that the planner knows of it would read
-- all there are instead, each time, and there may be 100,000 by then. `finished_at` is in no index that tempts it.
WITH started AS (
    UPDATE jobs SET status = 'running', started_at = d.started_at
    FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::timestamptz[]) AS d (id, attempt, owner, started_at)
    WHERE jobs.id = ANY($1) AND jobs.id = d.id AND jobs.attempt = d.attempt AND jobs.owner = d.owner
      AND jobs.finished_at IS NULL AND jobs.started_at IS NULL
    RETURNING jobs.id, jobs.tenant, jobs.model_name, jobs.attempt, jobs.started_at)
INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
SELECT id, tenant, model_name, 'running', attempt, started_at FROM started;

-- name: complete_jobs
-- The fence: a completion counts only from the owner and attempt that hold the job. Others change 0 rows.
WITH done AS (
    UPDATE jobs SET status = d.status, model_version = d.model_version, started_at = d.started_at,
                    finished_at = clock_timestamp(), result = d.result, error = d.error,
                    batch_id = d.batch_id, batch_size = d.batch_size, flush_reason = d.flush_reason,
                    replica_id = d.replica_id, admission_s = d.admission_s, queue_s = d.queue_s,
                    load_s = d.load_s, fill_s = d.fill_s, compute_s = d.compute_s
    FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::job_status[], $5::text[], $6::timestamptz[], $7::json[],
                $8::json[], $9::uuid[], $10::int[], $11::text[], $12::text[], $13::real[], $14::real[],
                $15::real[], $16::real[], $17::real[], $18::boolean[])
         AS d (id, attempt, owner, status, model_version, started_at, result, error, batch_id, batch_size,
               flush_reason, replica_id, admission_s, queue_s, load_s, fill_s, compute_s, start_recorded)
    WHERE jobs.id = ANY($1) AND jobs.id = d.id AND jobs.attempt = d.attempt AND jobs.owner = d.owner
      AND jobs.finished_at IS NULL
    RETURNING jobs.id, jobs.tenant, jobs.model_name, jobs.status, jobs.attempt, jobs.started_at,
              jobs.finished_at, d.start_recorded),
logged AS (
    INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
    SELECT id, tenant, model_name, step.status, attempt, step.at
    FROM done CROSS JOIN LATERAL (VALUES ('running'::job_status, started_at), (status, finished_at))
                                 AS step (status, at)
    WHERE step.status <> 'running' OR (started_at IS NOT NULL AND NOT start_recorded))
SELECT id, finished_at FROM done;

-- name: find_completion
-- Whether this attempt's completion had been committed before its connection broke.
SELECT finished_at FROM jobs
WHERE id = $1 AND attempt = $2 AND owner = $3 AND status = $4;

-- name: requeue_jobs
-- The next attempt, in the same hands, after a delay. Sent once more after a connection has broken, it changes
-- nothing and still says which attempts hold their job.
WITH d AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::timestamptz[], $5::jsonb[], $6::real[], $7::boolean[])
         AS d (id, attempt, owner, started_at, ended, delay_s, start_recorded)),
again AS (
    UPDATE jobs SET attempt = d.attempt + 1, status = 'queued', started_at = NULL,
                    attempts = coalesce(jobs.attempts, '[]') || d.ended,
                    run_at = now() + make_interval(secs => d.delay_s),
                    rank_at = now() + make_interval(secs => d.delay_s) - jobs.priority * $8::interval
    FROM d WHERE jobs.id = ANY($1) AND jobs.id = d.id AND jobs.owner = d.owner AND jobs.attempt = d.attempt
             AND jobs.finished_at IS NULL
    RETURNING jobs.id, jobs.tenant, jobs.model_name, jobs.attempt, d.started_at, d.start_recorded),
logged AS (
    INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
    SELECT id, tenant, model_name, step.status, step.attempt, step.at
    FROM again CROSS JOIN LATERAL (VALUES ('running'::job_status, attempt - 1, started_at),
                                          ('queued', attempt, clock_timestamp())) AS step (status, attempt, at)
    WHERE step.status <> 'running' OR (started_at IS NOT NULL AND NOT start_recorded))
SELECT id FROM again
UNION ALL
SELECT jobs.id FROM jobs JOIN d ON jobs.id = d.id AND jobs.owner = d.owner
WHERE jobs.id = ANY($1) AND jobs.attempt = d.attempt + 1 AND jobs.finished_at IS NULL AND jobs.started_at IS NULL;

-- name: heartbeat
-- Database time, on both sides of the lease: the clocks of the ingresses do not matter. No row means that the
-- lease is lost. `since` begins anew after a gap: see mark_lost.
INSERT INTO ingresses AS i (owner, heartbeat_at, since) VALUES ($1, now(), now())
ON CONFLICT (owner) DO UPDATE
SET heartbeat_at = now(),
    since = CASE WHEN i.heartbeat_at < now() - make_interval(secs => $2) THEN now() ELSE i.since END
WHERE NOT i.lost
RETURNING owner;

-- name: mark_lost
-- Ingresses that fell silent. Only one that has itself been heard for a while may say so: after an outage of the
-- database everybody's heartbeat is old, and nobody is lost.
UPDATE ingresses SET lost = true
WHERE owner IN (SELECT owner FROM ingresses
                WHERE NOT lost AND heartbeat_at < now() - make_interval(secs => $2)
                  AND EXISTS (SELECT FROM ingresses AS me
                              WHERE me.owner = $1 AND NOT me.lost AND me.since < now() - make_interval(secs => $3))
                FOR UPDATE SKIP LOCKED)
RETURNING owner;

-- name: bury_orphans
-- Jobs of lost ingresses that ran and have no attempt left.
WITH dead AS (
    UPDATE jobs SET status = 'dead', finished_at = clock_timestamp(), error = $2::json
    WHERE id IN (SELECT id FROM jobs
                 WHERE owner IN (SELECT owner FROM ingresses WHERE lost) AND status = 'running'
                   AND attempt >= max_attempts AND NOT cancel_requested
                 LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant, model_name, attempt, finished_at),
logged AS (
    INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
    SELECT id, tenant, model_name, 'dead', attempt, finished_at FROM dead)
SELECT id, model_name FROM dead;

-- name: requeue_orphans
-- The other jobs of lost ingresses go back into the database's queue. One that was running has used up its attempt;
-- one that shall be cancelled is. Its rank stays: it has waited since then.
WITH orphans AS (
    SELECT id, status FROM jobs
    WHERE owner IN (SELECT owner FROM ingresses WHERE lost)
      AND (status = 'queued' OR status = 'running' AND (attempt < max_attempts OR cancel_requested))
    LIMIT $1 FOR UPDATE SKIP LOCKED),
freed AS (
    UPDATE jobs SET owner = NULL, started_at = NULL, status = 'queued', attempt = attempt + 1, run_at = now(),
                    attempts = coalesce(attempts, '[]') || jsonb_build_object(
                        'attempt', attempt, 'owner', owner, 'started_at', started_at,
                        'ended_at', clock_timestamp(), 'code', $2::text, 'detail', $3::text)
    FROM orphans WHERE jobs.id = orphans.id AND orphans.status = 'running' AND NOT cancel_requested
    RETURNING jobs.id, tenant, model_name, jobs.status, attempt),
untouched AS (
    UPDATE jobs SET owner = NULL
    FROM orphans WHERE jobs.id = orphans.id AND orphans.status = 'queued' AND NOT cancel_requested
    RETURNING jobs.id, model_name),
cancelled AS (
    UPDATE jobs SET status = 'cancelled', finished_at = clock_timestamp(), error = $4::json
    FROM orphans WHERE jobs.id = orphans.id AND cancel_requested
    RETURNING jobs.id, tenant, model_name, jobs.status, attempt),
moved AS (SELECT * FROM freed UNION ALL SELECT * FROM cancelled),
logged AS (
    INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
    SELECT id, tenant, model_name, status, attempt, clock_timestamp() FROM moved)
SELECT id, model_name FROM moved UNION ALL SELECT id, model_name FROM untouched;

-- name: release_jobs
-- A clean stop: what has not started goes back into the database's queue, at once.
WITH gone AS (
    UPDATE ingresses SET lost = true WHERE owner = $1)
UPDATE jobs SET owner = NULL WHERE owner = $1 AND status = 'queued'
RETURNING model_name;

-- name: release_strays
-- Jobs that this ingress owns but does not hold: their insert was committed while its connection broke.
UPDATE jobs SET owner = NULL
WHERE owner = $1 AND status = 'queued' AND created_at < now() - interval '1 minute' AND NOT id = ANY($2::uuid[])
RETURNING model_name;

-- name: forget_ingresses
DELETE FROM ingresses AS i WHERE lost AND heartbeat_at < now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM jobs WHERE owner = i.owner AND status IN ('queued', 'running'));

-- name: claim_jobs
-- Jobs that nobody holds, so many of each model; each tenant with waiting jobs has an equal part of these, the most
-- pressing first. `rank_at` is when a job could run, moved ahead by its priority: as all age alike, this order is that of
-- priority plus age at any moment. None is older than $4: the days before need not be opened. The tenants ($5, $6) of a
-- model get nothing.
-- Who waits is found by skipping through the index from tenant to tenant (a loose index scan), so one's backlog costs the
-- others nothing. Among more tenants than there is room for, lots are drawn: by rank, who sends the highest priorities
-- would always be first, and by age, who has the longest backlog.
WITH RECURSIVE heads AS (
    SELECT wanted.model_name, wanted.most, head.*
    FROM unnest($2::text[], $3::int[]) AS wanted (model_name, most) CROSS JOIN LATERAL (
        SELECT tenant, rank_at FROM jobs
        WHERE model_name = wanted.model_name AND owner IS NULL AND status = 'queued' AND id >= $4
        ORDER BY tenant, rank_at LIMIT 1) AS head
    UNION ALL
    SELECT heads.model_name, heads.most, head.*
    FROM heads CROSS JOIN LATERAL (
        SELECT tenant, rank_at FROM jobs
        WHERE model_name = heads.model_name AND tenant > heads.tenant AND owner IS NULL AND status = 'queued' AND id >= $4
        ORDER BY tenant, rank_at LIMIT 1) AS head),
shares AS (
    SELECT model_name, tenant, most, greatest(most / count(*) OVER (PARTITION BY model_name), 1) AS share,
           row_number() OVER (PARTITION BY model_name ORDER BY random()) AS place
    FROM heads
    WHERE rank_at <= now()
      AND NOT EXISTS (SELECT FROM unnest($5::text[], $6::text[]) AS never (model_name, tenant)
                      WHERE never.model_name = heads.model_name AND never.tenant = heads.tenant)),
claimed AS (
    SELECT j.id FROM shares CROSS JOIN LATERAL (
        SELECT id FROM jobs
        WHERE model_name = shares.model_name AND tenant = shares.tenant AND owner IS NULL AND status = 'queued'
          AND rank_at <= now() AND run_at <= now() AND (deadline_at IS NULL OR deadline_at > now())
          AND id >= $4
        ORDER BY rank_at LIMIT shares.share FOR UPDATE SKIP LOCKED) AS j
    WHERE shares.place <= shares.most)
-- By an array: joined to `claimed`, of which the planner knows nothing, the table would be read whole.
UPDATE jobs SET owner = $1 FROM shares
WHERE jobs.id = ANY(ARRAY(SELECT id FROM claimed)) AND jobs.id >= $4
  AND shares.model_name = jobs.model_name AND shares.tenant = jobs.tenant
RETURNING jobs.*, shares.share;

-- name: oldest_open_id
-- Where the oldest day begins on which a job was created that has not ended; none if all have.
SELECT uuid_floor(day)
FROM (SELECT to_date(right(relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC' AS day
      FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'jobs'::regclass) AS days
WHERE EXISTS (SELECT FROM jobs WHERE status IN ('queued', 'running')
                                 AND id >= uuid_floor(day) AND id < uuid_floor(day + interval '1 day'))
ORDER BY day LIMIT 1;

-- name: expire_jobs
WITH expired AS (
    UPDATE jobs SET status = 'expired', finished_at = clock_timestamp(), error = $1::json
    WHERE id IN (SELECT id FROM jobs WHERE owner IS NULL AND status = 'queued' AND deadline_at <= now()
                 LIMIT 1000 FOR UPDATE SKIP LOCKED)
    RETURNING id, tenant, model_name, attempt, finished_at),
logged AS (
    INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
    SELECT id, tenant, model_name, 'expired', attempt, finished_at FROM expired)
SELECT id, model_name FROM expired;

-- name: cancel_jobs
-- Those that nobody holds are cancelled here. Of those that an ingress holds, that ingress decides: it is asked to.
-- In the order of their ids, so that two who cancel the same jobs do not wait for each other in a circle.
WITH cancelled AS (
    UPDATE jobs SET status = 'cancelled', finished_at = clock_timestamp(), cancel_requested = true, error = $3::json
    WHERE id IN (SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND tenant = $2 AND owner IS NULL
                                       AND status = 'queued'
                 ORDER BY id FOR UPDATE)
    RETURNING id, tenant, model_name, attempt, finished_at)
INSERT INTO events (job_id, tenant, model_name, status, attempt, at)
SELECT id, tenant, model_name, 'cancelled', attempt, finished_at FROM cancelled
RETURNING job_id;

-- name: request_cancels
UPDATE jobs SET cancel_requested = true
WHERE id IN (SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND tenant = $2 AND owner IS NOT NULL
                                   AND status IN ('queued', 'running')
             ORDER BY id FOR UPDATE)
RETURNING id;

-- name: cancels_requested
SELECT id FROM jobs WHERE owner = $1 AND cancel_requested AND status IN ('queued', 'running');

-- name: open_jobs
-- By model and tenant: the jobs that wait, those that run, those that could run and are not held by $1 but wait in the database or
-- with other ingresses, how many of these nobody holds and since when the oldest of them could run, and for how long the
-- oldest of all that could run has waited.
SELECT model_name, tenant, count(*) FILTER (WHERE status = 'queued') AS queued,
       count(*) FILTER (WHERE status = 'running') AS running,
       count(*) FILTER (WHERE status = 'queued' AND owner IS DISTINCT FROM $1 AND run_at <= now()) AS elsewhere,
       count(*) FILTER (WHERE status = 'queued' AND owner IS NULL AND run_at <= now()) AS backlog,
       extract(epoch FROM min(run_at) FILTER (WHERE status = 'queued' AND owner IS NULL AND run_at <= now()))::float8
           AS backlog_since_s,
       extract(epoch FROM now() - min(run_at) FILTER (WHERE status = 'queued' AND run_at <= now()))::float8 AS oldest_wait_s
FROM jobs WHERE status IN ('queued', 'running')
GROUP BY model_name, tenant;

-- name: ahead_of_job
-- How many jobs of its model come before one that waits: its tenant's by rank, and of each other tenant as many as have
-- a turn meanwhile. Counts no further than anybody wants to know.
WITH found AS (
    SELECT tenant, count(*) AS count
    FROM (SELECT tenant FROM jobs WHERE model_name = $1 AND status = 'queued' AND run_at <= now()
                                    AND (tenant <> $3 OR rank_at < $2) LIMIT 100000) AS jobs
    GROUP BY tenant),
own AS (SELECT coalesce(sum(count), 0) AS count FROM found WHERE tenant = $3)
SELECT (own.count + coalesce(sum(least(found.count, own.count + 1)) FILTER (WHERE found.tenant <> $3), 0))::bigint
FROM own LEFT JOIN found ON true GROUP BY own.count;

-- name: get_job
SELECT * FROM jobs WHERE id = $1 AND tenant = $2;

-- name: get_jobs
-- Without their payloads, which may be large.
SELECT id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at, finished_at,
       error, priority, run_at, deadline_at, labels, parent_id, cancel_requested, requested_version
FROM jobs WHERE id = ANY($1::uuid[]) AND tenant = $2;

-- name: ended_jobs
-- For what leaves through Kafka: without inputs, and without a result of more than $2 bytes.
SELECT id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at, finished_at,
       error, priority, run_at, deadline_at, labels, parent_id, cancel_requested, requested_version,
       CASE WHEN octet_length(result::text) <= $2 THEN result END AS result,
       coalesce(octet_length(result::text) > $2, false) AS is_too_large
FROM jobs WHERE id = ANY($1::uuid[]);

-- name: list_jobs
-- Newest first, after a cursor. Planned anew for every call (see Store.list_jobs): the filters that are NULL vanish, and
-- PostgreSQL picks the index for those that remain.
SELECT id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at, finished_at,
       error, priority, run_at, deadline_at, labels, parent_id, cancel_requested, requested_version, batch_size,
       flush_reason
FROM jobs
WHERE tenant = $1
  AND ($2::uuid IS NULL OR id < $2)
  AND ($3::uuid IS NULL OR id >= $3)
  AND ($4::text IS NULL OR model_name = $4)
  AND ($5::job_status[] IS NULL OR status = ANY($5))
  AND ($6::text[] IS NULL OR labels @> $6)
  AND ($7::uuid IS NULL OR parent_id = $7)
ORDER BY id DESC LIMIT $8;

-- name: replayable_jobs
-- Dead jobs that have not been replayed yet.
SELECT j.* FROM jobs AS j
WHERE j.tenant = $1 AND j.status = 'dead'
  AND ($2::uuid[] IS NULL OR j.id = ANY($2))
  AND ($3::text IS NULL OR j.model_name = $3)
  AND ($4::text IS NULL OR j.error ->> 'code' = $4)
  AND NOT EXISTS (SELECT FROM jobs AS child WHERE child.parent_id = j.id)
ORDER BY j.id LIMIT $5;

-- name: count_replayable
-- How many such jobs there are. Counts no further than anybody wants to know.
SELECT count(*) FROM (
    SELECT FROM jobs AS j
    WHERE j.tenant = $1 AND j.status = 'dead'
      AND ($2::uuid[] IS NULL OR j.id = ANY($2))
      AND ($3::text IS NULL OR j.model_name = $3)
      AND ($4::text IS NULL OR j.error ->> 'code' = $4)
      AND NOT EXISTS (SELECT FROM jobs AS child WHERE child.parent_id = j.id)
    LIMIT $5) AS replayable;

-- name: dead_letters
-- Dead jobs that have not been replayed yet, by model and error, with the newest of each; the largest group first.
-- Of very many the newest $2 are looked at.
WITH dead AS MATERIALIZED (
    SELECT j.id, j.model_name, coalesce(j.error ->> 'code', '') AS error_code, j.finished_at
    FROM jobs AS j
    WHERE j.tenant = $1 AND j.status = 'dead'
      AND NOT EXISTS (SELECT FROM jobs AS child WHERE child.parent_id = j.id)
    ORDER BY j.id DESC LIMIT $2),
grouped AS (
    SELECT model_name, error_code, count(*) AS count, min(finished_at) AS oldest_at, max(finished_at) AS newest_at,
           (array_agg(id ORDER BY finished_at DESC))[1] AS example
    FROM dead GROUP BY model_name, error_code ORDER BY count(*) DESC, model_name, error_code LIMIT $3)
SELECT grouped.count, grouped.error_code, grouped.oldest_at, grouped.newest_at, job.*
FROM grouped CROSS JOIN LATERAL (
    SELECT id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at, finished_at,
           error, priority, run_at, deadline_at, labels, parent_id, cancel_requested, requested_version, batch_size,
           attempts
    FROM jobs WHERE id = grouped.example) AS job
ORDER BY grouped.count DESC, grouped.model_name, grouped.error_code;

-- name: batch_mates
SELECT id FROM jobs WHERE batch_id = $1 AND tenant = $2 AND id <> $3 ORDER BY id;

-- name: delete_job
DELETE FROM jobs WHERE id = $1 AND tenant = $2 AND status NOT IN ('queued', 'running') RETURNING id;

-- name: log_position
-- Up to where the log is complete: every transaction before this one has ended.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- name: read_log
SELECT xid::text::bigint AS xid, seq, at, attempt, status, job_id, model_name
FROM events
WHERE (xid, seq) > ($2::bigint::text::xid8, $3) AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND tenant = $1 AND ($4::text IS NULL OR model_name = $4)
ORDER BY xid, seq LIMIT $5;

-- name: read_log_backwards
-- The newest events after one position, up to another.
SELECT xid::text::bigint AS xid, seq, at, attempt, status, job_id, model_name
FROM events
WHERE (xid, seq) > ($2::bigint::text::xid8, $3) AND (xid, seq) <= ($4::bigint::text::xid8, $5) AND tenant = $1
ORDER BY xid DESC, seq DESC LIMIT $6;

-- name: log_horizon
-- Up to where the log has been dropped.
SELECT coalesce(max(xid::text::bigint), 0) FROM events_dropped;

-- name: take_reader
-- A reader nobody runs, or whose owner has fallen silent, becomes this owner's. A new one begins at the end of the log.
INSERT INTO log_readers AS r (name, owner, xid, seq)
VALUES ($1, $2, (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8, 4611686018427387904)
ON CONFLICT (name) DO UPDATE SET owner = $2, renewed_at = now()
WHERE r.owner IS NULL OR r.owner = $2 OR r.renewed_at < now() - make_interval(secs => $3)
RETURNING xid::text::bigint AS xid, seq;

-- name: read_log_page
-- For log readers: every tenant's steps, or those to some states.
SELECT xid::text::bigint AS xid, seq, at, attempt, status, job_id, tenant, model_name
FROM events
WHERE (xid, seq) > ($1::bigint::text::xid8, $2) AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND ($3::job_status[] IS NULL OR status = ANY($3))
ORDER BY xid, seq LIMIT $4;

-- name: advance_reader
-- The fence of log readers: only its owner moves a position, and only ahead. Renews the lease, too. No row means that
-- the reader is another's now.
UPDATE log_readers AS r
SET renewed_at = now(),
    xid = CASE WHEN (r.xid, r.seq) < ($3::bigint::text::xid8, $4) THEN $3::bigint::text::xid8 ELSE r.xid END,
    seq = CASE WHEN (r.xid, r.seq) < ($3::bigint::text::xid8, $4) THEN $4 ELSE r.seq END
WHERE r.name = $1 AND r.owner = $2
RETURNING r.name;

-- name: release_reader
UPDATE log_readers SET owner = NULL WHERE name = $1 AND owner = $2;

-- name: log_readers
-- `behind` counts no further than anybody wants to know.
SELECT r.name, r.owner, r.renewed_at, r.xid::text::bigint AS xid, r.seq,
       (SELECT count(*) FROM (SELECT FROM events WHERE (events.xid, events.seq) > (r.xid, r.seq) LIMIT 100000) AS ahead)
       AS behind
FROM log_readers AS r ORDER BY r.name;

-- name: current_defaults
-- For each model the version that answers where none is named, if that was ever changed.
SELECT DISTINCT ON (model_name) model_name, version FROM default_versions
WHERE undone_at IS NULL ORDER BY model_name, id DESC;

-- name: default_history
SELECT version, set_at, undone_at FROM default_versions WHERE model_name = $1 ORDER BY id DESC LIMIT $2;

-- name: set_default
INSERT INTO default_versions (model_name, version) VALUES ($1, $2);

-- name: undo_default
-- Only while it is the change that the caller has seen: of two who roll back at once, one does.
UPDATE default_versions SET undone_at = now()
WHERE id = (SELECT max(id) FROM default_versions WHERE model_name = $1 AND undone_at IS NULL)
  AND version = $2 AND undone_at IS NULL
RETURNING id;

-- name: ensure_partitions
SELECT ensure_partitions($1::date, $2::int);

-- name: drop_partitions
SELECT drop_partitions($1::date, $2::date);

-- name: describe_tables
-- For `satellite db status`: what the two partitioned tables hold. `row_count` is PostgreSQL's own estimate.
SELECT parent.relname AS parent, count(*) AS partitions, min(right(child.relname, 8)) AS oldest,
       max(right(child.relname, 8)) AS newest, sum(greatest(child.reltuples, 0))::bigint AS row_count,
       sum(pg_relation_size(child.oid))::bigint AS heap_bytes, sum(pg_total_relation_size(child.oid))::bigint AS size_bytes
FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent JOIN pg_class AS child ON child.oid = inhrelid
WHERE parent.oid IN (to_regclass('jobs'), to_regclass('events'))
GROUP BY parent.relname;

-- name: count_jobs
SELECT status, count(*) AS count FROM jobs GROUP BY status;

-- name: count_few_jobs
-- All but the succeeded: these have indexes of their own.
SELECT status, count(*) AS count FROM jobs WHERE status IN ('queued', 'running') GROUP BY status
UNION ALL
SELECT status, count(*) FROM jobs WHERE status IN ('failed', 'cancelled', 'expired', 'dead') GROUP BY status;

-- name: count_ingresses
SELECT count(*) FILTER (WHERE NOT lost AND heartbeat_at >= now() - make_interval(secs => $1)) AS live,
       count(*) FILTER (WHERE NOT lost AND heartbeat_at < now() - make_interval(secs => $1)) AS silent,
       count(*) FILTER (WHERE lost) AS lost
FROM ingresses;

-- name: database_size
SELECT pg_database_size(current_database());

-- name: ping
SELECT 1;

-- name: insert_job_webhooks
INSERT INTO job_webhooks (job_id, url, host, events)
SELECT job_id, url, host, string_to_array(events, ',')
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS n (job_id, url, host, events)
ON CONFLICT (job_id) DO NOTHING;

-- name: job_webhooks
SELECT job_id, url, host, events FROM job_webhooks WHERE job_id = ANY($1);

-- name: outbox_state
-- Whether there are steps after the outbox's position, and whether anybody wants to hear of any.
SELECT EXISTS (SELECT FROM log_readers AS r CROSS JOIN LATERAL (
                   SELECT FROM events AS e
                   WHERE (e.xid, e.seq) > (r.xid, r.seq) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
                   ORDER BY e.xid, e.seq LIMIT 1) AS step
               WHERE r.name = 'webhooks') AS waits,
       EXISTS (SELECT FROM webhook_endpoints WHERE enabled) OR EXISTS (SELECT FROM job_webhooks) AS wanted;

-- name: pass_outbox
-- Nobody wants to hear of anything up to here: who comes later has a transaction that this snapshot does not see.
-- Now and then only: a position that stands still costs no write.
UPDATE log_readers SET xid = done.xid, seq = 4611686018427387904, renewed_at = now()
FROM (SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8 AS xid) AS done
WHERE name = 'webhooks' AND renewed_at < now() - interval '1 minute' AND log_readers.xid < done.xid
  AND NOT EXISTS (SELECT FROM webhook_endpoints WHERE enabled) AND NOT EXISTS (SELECT FROM job_webhooks);

-- name: fill_outbox
-- The next steps of the log become deliveries to all who want to hear of them, and the position moves behind them, in
-- one statement: each is delivered, once. Who holds the row of the position is alone; another one has nothing to do.
WITH reader AS (
    SELECT xid, seq FROM log_readers WHERE name = 'webhooks' FOR UPDATE SKIP LOCKED),
steps AS (
    SELECT e.* FROM reader AS r CROSS JOIN LATERAL (
        SELECT xid, seq, recorded_at, at, attempt, status, job_id, tenant, model_name FROM events AS e
        WHERE (e.xid, e.seq) > (r.xid, r.seq) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY e.xid, e.seq LIMIT $1) AS e),
moved AS (
    UPDATE log_readers SET xid = last.xid, seq = last.seq, renewed_at = now()
    FROM (SELECT xid, seq FROM steps ORDER BY xid DESC, seq DESC LIMIT 1) AS last
    WHERE name = 'webhooks'),
made AS (
    INSERT INTO webhook_deliveries (id, tenant, endpoint_id, url, host, event, at, job_id, model_name, attempt)
    SELECT new_delivery_id(), s.tenant, to_whom.endpoint_id, to_whom.url, to_whom.host, to_whom.event, s.at, s.job_id,
           s.model_name, s.attempt
    FROM steps AS s CROSS JOIN LATERAL (
        SELECT w.id AS endpoint_id, NULL AS url, w.host, 'job.' || s.status AS event FROM webhook_endpoints AS w
        WHERE w.tenant = s.tenant AND w.enabled AND w.enabled_at <= s.recorded_at
          AND 'job.' || s.status = ANY(w.events) AND (w.model_name IS NULL OR w.model_name = s.model_name)
        UNION ALL
        SELECT NULL, j.url, j.host, 'job.' || s.status FROM job_webhooks AS j
        WHERE j.job_id = s.job_id AND 'job.' || s.status = ANY(j.events)) AS to_whom
    ORDER BY s.xid, s.seq
    RETURNING 1)
SELECT (SELECT count(*) FROM steps) AS steps, (SELECT count(*) FROM made) AS made;

-- name: claim_deliveries
-- Those that are due, a few of each host: $3 less the ($4, $5) that are being sent there now. Whoever dies with one
-- loses it to the next, $6 seconds later.
WITH RECURSIVE hosts AS (
    (SELECT host FROM webhook_deliveries WHERE status = 'pending' ORDER BY host LIMIT 1)
    UNION ALL
    SELECT (SELECT d.host FROM webhook_deliveries AS d WHERE d.status = 'pending' AND d.host > hosts.host
            ORDER BY d.host LIMIT 1)
    FROM hosts WHERE hosts.host IS NOT NULL),
due AS (
    SELECT d.id FROM hosts LEFT JOIN unnest($4::text[], $5::int[]) AS busy (host, count) ON busy.host = hosts.host
    CROSS JOIN LATERAL (
        SELECT id, next_at FROM webhook_deliveries
        WHERE status = 'pending' AND host = hosts.host AND next_at <= now()
        ORDER BY next_at LIMIT greatest($3::int - coalesce(busy.count, 0), 0) FOR UPDATE SKIP LOCKED) AS d
    ORDER BY d.next_at LIMIT $2)
UPDATE webhook_deliveries AS d SET claim = $1, tries = tries + 1, next_at = now() + make_interval(secs => $6)
FROM due WHERE d.id = due.id
RETURNING d.id, d.tenant, d.endpoint_id, d.url, d.host, d.event, d.at, d.job_id, d.model_name, d.attempt, d.tries;

-- name: next_delivery_s
-- In how many seconds the next delivery is due.
SELECT extract(epoch FROM min(next_at) - now())::float8 FROM webhook_deliveries WHERE status = 'pending';

-- name: finish_tries
-- The fence: a try counts only from who still holds the delivery. What is `pending` is due again in `delay_s`. The
-- newest tries are kept.
UPDATE webhook_deliveries AS w
SET attempts = CASE WHEN jsonb_array_length(w.attempts) < 50 THEN w.attempts ELSE w.attempts - 0 END || d.tried,
    status = d.status, claim = NULL, next_at = now() + make_interval(secs => d.delay_s),
    finished_at = CASE WHEN d.status <> 'pending' THEN now() END
FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::text[], $5::float8[]) AS d (id, claim, tried, status, delay_s)
WHERE w.id = d.id AND w.claim = d.claim
RETURNING w.id;

-- name: insert_delivery
INSERT INTO webhook_deliveries (id, tenant, endpoint_id, host, event, at)
SELECT new_delivery_id(), tenant, id, host, $3, now() FROM webhook_endpoints WHERE id = $1 AND tenant = $2
RETURNING *;

-- name: redeliver
UPDATE webhook_deliveries
SET status = 'pending', claim = NULL, tries = 0, next_at = now(), finished_at = NULL
WHERE id = $1 AND tenant = $2 AND endpoint_id IS NOT DISTINCT FROM $3 AND ($4::uuid IS NULL OR job_id = $4)
RETURNING *;

-- name: endpoint_deliveries
SELECT * FROM webhook_deliveries
WHERE endpoint_id = $1 AND tenant = $2 AND ($3::uuid IS NULL OR id < $3) AND ($4::text IS NULL OR status = $4)
ORDER BY id DESC LIMIT $5;

-- name: job_deliveries
SELECT * FROM webhook_deliveries WHERE job_id = $1 AND tenant = $2 ORDER BY id LIMIT $3;

-- name: add_endpoint
INSERT INTO webhook_endpoints (id, tenant, url, host, events, model_name, enabled, secret)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE (SELECT count(*) FROM webhook_endpoints WHERE tenant = $2) < $9
-- Sent once more after a connection has broken, it is the same one.
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING *;

-- name: get_endpoint
SELECT * FROM webhook_endpoints WHERE id = $1 AND tenant = $2;

-- name: list_endpoints
SELECT * FROM webhook_endpoints WHERE tenant = $1 ORDER BY id;

-- name: change_endpoint
-- What waits goes to the new URL, too.
WITH changed AS (
    UPDATE webhook_endpoints
    SET url = $3, host = $4, events = $5, model_name = $6, enabled = $7,
        enabled_at = CASE WHEN enabled THEN enabled_at ELSE now() END,
        disabled_at = CASE WHEN $7 THEN NULL ELSE coalesce(disabled_at, now()) END,
        disabled_reason = CASE WHEN $7 THEN NULL ELSE coalesce(disabled_reason, $8) END
    WHERE id = $1 AND tenant = $2
    RETURNING *),
moved AS (
    UPDATE webhook_deliveries AS d SET host = $4 FROM changed
    WHERE d.endpoint_id = changed.id AND d.status = 'pending' AND d.host <> $4)
SELECT * FROM changed;

-- name: delete_endpoint
DELETE FROM webhook_endpoints WHERE id = $1 AND tenant = $2 RETURNING id;

-- name: disable_endpoint
UPDATE webhook_endpoints SET enabled = false, disabled_at = now(), disabled_reason = $2
WHERE id = $1 AND enabled
RETURNING id;

-- name: rotate_endpoint_secret
UPDATE webhook_endpoints
SET secret = $3, previous_secret = CASE WHEN secret = $3 THEN previous_secret ELSE secret END,
    previous_until = now() + make_interval(secs => $4)
WHERE id = $1 AND tenant = $2
RETURNING previous_until;

-- name: rotate_job_secret
INSERT INTO webhook_secrets AS s (tenant, secret) VALUES ($1, $2)
ON CONFLICT (tenant) DO UPDATE
SET secret = excluded.secret,
    previous_secret = CASE WHEN s.secret = excluded.secret THEN s.previous_secret ELSE s.secret END,
    previous_until = now() + make_interval(secs => $3)
RETURNING previous_until;

-- name: job_secrets
-- The secrets that sign what goes to the URLs of this tenant's jobs; made with the first of them.
WITH made AS (
    INSERT INTO webhook_secrets (tenant, secret) VALUES ($1, $2) ON CONFLICT (tenant) DO NOTHING RETURNING secret)
SELECT secret, NULL AS previous_secret FROM made
UNION ALL
SELECT secret, CASE WHEN previous_until > now() THEN previous_secret END FROM webhook_secrets WHERE tenant = $1;

-- name: endpoint_target
SELECT url, enabled, secret, CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret
FROM webhook_endpoints WHERE id = $1;

-- name: forget_deliveries
DELETE FROM webhook_deliveries
WHERE id IN (SELECT id FROM webhook_deliveries WHERE id < $1 AND status <> 'pending' ORDER BY id LIMIT $2)
RETURNING id;

-- name: forget_job_webhooks
-- Those of jobs that are gone.
DELETE FROM job_webhooks
WHERE job_id IN (SELECT job_id FROM job_webhooks AS w
                 WHERE job_id < $1 AND NOT EXISTS (SELECT FROM jobs WHERE id = w.job_id) ORDER BY job_id LIMIT $2)
RETURNING job_id;

-- name: add_key
-- With its line in the audit log. The key that it replaces ends after a while, unless it ends before.
WITH replaced AS (
    UPDATE api_keys SET changed_at = clock_timestamp(),
                        expires_at = least(expires_at, now() + make_interval(secs => $12))
    WHERE id = $11 AND revoked_at IS NULL),
logged AS (
    INSERT INTO audit_log (actor, tenant, action, target, request_id, details) VALUES ($13, $14, $15, $16, $17, $18::jsonb))
INSERT INTO api_keys (id, tenant, name, scopes, digest, expires_at, requests_per_s, burst, max_concurrent, max_queued)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: revoke_key
WITH revoked AS (
    UPDATE api_keys SET revoked_at = now(), changed_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL
    RETURNING id),
logged AS (
    INSERT INTO audit_log (actor, tenant, action, target, request_id, details)
    SELECT $2, $3, $4, $5, $6, $7::jsonb FROM revoked)
SELECT id FROM revoked;

-- name: list_keys
SELECT * FROM api_keys WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR id = $2)
ORDER BY created_at, id;

-- name: changed_keys
-- One row at least, with the time of the database. A transaction may end after one that began later: hence the minute.
SELECT now.now, k.*
FROM (SELECT now() AS now) AS now
LEFT JOIN api_keys AS k ON $1::timestamptz IS NULL OR k.changed_at >= $1::timestamptz - interval '1 minute';

-- name: used_keys
UPDATE api_keys AS k SET last_used_at = greatest(k.last_used_at, used.at)
FROM unnest($1::text[], $2::timestamptz[]) AS used (id, at) WHERE k.id = used.id;

-- name: add_audit
INSERT INTO audit_log (actor, tenant, action, target, request_id, details) VALUES ($1, $2, $3, $4, $5, $6::jsonb);

-- name: list_audit
SELECT * FROM audit_log WHERE $1::text IS NULL OR tenant = $1 ORDER BY id DESC LIMIT $2;

-- name: open_jobs_of
-- Counted no further than the limit: it is asked whether one more may come.
SELECT t.tenant, (SELECT count(*) FROM (SELECT FROM jobs WHERE jobs.tenant = t.tenant AND status IN ('queued', 'running')
                                        LIMIT t.most) AS counted) AS count
FROM unnest($1::text[], $2::int[]) AS t (tenant, most);
