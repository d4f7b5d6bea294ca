-- Every statement Satellite sends to PostgreSQL outside migrations. `-- name:` starts one.
-- Parameters are arrays, one element per job: a group commit is one statement.

-- name: insert_jobs
-- A job is inserted already claimed by the ingress that took it (`owner`), so that its whole life is two writes.
INSERT INTO jobs (id, tenant, model_name, input, config, attempt, owner, created_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::json[], $5::json[], $6::int[], $7::uuid[],
                     $8::timestamptz[]);

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
SELECT id, tenant, model_name, status, attempt, created_at, model_version, started_at, finished_at, result, error
FROM jobs WHERE id = $1 AND tenant = $2;

-- name: ensure_partitions
SELECT ensure_job_partitions($1::date, $2::int);

-- name: ping
SELECT 1;
