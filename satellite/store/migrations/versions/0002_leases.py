"""Leases: an ingress holds its jobs as long as its heartbeat lives."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the heartbeats, the attempts a job may have, and the index that finds unfinished jobs."""
    op.execute("CREATE TABLE ingresses (owner uuid PRIMARY KEY, heartbeat_at timestamptz NOT NULL)")
    op.execute("ALTER TABLE jobs ADD COLUMN max_attempts int NOT NULL DEFAULT 3")
    op.execute("CREATE INDEX jobs_unfinished ON jobs (owner) WHERE status IN ('queued', 'running')")


def downgrade() -> None:
    """Take it away again."""
    op.execute("DROP INDEX jobs_unfinished")
    op.execute("ALTER TABLE jobs DROP COLUMN max_attempts")
    op.execute("DROP TABLE ingresses")
