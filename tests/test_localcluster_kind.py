"""kind is driven with the right words, and its failures are passed on whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pytest_k8snet import localcluster
from pytest_k8snet.localcluster import (
    ClusterExistsError,
    CommandError,
    UnsupportedMachineError,
    addons,
    images,
    kind,
    kind_addons,
)
from pytest_k8snet.localcluster.addons import installer
from pytest_k8snet.localcluster.build import Binaries
from pytest_k8snet.localcluster.lifecycle import choose_provider
from pytest_k8snet.model import Feature

CLUSTER = """kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: ci
---
kind: ClusterExtras
apiVersion: k8snet/v1alpha1
features: [NetworkPolicy]
"""
NODES = "ci-worker\nci-control-plane\nci-worker2\n"
KIND = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$1 $2" in
"get clusters") cat {folder}/clusters ;;
"get nodes") printf '{nodes}' ;;
"get kubeconfig") echo 'kind: Config' ;;
"create cluster")
  for word; do
    if [ "$previous" = --config ]; then cat "$word" >{folder}/seen.yaml; fi
    previous=$word
  done
  echo 'Creating cluster "ci" ...'
  {create} ;;
esac
"""

ENGINE = """#!/bin/sh
echo "engine $@" >>{folder}/calls
case "$*" in
*" get --raw /api/v1/nodes") cat {folder}/nodes ;;
*" get --raw /api/v1")
  echo '{{"resources": [{{"kind": "Pool", "name": "pools", "namespaced": false}}]}}' ;;
*"/deployments/coredns")
  echo '{{"spec": {{"replicas": 2}}, "status": {{"readyReplicas": 2}}}}' ;;
*" images ls "*) cat {folder}/images ;;
"exec ci-worker2 cat /kind/version") echo v1.35.1 ;;
*" cat /kind/version") echo v1.36.1 ;;
*" apply "*) {apply} ;;
esac
exit {status}
"""
CONDITIONS = {"Ready": "True", "NetworkUnavailable": "False"}
JOINED = [
    {
        "metadata": {"name": name},
        "spec": {},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": "172.18.0.2"},
            ],
            "conditions": [{"type": t, "status": s} for t, s in CONDITIONS.items()],
        },
    }
    for name in NODES.split()
]


class Machine:
    """A machine with a recorded kind and recorded engines on PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "clusters").touch()
        (folder / "calls").touch()
        self.file = folder / "ci.yaml"
        self.file.write_text(CLUSTER)
        monkeypatch.setattr("pytest_k8snet.localcluster.commands.PATH", "/usr/bin:/bin")
        monkeypatch.setattr("pytest_k8snet.localcluster.packages.PATH", str(folder))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr(kind, "ENGINES", ("engine-a", "engine-b"))
        monkeypatch.setenv("KUBECONFIG", str(folder / "config"))
        monkeypatch.setenv("K8SNET_STATE_HOME", str(folder / "state"))
        monkeypatch.delenv("K8SNET_PROVIDER", raising=False)
        monkeypatch.delenv(kind.CHOICE, raising=False)
        probe = folder / "probe.tar"
        monkeypatch.setattr(images, "probe_archive", lambda _: probe)
        self.joined(JOINED)

    def program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def joined(self, nodes: list[dict[str, object]]) -> None:
        (self.folder / "nodes").write_text(json.dumps({"items": nodes}))

    def engine(self, name: str, status: int = 0, apply: str = ":") -> None:
        text = ENGINE.format(folder=self.folder, status=status, apply=apply)
        self.program(name, text)

    def kind(self, create: str = "echo ci >>$(dirname $0)/clusters") -> None:
        nodes = NODES.replace("\n", "\\n")
        self.program(
            "kind", KIND.format(folder=self.folder, nodes=nodes, create=create)
        )

    def calls(self, verb: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(verb)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_first_engine_that_answers_is_taken(machine: Machine) -> None:
    assert kind.engine() is None
    machine.engine("engine-a", status=1)
    machine.engine("engine-b")
    assert kind.engine() == "engine-b"


def test_kinds_own_variable_chooses_the_engine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.engine("engine-a")
    machine.engine("other")
    monkeypatch.setenv(kind.CHOICE, "other")
    assert kind.engine() == "other"


def test_an_engine_that_hangs_is_no_engine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "ENGINE_SECONDS", 0.2)
    machine.program("engine-a", "#!/bin/sh\nexec sleep 5\n")
    assert kind.engine() is None


def test_the_provider_is_kind_only_where_it_has_an_engine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_provider(None) == "netns"
    machine.engine("engine-a")
    assert choose_provider("auto") == "netns"
    machine.kind()
    assert choose_provider("auto") == "kind"
    assert choose_provider("netns") == "netns"
    monkeypatch.setenv("K8SNET_PROVIDER", "netns")
    assert choose_provider(None) == "netns"
    monkeypatch.setenv("K8SNET_PROVIDER", "magic")
    with pytest.raises(localcluster.ClusterConfigError, match="'magic', but should be"):
        choose_provider(None)


def test_up_creates_the_cluster_from_the_first_document_only(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind()

    cluster = localcluster.up(machine.file)

    (create,) = machine.calls("create")
    assert create.startswith("create cluster --name ci --config ")
    assert create.endswith(f" --kubeconfig {machine.folder / 'config'} --wait 180s")
    seen = yaml.safe_load((machine.folder / "seen.yaml").read_text())
    assert seen == yaml.safe_load(CLUSTER.partition("---")[0])
    assert cluster == localcluster.Cluster(
        name="ci",
        context="kind-ci",
        kubeconfig=machine.folder / "config",
        provider="kind",
        nodes=("ci-control-plane", "ci-worker", "ci-worker2"),
        outside=(),
        features=frozenset({Feature.NETWORK_POLICY}),
        image=localcluster.PROBE_IMAGE,
    )
    (loaded,) = machine.calls("load")
    assert loaded.endswith("probe.tar --name ci")


def test_up_does_not_wait_for_nodes_that_have_no_network(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind()
    machine.file.write_text(
        CLUSTER.replace("name: ci", "name: ci\nnetworking: {disableDefaultCNI: true}")
    )

    localcluster.up(machine.file, retain=True)

    (create,) = machine.calls("create")
    assert "--wait" not in create
    assert create.endswith("--retain")


def test_a_failed_create_shows_what_kind_said_and_cleans_up(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind(create="echo 'ERROR: no space left' >&2; exit 1")

    with pytest.raises(CommandError, match=r"(?s)exited 1:.*ERROR: no space left"):
        localcluster.up(machine.file)

    assert machine.calls("delete") == ["delete cluster --name ci"]


def test_a_cluster_that_exists_is_neither_made_nor_removed(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind()
    (machine.folder / "clusters").write_text("ci\n")

    with pytest.raises(ClusterExistsError, match=r'already exist .* name "ci"'):
        localcluster.up(machine.file)

    assert machine.calls("create") == machine.calls("delete") == []


def test_an_engine_without_kind_is_an_error_that_says_what_to_do(
    machine: Machine,
) -> None:
    machine.engine("engine-a")

    with pytest.raises(UnsupportedMachineError, match=r"kind was not found .* install"):
        localcluster.up(machine.file, provider="kind")


def test_kind_without_an_engine_is_an_error_that_says_what_to_do(
    machine: Machine,
) -> None:
    machine.kind()

    with pytest.raises(localcluster.LocalClusterError, match="needs a container eng"):
        localcluster.up(machine.file, provider="kind")


def test_a_kind_cluster_is_found_listed_entered_and_removed(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind()
    (machine.folder / "clusters").write_text("ci\n")

    found = localcluster.find("kind-ci")
    assert found is not None
    assert found in localcluster.clusters()
    assert localcluster.find("kind-other") is None
    assert localcluster.find("prod") is None
    assert localcluster.kubeconfig_text("ci") == "kind: Config\n"
    argv = localcluster.node_command("ci", "worker", ["ip", "route"])
    assert argv == ["engine-a", "exec", "-i", "ci-worker", "ip", "route"]
    with pytest.raises(localcluster.UnknownClusterError, match="has no Node w9, but"):
        localcluster.node_command("ci", "w9", ["true"])

    assert localcluster.down("ci", provider="kind")
    assert machine.calls("delete") == ["delete cluster --name ci"]
    assert not localcluster.down("other", provider="kind")


def test_the_probe_image_is_used_where_all_nodes_have_it(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind()
    (machine.folder / "clusters").write_text("ci\n")

    found = localcluster.find("kind-ci")
    (machine.folder / "images").write_text(f"{localcluster.PROBE_IMAGE} sha256:1")
    given = localcluster.find("kind-ci")

    assert found is not None
    assert found.image == ""
    assert given is not None
    assert given.image == localcluster.PROBE_IMAGE


def test_up_waits_for_nodes_that_have_not_joined_yet(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.engine("engine-a")
    machine.kind()
    machine.joined(JOINED[:2])
    monkeypatch.setattr(kind_addons, "READY_SECONDS", 0)

    with pytest.raises(localcluster.TimedOutError, match="readiness of all Nodes"):
        localcluster.up(machine.file)

    assert machine.calls("delete") == ["delete cluster --name ci"]


def test_an_image_is_loaded_onto_all_nodes(machine: Machine) -> None:
    machine.engine("engine-a")
    machine.kind()

    kind.load_image("ci", Path("probe.tar"))

    assert machine.calls("load") == ["load image-archive probe.tar --name ci"]


@pytest.fixture
def network(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with kind, and a cluster file with a pod network that is an add-on."""
    machine.kind()
    plugins = machine.folder / "cni"
    plugins.mkdir()
    (plugins / "bridge").touch()

    def made(_: Binaries) -> dict[str, images.Image]:
        return {"example.org/net:1": images.Image(images.Files({"x": b"x"}), {})}

    def pool(setting: addons.Setting) -> list[list[dict[str, object]]]:
        about = {"name": setting.node[0]}
        return [[{"kind": "Pool", "apiVersion": "v1", "metadata": about}]]

    fake = addons.Addon(name="cilium", components=(), images=made, steps=pool)
    monkeypatch.setitem(addons.ADDONS, "cilium", fake)
    monkeypatch.setenv("K8SNET_CACHE_HOME", str(machine.folder / "cache"))
    binaries = Binaries({"cni": plugins})
    monkeypatch.setattr(kind_addons, "build_all", lambda *_: binaries)
    machine.file.write_text(CLUSTER.replace("features", "cni: cilium\nfeatures"))
    return machine


def test_a_pod_network_of_ours_is_put_into_a_cluster_of_kind(network: Machine) -> None:
    network.engine("engine-a", apply="cat >>$0.applied")

    cluster = localcluster.up(network.file, provider="kind")

    seen = yaml.safe_load((network.folder / "seen.yaml").read_text())
    assert seen["networking"]["disableDefaultCNI"] is True
    assert "--wait" not in network.calls("create")[0]
    assert len(network.calls("load image-archive")) == len(("network", "probe"))
    assert len(network.calls("engine cp")) == len(cluster.nodes)
    applied = (network.folder / "engine-a.applied").read_text()
    assert yaml.safe_load(applied)["metadata"] == {"name": "172.18.0.2"}
    assert cluster.features == {Feature.NETWORK_POLICY}


def test_a_cluster_of_kind_whose_network_cannot_be_made_is_removed(
    network: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "echo 'no such kind' >&2; exit 1"
    network.engine("engine-a", apply=refuse)
    monkeypatch.setattr(installer, "CREATION_SECONDS", 0)

    with pytest.raises(localcluster.TimedOutError, match=r"creation of .*no such kind"):
        localcluster.up(network.file, provider="kind")

    assert network.calls("delete") == ["delete cluster --name ci"]


def test_the_version_of_a_node_is_that_of_its_image(machine: Machine) -> None:
    machine.kind()
    machine.engine("engine-a")
    localcluster.up(machine.file, provider="kind")
    (cluster,) = localcluster.clusters()

    assert localcluster.versions(cluster) == ["v1.35.1", "v1.36.1"]
    found = {node.name: node.version for node in localcluster.status("ci").nodes}
    assert found["ci-worker2"] == "v1.35.1"
    assert found["ci-control-plane"] == "v1.36.1"
