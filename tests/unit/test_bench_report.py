"""The comparison's tables: medians, ratios, subjects that are missing, and the document."""

from pathlib import Path

from benchmarks import comparison, report
from benchmarks.compare import Row, medians
from benchmarks.report import number, ratio, section


def figures(per_s: float) -> dict[str, float]:
    found = {"start_s": 2.0, "memory_mb": 500.0, "memory_after_mb": 510.0}
    for clients in (1, 32, 256):
        found |= {f"predict_{clients}_{kind}": per_s for kind in ("per_s", "p50_ms", "p99_ms")}
    return found


ROWS = {
    "satellite": Row(name="Satellite", version="1", figures=figures(2000.0)),
    "mlserver": Row(name="MLServer", version="2", figures=figures(3000.0)),
    "bentoml": Row(name="bentoml", figures={}, problem="did not start: exit code 1: no | module"),
}


def test_each_figure_has_its_own_median() -> None:
    assert medians([{"a": 1, "b": 5}, {"a": 9}, {"a": 2, "b": 7}]) == {"a": 2, "b": 6}


def test_ratios_are_to_satellite() -> None:
    table = comparison.make_sections(ROWS)[0].rows
    assert [row["x Satellite (32)"] for row in table] == ["1.00", "1.50"]


def test_without_satellite_there_are_no_ratios() -> None:
    (row,) = comparison.make_sections({"mlserver": ROWS["mlserver"]})[0].rows
    assert row["x Satellite (32)"] == ""


def test_a_subject_that_did_not_start_has_a_row_that_says_why() -> None:
    sections = comparison.make_sections(ROWS)
    assert "did not start" in sections[-1].rows[2]["trouble"]
    assert "no / module" in sections[-1].markdown()  # a bar would end the cell


def test_what_was_measured_before_a_failure_is_shown() -> None:
    some = {"start_s": 2.0, "memory_mb": 500.0, "predict_1_p50_ms": 1.5}
    rows = {**ROWS, "bentoml": Row(name="BentoML", figures=some, problem="failed: TimeoutError")}
    predict, rest = (comparison.make_sections(rows)[place].rows[2] for place in (0, 1))
    assert (predict["1 client: p50 ms"], predict["32 clients: /s"]) == ("1.50", "-")
    assert rest["after the load MB"] == "-"


def test_rows_survive_saving(tmp_path: Path) -> None:
    comparison.save_rows(tmp_path, ROWS)
    assert comparison.load_rows(tmp_path) == ROWS


def test_the_document_holds_every_saved_section(tmp_path: Path) -> None:
    comparison.save_rows(tmp_path, ROWS)
    report.save(
        tmp_path, "a", title="Loads", sections=[section("Soak", "An hour.", [{"what": "jobs", "n": "9"}])]
    )
    document = tmp_path / "BENCHMARKS.md"
    report.write_document(tmp_path, document)
    text = document.read_text()
    assert text.index("## Satellite and its peers") < text.index("## Loads")
    assert "| what | n |\n| --- | --- |\n| jobs | 9 |" in text


def test_figures_for_readers() -> None:
    assert [number(value) for value in (None, 1234.5, 45.67, 1.234)] == ["-", "1,234", "45.7", "1.23"]
    assert ratio(3, 2) == "1.50"
    assert ratio(None, 2) == ratio(3, None) == ""
