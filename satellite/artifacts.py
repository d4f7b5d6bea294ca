"""Versions of a model as they lie on disk, on S3 or behind HTTPS: one folder each, with a manifest.

::

    <source>/versions.json            over HTTP(S), where folders cannot be listed: {"versions": ["1.0.0"]}
    <source>/<version>/manifest.json
    <source>/<version>/<file>         named by the manifest, with its size and checksum

Weights are `safetensors` or a program saved by `torch.export`: no format that runs code when it is opened.
A folder on this machine is used where it is; anything else is copied into a local cache once.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from satellite.errors import VersionFailed, VersionUnavailable

MANIFEST = "manifest.json"
INDEX = "versions.json"
SAFETENSORS = "safetensors"
TORCH_EXPORT = "torch.export"
# What may stand in a path and in an address without being able to lead out of its folder.
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
FILE = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"


class ArtifactFile(BaseModel, frozen=True, extra="forbid"):
    """One file of a version."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a version is: written once, when it is made.

    One that names a single `file`, with `bytes` and `sha256` beside it, means the same as `files` of one.
    Whatever else stands in it is part of `about`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    format: Literal["safetensors", "torch.export"]
    files: dict[Annotated[str, Field(pattern=FILE)], ArtifactFile] = Field(min_length=1)
    created: datetime = Field(description="UTC.")
    metrics: dict[str, Any] = Field(default={}, description="Scores, as whoever made it measured them.")
    about: dict[str, Any] = Field(default={}, description="What the model needs to read it, and its story.")

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = dict(cast("dict[str, Any]", value))
        if "file" in fields:
            size, checksum = fields.pop("bytes", None), fields.pop("sha256", None)
            fields["files"] = {fields.pop("file"): {"bytes": size, "sha256": checksum}}
        known = {name: fields.pop(name) for name in [*fields] if name in cls.model_fields}
        return {**known, "about": {**known.get("about", {}), **fields}} if fields else known

    @field_validator("created", mode="before")
    @classmethod
    def _as_moment(cls, value: Any) -> datetime:
        text = str(value)
        moment = datetime.combine(date.fromisoformat(text), time()) if len(text) == 10 else None
        moment = moment or datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A version whose files lie in a local folder, and are those its manifest vouches for."""

    folder: Path
    manifest: Manifest

    @property
    def version(self) -> str:
        """Its name."""
        return self.manifest.version

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return self.manifest.size_bytes

    def path(self, name: str | None = None) -> Path:
        """A file of it; the only one, if no name is given.

        Raises:
            VersionFailed: the manifest names no such file.
        """
        names = list(self.manifest.files)
        if name is None and len(names) == 1:
            return self.folder / names[0]
        if name not in names:
            raise VersionFailed(f"{self.folder / MANIFEST}: the model asks for {name}, and it names {names}")
        return self.folder / name

    def tensors(self, device: str, name: str | None = None) -> dict[str, Any]:
        """The tensors of a safetensors file, by name, on `device`.

        Raises:
            VersionFailed: it is not one.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self._need(SAFETENSORS)
        path = self.path(name)
        try:
            return load_file(path, device=device)
        except (SafetensorError, ValueError) as error:
            raise VersionFailed(f"{path}: not a safetensors file: {error}") from error

    def program(self, name: str | None = None) -> Any:
        """The `torch.export.ExportedProgram` of a file; `.module()` makes it callable.

        Raises:
            VersionFailed: it is not one.
        """
        import torch

        self._need(TORCH_EXPORT)
        path = self.path(name)
        try:
            return torch.export.load(path)
        except Exception as error:
            raise VersionFailed(f"{path}: not a program saved by torch.export: {error}") from error

    def _need(self, kind: str) -> None:
        if self.manifest.format != kind:
            raise VersionFailed(
                f"{self.folder / MANIFEST}: the model reads {kind}, and this is {self.manifest.format}"
            )


class ArtifactSource:
    """Where the versions of one model lie. Every call may block for as long as the source takes.

    Args:
        url: a folder: a path, or anything fsspec can open, such as `s3://bucket/folder`, `https://host/folder`.
        cache: a local folder that copies are kept in; None: one for temporary files.
        options: for fsspec, beside what it takes from the environment.
    """

    def __init__(
        self, url: str, *, cache: Path | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._options = dict(options or {})
        cache = cache or Path(tempfile.gettempdir()) / "satellite-artifacts"
        self._cache = cache / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def list(self) -> dict[str, Manifest | VersionFailed]:
        """All versions, oldest first. One whose manifest cannot be read is the error that says why.

        Raises:
            VersionUnavailable: the source does not answer.
        """
        found: dict[str, Manifest | VersionFailed] = {}
        for version in self._names():
            try:
                found[version] = self.manifest(version)
            except VersionFailed as error:
                found[version] = error
        return dict(sorted(found.items(), key=lambda item: _age(*item)))

    def manifest(self, version: str) -> Manifest:
        """The manifest of one version.

        Raises:
            VersionFailed: there is none, or it is not a manifest; the message starts with its address.
            VersionUnavailable: the source does not answer.
        """
        return self._manifest(version)[0]

    def fetch(self, version: str) -> Artifact:
        """A version in a local folder, every file of it checked.

        Raises:
            VersionFailed: a file is missing, or is not the one its manifest vouches for.
            VersionUnavailable: the source does not answer.
        """
        manifest, content = self._manifest(version)
        fs, root = self._open()
        if isinstance(fs, LocalFileSystem):
            artifact = Artifact(folder=Path(root) / version, manifest=manifest)
            _check(artifact)
            return artifact
        # The same version published anew is another copy.
        folder = self._cache / f"{version}-{hashlib.sha256(content).hexdigest()[:12]}"
        artifact = Artifact(folder=folder, manifest=manifest)
        if folder.is_dir():
            try:
                _check(artifact)
                return artifact
            except VersionFailed:
                shutil.rmtree(folder, ignore_errors=True)
        self._copy(fs, f"{root}/{version}", content, artifact)
        return artifact

    def _copy(self, fs: Any, remote: str, manifest: bytes, artifact: Artifact) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that the whole of it appears there in one step, or not at all.
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self._cache) as name:
            part = Path(name) / "version"
            part.mkdir()
            for file in artifact.manifest.files:
                with self._speaking(f"{remote}/{file}"):
                    fs.get_file(f"{remote}/{file}", str(part / file))
            (part / MANIFEST).write_bytes(manifest)
            _check(Artifact(folder=part, manifest=artifact.manifest), called=f"{self.url}/{artifact.version}")
            try:
                part.rename(artifact.folder)
            except OSError:
                if not artifact.folder.is_dir():  # else another replica was faster
                    raise

    def _names(self) -> list[str]:
        fs, root = self._open()
        try:
            with self._speaking(f"{self.url}/{INDEX}"):
                content: bytes = fs.cat_file(f"{root}/{INDEX}")
        except VersionFailed:
            return self._listed(fs, root)
        try:
            names: list[str] = json.loads(content)["versions"]
            return [name for name in names if VERSION.fullmatch(name)]
        except (ValueError, KeyError, TypeError) as error:
            raise VersionUnavailable(
                f'{self.url}/{INDEX}: not an index, such as {{"versions": ["1.0.0"]}}: {error!r}'
            ) from error

    def _listed(self, fs: Any, root: str) -> list[str]:
        if self.url.startswith(("http://", "https://")):
            raise VersionUnavailable(f"{self.url}/{INDEX} is missing: over HTTP it must list the versions")
        try:
            with self._speaking(self.url):
                fs.invalidate_cache()
                entries: list[dict[str, Any]] = fs.ls(root, detail=True)
        except VersionFailed:
            return []  # there is no such folder yet
        folders = [entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory"]
        names = [folder.rpartition("/")[2] for folder in folders]
        return [name for name in names if VERSION.fullmatch(name)]

    def _manifest(self, version: str) -> tuple[Manifest, bytes]:
        if not VERSION.fullmatch(version):
            raise VersionFailed(f"{version[:80]!r} is not the name of a version, such as 1.0.0")
        fs, root = self._open()
        address = f"{self.url}/{version}/{MANIFEST}"
        with self._speaking(address):
            content: bytes = fs.cat_file(f"{root}/{version}/{MANIFEST}")
        try:
            manifest = Manifest.model_validate_json(content)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}"
                for e in error.errors(include_url=False, include_input=False)[:5]
            )
            raise VersionFailed(f"{address}: not a manifest: {problems}") from None
        if manifest.version != version:
            raise VersionFailed(f"{address}: it is the manifest of version {manifest.version!r}")
        return manifest, content

    def _open(self) -> tuple[Any, str]:
        with self._speaking(self.url):
            return fsspec.url_to_fs(self.url, **self._options)

    def _speaking(self, address: str) -> _Speaking:
        return _Speaking(address)


class _Speaking:
    """What goes wrong on the way to a source, in our terms: it is not there, or the source is away."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise VersionFailed(f"{self._address}: there is no such file") from error
        if isinstance(error, Exception):
            # Every filesystem has errors of its own: what is not a missing file may be there another time.
            what = f"{type(error).__name__}: {error}"[:300]
            raise VersionUnavailable(f"{self._address} cannot be read: {what}") from error


def first_version(wanted: str | None, declared: str, found: Mapping[str, object]) -> str:
    """The version that answers until the API says otherwise.

    Args:
        wanted: what the model's config says, if anything.
        declared: what its class declares.
        found: the versions there are, oldest first.
    """
    if wanted is not None or declared in found or not found:
        return wanted or declared
    return list(found)[-1]


def open_folder(folder: Path) -> Artifact:
    """The version in one local folder, checked.

    Raises:
        VersionFailed: as `ArtifactSource.fetch`.
    """
    return ArtifactSource(str(folder.parent)).fetch(folder.name)


def _check(artifact: Artifact, *, called: str | None = None) -> None:
    """Compare every file with the manifest.

    Raises:
        VersionFailed: one is missing or differs; the message names it, in the folder as it is called.
    """
    for name, expected in artifact.manifest.files.items():
        address = f"{called or artifact.folder}/{name}"
        try:
            with (artifact.folder / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise VersionFailed(f"{address}: {error.strerror}; restore the file") from error
        if actual != expected.sha256:
            raise VersionFailed(
                f"{address}: the checksum does not match the manifest: sha256 {actual}, expected "
                f"{expected.sha256}; the file is damaged or belongs to another version"
            )


def write_manifest(folder: Path, version: str, kind: str, *, metrics: Any = None, **about: Any) -> Manifest:
    """Vouch for the files that lie in `folder`, over a manifest that is there.

    Args:
        folder: of one version, with its files and nothing else.
        version: its name.
        kind: `safetensors` or `torch.export`.
        metrics: its scores.
        about: what the model needs to read it, and its story.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    manifest = Manifest.model_validate(
        {
            "version": version,
            "format": kind,
            "files": files,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "metrics": metrics or {},
            "about": about,
        }
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def _age(version: str, manifest: Manifest | VersionFailed) -> tuple[datetime, list[tuple[int, str]]]:
    """Sorts by the day it was made, then by its numbers: 1.10 after 1.9."""
    made = manifest.created if isinstance(manifest, Manifest) else datetime.fromtimestamp(0, UTC)
    parts = re.findall(r"\d+|\D+", version)
    return made, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
