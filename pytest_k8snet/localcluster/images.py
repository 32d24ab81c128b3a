"""Container images without a registry: docker-archive files, made from programs."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import stat
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock

from . import paths
from .cluster import PROBE_IMAGE
from .probe_image import probe_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .build import Binaries
    from .progress import Progress

PAUSE_IMAGE = "k8snet.local/pause:1"
COREDNS_IMAGE = "k8snet.local/coredns:1"

# The same input makes the same bytes, so that everything can be cached by content.
_TIME = 1767225600
_CREATED = "2026-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
USERS = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnobody:x:65534:\n",
}


@dataclass(frozen=True)
class Files:
    """What an image holds: contents or files of this machine, links, empty folders."""

    files: dict[str, bytes | Path]
    links: dict[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    executable: frozenset[str] = frozenset()

    def digest(self, config: str) -> str:
        """Identify the content, and the configuration that goes with it."""
        digest = hashlib.sha256(config.encode())
        for name, content in sorted(self.files.items()):
            data = content if isinstance(content, bytes) else content.read_bytes()
            digest.update(f"{name}\0{len(data)}\0".encode())
            digest.update(data)
        rest = [sorted(self.links.items()), self.folders, sorted(self.executable)]
        digest.update(json.dumps(rest).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Image:
    """What an image holds, and how its containers start, as OCI says it."""

    files: Files
    config: dict[str, Any]


def below(place: str, folder: Path) -> dict[str, bytes | Path]:
    """Return the files of a folder, by the places they get in an image."""
    return {
        f"{place}/{file.relative_to(folder)}": file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def build_images(
    binaries: Binaries, progress: Progress, more: Mapping[str, Image]
) -> dict[str, Path]:
    """Return the archive of each image of a netns cluster.

    `more` is what a cluster needs beyond what every cluster has, by name.
    """
    progress.stage("images")
    coredns, pause = binaries["coredns"] / "coredns", binaries["pause"] / "pause"
    programs = frozenset({"coredns", "pause"})
    every = {
        PAUSE_IMAGE: Image(
            Files({"pause": pause}, executable=programs),
            {"Entrypoint": ["/pause"], "User": "65535:65535"},
        ),
        COREDNS_IMAGE: Image(
            Files({"coredns": coredns, **USERS}, executable=programs),
            {"Entrypoint": ["/coredns"], "WorkingDir": "/"},
        ),
    }
    made = archives({**every, **more}, progress)
    return {**made, PROBE_IMAGE: probe_archive(progress)}


def archives(images: Mapping[str, Image], progress: Progress) -> dict[str, Path]:
    """Return the archive of each image; make those that the cache does not hold."""
    home = paths.cache_home() / "images"
    home.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, image in images.items():
        progress.detail(name)
        found[name] = _archive(home, name, image.files, image.config)
    return found


def probe_archive(progress: Progress) -> Path:
    """Return the archive of the probe image, for which nothing need be built."""
    home = paths.cache_home() / "images"
    home.mkdir(parents=True, exist_ok=True)
    progress.detail("probe: Python and its libraries")
    found = probe_files(home)
    files = Files(
        {**found.files, **USERS, "etc/nsswitch.conf": b"hosts: files dns\n"},
        found.links,
        ("dev", "proc", "sys", "tmp", "var/tmp", "usr/local/bin"),
    )
    config = {
        "Cmd": ["sleep", "infinity"],
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"],
        "WorkingDir": "/",
    }
    return _archive(home, PROBE_IMAGE, files, config)


def _archive(home: Path, name: str, files: Files, config: dict[str, Any]) -> Path:
    short = name.partition("/")[2].partition(":")[0].replace("/", "-")
    digest = files.digest(json.dumps(config, sort_keys=True))
    archive = home / f"{short}-{digest}.tar"
    with FileLock(home / ".lock"):
        if not archive.exists():
            _write(archive, name, files, config)
    return archive


def _write(archive: Path, name: str, files: Files, config: dict[str, Any]) -> None:
    # Beside the archive, and not in memory: a compiler is half a gigabyte.
    with tempfile.TemporaryFile(dir=archive.parent) as layer:
        _write_layer(layer, files)
        write_archive(archive, name, layer, config)


def write_archive(
    archive: Path, name: str, layer: io.BufferedRandom, config: dict[str, Any]
) -> None:
    """Write what `ctr images import` and `docker load` read: an image of one layer."""
    layer.seek(0)
    diff = hashlib.file_digest(layer, "sha256").hexdigest()
    machine = platform.machine()
    image = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "created": _CREATED,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
            "history": [{"created": _CREATED, "created_by": "k8snet"}],
        },
        sort_keys=True,
    ).encode()
    file = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": [f"{diff}.tar"]}]
    new = archive.with_suffix(".new")
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, file, image)
        entry = _entry(f"{diff}.tar", layer.seek(0, io.SEEK_END))
        layer.seek(0)
        tar.addfile(entry, layer)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    new.replace(archive)


def _write_layer(target: IO[bytes], files: Files) -> None:
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        named = {*files.files, *files.links}
        folders = {
            str(parent)
            for name in (*named, *(f"{folder}/." for folder in files.folders))
            for parent in Path(name).parents
        }
        folders = {f for f in (*folders, *files.folders) if f not in {".", *named}}
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mtime = tarfile.DIRTYPE, _TIME
            entry.mode = 0o1777 if folder.endswith("tmp") else 0o755
            tar.addfile(entry)
        for name, content in sorted(files.files.items()):
            if isinstance(content, bytes):
                _add(tar, name, content, 0o755 if name in files.executable else 0o644)
            else:
                told = content.stat()
                runs = name in files.executable or told.st_mode & stat.S_IXUSR
                with content.open("rb") as data:
                    mode = 0o755 if runs else 0o644
                    tar.addfile(_entry(name, told.st_size, mode), data)
        for name, target_of in sorted(files.links.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mtime = tarfile.SYMTYPE, target_of, _TIME
            tar.addfile(entry)


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    tar.addfile(_entry(name, len(data), mode), io.BytesIO(data))


def _entry(name: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, _TIME
    return entry
