"""Container images without a registry: docker-archive files, made from programs."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from . import paths
from .probe_image import probe_files

if TYPE_CHECKING:
    from .build import Binaries
    from .progress import Progress

PAUSE_IMAGE = "k8snet.local/pause:1"
COREDNS_IMAGE = "k8snet.local/coredns:1"
PROBE_IMAGE = "k8snet.local/probe:1"

# The same input makes the same bytes, so that everything can be cached by content.
_TIME = 1767225600
_CREATED = "2026-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_USERS = {
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
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
        rest = [sorted(self.links.items()), self.folders, sorted(self.executable)]
        digest.update(json.dumps(rest).encode())
        return digest.hexdigest()[:16]


def build_images(binaries: Binaries, progress: Progress) -> dict[str, Path]:
    """Return the archive of each image; make those that the cache does not hold."""
    home = paths.cache_home() / "images"
    home.mkdir(parents=True, exist_ok=True)
    progress.stage("images")
    coredns, pause = binaries["coredns"] / "coredns", binaries["pause"] / "pause"
    programs = frozenset({"coredns", "pause"})
    wanted: dict[str, tuple[Files, dict[str, Any]]] = {
        PAUSE_IMAGE: (
            Files({"pause": pause}, executable=programs),
            {"Entrypoint": ["/pause"], "User": "65535:65535"},
        ),
        COREDNS_IMAGE: (
            Files({"coredns": coredns, **_USERS}, executable=programs),
            {"Entrypoint": ["/coredns"], "WorkingDir": "/"},
        ),
    }
    found = {
        name: _archive(home, name, files, config)
        for name, (files, config) in wanted.items()
    }
    return {**found, PROBE_IMAGE: probe_archive(progress)}


def probe_archive(progress: Progress) -> Path:
    """Return the archive of the probe image, for which nothing need be built."""
    home = paths.cache_home() / "images"
    home.mkdir(parents=True, exist_ok=True)
    progress.detail("probe: Python and its libraries")
    found = probe_files(home)
    files = Files(
        {**found.files, **_USERS, "etc/nsswitch.conf": b"hosts: files dns\n"},
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
    short = name.partition("/")[2].partition(":")[0]
    digest = files.digest(json.dumps(config, sort_keys=True))
    archive = home / f"{short}-{digest}.tar"
    with FileLock(home / ".lock"):
        if not archive.exists():
            _write(archive, name, files, config)
    return archive


def _write(archive: Path, name: str, files: Files, config: dict[str, Any]) -> None:
    """Write what `ctr images import` and `docker load` read."""
    layer = _layer(files)
    diff = hashlib.sha256(layer).hexdigest()
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
        _add(tar, f"{diff}.tar", layer)
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    new.replace(archive)


def _layer(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
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
                runs = name in files.executable or content.stat().st_mode & stat.S_IXUSR
                _add(tar, name, content.read_bytes(), 0o755 if runs else 0o644)
        for name, target in sorted(files.links.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mtime = tarfile.SYMTYPE, target, _TIME
            tar.addfile(entry)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), mode, _TIME
    tar.addfile(entry, io.BytesIO(data))
