"""The user's kubeconfig: our context goes in and comes out, the rest stays."""

from __future__ import annotations

import base64
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import SoftFileLock, Timeout

from .errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_k8snet.pki import KeyPair

LOCK_SECONDS = 10
_LISTS = ("clusters", "contexts", "users")


def single(name: str, server: str, ca: KeyPair, user: KeyPair) -> dict[str, Any]:
    """Return a kubeconfig with one context, which is the current one."""

    def encoded(pem: str) -> str:
        return base64.b64encode(pem.encode()).decode()

    cluster = {"server": server, "certificate-authority-data": encoded(ca.cert_pem)}
    keys = {
        "client-certificate-data": encoded(user.cert_pem),
        "client-key-data": encoded(user.key_pem),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": keys}],
        "current-context": name,
        "preferences": {},
    }


def default_file() -> Path:
    """Return the file that kubectl and kind would write to.

    Of several in KUBECONFIG that is the first that exists, else the last.
    """
    listed = [Path(p) for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
    if not listed:
        return Path.home() / ".kube" / "config"
    return next((path for path in listed if path.exists()), listed[-1])


def merge(file: Path, added: dict[str, Any]) -> None:
    """Add a single kubeconfig's entries to a file, and make its context current."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(file):
        config = _read(file)
        name = added["current-context"]
        for key in _LISTS:
            config[key] = [*_others(config, key, name), *added[key]]
        config["current-context"] = name
        _write(file, config)


def remove(file: Path, name: str) -> bool:
    """Remove a context with its cluster and user; say whether there was one."""
    if not file.exists():
        return False
    with _locked(file):
        config = _read(file)
        kept = {key: _others(config, key, name) for key in _LISTS}
        current = config.get("current-context") == name
        if not current and all(len(kept[k]) == len(config.get(k) or ()) for k in kept):
            return False
        config.update(kept)
        if current:
            config["current-context"] = ""
        _write(file, config)
        return True


def _others(config: dict[str, Any], key: str, name: str) -> list[Any]:
    return [entry for entry in config.get(key) or () if entry.get("name") != name]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock file that kubectl and kind hold, too, while they write."""
    lock = file.resolve().with_name(f"{file.resolve().name}.lock")
    try:
        with SoftFileLock(lock, timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise LocalClusterError(
            f"{lock} exists for more than {LOCK_SECONDS} s, so that {file} cannot be "
            "changed; when no kubectl or kind runs, remove it"
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text()) if file.exists() else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LocalClusterError(f"{file} could not be read: {error}") from error
    if config is None:
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    if not isinstance(config, dict):
        raise LocalClusterError(
            f"{file} is not a kubeconfig; give another one with --kubeconfig"
        )
    return config


def _write(file: Path, config: dict[str, Any]) -> None:
    # Whole or not at all, and through a link rather than over it.
    target = file.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    new = target.with_name(f".{target.name}.k8snet")
    new.touch(mode=0o600)
    new.write_text(yaml.safe_dump(config, sort_keys=False))
    new.chmod(mode)
    new.replace(target)
