import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from satellite.cli import demo, inference, logs
from satellite.cli.chart import forecast_chart
from satellite.cli.console import foreseen_errors
from satellite.cli.main import app
from satellite.cli.units import duration
from satellite.errors import ConfigError, InvalidRequest
from satellite.settings import REPO_ROOT

runner = CliRunner()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2.5,-3", [1.0, 2.5, -3.0]),
        ("7", [7.0]),
        ("[1, 2]", [1, 2]),
        (" 1, 2 ", [1.0, 2.0]),
    ],
)
def test_data_on_the_command_line(text: str, values: list[float]) -> None:
    assert inference.parse_data(text) == values


@pytest.mark.parametrize("content", ["time,value\na,1\nb,2\n", "1\n2\n", "[1, 2]", "1,2"])
def test_data_in_a_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "series.csv"
    file.write_text(content)
    assert inference.parse_data(f"@{file}") == [1, 2]


@pytest.mark.parametrize("text", ["1,x", "", "@/nowhere.csv", "[1,"])
def test_data_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError):
        inference.parse_data(text)


def test_config_pairs() -> None:
    pairs = ["steps=3", "rate=0.5", "on=true", "name=abc", "list=[1]", "eq=a=b"]
    expected = {"steps": 3, "rate": 0.5, "on": True, "name": "abc", "list": [1], "eq": "a=b"}
    assert inference.parse_config(pairs) == expected
    with pytest.raises(ConfigError, match="key=value"):
        inference.parse_config(["steps"])


def test_a_problem_is_shown_as_title_detail_and_places(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left, foreseen_errors():
        raise InvalidRequest("it has two", errors=[{"pointer": "/a", "detail": "bad"}])
    assert left.value.exit_code == 1
    assert capsys.readouterr().err == "error: The request does not validate: it has two\n  /a: bad\n"


def commands(group: Any = None, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in (group or typer.main.get_group(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield *path, name


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_takes_json_and_is_documented(path: tuple[str, ...]) -> None:
    told = runner.invoke(app, [*path, "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert "--json" in told.stdout
    assert f"`{' '.join(path)}" in (REPO_ROOT / "docs" / "CLI.md").read_text()


def test_help_comes_without_ray_and_torch() -> None:
    code = "import sys, satellite.cli.main; print({'ray', 'torch', 'numpy', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_system_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATELLITE_HOME", str(tmp_path))
    monkeypatch.setenv("SATELLITE_URL", "http://127.0.0.1:9")
    status = runner.invoke(app, ["status"])
    assert (status.exit_code, status.stdout.splitlines()[0]) == (3, "Not running.")
    down = runner.invoke(app, ["down"])
    assert (down.exit_code, down.stdout.strip()) == (0, "Not running.")
    models = runner.invoke(app, ["models"])
    assert models.exit_code == 3
    assert "satellite up" in models.stderr
    told = json.loads(runner.invoke(app, ["models", "--json"]).stderr)
    assert told["code"] == "unreached"
    assert "Traceback" not in models.output


def test_an_invalid_setting_ends_with_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATELLITE_HTTP_PORT", "x")
    result = runner.invoke(app, ["up"])
    assert result.exit_code == 2
    assert "SATELLITE_HTTP_PORT" in result.stderr


def test_the_shipped_series_is_whole() -> None:
    series = demo.load_series()
    assert len(series.actual) == len(series.times) == demo.STEPS
    assert len(series.history) == 312 - demo.STEPS
    naive = demo.seasonal_naive([1, 2, 3, 4], 3, 2)
    assert naive == [3, 4, 3]
    assert demo.mean_absolute_error([1, 2], [2, 4]) == 1.5


@pytest.mark.parametrize("actual", [[], [4.0, 4.0, 5.0]])
def test_the_chart_shows_every_line(actual: list[float]) -> None:
    chart = forecast_chart(
        [1, 2, 3], [4, 5, 4], [3, 3, 3], [5, 6, 6], actual, unit="ppm", width=80, colour=False
    )
    assert max(len(line) for line in chart.splitlines()) <= 80
    assert "\x1b" not in chart
    for word in ("history", "forecast", "band", "ppm", *(["actual"] if actual else [])):
        assert word in chart


def test_logs_follow_whole_lines_and_a_replaced_file(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("one\ntwo\npart")
    assert logs.last_lines(file, 2) == ["two", "part"]
    lines, offset = logs.read_from(file, 0)
    assert lines == ["one", "two"]
    file.write_text("one\ntwo\npartial\n")
    assert logs.read_from(file, offset) == (["partial"], 16)
    file.write_text("new\n")
    assert logs.read_from(file, 16) == ([], 0)


def test_durations_for_people() -> None:
    assert [duration(s) for s in (5, 300, 7300)] == ["5 s", "5 min", "2 h 1 min"]
