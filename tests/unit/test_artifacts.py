"""Versions in a folder: what is listed, and what is wrong with one touches no other."""

import hashlib
import json

import pytest

from models.lstm_timeseries import LSTMTimeSeries
from satellite.artifacts import SAFETENSORS, ArtifactSource, Manifest, open_folder, write_manifest
from satellite.errors import VersionFailed


def make(folder, version, content=b"weights", kind=SAFETENSORS, **about):
    place = folder / version
    place.mkdir(parents=True)
    (place / "model.safetensors").write_bytes(content)
    return write_manifest(place, version, kind, **about)


@pytest.fixture
def source(tmp_path):
    return ArtifactSource(str(tmp_path))


def test_versions_are_listed_oldest_first_with_what_is_known_of_them(tmp_path, source):
    for version in ("1.10.0", "1.9.0", "1.9.0-a"):
        make(tmp_path, version, metrics={"mase": 0.9}, hyper={"hidden": 8})
        path = tmp_path / version / "manifest.json"  # made in the same moment
        path.write_text(json.dumps({**json.loads(path.read_text()), "created": "2026-01-05"}))
    make(tmp_path, "0.1.0")
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    found = source.list()
    assert list(found) == ["notes", "1.9.0", "1.9.0-a", "1.10.0", "0.1.0"]
    assert found["1.9.0"].metrics == {"mase": 0.9}
    assert found["1.9.0"].about == {"hyper": {"hidden": 8}}
    assert found["1.9.0"].size_bytes == len(b"weights")
    assert "notes/manifest.json: there is no such file" in str(found["notes"])


def test_a_folder_that_is_not_there_has_no_versions(tmp_path):
    assert ArtifactSource(str(tmp_path / "nowhere")).list() == {}


def test_a_local_version_is_used_where_it_is(tmp_path, source):
    make(tmp_path, "1")
    artifact = source.fetch("1")
    assert artifact.folder == tmp_path / "1"
    assert artifact.path() == tmp_path / "1" / "model.safetensors"


def test_a_manifest_with_a_single_file_says_the_same(tmp_path, source):
    written = make(tmp_path, "1", metrics={"mase": 1}, hyper={"hidden": 8})
    flat = {
        **{"version": "1", "format": SAFETENSORS, "file": "model.safetensors", "bytes": 7},
        **{"sha256": hashlib.sha256(b"weights").hexdigest(), "created": "2026-11-23"},
        **{"hyper": {"hidden": 8}, "metrics": {"mase": 1}},
    }
    read = Manifest.model_validate_json(json.dumps(flat))
    assert read == written.model_copy(update={"created": read.created})
    assert read.created.isoformat() == "2026-11-23T00:00:00+00:00"


def spoil(name, change):
    def apply(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return apply


def edited(**changes):
    return lambda content: json.dumps({**json.loads(content), **changes}).encode()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            spoil("model.safetensors", lambda b: b[:-1] + b"!"),
            "model.safetensors: the checksum does not match",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: No such file or directory"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json: there is no such file"),
        (spoil("manifest.json", lambda b: b"{}"), "manifest.json: not a manifest: version: Field required"),
        (spoil("manifest.json", lambda b: b"\x80\x04"), "manifest.json: not a manifest"),
        (spoil("manifest.json", edited(version="3")), "it is the manifest of version '3'"),
        (spoil("manifest.json", edited(format="pickle")), "'safetensors' or 'torch.export'"),
        (
            spoil("manifest.json", edited(files={"../2/x": {"bytes": 1, "sha256": "0" * 64}})),
            "not a manifest",
        ),
        (spoil("manifest.json", edited(created="soon")), "not a manifest: created"),
    ],
)
def test_what_is_wrong_with_a_version_is_said_and_touches_no_other(tmp_path, source, damage, words):
    make(tmp_path, "1")
    make(tmp_path, "2")
    damage(tmp_path / "1")
    with pytest.raises(VersionFailed, match=words.replace(".", r"\.")):
        source.fetch("1")
    assert source.fetch("2").version == "2"
    assert isinstance(source.list()["2"], Manifest)


def test_the_shipped_weights_are_what_their_manifest_says():
    artifact = open_folder(LSTMTimeSeries.artifacts / LSTMTimeSeries.version)
    assert artifact.manifest.metrics
    tensors = artifact.tensors("cpu")
    assert sum(t.numel() * t.element_size() for t in tensors.values()) <= artifact.manifest.size_bytes


def test_only_what_cannot_run_code_is_opened(tmp_path):
    import torch

    class Doubler(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    folder = tmp_path / "1"
    folder.mkdir()
    torch.export.save(torch.export.export(Doubler(), (torch.ones(3),)), folder / "program.pt2")
    write_manifest(folder, "1", "torch.export")
    artifact = open_folder(folder)
    assert artifact.program().module()(torch.ones(3)).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(VersionFailed, match=r"the model reads safetensors, and this is torch\.export"):
        artifact.tensors("cpu")
    make(tmp_path, "2", content=b"\x80\x04N.")
    with pytest.raises(VersionFailed, match="not a safetensors file"):
        open_folder(tmp_path / "2").tensors("cpu")
