"""The command's words, exit statuses and messages."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_k8snet import cli, localcluster
from pytest_k8snet.localcluster import ClusterConfigError, UnknownClusterError
from pytest_k8snet.localcluster.subcommands import cluster_file


@pytest.fixture(autouse=True)
def _empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K8SNET_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("pytest_k8snet.localcluster.kind.find_program", lambda _: None)


def made(tmp_path: Path, name: str = "ci") -> localcluster.Cluster:
    return localcluster.Cluster(
        name, f"k8snet-{name}", tmp_path / "admin.conf", "netns", (f"{name}-worker",)
    )


def test_up_passes_on_what_it_was_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: dict[str, Any] = {}

    def up(file: Path, **options: Any) -> localcluster.Cluster:
        told.update(options, file=file)
        return made(tmp_path)

    monkeypatch.setattr(localcluster, "up", up)
    words = "cluster up a.yaml --name ci --provider netns --install-packages --retain"

    assert cli.main([*words.split(), "--kubeconfig", "k"]) == 0

    del told["progress"]
    assert told == {
        "file": Path("a.yaml"),
        "name": "ci",
        "provider": "netns",
        "install_packages": True,
        "retain": True,
        "kubeconfig": Path("k"),
    }
    assert "pytest --k8s-context=k8snet-ci" in capsys.readouterr().out


def test_a_bare_name_means_a_file_in_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cluster_file("three-node") == Path("three-node")
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "three-node.yaml").touch()
    assert cluster_file("three-node") == Path("clusters/three-node.yaml")
    assert cluster_file("other/three-node") == Path("other/three-node")
    assert cluster_file("three-node.yaml") == Path("three-node.yaml")


def test_an_error_is_one_line_with_its_notes_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up(*_: Any, **__: Any) -> None:
        error = ClusterConfigError("name: is wrong")
        error.add_note("logs of the cluster are in X")
        raise error

    monkeypatch.setattr(localcluster, "up", up)

    assert cli.main(["cluster", "up", "x.yaml"]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "k8snet: error: name: is wrong\n  logs of the cluster are in X\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        *("", "cluster", "cluster up", "cluster up f --provider x"),
        *("cluster logs n what", "cluster restart n etcd"),
    ],
)
def test_wrong_usage_is_status_2(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words.split())

    assert caught.value.code == 2
    assert "usage: k8snet" in capsys.readouterr().err


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("", "cluster", "cluster up", "cluster down", "cluster build"):
        with pytest.raises(SystemExit) as caught:
            cli.main([*words.split(), "--help"])
        assert caught.value.code == 0
    assert "--install-packages" in capsys.readouterr().out


def test_an_empty_list_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cluster", "list"]) == 0
    assert capsys.readouterr().err == "No local cluster runs here.\n"


def test_the_list_names_clusters_and_contexts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(localcluster, "clusters", lambda: [made(tmp_path)])
    monkeypatch.setattr(localcluster, "versions", lambda _: ["v1.35.4", "v1.36.1"])
    assert cli.main(["cluster", "list"]) == 0
    assert capsys.readouterr().out == (
        "NAME  PROVIDER  NODES  VERSION          CONTEXT\n"
        "ci    netns     1      v1.35.4,v1.36.1  k8snet-ci\n"
    )


def test_a_cluster_whose_nodes_cannot_be_looked_at_is_listed_without_versions(
    tmp_path: Path,
) -> None:
    assert localcluster.versions(made(tmp_path)) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["ci-a", "ci-b"], 'Cluster "ci": v1.36.1 runs on ci-a, ci-b after 0.'),
        ([], 'Cluster "ci": all Nodes run v1.36.1 already.'),
    ],
)
def test_upgrade_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changed: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(localcluster, "upgrade", lambda *_, **__: ("v1.36.1", changed))

    assert cli.main(["cluster", "upgrade", "ci"]) == 0

    assert said in capsys.readouterr().out


def test_restart_passes_on_what_it_was_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[object] = []

    def restart(*words: str, node: str | None, **_: Any) -> list[str]:
        told.extend([*words, node])
        return ["ci-worker"]

    monkeypatch.setattr(localcluster, "restart", restart)

    assert cli.main(["cluster", "restart", "ci", "kube-proxy", "--node", "worker"]) == 0

    assert told == ["ci", "kube-proxy", "worker"]
    assert "kube-proxy was restarted on ci-worker in 0." in capsys.readouterr().out


def test_the_nodes_of_kind_are_never_changed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = dataclasses.replace(made(tmp_path), provider="kind")
    monkeypatch.setattr(
        "pytest_k8snet.localcluster.lifecycle.clusters", lambda: [cluster]
    )
    for words in ("upgrade ci", "restart ci kubelet"):
        assert cli.main(["cluster", *words.split()]) == 1
        said = capsys.readouterr().err
        assert said.startswith('k8snet: error: the cluster "ci" is kind\'s, whose')
        assert said.count("\n") == 1


@pytest.mark.parametrize("found", [True, False])
def test_down_is_idempotent(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    found: bool,
) -> None:
    monkeypatch.setattr(localcluster, "down", lambda *_, **__: found)
    assert cli.main(["cluster", "down", "ci"]) == 0
    wanted = 'Cluster "ci" is removed.\n' if found else 'Cluster "ci": none here.\n'
    assert capsys.readouterr().out == wanted


def test_status_tells_what_does_not_run_and_exits_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    node = localcluster.NodeStatus(
        "ci-worker", "v1.36.1", ("10.0.0.1",), ("kubelet",), ("etcd",)
    )
    status = localcluster.Status(made(tmp_path), api_ready=True, nodes=(node,))
    monkeypatch.setattr(localcluster, "status", lambda _: status)

    assert cli.main(["cluster", "status", "ci"]) == 1

    assert "ci-worker  v1.36.1  10.0.0.1   kubelet  etcd" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        *("status x", "logs n --name x", "shell n --name x", "kubeconfig x"),
        *("upgrade x", "restart x kubelet"),
    ],
)
def test_an_unknown_cluster_is_an_error(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cluster", *words.split()]) == 1
    assert 'no cluster "x" runs here' in capsys.readouterr().err


def test_an_interruption_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(localcluster, "up", up)
    assert cli.main(["cluster", "up", "x.yaml"]) == 130
    assert capsys.readouterr().err == "k8snet: error: interrupted\n"


@pytest.mark.parametrize(
    ("node", "ran"),
    [
        ("ci-worker", ["on", "ci-worker", "ip", "-br", "a"]),
        ("outside", ["out", "ip", "-br", "a"]),
    ],
)
def test_a_shell_runs_the_words_after_the_dashes_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, ran: list[str]
) -> None:
    calls: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        calls.append(argv)
        return subprocess.CompletedProcess(argv, 7)

    def on_node(_: str, node: str, argv: list[str], **__: Any) -> list[str]:
        return ["on", node, *argv]

    cluster = dataclasses.replace(made(tmp_path), outside=("out",))
    monkeypatch.setattr(localcluster, "clusters", lambda: [cluster])
    monkeypatch.setattr(
        "pytest_k8snet.localcluster.lifecycle.clusters", lambda: [cluster]
    )
    monkeypatch.setattr(localcluster, "node_command", on_node)
    monkeypatch.setattr(subprocess, "run", run)

    words = ["cluster", "shell", node, "--name", "ci", "--", "ip", "-br", "a"]
    assert cli.main(words) == 7

    assert calls == [ran]


def test_dashes_belong_to_the_shell_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["cluster", "list", "--", "x"])
    assert "unrecognized arguments: x" in capsys.readouterr().err


def test_no_cluster_at_all_says_how_to_make_one() -> None:
    with pytest.raises(localcluster.LocalClusterError, match="k8snet cluster up FILE"):
        localcluster.require(None)


def test_a_node_of_no_cluster_is_unknown() -> None:
    with pytest.raises(UnknownClusterError, match='no cluster "x" runs here'):
        localcluster.node_command("x", "n", ["true"])
