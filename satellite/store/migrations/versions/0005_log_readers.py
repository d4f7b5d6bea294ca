"""Log readers: durable positions in the event log, each in one owner's hands at a time."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    # (xid, seq): all events up to it have reached what the reader hands them to. The owner's right to move it
    # ends when `renewed_at` is too old and another takes the row.
    """
    CREATE TABLE log_readers (
        name       text        PRIMARY KEY,
        xid        xid8        NOT NULL,
        seq        bigint      NOT NULL,
        owner      uuid,
        renewed_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    # As before, and: a day of events that a reader has not read stays, for as long as jobs do. One that
    # nobody has run for a week is not waited for.
    """
    CREATE OR REPLACE FUNCTION drop_partitions(jobs_before date, events_before date) RETURNS SETOF text
    LANGUAGE plpgsql AS $$
    DECLARE
        name text;
        day date;
        needed boolean;
    BEGIN
        IF NOT pg_try_advisory_xact_lock(hashtext('satellite.partitions')) THEN
            RETURN;  -- another ingress is at it
        END IF;
        FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
                    WHERE inhparent IN ('jobs'::regclass, 'events'::regclass) LOOP
            day := to_date(right(name, 8), 'YYYYMMDD');
            IF name LIKE 'events%' THEN
                CONTINUE WHEN day >= events_before;
                IF day >= jobs_before THEN
                    EXECUTE format('SELECT EXISTS (
                        SELECT FROM log_readers AS r WHERE r.renewed_at > now() - interval ''7 days''
                            AND (r.xid, r.seq) <
                                (SELECT xid, seq FROM %I ORDER BY xid DESC, seq DESC LIMIT 1))',
                        name) INTO needed;
                    CONTINUE WHEN needed;
                END IF;
                EXECUTE format('INSERT INTO events_dropped SELECT xid FROM %I ORDER BY xid DESC LIMIT 1',
                               name);
            ELSE
                CONTINUE WHEN day >= jobs_before;
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE status IN (''queued'', ''running''))',
                               name) INTO needed;
                CONTINUE WHEN needed;
            END IF;
            EXECUTE format('DROP TABLE %I', name);
            RETURN NEXT name;
        END LOOP;
    END $$
    """,
)


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Take them away again: going back is a restore from a backup."""
    raise RuntimeError("this migration cannot be undone: restore a backup made before it")
