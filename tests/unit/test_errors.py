"""Errors cross process borders inside handle calls: each must survive pickling whole."""

import pickle

import pytest

from satellite import errors


def all_errors():
    def below(cls):
        return [cls, *(found for sub in cls.__subclasses__() for found in below(sub))]

    return [cls for cls in below(errors.SatelliteError) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", all_errors(), ids=lambda cls: cls.__name__)
def test_survives_pickling(cls):
    error = cls("what to do", retry_after_s=3, errors=[{"pointer": "/data/1", "detail": "d"}])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (again.detail, again.retry_after_s, again.errors) == (error.detail, 3, error.errors)
    assert (again.status, again.code, again.title) == (cls.status, cls.code, cls.title)


@pytest.mark.parametrize("cls", all_errors(), ids=lambda cls: cls.__name__)
def test_is_drawn_in_the_tree(cls):
    assert cls.__name__ in errors.__doc__
