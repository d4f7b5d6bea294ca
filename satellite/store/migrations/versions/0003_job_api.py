"""Everything a caller may ask of a job, and the log of what happened to all of them."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # Jobs of before this migration were run as soon as they came: their rank is their age.
    """
    ALTER TABLE jobs
        ADD COLUMN priority smallint NOT NULL DEFAULT 4,
        ADD COLUMN run_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN rank_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN deadline_at timestamptz,
        ADD COLUMN labels text[],
        ADD COLUMN parent_id uuid,
        ADD COLUMN attempts jsonb,
        ADD COLUMN cancel_requested boolean NOT NULL DEFAULT false,
        ADD COLUMN replica_id text,
        ADD COLUMN admission_s real,
        ADD COLUMN queue_s real,
        ADD COLUMN fill_s real,
        ADD COLUMN compute_s real,
        ADD CONSTRAINT jobs_priority CHECK (priority BETWEEN 0 AND 9),
        ADD CONSTRAINT jobs_attempts CHECK (attempt BETWEEN 1 AND max_attempts)
    """,
    # The work that nobody holds, in the order in which it is claimed.
    """
    CREATE INDEX jobs_ready ON jobs (model_name, rank_at) WHERE owner IS NULL AND status = 'queued'
    """,
    "CREATE INDEX jobs_expiring ON jobs (deadline_at) WHERE owner IS NULL AND status = 'queued'",
    "CREATE INDEX jobs_cancelling ON jobs (owner) WHERE cancel_requested AND status IN ('queued', 'running')",
    # For lists. Succeeded jobs are the many: a list of them follows the primary key, and costs them nothing.
    "CREATE INDEX jobs_by_model ON jobs (model_name, id)",
    """
    CREATE INDEX jobs_unsuccessful ON jobs (status, id)
        WHERE status IN ('failed', 'cancelled', 'expired', 'dead')
    """,
    # text[] and not jsonb: PostgreSQL keeps statistics of an array's elements, so it knows a rare label from
    # a common one when it plans a list.
    "CREATE INDEX jobs_by_label ON jobs USING gin (labels) WHERE labels IS NOT NULL",
    "CREATE INDEX jobs_by_parent ON jobs (parent_id) WHERE parent_id IS NOT NULL",
    # Batch ids are UUIDv7 and shared by up to 8 jobs: entries go to the right edge and are stored together.
    "CREATE INDEX jobs_by_batch ON jobs (batch_id) WHERE batch_id IS NOT NULL",
    # The one transition table, as a condition: the function is called only for what is forbidden. A job that
    # starts and ends within one write passes through `running` in it, which `started_at` records.
    "DROP TRIGGER jobs_guard_status ON jobs",
    """
    CREATE OR REPLACE FUNCTION jobs_guard_status() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.status NOT IN ('queued', 'running') THEN
            RAISE EXCEPTION 'job % is %: a finished job never changes', OLD.id, OLD.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_terminal_is_final';
        END IF;
        RAISE EXCEPTION 'job % cannot go from % (attempt %) to % (attempt %)',
                        OLD.id, OLD.status, OLD.attempt, NEW.status, NEW.attempt
            USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_transition';
    END $$
    """,
    """
    CREATE TRIGGER jobs_guard_status BEFORE UPDATE ON jobs FOR EACH ROW
        WHEN (OLD.status NOT IN ('queued', 'running')
              OR OLD.status = 'running' AND NEW.status = 'expired'
              OR OLD.status = 'running' AND NEW.status = 'queued' AND NEW.attempt = OLD.attempt
              OR NEW.status = 'succeeded' AND NEW.started_at IS NULL
              OR NEW.attempt < OLD.attempt)
        EXECUTE FUNCTION jobs_guard_status()
    """,
    # `since`: from when on the heartbeats came without a gap. `lost`: its jobs are others' now, for good.
    """
    ALTER TABLE ingresses ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
                          ADD COLUMN lost boolean NOT NULL DEFAULT false
    """,
    """
    CREATE TABLE idempotency_keys (
        tenant     text        NOT NULL,
        key        text        NOT NULL,
        digest     bytea       NOT NULL,
        job_id     uuid        NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant, key)
    )
    """,
    "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
    # The log: one row per step of a job, written by the statement that makes the step. Sequences are handed
    # out before a commit, so `seq` alone may show a row after a later one; (xid, seq), read up to the oldest
    # transaction still running, is an order without gaps.
    "CREATE SEQUENCE events_seq CACHE 64",
    """
    CREATE TABLE events (
        xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
        seq         bigint      NOT NULL DEFAULT nextval('events_seq'),
        recorded_at timestamptz NOT NULL DEFAULT now(),
        at          timestamptz NOT NULL,
        attempt     int         NOT NULL,
        status      job_status  NOT NULL,
        job_id      uuid        NOT NULL,
        tenant      text        NOT NULL,
        model_name  text        NOT NULL
    ) PARTITION BY RANGE (recorded_at)
    """,
    "CREATE INDEX events_in_order ON events (xid, seq)",
    # Up to where the log is gone: a client that wants to go on before that must be told.
    "CREATE TABLE events_dropped (xid xid8 NOT NULL)",
    "DROP FUNCTION ensure_job_partitions",
    """
    CREATE FUNCTION ensure_partitions(first_day date, days int) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        day date;
        from_at timestamptz;
        to_at timestamptz;
    BEGIN
        FOR day IN SELECT first_day + n FROM generate_series(0, days - 1) AS n LOOP
            CONTINUE WHEN to_regclass('jobs_' || to_char(day, 'YYYYMMDD')) IS NOT NULL
                      AND to_regclass('events_' || to_char(day, 'YYYYMMDD')) IS NOT NULL;
            -- One at a time: two ingresses that start together would both try.
            PERFORM pg_advisory_xact_lock(hashtext('satellite.partitions'));
            from_at := day::timestamp AT TIME ZONE 'UTC';
            to_at := (day + 1)::timestamp AT TIME ZONE 'UTC';
            EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF jobs FOR VALUES FROM (%L) TO (%L)',
                           'jobs_' || to_char(day, 'YYYYMMDD'), uuid_floor(from_at), uuid_floor(to_at));
            EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
                           'events_' || to_char(day, 'YYYYMMDD'), from_at, to_at);
        END LOOP;
    END $$
    """,
    # A partition is dropped whole, and never while a job in it has not ended. Returns what was dropped.
    """
    CREATE FUNCTION drop_partitions(jobs_before date, events_before date) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
    DECLARE
        name text;
        day date;
        unfinished boolean;
    BEGIN
        IF NOT pg_try_advisory_xact_lock(hashtext('satellite.partitions')) THEN
            RETURN;  -- another ingress is at it
        END IF;
        FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
                    WHERE inhparent IN ('jobs'::regclass, 'events'::regclass) LOOP
            day := to_date(right(name, 8), 'YYYYMMDD');
            IF name LIKE 'events%' THEN
                CONTINUE WHEN day >= events_before;
                EXECUTE format('INSERT INTO events_dropped SELECT xid FROM %I ORDER BY xid DESC LIMIT 1',
                               name);
            ELSE
                CONTINUE WHEN day >= jobs_before;
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE status IN (''queued'', ''running''))',
                               name) INTO unfinished;
                CONTINUE WHEN unfinished;
            END IF;
            EXECUTE format('DROP TABLE %I', name);
            RETURN NEXT name;
        END LOOP;
    END $$
    """,
)


def upgrade() -> None:
    """Add it."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Take it away again: going back is a restore from a backup."""
    raise RuntimeError("this migration cannot be undone: restore a backup made before it")
