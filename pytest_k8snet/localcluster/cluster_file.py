"""The shape of a cluster file: kind's fields under kind's names, and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_k8snet.model import Feature  # noqa: TC001 - pydantic reads it

from .errors import ClusterConfigError

if TYPE_CHECKING:
    from pathlib import Path

ProxyMode = Literal["nftables", "iptables", "ipvs", "none"]
Cni = Literal["bridge", "flannel", "cilium"]
AddonName = Literal["metallb", "traefik"]
NodeVersion = Literal["1.35", "1.36"]
FlannelBackend = Literal["vxlan", "host-gw"]

KIND_API, OUR_API = "kind.x-k8s.io/v1alpha4", "k8snet/v1alpha1"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Networking(_Strict):
    ipFamily: Literal["ipv4", "ipv6", "dual"] = "ipv4"  # noqa: N815 - kind's name
    apiServerAddress: str | None = None  # noqa: N815
    apiServerPort: int | None = None  # noqa: N815
    podSubnet: str | None = None  # noqa: N815
    serviceSubnet: str | None = None  # noqa: N815
    disableDefaultCNI: bool = False  # noqa: N815
    kubeProxyMode: ProxyMode = "nftables"  # noqa: N815
    dnsSearch: list[str] | None = None  # noqa: N815


class KindNode(_Strict):
    role: Literal["control-plane", "worker"] = "control-plane"
    image: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    extraMounts: list[Any] | None = None  # noqa: N815
    extraPortMappings: list[Any] | None = None  # noqa: N815
    kubeadmConfigPatches: list[Any] | None = None  # noqa: N815
    kubeadmConfigPatchesJSON6902: list[Any] | None = None  # noqa: N815


class KindCluster(_Strict):
    kind: Literal["Cluster"]
    apiVersion: Literal["kind.x-k8s.io/v1alpha4"]  # noqa: N815
    name: str | None = None
    nodes: list[KindNode] = Field(default_factory=lambda: [KindNode()], min_length=1)
    networking: Networking = Field(default_factory=Networking)
    featureGates: dict[str, bool] = Field(default_factory=dict)  # noqa: N815
    runtimeConfig: dict[str, str] = Field(default_factory=dict)  # noqa: N815
    kubeadmConfigPatches: list[Any] | None = None  # noqa: N815
    kubeadmConfigPatchesJSON6902: list[Any] | None = None  # noqa: N815
    containerdConfigPatches: list[Any] | None = None  # noqa: N815
    containerdConfigPatchesJSON6902: list[Any] | None = None  # noqa: N815


class FlannelOptions(_Strict):
    backend: FlannelBackend = "vxlan"


class ClusterExtras(_Strict):
    kind: Literal["ClusterExtras"]
    apiVersion: Literal["k8snet/v1alpha1"]  # noqa: N815
    cni: Cni | None = None
    flannel: FlannelOptions | None = None
    addons: list[AddonName] = Field(default_factory=list)
    features: list[Feature] = Field(default_factory=list)
    nodeVersion: NodeVersion | None = None  # noqa: N815 - spelt as kind does


_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], document: Any, file: Path, api: str) -> _Model:
    """Check a document; an error names each field that is wrong, and how."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            place = _place(problem["loc"])
            got = problem["input"]
            if problem["type"] == "extra_forbidden":
                problems.append(f"{place}: {api} has no such field; remove it")
            elif problem["type"] == "missing":
                problems.append(f"{place}: this field is required")
            else:
                problems.append(f"{place}: {problem['msg']}, but it is {got!r}")
        lines = "".join(f"\n  {file}: {problem}" for problem in problems)
        raise ClusterConfigError(f"the cluster file is wrong:{lines}") from error


def _place(location: tuple[int | str, ...]) -> str:
    parts = (f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)
    return "".join(parts).lstrip(".") or "the document"
