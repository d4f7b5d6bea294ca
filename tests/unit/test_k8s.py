"""The manifests of k8s/: as Kubernetes and KubeRay describe their kinds, and as we want them."""

from collections.abc import Iterator

import jsonschema
import pytest
import yaml

from satellite.settings import REPO_ROOT
from tests.k8s import schemas
from tests.k8s.rendering import OVERLAYS, overlay

# Those of Prometheus' operator are not in the schemas.
UNCHECKED = {"ServiceMonitor", "PodMonitor"}


@pytest.fixture(scope="module")
def described():
    return schemas.load()


def all_objects() -> Iterator[tuple[str, dict]]:
    for name in OVERLAYS:
        for thing in overlay(name):
            yield name, thing


def find(name: str, kind: str) -> dict:
    return next(thing for thing in overlay(name) if thing["kind"] == kind)


def pod_templates(name: str) -> Iterator[tuple[str, dict]]:
    for thing in overlay(name):
        if thing["kind"] == "RayService":
            cluster = thing["spec"]["rayClusterConfig"]
            yield "head", cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                yield group["groupName"], group["template"]
        elif thing["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield thing["metadata"]["name"], thing["spec"]["template"]


def problems(thing: dict, described: dict) -> list[str]:
    kind = described["kinds"][f"{thing['apiVersion']}/{thing['kind']}"]
    validator = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": described["$defs"]})
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(thing)]


def test_every_object_is_as_its_schema_says(described):
    checked = 0
    for name, thing in all_objects():
        if thing["kind"] not in UNCHECKED:
            assert problems(thing, described) == [], (name, thing["kind"], thing["metadata"]["name"])
            checked += 1
    assert checked > 30


def test_the_schemas_know_a_wrong_field_wherever_it_is(described):
    service = yaml.safe_load(yaml.safe_dump(find("local", "RayService")))
    pod = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    pod["containers"][0]["securityContext"]["runAsNonroot"] = True
    (problem,) = problems(service, described)
    assert "runAsNonroot" in problem
    del pod["containers"][0]["securityContext"]["runAsNonroot"]
    pod["terminationGracePeriodSeconds"] = "long"
    assert problems(service, described)


def test_the_service_deploys_what_serve_config_says():
    written = (REPO_ROOT / "serve_config.yaml").read_text()
    for name in OVERLAYS:
        assert find(name, "RayService")["spec"]["serveConfigV2"].strip() == written.strip()


def test_every_pod_is_restricted():
    for name in OVERLAYS:
        for owner, template in pod_templates(name):
            pod, where = template["spec"], (name, owner)
            assert pod["securityContext"]["runAsNonRoot"] is True, where
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False, where
                assert context["capabilities"] == {"drop": ["ALL"]}, where
                assert context.get("readOnlyRootFilesystem") is True or owner == "kafka", where
                assert set(container["resources"]) == {"requests", "limits"}, where


def test_workers_may_finish_the_longest_wait():
    from satellite.settings import Settings

    for name in OVERLAYS:
        service = find(name, "RayService")["spec"]
        assert service["rayClusterDeletionDelaySeconds"] > Settings().max_wait_s
        for group in service["rayClusterConfig"]["workerGroupSpecs"]:
            spec = group["template"]["spec"]
            assert spec["terminationGracePeriodSeconds"] > Settings().max_wait_s
            assert spec["topologySpreadConstraints"]


def test_secrets_are_named_and_not_written():
    for name in ("prod", "gpu"):
        assert not [thing for thing in overlay(name) if thing["kind"] == "Secret"]
        text = yaml.safe_dump_all(overlay(name))
        assert "for-development-only" not in text
        assert {"database-url", "redis-url"} <= {
            variable["valueFrom"]["secretKeyRef"]["key"]
            for _, template in pod_templates(name)
            for container in template["spec"]["containers"]
            for variable in container.get("env", [])
            if "valueFrom" in variable
        }


def test_rays_own_ports_are_open_to_no_one_else():
    for name in OVERLAYS:
        policy = next(
            thing
            for thing in overlay(name)
            if thing["kind"] == "NetworkPolicy" and thing["metadata"]["name"] == "satellite-ray"
        )
        for rule in policy["spec"]["ingress"]:
            (source,) = rule["from"]
            labels = source["podSelector"]["matchLabels"]
            ports = {port["port"] for port in rule.get("ports", [])}
            if labels == {"ray.io/is-ray-node": "yes"}:
                continue
            allowed = {"kuberay-operator": {8000, 8265, 52365}, "ingress-nginx": {8000}, "prometheus": {8080}}
            assert ports and ports <= allowed[labels["app.kubernetes.io/name"]]


def test_all_groups_run_the_ray_that_is_locked():
    lock = (REPO_ROOT / "uv.lock").read_text()
    version = find("prod", "RayService")["spec"]["rayClusterConfig"]["rayVersion"]
    assert f'name = "ray"\nversion = "{version}"' in lock
