"""A model that writes down every batch before it computes it, so that a checker knows what really ran.

It is dropped into the `models/` folder of a system under test, as a user would drop one.
"""

import json
import os
import time
from collections import Counter
from typing import ClassVar, Literal
from uuid import uuid4

from pydantic import BaseModel, Field

from satellite.model import register_model
from satellite.settings import Settings

WARM_UP = "warm-up"


class Flaky(Exception):
    """An error worth another attempt."""


class ProbeInput(BaseModel, extra="forbid"):
    """What to do, and a nonce that proves whose result it is."""

    nonce: str
    op: Literal["echo", "sleep", "exit", "raise", "flaky"] = "echo"
    seconds: float = Field(0.0, ge=0, le=60, description="How long `sleep` takes.")
    times: int = Field(1, ge=1, description="How often `flaky` fails in one process before it succeeds.")


@register_model("probe")
class Probe:
    """Answers with the nonce of its input."""

    version = "1.0.0"
    retryable = (Flaky,)
    Input = ProbeInput

    class Config(BaseModel, extra="forbid"):
        """Nothing to set."""

    class Output(BaseModel):
        """The same nonce."""

        nonce: str

    example: ClassVar = {"data": {"nonce": WARM_UP}}

    def load(self, device: str) -> None:
        self._instance = uuid4().hex
        self._failures: Counter[str] = Counter()
        self._write("load")

    def close(self) -> None:
        self._write("close")

    def infer_batch(self, inputs):
        self._write("batch", nonces=[i.data.nonce for i in inputs], ops=[i.data.op for i in inputs])
        ops = {i.data.op for i in inputs}
        if "exit" in ops:
            os._exit(13)
        time.sleep(max((i.data.seconds for i in inputs if i.data.op == "sleep"), default=0))
        if "raise" in ops:
            raise ValueError("asked to raise")
        return [self._answer(i.data) for i in inputs]

    def _answer(self, data):
        if data.op == "flaky" and self._failures[data.nonce] < data.times:
            self._failures[data.nonce] += 1
            return Flaky("asked to fail")
        return self.Output(nonce=data.nonce)

    def _write(self, kind, **fields):
        line = {"kind": kind, "at_s": time.time(), "pid": os.getpid(), "instance": self._instance}
        line |= {"version": self.version, **fields}
        # One write to a file opened for appending: lines of different replicas never mix.
        fd = os.open(Settings().home / "probe.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, (json.dumps(line) + "\n").encode())
        finally:
            os.close(fd)
