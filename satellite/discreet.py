"""What a log may say of an error that nobody foresaw: its type and its place, and none of its words."""

from __future__ import annotations


def discreet(error: BaseException) -> BaseException:
    """An exception as it is logged, with its traceback and its causes.

    Its words are left out: PostgreSQL's driver, Pydantic and Python itself put into them what they were
    given, which is what a caller sent.
    """
    kind = type(error)
    silent = type(
        kind.__name__, (Exception,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    )
    said = silent().with_traceback(error.__traceback__)
    if error.__cause__ is not None:
        said.__cause__ = discreet(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        said.__context__ = discreet(error.__context__)
    return said
