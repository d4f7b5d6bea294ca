"""`make k8s-check`: applies every overlay to the API server that KUBECONFIG names.

The namespace enforces Pod Security `restricted`. The check waits until KubeRay's operator has made the head
and the worker pods, admits one pod of every other pod template, fails at a warning event, and removes what it
applied.
Kinds that the server does not know (those of Prometheus' operator) are left out, and named.
"""

import json
import subprocess
import sys
import time

import yaml

from satellite.settings import REPO_ROOT
from tests.k8s.rendering import OVERLAYS

NAMESPACE = "satellite"
TIMEOUT_S = 90


def kubectl(*arguments: str, data: object = None, check: bool = True) -> str:
    """The output of kubectl; what it complains of ends the check."""
    given = None if data is None else json.dumps(data)
    done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        sys.exit(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    if check and "Warning:" in done.stderr:
        sys.exit(f"kubectl {' '.join(arguments)} warns: {done.stderr.strip()}")
    return done.stdout


def items(kind: str) -> list[dict]:
    """All objects of a kind in the namespace."""
    return json.loads(kubectl("-n", NAMESPACE, "get", kind, "-o", "json"))["items"]


def check(name: str, known: set[str]) -> None:
    """Apply one overlay, look at what comes of it, remove it."""
    folder = str(REPO_ROOT / "k8s/overlays" / name)
    rendered = list(yaml.safe_load_all(kubectl("kustomize", folder)))
    left_out = sorted({o["kind"] for o in rendered} - known)
    rendered = [o for o in rendered if o["kind"] in known]
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    try:
        kubectl("apply", "-f", "-", data=namespace)
        wrapped = {"apiVersion": "v1", "kind": "List", "items": rendered}
        kubectl("apply", "--server-side", "--validate=strict", "-f", "-", data=wrapped)
        service = next(o for o in rendered if o["kind"] == "RayService")
        groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        expected = {"head": 1, "worker": sum(group["replicas"] for group in groups)}
        deadline = time.monotonic() + TIMEOUT_S
        while (made := _made()) != expected:
            _no_warnings()
            if time.monotonic() > deadline:
                sys.exit(f"{name}: {made} after {TIMEOUT_S} s, not {expected}")
            time.sleep(1)
        for pod in items("pods"):
            ray = pod["spec"]["containers"][0]
            assert "livenessProbe" in ray and "readinessProbe" in ray, pod["metadata"]["name"]
        templates = [o for o in rendered if o["kind"] in ("Deployment", "StatefulSet", "Job")]
        templates += [
            {"metadata": {"name": f"group-{g['groupName']}"}, "spec": {"template": g["template"]}}
            for g in groups
            if g["replicas"] == 0
        ]
        for owner in templates:
            kubectl("create", "--dry-run=server", "-f", "-", data=_pod(owner))
        _no_warnings()
        made_of = ", ".join(f"{count} {kind}" for kind, count in expected.items())
        print(f"{name}: {len(rendered)} objects applied; pods: {made_of}")
        print(f"{name}: {len(templates)} further pod templates admitted")
        if left_out:
            print(f"{name}: left out, as this server does not know them: {', '.join(left_out)}")
    finally:
        kubectl("-n", NAMESPACE, "delete", "rayservice", "--all", "--wait=false", check=False)
        kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--force", "--grace-period=0", check=False)
        _remove_namespace()


def _pod(owner: dict) -> dict:
    """The pod that a controller would make; volumes that it claims are empty ones here."""
    template = owner["spec"]["template"]
    volumes = [
        {"name": claim["metadata"]["name"], "emptyDir": {}}
        for claim in owner["spec"].get("volumeClaimTemplates", [])
    ]
    spec = {**template["spec"], "volumes": [*template["spec"].get("volumes", []), *volumes]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": owner["metadata"]["name"], "namespace": NAMESPACE},
        "spec": spec,
    }


def _made() -> dict[str, int]:
    kinds = [pod["metadata"]["labels"].get("ray.io/node-type") for pod in items("pods")]
    return {kind: kinds.count(kind) for kind in ("head", "worker")}


def _no_warnings() -> None:
    for event in items("events"):
        if event["type"] == "Warning":
            about = event["involvedObject"]
            sys.exit(f"{about['kind']} {about['name']}: {event['reason']}: {event['message']}")


def _remove_namespace() -> None:
    """A bare API server has nobody who empties a namespace: each kind is deleted."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=delete,list", "-o", "name").split()
    wanted = [kind for kind in kinds if not kind.startswith("events")]
    kubectl("-n", NAMESPACE, "delete", ",".join(wanted), "--all", "--wait=false", check=False)
    kubectl("-n", NAMESPACE, "delete", "events", "--all", check=False)


def main() -> None:
    """Check all overlays."""
    lines = kubectl("api-resources", "--no-headers", "-o", "wide").splitlines()
    known = {word for line in lines for word in line.split()}
    for name in OVERLAYS:
        check(name, known)


if __name__ == "__main__":
    main()
