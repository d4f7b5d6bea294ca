"""Webhooks: who is told of a job's steps, and what became of telling."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # `enabled_at`: since when it is told of what happens.
    # The old secret signs along until `previous_until`, so that a receiver can change over without a gap.
    """
    CREATE TABLE webhook_endpoints (
        id              uuid        PRIMARY KEY,
        tenant          text        NOT NULL,
        url             text        NOT NULL,
        host            text        NOT NULL COLLATE "C",
        events          text[]      NOT NULL,
        model_name      text,
        enabled         boolean     NOT NULL DEFAULT true,
        secret          text        NOT NULL,
        previous_secret text,
        previous_until  timestamptz,
        created_at      timestamptz NOT NULL DEFAULT now(),
        enabled_at      timestamptz NOT NULL DEFAULT now(),
        disabled_at     timestamptz,
        disabled_reason text
    )
    """,
    "CREATE INDEX webhook_endpoints_by_tenant ON webhook_endpoints (tenant, id)",
    # Signs what goes to the URLs that jobs bring along.
    """
    CREATE TABLE webhook_secrets (
        tenant          text PRIMARY KEY,
        secret          text NOT NULL,
        previous_secret text,
        previous_until  timestamptz
    )
    """,
    # A table beside `jobs`: a job without a webhook pays nothing, and the outbox need not open the days of
    # jobs.
    """
    CREATE TABLE job_webhooks (
        job_id uuid   PRIMARY KEY,
        url    text   NOT NULL,
        host   text   NOT NULL COLLATE "C",
        events text[] NOT NULL
    )
    """,
    # One row per message, made by the statement that moves the position in the event log. `claim` is the
    # fence: a try counts only while it is the one that holds the row. Whatever is claimed can be claimed by
    # others from `next_at` on.
    """
    CREATE TABLE webhook_deliveries (
        id          uuid        PRIMARY KEY,
        tenant      text        NOT NULL,
        endpoint_id uuid        REFERENCES webhook_endpoints ON DELETE CASCADE,
        url         text,
        host        text        NOT NULL COLLATE "C",
        event       text        NOT NULL,
        at          timestamptz NOT NULL,
        job_id      uuid,
        model_name  text,
        attempt     int,
        status      text        NOT NULL DEFAULT 'pending',
        claim       uuid,
        tries       int         NOT NULL DEFAULT 0,
        next_at     timestamptz NOT NULL DEFAULT now(),
        created_at  timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        attempts    jsonb       NOT NULL DEFAULT '[]',
        CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed')),
        CONSTRAINT webhook_deliveries_finished CHECK ((finished_at IS NULL) = (status = 'pending')),
        CONSTRAINT webhook_deliveries_address CHECK ((endpoint_id IS NULL) = (url IS NOT NULL))
    )
    """,
    # By host, as no receiver may keep others waiting.
    "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (host, next_at) WHERE status = 'pending'",
    "CREATE INDEX webhook_deliveries_next ON webhook_deliveries (next_at) WHERE status = 'pending'",
    "CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id)",
    "CREATE INDEX webhook_deliveries_by_job ON webhook_deliveries (job_id) WHERE job_id IS NOT NULL",
    # UUIDv7, for the order of the log of deliveries; PostgreSQL has its own from 18 on only.
    """
    CREATE FUNCTION new_delivery_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
        SELECT (left(uuid_floor(clock_timestamp())::text, 14) || '7'
                || right(gen_random_uuid()::text, 21))::uuid
    $$
    """,
    # The outbox is the event log, read from here on. There from the start: what happens while nothing sends
    # is sent later.
    """
    INSERT INTO log_readers (name, xid, seq)
    VALUES ('webhooks', (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8,
            4611686018427387904)
    ON CONFLICT DO NOTHING
    """,
)


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Take them away again, with what has not been sent."""
    op.execute("DROP TABLE webhook_deliveries, job_webhooks, webhook_secrets, webhook_endpoints")
    op.execute("DROP FUNCTION new_delivery_id")
    op.execute("DELETE FROM log_readers WHERE name = 'webhooks'")
