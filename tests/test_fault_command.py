"""Who may break what, and what is said to those who may not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_k8snet import cli, localcluster
from pytest_k8snet.faults import holder, name_server
from pytest_k8snet.faults.catalogue import FAULTS
from pytest_k8snet.faults.catalogue.network import HAIRPIN_OFF

if sys.platform != "linux":
    pytest.skip("netns clusters exist only on Linux", allow_module_level=True)

CLUSTERS = Path(__file__).parents[1] / "clusters"
HELD = "pytest_k8snet.faults.holder._holders"


@pytest.fixture(autouse=True)
def clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[localcluster.Cluster]:
    found: list[localcluster.Cluster] = []
    monkeypatch.setenv("K8SNET_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(localcluster, "clusters", lambda: found)
    monkeypatch.setattr("pytest_k8snet.localcluster.lifecycle.clusters", lambda: found)
    return found


def cluster(
    tmp_path: Path, *nodes: str, provider: localcluster.Provider = "netns"
) -> localcluster.Cluster:
    return localcluster.Cluster(
        "ci",
        "k8snet-ci",
        tmp_path / "admin.conf",
        provider,
        tuple(f"ci-{node}" for node in nodes),
    )


def test_a_fault_can_be_told_by_its_id() -> None:
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)
    assert holder.find("hairpin-off") is HAIRPIN_OFF


def test_a_fault_is_made_on_a_cluster_that_there_is() -> None:
    assert {f.cluster for f in FAULTS} <= {p.stem for p in CLUSTERS.glob("*.yaml")}


def test_all_faults_are_listed_with_where_they_are_in_force(
    clusters: list[localcluster.Cluster],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clusters.append(cluster(tmp_path, "worker2"))
    monkeypatch.setattr(HELD, lambda fault, _: [1] if fault is HAIRPIN_OFF else [])

    assert cli.main(["fault", "list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [fault.id for fault in FAULTS]
    assert [line.split()[:4] for line in lines if " ci " in line] == [
        ["hairpin-off", "three-node", "worker2", "ci"]
    ]


@pytest.mark.parametrize("verb", ["inject", "heal"])
def test_what_is_not_there_is_named(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fault", verb, "hairpin-off", "--cluster", "prod"]) == 1
    assert cli.main(["fault", verb, "hairpin", "--cluster", "prod"]) == 1

    assert capsys.readouterr().err == (
        'k8snet: error: no cluster "prod" runs here; `k8snet cluster list` shows what '
        "does\n"
        'k8snet: error: no fault is called "hairpin"; there are hairpin-off; `k8snet '
        "fault list` shows all\n"
    )


def test_no_other_cluster_is_ever_broken(
    clusters: list[localcluster.Cluster],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clusters.append(cluster(tmp_path, "worker2", provider="kind"))

    assert cli.main(["fault", "inject", "hairpin-off", "--cluster", "ci"]) == 1
    assert cli.main(["fault", "heal", "--cluster", "ci"]) == 1

    line = (
        'k8snet: error: the cluster "ci" is made by kind, but faults are made only on '
        "local clusters on namespaces (--provider netns)\n"
    )
    assert capsys.readouterr().err == line * 2


def test_a_cluster_without_the_node_is_named_another(
    clusters: list[localcluster.Cluster],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clusters.append(cluster(tmp_path, "control-plane"))

    assert cli.main(["fault", "inject", "hairpin-off", "--cluster", "ci"]) == 1

    assert capsys.readouterr().err == (
        'k8snet: error: hairpin-off is made on worker2, but "ci" has only '
        "ci-control-plane; clusters/three-node.yaml has it\n"
    )


def test_what_a_killed_holder_left_is_not_called_healed(
    clusters: list[localcluster.Cluster],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clusters.append(cluster(tmp_path, "worker2"))
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "hairpin-off").touch()

    for verb in ("inject", "heal"):
        assert cli.main(["fault", verb, "hairpin-off", "--cluster", "ci"]) == 1
        assert capsys.readouterr().err == (
            'k8snet: error: hairpin-off was not healed on "ci" (what held it was '
            "killed); remove the cluster: k8snet cluster down ci\n"
        )


def test_what_is_not_in_force_needs_no_healing(
    clusters: list[localcluster.Cluster],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clusters.append(cluster(tmp_path, "worker2"))

    assert cli.main(["fault", "heal", "--cluster", "ci"]) == 0
    assert cli.main(["fault", "heal", "hairpin-off", "--cluster", "ci"]) == 1

    said = capsys.readouterr()
    assert said.out == 'Nothing is in force on "ci".\n'
    assert said.err == 'k8snet: error: hairpin-off is not in force on "ci"\n'


@pytest.mark.parametrize(("kind", "answers"), [(1, 1), (28, 0)])
def test_the_name_server_knows_every_name_by_ipv4(kind: int, answers: int) -> None:
    question = b"\4some\4name\0" + kind.to_bytes(2) + b"\0\1"
    header = b"\x12\x34\1\0\0\1\0\0\0\0\0\0"

    said = name_server.answer(header + question)

    assert said.startswith(b"\x12\x34\x81\x80\0\1" + answers.to_bytes(2))
    assert said[12:].startswith(question)
    assert said.endswith(b"\xc0\x00\x02\x35") is bool(answers)
