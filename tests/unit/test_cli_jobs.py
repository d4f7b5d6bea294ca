"""The commands on jobs and on the database, as far as they go without a server."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from satellite.cli import db, inference, jobs, units
from satellite.cli.main import app
from satellite.errors import ConfigError
from satellite.store.overview import schema_state

runner = CliRunner()
ID = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d"


def test_labels_are_texts() -> None:
    assert inference.parse_labels(["device=a1", "n=1", "eq=a=b"]) == {"device": "a1", "n": "1", "eq": "a=b"}
    with pytest.raises(ConfigError, match="--label"):
        inference.parse_labels(["device"])


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0, ""), (1, "████████"), (0.5, "████"), (1 / 64, "▏"), (0.0001, "▏"), (0.2, "█▋")],
)
def test_a_bar_shows_its_share_and_whatever_is_not_nothing(share: float, drawn: str) -> None:
    assert jobs.bar(share, 8) == drawn


def test_time_spans() -> None:
    assert [units.short_duration(s) for s in (0.004, 2.13, 200, 11100)] == [
        "4 ms",
        "2.1 s",
        "3 min",
        "3 h 5 min",
    ]


@pytest.mark.parametrize(
    "arguments", [[], ["ID", "--dead"], ["ID", "--model", "m"], ["--error-code", "replica_died"]]
)
def test_retry_must_be_told_what_to_repeat(arguments: list[str]) -> None:
    result = runner.invoke(app, ["retry", *arguments])
    assert result.exit_code == 2
    assert "--dead" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["jobs"], ["explain", ID], ["cancel", ID], ["retry", ID], ["retry", "--dead"]]
)
def test_no_system_is_told_in_one_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATELLITE_URL", "http://127.0.0.1:9")
    result = runner.invoke(app, arguments)
    assert result.exit_code == 3
    assert "satellite up" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["upgrade", "status"])
def test_no_database_is_told_in_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SATELLITE_HOME", str(tmp_path))
    monkeypatch.delenv("SATELLITE_DATABASE_URL", raising=False)
    result = runner.invoke(app, ["db", command])
    assert result.exit_code == 2
    assert "SATELLITE_DATABASE_URL" in result.stderr
    assert "satellite up" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("command", ["upgrade", "status"])
def test_a_database_that_does_not_answer_is_named_without_its_password(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SATELLITE_DATABASE_URL", "postgresql://me:secret@127.0.0.1:9/jobs")
    result = runner.invoke(app, ["db", command])
    assert result.exit_code == 2
    assert "127.0.0.1:9/jobs" in result.stderr
    assert "secret" not in result.output


def test_schema_states() -> None:
    states = [schema_state(revision, "0003") for revision in (None, "0002", "0003", "0004")]
    assert states == ["empty", "behind", "current", "ahead"]


def test_an_address_without_secrets() -> None:
    assert db.address("postgresql://u:p@host:5432/jobs?sslmode=require") == "postgresql://host:5432/jobs"
    assert db.address("postgresql:///jobs?host=/run") == "postgresql:///jobs"
