"""The short set of the scenarios, with smaller loads; `make faults` runs all of them in full."""

from dataclasses import replace

import pytest

from tests.faults import faults
from tests.faults.run import run_scenario
from tests.faults.scenarios import SCENARIOS

DEPLOYS = True
SHORT = [scenario for scenario in SCENARIOS if scenario.short]
# These must find something to break, or they have shown nothing.
BITING = {faults.kill_replicas, faults.kill_ingress}
# How soon it recovers is what `make faults` measures; here another program may have most of the machine.
PATIENCE = 4


def test_nothing_is_left_out(features):
    assert features.missing == []


@pytest.mark.parametrize("scenario", SHORT, ids=[scenario.name for scenario in SHORT])
async def test_nothing_is_lost_or_recorded_twice(system, features, scenario):
    if scenario.needs_kafka and system.kafka is None:
        pytest.skip("no Kafka")
    small = replace(
        scenario,
        load=replace(scenario.load, jobs=120, duration_s=5),
        messages=min(scenario.messages, 100),
        strikes=tuple((1.5, fault) for _, fault in scenario.strikes),
        new_work_s=PATIENCE * scenario.new_work_s,
        old_work_s=PATIENCE * scenario.old_work_s,
    )
    report = await run_scenario(system, small, features, seed=1)
    assert (report.failures, list(map(str, report.violations))) == ([], [])
    assert report.accepted > 50
    if BITING & {fault for _, fault in scenario.strikes}:
        assert report.again > 0
