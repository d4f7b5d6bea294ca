"""The simulator's series, arrivals, replays, scores and its pace, without a server."""

import asyncio
import itertools

import numpy as np
import pytest

from satellite.cli.simulate import check_local
from satellite.errors import ConfigError, QueueFull
from satellite.simulator import replay
from satellite.simulator.load import Shape, arrivals, bounded, parse_rate
from satellite.simulator.readings import Cut, Fleet, Reading
from satellite.simulator.run import UNPACED, Run
from satellite.simulator.scores import DetectionScore, ForecastScore
from satellite.simulator.series import BLOCK, CHANNELS, Device, Kind
from satellite.simulator.sinks import Ending
from satellite.simulator.summary import Summary, percentiles

CUT = Cut(points=64, stride=5, horizon=4)


def device(name="sensor", number=0, **options):
    return Device(number, CHANNELS[name], **{"seed": 7, **options})


def reading_of(values, truth=(), kinds=None):
    return Reading(
        device="d",
        channel="c",
        times_s=np.arange(len(values), dtype=float),
        values=np.array(values, float),
        kinds=np.array(kinds or [0] * len(values), np.uint8),
        truth=np.array(truth, float),
        fresh=len(values),
    )


@pytest.mark.parametrize("name", CHANNELS)
def test_the_same_seed_measures_the_same_however_it_is_read(name):
    whole, kinds = device(name, anomaly_every=200, gap_every=300).read(0, 3 * BLOCK)
    in_steps = device(name, anomaly_every=200, gap_every=300)
    for begin in range(0, 3 * BLOCK - 64, 61):
        values, part = in_steps.read(begin, 64)
        np.testing.assert_array_equal(values, whole[begin : begin + 64])
        np.testing.assert_array_equal(part, kinds[begin : begin + 64])
    for other in (device(name, seed=8), device(name, number=1)):
        assert not np.array_equal(other.read(0, 64)[0], device(name).read(0, 64)[0])


@pytest.mark.parametrize("name", CHANNELS)
def test_a_series_repeats_itself_after_its_period(name):
    channel = CHANNELS[name]
    # A whole number of periods, so that the season falls into one line of the spectrum and its multiples.
    length = 40 * channel.period
    values, _ = device(name).read(0, length)
    line = np.arange(length)
    flat = values - np.polyval(np.polyfit(line, values, 1), line)
    power = np.abs(np.fft.rfft(flat)) ** 2
    power[:20] = 0  # slower than two periods: drift, and what swings over days
    strongest = int(np.argmax(power))
    assert strongest % 40 in (0, 3, 37), strongest  # a multiple of the orbit; passes swing with the day
    again = np.corrcoef(flat[: -channel.period], flat[channel.period :])[0, 1]
    assert again > 0.5


def test_every_device_has_its_own_phase():
    length = 10 * CHANNELS["temperature"].period
    phases = [
        np.angle(np.fft.rfft(device("temperature", number).read(0, length)[0])[10]) for number in range(12)
    ]
    assert np.abs(np.mean(np.exp(1j * np.array(phases)))) < 0.6  # 1: all have the same


def test_labels_mark_exactly_what_an_anomaly_has_changed():
    clean, none = device().read(0, 30 * BLOCK)
    odd, kinds = device(anomaly_every=150).read(0, 30 * BLOCK)
    assert not none.any() and set(kinds) == set(Kind)
    np.testing.assert_array_equal(clean[kinds == 0], odd[kinds == 0])
    change = np.abs(odd - clean)
    size = CHANNELS["sensor"].spread
    assert change[kinds == Kind.SPIKE].min() > 3 * size
    assert 2 * size - 0.01 < change[kinds == Kind.LEVEL_SHIFT].min()
    assert (change[kinds > 0] > 0).mean() > 0.95  # the first point of a flat line stays as it was
    steps = np.diff(odd)[(kinds[1:] == Kind.FLAT_LINE) & (kinds[:-1] == Kind.FLAT_LINE)]
    assert (steps == 0).mean() > 0.95  # two flat lines may touch
    assert 100 < np.count_nonzero(np.diff(kinds.astype(int)) > 0) < 30 * BLOCK / 150 * 1.2


def test_a_gap_is_a_straight_line_when_it_is_sent():
    values, _ = device(gap_every=100).read(0, BLOCK)
    clean, _ = device().read(0, BLOCK)
    assert 0.02 < np.isnan(values).mean() < 0.2
    np.testing.assert_array_equal(values[~np.isnan(values)], clean[~np.isnan(values)])
    nan = float("nan")
    assert reading_of([nan, 1, nan, nan, 4, nan]).points() == [1, 1, 2, 3, 4, 4]


def test_the_sun_charges_the_battery_and_warms_the_panel():
    for name in ("battery_voltage", "temperature"):
        channel = CHANNELS[name]
        orbit = channel.shape(np.arange(0.0, 2 * channel.period))
        for edge in (channel.period, 0.63 * channel.period):  # no jump where an orbit or its day ends
            before, after = channel.shape(np.array([edge - 1e-6, edge + 1e-6]))
            assert before == pytest.approx(after, abs=1e-4)
        assert np.argmax(orbit[: channel.period]) == pytest.approx(0.63 * channel.period, abs=1)
    angles = CHANNELS["attitude_error"].shape(np.arange(95.0))
    assert angles.min() >= 0 and angles.max() < 2
    heard = CHANNELS["signal_strength"].shape(np.arange(95.0 * 15)) > 1
    assert np.count_nonzero(np.diff(heard.astype(int)) > 0) == 15  # passes a day


def test_devices_take_turns_and_go_on_where_they_were():
    fleet = Fleet(
        [CHANNELS["sensor"], CHANNELS["temperature"]],
        devices=3,
        cut=CUT,
        seed=1,
        anomaly_every=0,
        gap_every=0,
    )
    found = list(itertools.islice(fleet.readings(), 6))
    assert [reading.device[-1] for reading in found] == list("012012")
    first, again = found[0], found[3]
    np.testing.assert_array_equal(first.values[5:], again.values[:-5])
    np.testing.assert_array_equal(first.truth, again.values[-5:-1])
    assert (first.fresh, again.fresh) == (64, 5)
    assert again.times_s[0] == first.times_s[0] + 5 * 3600


@pytest.mark.parametrize("shape", Shape)
def test_every_load_has_the_rate_it_was_told(shape):
    times = arrivals(shape, 50, np.random.default_rng(3), burst=20, day_s=10)
    due = np.array(list(bounded(times, duration_s=200, count=None)))
    assert (np.diff(due) >= 0).all() and due[-1] < 200
    assert len(due) == pytest.approx(10_000, rel=0.04)
    pauses, seconds = np.diff(due), np.histogram(due, bins=200, range=(0, 200))[0]
    dispersion = seconds.var() / seconds.mean()
    match shape:
        case Shape.CONSTANT:
            np.testing.assert_allclose(pauses, 0.02)
        case Shape.POISSON:
            assert pauses.std() == pytest.approx(pauses.mean(), rel=0.05)
            assert dispersion == pytest.approx(1, abs=0.3)
        case Shape.BURST:
            assert np.count_nonzero(pauses == 0) == pytest.approx(0.95 * len(due), rel=0.01)
        case Shape.DAILY:
            of_day = np.histogram(due % 10, bins=10, range=(0, 10))[0]
            assert of_day[4:6].sum() > 10 * of_day[[0, 9]].sum()


def test_a_load_ends_at_its_bounds():
    assert list(bounded(arrivals(Shape.CONSTANT, 2, None), duration_s=None, count=3)) == [0, 0.5, 1]
    assert list(bounded(arrivals(Shape.CONSTANT, 2, None), duration_s=1, count=9)) == [0, 0.5]


def test_rates_are_said_in_the_usual_ways():
    assert [parse_rate(text) for text in ("50", "2.5/s", "1/min", "90 / h")] == [50, 2.5, 1 / 60, 0.025]
    for text in ("0", "-1", "fast", "1/year", "nan", ""):
        with pytest.raises(ConfigError, match="such as"):
            parse_rate(text)


def test_percentiles_are_values_that_were_measured():
    assert percentiles([]) == {}
    assert percentiles([3.0]) == {"p50": 3, "p90": 3, "p99": 3, "max": 3}
    found = percentiles(np.random.default_rng(0).permutation(np.arange(1.0, 201)).tolist())
    assert found == {"p50": 100, "p90": 180, "p99": 198, "max": 200}


def test_forecasts_are_measured_by_the_last_value():
    score = ForecastScore()
    score.add(reading_of([1, 2], truth=[4, float("nan"), 6]), [3, 99, 6, 99])
    found = score.as_dict()
    assert found["mae"] == 0.5  # (1 + 0) / 2, where the last value has (2 + 4) / 2
    assert found["smape"] == pytest.approx(100 / 7)
    last_smape = (200 * 2 / 6 + 200 * 4 / 8) / 2
    assert found["owa"] == pytest.approx((0.5 / 3 + 100 / 7 / last_smape) / 2)


def test_flags_are_measured_by_the_labels():
    score = DetectionScore()
    values = [0, 0, 9, 9, float("nan"), float("nan")]
    score.add(reading_of(values, kinds=[0, 0, 1, 1, 1, 1]), [1, 2, 4, 77])
    found = score.as_dict()
    assert (found["hits"], found["false_alarms"], found["misses"]) == (1, 1, 1)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)


class Clock:
    """Time that passes only when somebody sleeps, and `lag` too much of it each time."""

    def __init__(self, lag=0.0):
        self.time, self.lag = 100.0, lag

    def now(self):
        return self.time

    async def sleep_until(self, moment):
        await asyncio.sleep(0)  # others run before time passes
        self.time = max(self.time, moment) + self.lag


class Recorder:
    """A sink that writes down when it was called; a gate holds its answers back."""

    def __init__(self, clock):
        self.clock, self.calls, self.gate = clock, [], asyncio.Event()
        self.gate.set()
        self.most = self.open = 0

    async def send(self, number, reading, accepted):
        self.calls.append((number, self.clock.now() - 100))
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0)
        await self.gate.wait()
        self.open -= 1
        if number == 1:
            raise QueueFull("full")
        accepted()
        return Ending(status="succeeded")


def csv_of(path, rows, header="timestamp,value"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def minutes(count):
    return [f"2026-01-01T00:{minute:02d}:00Z,{minute}" for minute in range(count)]


async def test_a_replay_keeps_its_pace(tmp_path):
    recorded = replay.read(csv_of(tmp_path / "a.csv", minutes(20)), replay.Columns())
    plan = replay.readings(recorded, Cut(points=8, stride=3, horizon=2), speed=60)
    clock, summary = Clock(), Summary()
    sink = Recorder(clock)
    await Run(sink, summary, clock).send_all(plan, drain_s=1)
    assert sink.calls == [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]
    assert (summary.sent, summary.accepted, summary.rejected) == (5, 4, {"queue_full": 1})


async def test_latencies_count_from_the_moment_a_request_was_due():
    clock, summary = Clock(lag=0.25), Summary()
    plan = [(due, reading_of([1, 2])) for due in (0, 0, 0, 0)]
    await Run(Recorder(clock), summary, clock).send_all(plan, drain_s=1)
    assert max(summary.late_s) == 1.0
    assert summary.as_dict()["end_to_end_s"]["max"] >= 1.0


async def test_a_stuck_system_holds_nothing_back():
    clock, summary = Clock(), Summary()
    sink = Recorder(clock)
    sink.gate.clear()
    plan = [(due, reading_of([1, 2])) for due in range(6)]
    await Run(sink, summary, clock, max_open=4).send_all(plan, drain_s=0)
    assert [due for _, due in sink.calls] == [0, 1, 2, 3]
    assert (summary.sent, summary.not_sent, summary.unanswered, summary.took_s) == (4, 2, 4, 5)


async def test_without_a_pace_so_many_are_open_at_a_time():
    clock, summary = Clock(), Summary()
    sink = Recorder(clock)
    await Run(sink, summary, clock).send_all(((None, reading_of([1, 2])) for _ in range(200)), drain_s=5)
    assert summary.sent == 200 and 1 < sink.most <= UNPACED


def test_a_replay_sees_missing_rows_and_takes_devices_apart(tmp_path):
    rows = [
        f"{at},{name},{value},{odd}"
        for at, name, value, odd in [
            (0, "a", 1, ""), (60, "a", 2, ""), (1, "b", 5, "spike"), (180, "a", 4, "drift"),
            (240, "a", "", ""),
        ]
    ]  # fmt: skip
    path = csv_of(tmp_path / "a.csv", rows, "t,who,x,anomaly")
    a, b = replay.read(path, replay.Columns(time="t", value="x", device="who"))
    np.testing.assert_array_equal(a.values, [1, 2, np.nan, 4, np.nan])
    assert a.kinds.tolist() == [0, 0, 0, Kind.DRIFT, 0] and b.kinds.tolist() == [Kind.SPIKE]
    assert (a.device, a.channel) == ("a", "x")


@pytest.mark.parametrize(
    ("rows", "header", "told"),
    [
        (["1,2"], "at,value", "no column 'timestamp'.*--time-column"),
        (["1,x"], "timestamp,value", "row 1: could not convert"),
        (["1,2", "soon,2"], "timestamp,value", "row 2: Invalid isoformat"),
        (["1,inf"], "timestamp,value", "row 1: a value is infinite"),
        (["1"], "timestamp,value,anomaly", None),
    ],
)
def test_a_file_that_cannot_be_replayed_says_where(tmp_path, rows, header, told):
    path = csv_of(tmp_path / "a.csv", rows, header)
    if told is None:
        assert np.isnan(replay.read(path, replay.Columns())[0].values[0])
        return
    with pytest.raises(ConfigError, match=told):
        replay.read(path, replay.Columns())


@pytest.mark.parametrize("speed", ["0", "-1", "inf", "nan", "fast"])
def test_a_speed_is_a_number_or_max(speed):
    assert (replay.parse_speed("max"), replay.parse_speed("60")) == (None, 60)
    with pytest.raises(ConfigError, match="or max"):
        replay.parse_speed(speed)


def test_nothing_leaves_this_machine_unasked():
    check_local(["127.0.0.1", "127.9.9.9", "::1", "localhost"], allowed=False)
    check_local(["example.org"], allowed=True)
    for host in ("10.0.0.1", "example.org", "127.0.0.1.example.org", "0.0.0.0", ""):
        with pytest.raises(ConfigError, match="--allow-remote"):
            check_local([host], allowed=False)


def test_the_summary_leaves_nothing_out():
    summary = Summary()
    for number in range(5):
        summary.note_sent(reading_of([1, 2]), 0.0)
        if number < 3:
            summary.note_accepted(0.1)
    summary.note_ended(reading_of([1, 2]), Ending(status="failed"), 0.2)
    summary.note_failed("unavailable", accepted=True)
    summary.note_failed("queue_full", accepted=False)
    found = summary.as_dict()
    assert (found["unanswered"], found["unfinished"]) == (1, 1)
    assert (found["ended"], found["lost"], found["rejected"]) == (
        {"failed": 1}, {"unavailable": 1}, {"queue_full": 1},
    )  # fmt: skip
