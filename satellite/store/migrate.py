"""Brings the database's schema up to date with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FOLDER = Path(__file__).parent / "migrations"
# Any constant will do, as long as nothing else in this database locks it.
_LOCK_KEY = 0x5A7E_111E
# Revisions are numbered by file name, so that the newest is known without loading Alembic.
NEWEST = max(path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*.py"))


async def current(database_url: str) -> str | None:
    """The revision the schema is at; None if there is no schema yet."""
    connection = await asyncpg.connect(database_url)
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        return await connection.fetchval("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()


async def upgrade(database_url: str) -> None:
    """Apply all migrations that are missing. Safe to call from many processes at once: one does the work."""
    if await current(database_url) != NEWEST:
        await _run_alembic(database_url)


async def _run_alembic(database_url: str) -> None:
    # Imported only when there is something to do: together they cost 25 MB and 0.5 s.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    # A creator keeps the meaning of the URL the same for the pool and for the migrations: asyncpg's.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(database_url), poolclass=NullPool
    )
    try:
        async with engine.connect() as connection:
            # A session lock: it spans the migrations' own transactions and goes with the connection. Who had
            # to wait for it finds nothing left to do.
            await connection.execute(text(f"SELECT pg_advisory_lock({_LOCK_KEY})"))
            await connection.commit()
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()
