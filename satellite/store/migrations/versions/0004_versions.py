"""Versions of a model: which one a job asks for, and which one answers where none is named."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # NULL: the one that the model's class declares. `model_version` stays what ran.
    "ALTER TABLE jobs ADD COLUMN requested_version text, ADD COLUMN load_s real",
    # One row per change. The newest that was not undone is the default; without one the config says it.
    """
    CREATE TABLE default_versions (
        id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model_name text        NOT NULL,
        version    text        NOT NULL,
        set_at     timestamptz NOT NULL DEFAULT now(),
        undone_at  timestamptz
    )
    """,
    "CREATE INDEX default_versions_by_model ON default_versions (model_name, id)",
)


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Take them away again: what ran is still known, what was asked for is not."""
    op.execute("DROP TABLE default_versions")
    op.execute("ALTER TABLE jobs DROP COLUMN requested_version, DROP COLUMN load_s")
