"""Images are complete, deterministic, and made once."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_k8snet.localcluster import images, userland

if TYPE_CHECKING:
    from pathlib import Path

CONFIG: dict[str, Any] = {"Cmd": ["/p"]}


def files(program: Path) -> images.Files:
    return images.Files(
        {"usr/bin/p": program, "etc/passwd": b"root"},
        {"bin": "usr/bin"},
        ("tmp", "var/tmp"),
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    return path


def test_an_archive_names_the_image_and_holds_its_files(
    tmp_path: Path, program: Path
) -> None:
    archive = tmp_path / "p.tar"
    images._write(archive, "k8snet.local/p:1", files(program), CONFIG)

    with tarfile.open(archive) as tar:
        names = tar.getnames()
        (entry,) = json.loads(_read(tar, "manifest.json"))
        config = json.loads(_read(tar, entry["Config"]))
        layer = _read(tar, entry["Layers"][0])
    assert len(names) == 3
    assert entry["RepoTags"] == ["k8snet.local/p:1"]
    assert config["config"] == CONFIG
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        found = {member.name: member for member in tar.getmembers()}
    assert set(found) == {
        *("usr", "usr/bin", "usr/bin/p", "bin", "etc", "etc/passwd"),
        *("tmp", "var", "var/tmp"),
    }
    assert found["usr/bin/p"].mode == 0o755
    assert found["etc/passwd"].mode == 0o644
    assert found["tmp"].mode == found["var/tmp"].mode == 0o1777
    assert found["bin"].linkname == "usr/bin"
    assert {member.uid for member in found.values()} == {0}


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def test_the_same_content_makes_the_same_bytes(tmp_path: Path, program: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    images._write(first, "p", files(program), CONFIG)
    program.touch()
    images._write(second, "p", files(program), CONFIG)

    assert first.read_bytes() == second.read_bytes()


def test_an_archive_is_made_once_per_content(tmp_path: Path, program: Path) -> None:
    first = images._archive(tmp_path, "k8snet.local/p:1", files(program), CONFIG)
    made = first.stat().st_mtime_ns
    again = images._archive(tmp_path, "k8snet.local/p:1", files(program), CONFIG)
    assert (again, again.stat().st_mtime_ns) == (first, made)

    program.write_bytes(b"\x7fELF2")
    other = images._archive(tmp_path, "k8snet.local/p:1", files(program), CONFIG)
    assert other != first


def test_everything_lies_below_one_usr() -> None:
    found = userland.merged(
        {"/lib64/ld.so": b"", "/usr/lib/libc.so": b"", "/root/python": b""},
        {"/lib/libc.so": "/usr/lib/libc.so", "/usr/bin/python3": "/root/python"},
    )

    assert set(found.files) == {"usr/lib64/ld.so", "usr/lib/libc.so", "root/python"}
    assert found.links == {
        "usr/bin/python3": "/root/python",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
        "bin": "usr/bin",
    }
