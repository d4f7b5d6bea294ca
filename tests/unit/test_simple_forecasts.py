import pytest
import torch

from models.nets.simple import ORIGINS, SIMPLE_FORECASTS, History, Moments, simple_forecasts, track_record
from models.nets.windows import make_windows

STEPS = torch.arange(1, 49)[None, None]


def series(points: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, points, generator=generator, dtype=torch.float64).cumsum(1)


def column(value: int) -> torch.Tensor:
    return torch.tensor([[[value]]])


@pytest.mark.parametrize("season", [1, 7, 24])
def test_what_comes_after_the_moment_changes_nothing(season: int) -> None:
    known = 300
    when = Moments(n=column(known), m=column(season), long=column(52))
    values = series(400)
    other = values.clone()
    other[:, known:] = 1e6
    for mine, theirs in zip(
        simple_forecasts(History.of(values), when, STEPS),
        simple_forecasts(History.of(other), when, STEPS),
        strict=True,
    ):
        assert torch.equal(mine, theirs)


def test_the_padding_changes_nothing() -> None:
    values = series(200)
    padded = torch.nn.functional.pad(values, (0, 100), value=1e6)
    lengths, seasons = torch.tensor([200]), torch.tensor([12])
    plain, longer = (make_windows(v, lengths, seasons, 48, 96, 8) for v in (values, padded))
    for name in ("row", "steps", "simple", "usable", "record", "base", "unit"):
        assert torch.equal(getattr(plain, name), getattr(longer, name)), name
    assert torch.equal(plain.sequence, longer.sequence[:, : plain.sequence.shape[1]])


def test_forecasts_by_hand() -> None:
    # A season of 4 that climbs by 1 from one to the next; the long season is two of them.
    season = torch.tensor([10.0, 20.0, 30.0, 40.0])
    values = torch.cat([season + cycle for cycle in range(6)])[None].double()
    when = Moments(n=column(24), m=column(4), long=column(8))
    base, forecasts, usable = simple_forecasts(History.of(values), when, STEPS[:, :, :4])
    assert base[0, 0].tolist() == [15, 25, 35, 45]
    by_name = forecasts[0, 0].T
    assert by_name[0].tolist() == [0, 0, 0, 0]
    assert by_name[1].tolist() == [30, 20, 10, 0]  # The last value, 45.
    assert by_name[2] == pytest.approx([-2.5] * 4)  # The mean of six seasons.
    assert by_name[7] == pytest.approx([1] * 4)  # The mean with the trend: what really comes.
    assert by_name[8] == pytest.approx([1] * 4)  # The last season at the level of the last point.
    assert by_name[9] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert by_name[12] == pytest.approx([-1] * 4)  # Two seasons ago.
    assert by_name[14] == pytest.approx([1] * 4)  # The same at today's level.
    assert usable[0, 0].tolist() == [True] * 10 + [False] * 2 + [True] * 8


@pytest.mark.parametrize(("points", "season"), [(4, 1), (8, 1), (17, 2), (60, 1), (30, 4), (40, 24)])
def test_no_forecast_knows_where_zero_is(points: int, season: int) -> None:
    # What is missing from a short series must not count as 0, as it would here: at a level of a thousand.
    values = 1000 + series(points, seed=3)
    when = Moments(n=column(points), m=column(season), long=column(52 if season == 1 else 7 * season))
    base, forecasts, _ = simple_forecasts(History.of(values), when, STEPS)
    reach = 48 * (values.max() - values.min())
    assert (base + forecasts.amax(-1) <= values.max() + reach).all()
    assert (base + forecasts.amin(-1) >= values.min() - reach).all()


def test_the_record_says_which_forecast_was_right() -> None:
    steady = torch.arange(300, dtype=torch.float64)[None] / 300
    n, m, long = torch.tensor([[300]]), torch.tensor([[1]]), torch.tensor([[52]])
    record, tried, _ = track_record(History.of(steady), n, m, long, torch.full((1, 1), 1 / 300.0).double())
    assert record.shape == tried.shape == (1, SIMPLE_FORECASTS)
    assert tried.all()
    assert record[0, 0] == 0  # The last value is what all are measured against.
    assert (record[0, 9:12] == -4).all()  # Trends are right to the digit.
    assert record[0, 2] > 0.3  # A mean of the past is worse.


def test_nothing_is_tried_where_there_is_too_little() -> None:
    n, m, long = torch.tensor([[8]]), torch.tensor([[1]]), torch.tensor([[52]])
    record, tried, general = track_record(History.of(series(8)), n, m, long, torch.ones(1, 1).double())
    assert not tried.any()
    assert (record == 0).all() and (general == 0).all()
    assert ORIGINS * 12 + 4 < 300  # What the other tests rely on.
