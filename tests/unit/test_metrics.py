"""The instruments, and what docs/MONITORING.md says of them."""

import re

from satellite.jobs import JobStatus
from satellite.metrics import Histogram, KafkaMetrics, Metrics, VersionMetrics
from satellite.settings import REPO_ROOT
from satellite.versions import LoadedVersions

UNITS = ("seconds", "bytes", "days")
ROW = re.compile(r"^\| `(satellite_\w+)` \| (\w+) \| (\w+) \| (.*?) \| (.*) \|$", re.MULTILINE)
# A consumer of Kafka counts jobs as an ingress does.
OF_KAFKA = [i for i in KafkaMetrics(["m"]) if i.name != "satellite_jobs_submitted_total"]
INSTRUMENTS = [*Metrics(["m"]), *VersionMetrics("m"), *OF_KAFKA]


def unit(name):
    return next((unit for unit in UNITS if name.endswith(f"_{unit}")), "1")


def test_the_documentation_lists_every_metric_as_it_is():
    documented = ROW.findall((REPO_ROOT / "docs" / "MONITORING.md").read_text())
    assert documented == [
        (
            instrument.name,
            instrument.kind,
            unit(instrument.name),
            ", ".join(f"`{label}`" for label in instrument.labels) or "none",
            instrument.help,
        )
        for instrument in INSTRUMENTS
    ]


def test_names_follow_the_conventions():
    names = [instrument.name for instrument in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for instrument in INSTRUMENTS:
        assert re.fullmatch(r"satellite_[a-z_]+", instrument.name)
        assert instrument.name.endswith("_total") is (instrument.kind == "counter")
        assert "le" not in instrument.labels


def test_what_a_rate_is_taken_of_exists_before_it_grows():
    metrics = Metrics(["m"])
    ended = [status for status in JobStatus if status.is_terminal]
    assert metrics.jobs_ended.values == {("m", status): 0 for status in ended}
    for counter in (i for i in metrics if i.kind == "counter"):
        assert counter.values and set(counter.values.values()) == {0}, counter.name


def test_a_histogram_counts_each_value_in_one_bucket():
    histogram = Histogram("seconds", "", (0.1, 2), ("model",))
    for value in (0, 0.1, 0.11, 2, 3, 300):
        histogram.observe(value, "m")
    histogram.observe(1, "n")
    assert histogram.cells["m",].counts == [2, 2, 2]
    assert histogram.cells["m",].total == 305.21
    assert histogram.cells["n",].counts == [0, 1, 0]


def test_what_versions_counted_is_taken_over_once():
    metrics = VersionMetrics("m")
    versions = LoadedVersions(None, None, None, max_versions=1)
    versions.counts.hits, versions.load_seconds = 3, [0.5]
    metrics.take(versions)
    metrics.take(versions)
    assert metrics.hits.values == {("m",): 3}
    assert metrics.evictions.values == {("m",): 0}
    assert sum(metrics.load_seconds.cells["m",].counts) == 1


def test_objectives_are_bounds():
    for instrument in INSTRUMENTS:
        if isinstance(instrument, Histogram) and instrument.name.endswith("_seconds"):
            assert {0.1, 2, 5, 30} <= set(instrument.bounds), instrument.name
