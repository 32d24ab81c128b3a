"""What is written down about clusters survives, and broken records harm nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.localcluster import paths, state, sysctls

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "linux":
    pytest.skip("netns clusters exist only on Linux", allow_module_level=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "state"
    monkeypatch.setenv("K8SNET_STATE_HOME", str(home))
    return home


def record(*families: str, index: int = 3) -> state.ClusterRecord:
    node = state.NodeRecord(
        "a-worker", "worker", False, 12, ("10.203.3.12",), {"x": ""}
    )
    return state.ClusterRecord(
        name="a",
        index=index,
        families=families,
        nodes=(node,),
        owner=state.this_process(),
        features=("NetworkPolicy",),
    )


def test_a_record_is_read_as_it_was_written() -> None:
    written = record("ipv4", "ipv6")
    written.save()

    assert state.load("a") == written
    assert state.names() == ["a"]
    assert state.records() == [written]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"name": "a", "later": 1}', "[]"])
def test_a_broken_record_is_no_record_but_its_name_is_known(
    home: Path, text: str
) -> None:
    (home / "a").mkdir(parents=True)
    (home / "a" / "cluster.json").write_text(text)

    assert state.load("a") is None
    assert state.names() == ["a"]
    assert state.records() == []


def test_no_state_is_no_clusters() -> None:
    assert state.names() == []
    assert state.load("a") is None


def test_both_families_of_a_place_show_the_same_digits() -> None:
    cluster = record("ipv4", "ipv6", index=10)

    assert cluster.addresses(200) == ("10.203.10.200", "fd00:203:a::200")
    assert cluster.addresses(12) == ("10.203.10.12", "fd00:203:a::12")


def test_names_of_links_and_namespaces_fit() -> None:
    cluster = record("ipv4", index=255)

    # The kernel's limit for an interface.
    assert len(cluster.link) <= 15
    assert cluster.netns("worker2") == "k8snet-a-worker2"
    assert cluster.server == "https://10.203.3.12:6443"


def test_a_process_is_known_beyond_its_number() -> None:
    assert state.alive(state.this_process())
    assert not state.alive(f"{os.getpid()}:1")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        other = f"{process.pid}:{state._started(process.pid)}"
    assert not state.alive(other)


def test_the_lock_leaves_nothing_behind(home: Path) -> None:
    with state.locked():
        assert list(home.iterdir()) == []
    state.remove_home_if_empty()
    assert not home.exists()


def test_limits_are_raised_once_and_restored_after_the_last_cluster(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctls, "SYS", tmp_path)
    limit = tmp_path / "fs/inotify/max_user_instances"
    limit.parent.mkdir(parents=True)
    limit.write_text("128\n")
    home.mkdir()

    sysctls.raise_limits()
    assert limit.read_text() == "8192"
    sysctls.raise_limits()
    record("ipv4").save()
    sysctls.restore_limits()
    assert limit.read_text() == "8192", "a cluster still needs it"

    state.remove("a")
    sysctls.restore_limits()
    assert limit.read_text() == "128"
    assert list(home.iterdir()) == []


def test_a_limit_that_is_high_enough_is_not_touched(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctls, "SYS", tmp_path)
    limit = tmp_path / "fs/inotify/max_user_instances"
    limit.parent.mkdir(parents=True)
    limit.write_text("9000\n")
    home.mkdir()

    sysctls.raise_limits()
    sysctls.restore_limits()

    assert limit.read_text() == "9000\n"


def test_the_cache_follows_the_users_wishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("K8SNET_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert paths.cache_home() == tmp_path / ".cache" / "k8snet"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(paths.cache_home()) == "/xdg/k8snet"
    monkeypatch.setenv("K8SNET_CACHE_HOME", "/own")
    assert str(paths.cache_home()) == "/own"
