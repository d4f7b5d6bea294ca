"""API keys, and the audit log."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    # `changed_at`: ingresses know all keys, and ask for those that have changed.
    """
    CREATE TABLE api_keys (
        id             text             PRIMARY KEY,
        tenant         text             NOT NULL,
        name           text             NOT NULL,
        scopes         text[]           NOT NULL,
        digest         bytea            NOT NULL,
        requests_per_s double precision,
        burst          int,
        max_concurrent int,
        max_queued     int,
        created_at     timestamptz      NOT NULL DEFAULT now(),
        changed_at     timestamptz      NOT NULL DEFAULT now(),
        expires_at     timestamptz,
        revoked_at     timestamptz,
        last_used_at   timestamptz
    )
    """,
    "CREATE INDEX api_keys_by_change ON api_keys (changed_at)",
    """
    CREATE TABLE audit_log (
        id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at         timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor      text        NOT NULL,
        tenant     text,
        action     text        NOT NULL,
        target     text        NOT NULL,
        request_id text,
        details    jsonb       NOT NULL DEFAULT '{}'
    )
    """,
)


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Take them away again."""
    op.execute("DROP TABLE audit_log")
    op.execute("DROP TABLE api_keys")
