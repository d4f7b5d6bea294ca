"""Versions that lie behind HTTP and on S3: real servers, on this machine."""

import functools
import http.server
import json
import threading

import pytest
from moto.server import ThreadedMotoServer

from satellite.artifacts import SAFETENSORS, ArtifactSource, write_manifest
from satellite.errors import VersionFailed, VersionUnavailable


@pytest.fixture
def folder(tmp_path):
    """Two versions, one of them damaged."""
    for version in ("1.0.0", "1.1.0"):
        place = tmp_path / "made" / version
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(version.encode() * 1000)
        write_manifest(place, version, SAFETENSORS)
    (tmp_path / "made" / "1.1.0" / "model.safetensors").write_bytes(b"damaged")
    return tmp_path / "made"


class Quiet(http.server.SimpleHTTPRequestHandler):
    requests: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def http_url(folder):
    (folder / "versions.json").write_text(json.dumps({"versions": ["1.0.0", "1.1.0", "../x"]}))
    Quiet.requests.clear()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def s3_server():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {"endpoint_url": f"http://{host}:{port}", "key": "testing", "secret": "testing"}
    server.stop()


@pytest.fixture
def s3(folder, s3_server):
    import s3fs

    fs = s3fs.S3FileSystem(**s3_server)
    if not fs.exists("models"):
        fs.mkdir("models")
    fs.put(str(folder), "models/shop/", recursive=True)
    return "s3://models/shop/made", s3_server


def check(source, tmp_path):
    assert list(source.list()) == ["1.0.0", "1.1.0"]
    artifact = source.fetch("1.0.0")
    assert artifact.folder.is_relative_to(tmp_path / "cache")
    assert artifact.path().read_bytes() == b"1.0.0" * 1000
    with pytest.raises(VersionFailed, match=r"1\.1\.0/model\.safetensors: the checksum does not match"):
        source.fetch("1.1.0")
    with pytest.raises(VersionFailed, match=r"2\.0\.0/manifest\.json: there is no such file"):
        source.fetch("2.0.0")
    left = [path.name for path in artifact.folder.parent.iterdir()]
    assert left == [artifact.folder.name]  # of what failed nothing stays


def test_versions_behind_http(http_url, folder, tmp_path):
    source = ArtifactSource(http_url, cache=tmp_path / "cache")
    check(source, tmp_path)
    Quiet.requests.clear()
    artifact = source.fetch("1.0.0")
    assert Quiet.requests == ["/1.0.0/manifest.json"]  # the copy is used again
    artifact.path().write_bytes(b"rotten")
    assert source.fetch("1.0.0").path().read_bytes() == b"1.0.0" * 1000
    (folder / "versions.json").unlink()
    with pytest.raises(VersionUnavailable, match=r"versions\.json is missing"):
        source.list()


def test_versions_on_s3(s3, tmp_path):
    url, options = s3
    check(ArtifactSource(url, cache=tmp_path / "cache", options=options), tmp_path)


def test_a_source_that_is_away_is_no_fault_of_the_version(tmp_path):
    source = ArtifactSource("http://127.0.0.1:9/models", cache=tmp_path / "cache")
    for call in (source.list, lambda: source.fetch("1.0.0")):
        with pytest.raises(VersionUnavailable, match="cannot be read") as caught:
            call()
        assert caught.value.retryable
