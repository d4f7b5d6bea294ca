"""The schemas that k8s/ is held against: those of Kubernetes and KubeRay, trimmed to the kinds that are used.

`python -m tests.k8s.schemas` fetches them anew from the API server that KUBECONFIG names, which must have
KubeRay's CRDs, and writes `schemas.json.gz`. The API server's own description is OpenAPI 3, whose schemas are
JSON Schema but for fields of unknown names, which a server only warns of: here they are errors.
"""

import gzip
import json
import subprocess
from pathlib import Path

FILE = Path(__file__).with_name("schemas.json.gz")
GROUPS = {
    "api/v1": {"Namespace", "ServiceAccount", "ConfigMap", "Secret", "Service"},
    "apis/apps/v1": {"Deployment", "StatefulSet"},
    "apis/batch/v1": {"Job"},
    "apis/policy/v1": {"PodDisruptionBudget"},
    "apis/networking.k8s.io/v1": {"NetworkPolicy", "Ingress"},
    "apis/ray.io/v1": {"RayService"},
}
PREFIX = "#/components/schemas/"


def load() -> dict:
    """One JSON Schema with all definitions, and where each kind is: `{"kinds": ..., "$defs": ...}`."""
    return json.loads(gzip.decompress(FILE.read_bytes()))


def fetch() -> dict:
    """From a running API server, through kubectl."""
    kinds, definitions = {}, {}
    for group, wanted in GROUPS.items():
        answer = subprocess.run(
            ["kubectl", "get", "--raw", f"/openapi/v3/{group}"], capture_output=True, check=True
        )
        schemas = json.loads(answer.stdout)["components"]["schemas"]
        for name, schema in schemas.items():
            for gvk in schema.get("x-kubernetes-group-version-kind", []):
                if gvk["kind"] in wanted and f"{gvk['group']}/{gvk['version']}".strip("/") in group:
                    kinds[f"{gvk['group']}/{gvk['version']}/{gvk['kind']}".strip("/")] = name
                    _collect(name, schemas, definitions)
    missing = set().union(*GROUPS.values()) - {kind.rsplit("/", 1)[1] for kind in kinds}
    assert not missing, missing
    return {"kinds": kinds, "$defs": definitions}


def _collect(name: str, schemas: dict, into: dict) -> None:
    if name in into:
        return
    into[name] = None  # being worked on: schemas refer to themselves
    found: list[str] = []
    into[name] = _trimmed(schemas[name], found)
    for other in found:
        _collect(other, schemas, into)


def _trimmed(value: object, found: list[str], *, names: bool = False) -> object:
    """A schema without words, its references made local, unknown fields forbidden.

    Args:
        value: a part of a schema.
        found: the names of other definitions are added to it.
        names: whether the keys of `value` are fields of an object, not words of the schema language.
    """
    if isinstance(value, list):
        return [_trimmed(item, found) for item in value]
    if not isinstance(value, dict):
        return value
    trimmed = {}
    for key, item in value.items():
        if not names and (key in ("description", "default", "example") or key.startswith("x-kubernetes-l")):
            continue
        if key == "$ref":
            found.append(item.removeprefix(PREFIX))
            item = f"#/$defs/{found[-1]}"
        trimmed[key] = _trimmed(item, found, names=not names and key == "properties")
    if not names and "properties" in trimmed and not trimmed.get("x-kubernetes-preserve-unknown-fields"):
        trimmed.setdefault("additionalProperties", False)
    if not names and trimmed.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    return trimmed


if __name__ == "__main__":
    FILE.write_bytes(gzip.compress(json.dumps(fetch(), sort_keys=True).encode(), mtime=0))
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")
