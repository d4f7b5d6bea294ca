-- Every statement Satellite sends to PostgreSQL outside migrations. `-- name:` starts one.
-- Parameters are arrays, one element per job: a group commit is one statement.

-- name: insert_jobs
-- A job is inserted already claimed by the ingress that took it (`owner`), so that its whole life is two writes.
INSERT INTO jobs (id, tenant, model_name, input, config, attempt, max_attempts, owner, created_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::json[], $5::json[], $6::int[], $7::int[],
                     $8::uuid[], $9::timestamptz[])
-- A connection that breaks may have committed: the same jobs are then sent once more.
ON CONFLICT (id) DO NOTHING;

-- name: start_jobs
-- Only jobs that compute for longer than a moment get this write; the others pass through `running` in
-- complete_jobs.
UPDATE jobs SET status = 'running', started_at = d.started_at
FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::timestamptz[]) AS d (id, attempt, owner, started_at)
WHERE jobs.id = d.id AND jobs.attempt = d.attempt AND jobs.owner = d.owner AND jobs.status = 'queued';

-- name: complete_jobs
-- The fence: a completion counts only from the owner and attempt that hold the job. Others change 0 rows.
UPDATE jobs SET status = d.status, model_version = d.model_version, started_at = d.started_at,
                finished_at = d.finished_at, result = d.result, error = d.error,
                batch_id = d.batch_id, batch_size = d.batch_size, flush_reason = d.flush_reason
FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::job_status[], $5::text[], $6::timestamptz[],
            $7::timestamptz[], $8::json[], $9::json[], $10::uuid[], $11::int[], $12::text[])
     AS d (id, attempt, owner, status, model_version, started_at, finished_at, result, error, batch_id,
           batch_size, flush_reason)
WHERE jobs.id = d.id AND jobs.attempt = d.attempt AND jobs.owner = d.owner
  AND jobs.status IN ('queued', 'running')
RETURNING jobs.id;

-- name: get_job
SELECT id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at, finished_at,
       result, error
FROM jobs WHERE id = $1 AND tenant = $2;

-- name: requeue_job
-- The next attempt, in the same hands. Sent once more after a connection has broken, it changes nothing.
UPDATE jobs SET attempt = $2 + 1, status = 'queued', started_at = NULL
WHERE id = $1 AND owner = $3
  AND (attempt = $2 AND status IN ('queued', 'running') OR attempt = $2 + 1 AND status = 'queued')
RETURNING id;

-- name: heartbeat
-- Database time, on both sides of the lease: the clocks of the ingresses do not matter.
INSERT INTO ingresses (owner, heartbeat_at) VALUES ($1, now())
ON CONFLICT (owner) DO UPDATE SET heartbeat_at = now();

-- name: retire
-- Without a heartbeat its jobs are orphans at once: this hands them back.
DELETE FROM ingresses WHERE owner = $1 OR heartbeat_at < now() - interval '1 day';

-- name: bury_orphans
-- Orphans that ran and have no attempt left.
UPDATE jobs SET status = 'dead', finished_at = now(), owner = $1, error = $4::json
WHERE id IN (
    SELECT id FROM jobs AS j
    WHERE status = 'running' AND attempt >= max_attempts AND model_name = ANY($3::text[])
      AND NOT EXISTS (SELECT FROM ingresses AS i
                      WHERE i.owner = j.owner AND i.heartbeat_at > now() - make_interval(secs => $2))
    FOR UPDATE SKIP LOCKED)
RETURNING id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at,
          finished_at, result, error;

-- name: claim_orphans
-- The jobs of ingresses whose lease has run out. One that was running has used up its attempt.
UPDATE jobs SET owner = $1, status = 'queued', attempt = attempt + (status = 'running')::int, started_at = NULL
WHERE id IN (
    SELECT id FROM jobs AS j
    WHERE status IN ('queued', 'running') AND model_name = ANY($3::text[])
      AND NOT EXISTS (SELECT FROM ingresses AS i
                      WHERE i.owner = j.owner AND i.heartbeat_at > now() - make_interval(secs => $2))
    ORDER BY id LIMIT $4
    FOR UPDATE SKIP LOCKED)
RETURNING id, tenant, model_name, status, attempt, max_attempts, created_at, model_version, started_at,
          finished_at, result, error, input, config;

-- name: ensure_partitions
SELECT ensure_job_partitions($1::date, $2::int);

-- name: ping
SELECT 1;
