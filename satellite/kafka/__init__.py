"""Kafka in and out: jobs are read from a topic, their steps and results are written to others.

=====================  =========================================================================
topic                  holds
=====================  =========================================================================
`satellite.jobs`       in: requests for jobs (`messages.py`, `intake.py`, `consumer.py`)
`satellite.rejected`   out: messages of `satellite.jobs` that cannot be a job, and why
`satellite.results`    out: each job that has ended, with its result (`outbox.py`)
`satellite.events`     out: each step of each job
=====================  =========================================================================

An offset is committed only after what it counts was committed in PostgreSQL; what leaves is read from the
event log, in which a position moves only when the brokers have confirmed. Both are therefore *at least once*.
A message that comes in again finds its job by its idempotency key; one that leaves again has the same key and
says the same.
"""
