"""Devices that are not there: `satellite simulate` makes their measurements and sends them.

`series.py` makes them, or `replay.py` reads them from a file; `readings.py` cuts them into requests.
`load.py` says when each is due, `sinks.py`, `socket_sink.py`, `kafka_sink.py` and `file_sink.py` take it, and
`run.py` sends it. `summary.py` counts what came of it, `scores.py` how good it was.
"""
