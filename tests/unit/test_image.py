"""Dockerfile and compose.yaml: what can be known of them without a container engine."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from satellite.cli.serve_mode import serve_environment
from satellite.settings import REPO_ROOT, Settings
from tests.debian import missing

COMPOSE_GO = "github.com/compose-spec/compose-go/v2@v2.9.1"
DOCKERFILE = (REPO_ROOT / "Dockerfile").read_text()


def env_of_dockerfile() -> dict[str, str]:
    """The last stage's ENV."""
    stage = DOCKERFILE.rsplit("\nFROM ", 1)[1].replace("\\\n", " ")
    lines = [line[4:] for line in stage.splitlines() if line.startswith("ENV ")]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line))


def test_the_image_carries_what_every_node_has(tmp_path):
    wanted = serve_environment("fast", Path("/tmp/haproxy"), wrapper_folder=tmp_path)
    del wanted["RAY_SERVE_HAPROXY_NBTHREAD"]  # of the machine it runs on
    wanted["RAY_SERVE_HAPROXY_BINARY_PATH"] = "/opt/satellite/haproxy/haproxy"
    found = {name: value for name, value in env_of_dockerfile().items() if name.startswith("RAY_")}
    assert found == wanted


def test_the_image_runs_as_nobody_in_particular_and_looks_after_its_health():
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert "\nUSER 10001:10001\n" in last
    assert "\nHEALTHCHECK " in last


def test_every_file_that_is_copied_is_there_and_reaches_the_builder():
    """`.dockerignore` shuts everything out but what it names."""
    ignored = (REPO_ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.M):
        for source in line.split()[:-1]:
            assert source.split("/")[0] in let_in, source
            assert (REPO_ROOT / source).exists(), source


def test_uv_is_the_same_everywhere():
    (image,) = re.findall(r"ARG UV_VERSION=(\S+)", DOCKERFILE)
    (make,) = re.findall(r"UV_VERSION := (\S+)", (REPO_ROOT / "Makefile").read_text())
    assert image == make


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((REPO_ROOT / "compose.yaml").read_text())


def test_compose_is_as_its_specification_says(compose):
    go = shutil.which("go")
    if go is None:
        missing("Go, which fetches the specification, is missing")
    done = subprocess.run(
        [go, "mod", "download", "-json", COMPOSE_GO], capture_output=True, check=True, timeout=120, cwd="/"
    )
    schema = json.loads(Path(json.loads(done.stdout)["Dir"], "schema/compose-spec.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    validator.validate(compose)
    head = compose["services"]["head"] | {"helthcheck": {}}
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(compose | {"services": compose["services"] | {"head": head}})


def test_what_compose_mounts_and_needs_is_there(compose):
    services = compose["services"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (REPO_ROOT / source).exists(), (name, source)
        for other in service.get("depends_on", {}):
            assert other in services, (name, other)
        for port in service.get("ports", []):
            # What is not nginx is for this machine only.
            assert name == "nginx" or port.startswith("127.0.0.1:"), (name, port)
        for variable in service.get("environment", {}):
            if variable.startswith("SATELLITE_") and name not in ("nginx", "grafana"):
                assert variable.removeprefix("SATELLITE_").lower() in Settings.model_fields, variable


def test_secrets_are_made_once(compose, tmp_path):
    script = REPO_ROOT / "configs/image/secrets.sh"
    runs = []
    for _ in range(2):
        subprocess.run(["sh", script], cwd=tmp_path, check=True)
        runs.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    made = runs[0]
    assert runs[1] == made
    assert len(set(made.values())) == len(made)
    named = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert named == set(made)
    assert made["postgres_password"] in made["satellite_database_url"]
    for name in named:
        if name.startswith("satellite_"):
            assert name.removeprefix("satellite_") in Settings.model_fields, name
