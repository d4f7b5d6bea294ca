"""Satellite as it is installed, with the comparison's model in place of its own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version

from benchmarks.client import Answer, encode
from benchmarks.loads import BODY
from benchmarks.peers.subject import Jobs, Predict, Subject
from benchmarks.system import make_root, scratch_home
from benchmarks.system import running as running_system

PREDICT = "/api/v1/inference/predict"
SUBMIT = "/api/v1/inference/submit"
RESULT = "/api/v1/inference/result"


@contextmanager
def running() -> Generator[Subject]:
    """Start Satellite and stop it."""
    with scratch_home() as home, scratch_home() as root:
        make_root(root, ["lstm64"])
        with running_system(home, root=root) as system:
            yield Subject(
                name="Satellite",
                version=f"satellite {version('satellite')}, ray {version('ray')}",
                url=system.url,
                start_s=system.start_s,
                memory_mb=lambda: sum(system.memory_mb().values()),
                predict=Predict(request=encode("POST", PREDICT, BODY), forecast=_predicted),
                jobs=Jobs(
                    submit=encode("POST", SUBMIT, BODY),
                    accepted=202,
                    read=lambda accepted: encode("GET", f"{RESULT}/{accepted.json()['job_id']}?wait_s=60"),
                    forecast=_finished,
                ),
            )


def _predicted(answer: Answer) -> list[float]:
    return answer.json()["result"]["forecast"]


def _finished(answer: Answer) -> list[float] | None:
    job = answer.json()
    if answer.status != 200 or job["status"] not in ("queued", "running", "succeeded"):
        raise RuntimeError(f"a job did not succeed: {answer.status} {answer.body[:500]!r}")
    return job["result"]["forecast"] if job["status"] == "succeeded" else None
