"""The jobs table: range-partitioned by UUIDv7, with its states guarded in the database."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TYPE job_status AS ENUM
        ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired', 'dead')
    """,
    # json, not jsonb: the payloads are only ever stored and handed out again, byte for byte.
    """
    CREATE TABLE jobs (
        id            uuid        NOT NULL,
        tenant        text        NOT NULL,
        model_name    text        NOT NULL,
        status        job_status  NOT NULL DEFAULT 'queued',
        attempt       int         NOT NULL,
        owner         uuid,
        created_at    timestamptz NOT NULL,
        started_at    timestamptz,
        finished_at   timestamptz,
        model_version text,
        batch_id      uuid,
        batch_size    int,
        flush_reason  text,
        input         json        NOT NULL,
        config        json        NOT NULL,
        result        json,
        error         json,
        PRIMARY KEY (id),
        CONSTRAINT jobs_finished_when_terminal
            CHECK ((finished_at IS NOT NULL) = (status NOT IN ('queued', 'running'))),
        CONSTRAINT jobs_result_when_succeeded CHECK ((result IS NOT NULL) = (status = 'succeeded'))
    ) PARTITION BY RANGE (id)
    """,
    # The first 48 bits of a UUIDv7 are milliseconds since the epoch, so a day is a range of ids.
    """
    CREATE FUNCTION uuid_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
    $$
    """,
    """
    CREATE FUNCTION ensure_job_partitions(first_day date, days int) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        day date;
    BEGIN
        FOR day IN SELECT first_day + n FROM generate_series(0, days - 1) AS n LOOP
            IF to_regclass('jobs_' || to_char(day, 'YYYYMMDD')) IS NULL THEN
                -- One at a time: two ingresses that start together would both try.
                PERFORM pg_advisory_xact_lock(hashtext('satellite.partitions'));
                EXECUTE format(
                    'CREATE TABLE IF NOT EXISTS %I PARTITION OF jobs FOR VALUES FROM (%L) TO (%L)',
                    'jobs_' || to_char(day, 'YYYYMMDD'),
                    uuid_floor(day::timestamp AT TIME ZONE 'UTC'),
                    uuid_floor((day + 1)::timestamp AT TIME ZONE 'UTC'));
            END IF;
        END LOOP;
    END $$
    """,
    # The one transition table. A job that starts and finishes within one write passes through `running` in
    # it, which `started_at` records; a job that never started can still fail, be cancelled or expire.
    """
    CREATE FUNCTION jobs_guard_status() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.status NOT IN ('queued', 'running') THEN
            RAISE EXCEPTION 'job % is %: a finished job never changes', OLD.id, OLD.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_terminal_is_final';
        ELSIF NEW.status = 'succeeded' AND NEW.started_at IS NULL THEN
            RAISE EXCEPTION 'job % cannot succeed without having started', OLD.id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_transition';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER jobs_guard_status BEFORE UPDATE ON jobs
        FOR EACH ROW EXECUTE FUNCTION jobs_guard_status()
    """,
)


def upgrade() -> None:
    """Create everything."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop everything, with all jobs."""
    op.execute("DROP TABLE jobs")
    op.execute("DROP FUNCTION jobs_guard_status, ensure_job_partitions, uuid_floor")
    op.execute("DROP TYPE job_status")
