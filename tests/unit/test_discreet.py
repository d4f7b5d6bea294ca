"""What a log says of an error."""

import traceback

from satellite.discreet import discreet


def test_types_and_places_are_told_and_no_words():
    words = "a secret"

    def inner():
        return float(words)

    try:
        try:
            inner()
        except ValueError as error:
            raise LookupError(words) from error
    except LookupError as error:
        told = "".join(traceback.format_exception(discreet(error)))
    assert "ValueError" in told
    assert "LookupError" in told
    assert "in inner" in told
    assert words not in told
