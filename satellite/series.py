"""The input type that the time-series models share."""

from typing import Annotated

from pydantic import Field

MIN_POINTS = 4
MAX_POINTS = 4096
# Far beyond any measurement, and its square still fits a double: a model may normalise without overflow.
LIMIT = 1e30

Point = Annotated[float, Field(allow_inf_nan=False, ge=-LIMIT, le=LIMIT)]
Series = Annotated[
    list[Point],
    Field(
        min_length=MIN_POINTS,
        max_length=MAX_POINTS,
        description="Observations, oldest first, evenly spaced in time.",
    ),
]
