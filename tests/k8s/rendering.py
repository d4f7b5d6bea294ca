"""The overlays of k8s/ as `kubectl apply -k` would apply them."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import yaml

from satellite.settings import REPO_ROOT
from tests.debian import missing

OVERLAYS = ("local", "prod", "gpu")
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"


@cache
def kustomize() -> list[str]:
    """The command: kubectl's own, or kustomize as Go builds it from its module, once."""
    if kubectl := shutil.which("kubectl"):
        return [kubectl, "kustomize"]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "satellite" / KUSTOMIZE
    binary = home / "kustomize"
    if not binary.exists():
        go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
        if go is None:
            missing("neither kubectl nor Go, which builds kustomize, is there")
        environment = {**os.environ, "GOBIN": str(home), "GOFLAGS": "-ldflags=-s"}
        subprocess.run([go, "install", KUSTOMIZE], env=environment, check=True, timeout=600)
    return [str(binary), "build"]


@cache
def overlay(name: str) -> tuple[dict, ...]:
    """All objects of an overlay."""
    done = subprocess.run(
        [*kustomize(), str(REPO_ROOT / "k8s/overlays" / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))
