"""Our context goes into the user's kubeconfig and out again; the rest stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_k8snet.localcluster import LocalClusterError, kubeconfig

if TYPE_CHECKING:
    from pathlib import Path

THEIRS: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "prod", "cluster": {"server": "https://prod"}}],
    "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "me"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "current-context": "prod",
    "extensions": [{"name": "kept"}],
}


def ours(server: str = "https://10.203.0.11:6443") -> dict[str, Any]:
    return {
        "clusters": [{"name": "k8snet-a", "cluster": {"server": server}}],
        "contexts": [{"name": "k8snet-a", "context": {"cluster": "k8snet-a"}}],
        "users": [{"name": "k8snet-a", "user": {}}],
        "current-context": "k8snet-a",
    }


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def names(config: Any, key: str) -> list[str]:
    return [entry["name"] for entry in config[key]]


def test_merging_adds_our_context_makes_it_current_and_keeps_the_rest(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(THEIRS))
    file.chmod(0o640)

    kubeconfig.merge(file, ours())

    config = read(file)
    assert names(config, "contexts") == ["prod", "k8snet-a"]
    assert names(config, "clusters") == ["prod", "k8snet-a"]
    assert names(config, "users") == ["me", "k8snet-a"]
    assert config["current-context"] == "k8snet-a"
    assert config["extensions"] == THEIRS["extensions"]
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_merging_again_replaces_our_context(tmp_path: Path) -> None:
    file = tmp_path / "config"
    kubeconfig.merge(file, ours("https://old"))

    kubeconfig.merge(file, ours("https://new"))

    assert read(file)["clusters"] == ours("https://new")["clusters"]


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / ".kube" / "config"

    kubeconfig.merge(file, ours())

    assert file.stat().st_mode & 0o777 == 0o600
    assert read(file)["current-context"] == "k8snet-a"


def test_removing_takes_out_only_what_is_ours(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(THEIRS))
    kubeconfig.merge(file, ours())

    assert kubeconfig.remove(file, "k8snet-a")

    assert read(file) == {**THEIRS, "current-context": ""}


def test_removing_keeps_a_current_context_that_is_not_ours(tmp_path: Path) -> None:
    file = tmp_path / "config"
    kubeconfig.merge(file, ours())
    file.write_text(yaml.safe_dump({**read(file), "current-context": "prod"}))

    kubeconfig.remove(file, "k8snet-a")

    assert read(file)["current-context"] == "prod"


def test_removing_what_is_not_there_does_not_touch_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config"
    assert not kubeconfig.remove(file, "k8snet-a")
    file.write_text("# a comment that writing would lose\n" + yaml.safe_dump(THEIRS))
    before = file.read_text()

    assert not kubeconfig.remove(file, "k8snet-a")

    assert file.read_text() == before


def test_a_link_is_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "real", tmp_path / "config"
    target.write_text(yaml.safe_dump(THEIRS))
    link.symlink_to(target)

    kubeconfig.merge(link, ours())

    assert link.is_symlink()
    assert read(target)["current-context"] == "k8snet-a"


def test_a_file_that_is_locked_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeconfig, "LOCK_SECONDS", 0.1)
    file = tmp_path / "config"
    # As kubectl and kind do it.
    (tmp_path / "config.lock").touch()

    with pytest.raises(LocalClusterError, match=r"config\.lock exists"):
        kubeconfig.merge(file, ours())

    assert not file.exists()


@pytest.mark.parametrize("text", ["just text", "- a list"])
def test_what_is_no_kubeconfig_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    with pytest.raises(LocalClusterError, match="is not a kubeconfig"):
        kubeconfig.merge(file, ours())

    assert file.read_text() == text


def test_the_default_is_kubectls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert kubeconfig.default_file() == tmp_path / ".kube" / "config"

    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert kubeconfig.default_file() == second

    first.touch()
    assert kubeconfig.default_file() == first
