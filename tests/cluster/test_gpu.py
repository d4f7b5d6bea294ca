"""A GPU that is only declared: who is placed on it, what a replica sees, what it says if torch sees none."""

import json
import subprocess
import sys
from textwrap import dedent

import pytest

from satellite.settings import REPO_ROOT

MODEL = """
    import os
    import {imports}

    from pydantic import BaseModel

    from satellite.model import register_model


    @register_model("{name}")
    class M:
        version = "1.0.0"
        Input = int

        class Config(BaseModel, extra="forbid"): ...

        class Output(BaseModel):
            device: str
            dtype: str
            visible: str
            pid: int

        example = {{"data": 1}}

        def load(self, device):
            self.device = device
            {load}

        def infer_batch(self, inputs):
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            seen = {{"device": self.device, "dtype": self.device.dtype, "visible": visible}}
            return [self.Output(**seen, pid=os.getpid())] * len(inputs)
"""

CONFIG = """
    cpu: {{num_cpus: 0.1}}
    gpu: {{num_cpus: 0.1, num_gpus: 0.25, dtype: bfloat16}}
    autoscaling: {{min_replicas: {replicas}, max_replicas: 2}}
"""

# In a process of its own: a process joins one Ray cluster.
PROGRAM = """
    import asyncio, json
    import ray
    from ray import serve
    from deployments.app import resolve_profile
    from deployments.model_replica import ModelReplica
    from deployments.registry import find_deployments
    from satellite.config import EnvironmentConfig
    from satellite.settings import Settings

    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, logging_level="ERROR")
    serve.start(proxy_location="Disabled")
    settings = Settings()
    profile = resolve_profile(settings, EnvironmentConfig(), ray.cluster_resources()["GPU"])
    models = find_deployments(settings, profile)

    async def ask():
        handle = serve.run(models["sees"].bind(settings), name="sees", route_prefix=None)
        answers = {}
        while len(answers) < 2:
            for answer in await asyncio.gather(*(handle.predict.remote(1, flush=True) for _ in range(8))):
                answers[answer.pop("pid")] = answer
        return list(answers.values())

    seen = asyncio.run(ask())
    left = ray.available_resources()["GPU"]
    needs = models["needs"]
    options = {**needs.options(), "max_constructor_retry_count": 1}
    replica = serve.deployment(ModelReplica).options(name="needs", **options)
    try:
        serve.run(replica.bind(needs.spec.file, 1, "INFO"), name="needs", route_prefix=None)
        said = ""
    except RuntimeError:
        said = serve.status().applications["needs"].deployments["needs"].message
    told = {"profile": profile, "seen": seen, "left": left, "said": said}
    (settings.root / "told.json").write_text(json.dumps(told))
    ray.shutdown()
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "configs" / "models").mkdir(parents=True)
    for name, replicas, imports, load in (
        ("sees", 2, "json", "..."),
        ("needs", 1, "torch", "torch.zeros(1).to(device)"),
    ):
        text = dedent(MODEL).format(name=name, imports=imports, load=load)
        (tmp_path / "models" / f"{name}.py").write_text(text)
        (tmp_path / "configs" / "models" / f"{name}.yaml").write_text(
            dedent(CONFIG).format(replicas=replicas)
        )
    return tmp_path


def test_replicas_share_a_gpu_and_one_that_cannot_use_it_says_so(root, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("SATELLITE_ROOT", str(root))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PYTHONPATH", f"{root}:{REPO_ROOT}")
    done = subprocess.run(
        [sys.executable, "-c", dedent(PROGRAM)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((root / "told.json").read_text())
    assert told["profile"] == "gpu"
    assert told["seen"] == [{"device": "cuda", "dtype": "bfloat16", "visible": "0"}] * 2
    assert told["left"] == 0.5
    assert "Ray gave this replica a GPU, but torch sees none" in told["said"]
