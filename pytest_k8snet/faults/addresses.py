"""Pods with addresses that they should not have."""

from __future__ import annotations

from contextlib import contextmanager
from ipaddress import ip_network
from itertools import islice
from typing import TYPE_CHECKING, Any

from pytest_k8snet.faults.bridge import configured, set_bridge
from pytest_k8snet.faults.fault import together
from pytest_k8snet.faults.netfilter import TRANSLATION, led_to, table, with_table
from pytest_k8snet.faults.objects import sabotaged
from pytest_k8snet.faults.routes import missing
from pytest_k8snet.faults.site import wait_until
from pytest_k8snet.localcluster.images import PAUSE_IMAGE
from pytest_k8snet.manifests import LABEL
from pytest_k8snet.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

Json = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
ALL_PODS = "/api/v1/pods"
SERVERS = f"{LABEL}role={Role.SERVER}"
STORE = "/run/cni-ipam-fault"
ELSEWHERE = {"10.245.9.9": "10.245.9.0/24", "fd00:10:245::9": "fd00:10:245::/120"}
"""Addresses, each with its range, that no Node has."""

OTHER_BRIDGE = "cni1"
RESERVATIONS = "/run/cni-ipam/podnet"
LAST = "last_reserved_ip"
"""How the file of each family is called in which host-local keeps where it is."""

LEAKED = "leaked"
RESERVE = f"""
mkdir -p {RESERVATIONS}
cd {RESERVATIONS}
while read address; do
  [ -e $address ] || printf '{LEAKED}\\r\\neth0' >$address
done
"""
RELEASE = f"cd {RESERVATIONS}; grep -l ^{LEAKED} * | xargs -r rm"


def shared(node: str) -> Inject:
    """Have two Pods with the same addresses on a Node, as when IPAM lost its store."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        with _removed(site, "first", "second"):
            _make(site, node, "first")
            taken = _addresses(site.api.get(f"{PODS}/first"))
            ranges = dict(zip(taken, site.pod_ranges(node), strict=True))
            _make_in(site, node, "second", ranges)
            yield

    return inject


def foreign(node: str) -> Inject:
    """Have a Pod on a Node with addresses of nobody's range."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        with _removed(site, "stray"):
            _make_in(site, node, "stray", ELSEWHERE, isGateway=False)
            yield

    return inject


def exhausted(node: str) -> Inject:
    """Reserve all IPv4 addresses of a Node's range for containers that are no more."""

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        (pods,) = (ip_network(r) for r in site.pod_ranges(node) if ":" not in r)
        every = {str(address) for address in pods.hosts()}

        def kept() -> bool:
            found = site.run(node, "sh", "-c", f"cd {RESERVATIONS} && ls || true")
            held = {a for pod in _pods_on(site, node) for a in _addresses(pod)}
            return every.intersection(found.split()) <= held

        # What Pods that are gone still have would be free again in a moment.
        wait_until(kept, "only Pods that are there have addresses", 30)
        try:
            site.run(node, "sh", "-ec", RESERVE, text="\n".join([*every, ""]))
            yield
        finally:
            site.run(node, "sh", "-ec", RELEASE)

    return inject


def range_of(node: str, owner: str) -> Inject:
    """Give Pods that a Node makes from now on addresses of another Node's range.

    Those that the other one gives to its own next.
    """

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        taken = [[{"subnet": subnet}] for subnet in site.pod_ranges(owner)]

        def change(config: dict[str, Any]) -> None:
            ipam = config["plugins"][0]["ipam"] | {"ranges": taken, "dataDir": STORE}
            set_bridge(config, bridge=OTHER_BRIDGE, ipam=ipam)

        with missing(node, to=owner)(site):
            try:
                _keep_pace(site, node, owner)
                with configured(node, change)(site):
                    yield
                site.wait_until_clean()
            finally:
                gone = f"ip link del {OTHER_BRIDGE} 2>/dev/null || true"
                site.run(node, "sh", "-c", f"{gone}; rm -rf {STORE}")

    return inject


def _keep_pace(site: Site, node: str, owner: str) -> None:
    """Have a Node go on with addresses where another one is."""
    folder = f"{STORE}/podnet"
    site.run(node, "mkdir", "-p", folder)
    # None is there before the first Pod is.
    find = f"cd {RESERVATIONS} && ls {LAST}.* || true"
    for name in site.run(owner, "sh", "-c", find).split():
        last = site.run(owner, "cat", f"{RESERVATIONS}/{name}")
        site.run(node, "tee", f"{folder}/{name}", text=last)


def given_away_early(node: str) -> Inject:
    """Lead what comes for a Pod of a Node to a server once the Pod is asked to end."""
    heirs = "inet k8snet-fault-heirs"

    def ends(pod: Json) -> bool:
        return "deletionTimestamp" in pod["metadata"]

    def give_away(site: Site, pod: Json) -> None:
        if pod["spec"]["nodeName"] != site.full(node):
            return
        for heir in islice(_pods_on(site, node, labelSelector=SERVERS), 1):
            pairs = zip(_addresses(pod), _addresses(heir), strict=True)
            rules = "\n".join(led_to(old, new) for old, new in pairs)
            site.nft(node, table(heirs, TRANSLATION, rules))

    return together(
        with_table(node, heirs, table(heirs, TRANSLATION, "")),
        sabotaged(ALL_PODS, give_away, ends),
    )


def _make_in(
    site: Site,
    node: str,
    name: str,
    wanted: Mapping[str, str],
    **settings: object,
) -> None:
    """Make a Pod with these addresses, each of its range; others are as before."""

    def change(config: dict[str, Any]) -> None:
        ipam = {
            "type": "host-local",
            "dataDir": STORE,
            "ranges": [
                [{"subnet": subnet, "rangeStart": one, "rangeEnd": one}]
                for one, subnet in wanted.items()
            ],
        }
        set_bridge(config, ipam=ipam, **settings)

    def obeyed() -> bool:
        # The runtime reads its configuration a little later than it is written.
        _make(site, node, name)
        if _addresses(site.api.get(f"{PODS}/{name}")) == list(wanted):
            return True
        site.remove(f"{PODS}/{name}")
        return False

    try:
        with configured(node, change)(site):
            wait_until(obeyed, f"{name} has the addresses it is to have", 30)
    finally:
        site.run(node, "rm", "-rf", STORE)


def _make(site: Site, node: str, name: str) -> None:
    """Make a Pod on a Node, and wait until it runs."""
    container = {"name": "main", "image": PAUSE_IMAGE, "imagePullPolicy": "Never"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": site.full(node),
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
        },
    }
    site.api.create(PODS, body)

    def runs() -> bool:
        return bool(site.api.get(f"{PODS}/{name}")["status"].get("phase") == "Running")

    wait_until(runs, f"the Pod {name} runs", 30)


@contextmanager
def _removed(site: Site, *names: str) -> Iterator[None]:
    try:
        yield
    finally:
        for name in names:
            site.remove(f"{PODS}/{name}")


def _pods_on(site: Site, node: str, **query: str) -> list[Json]:
    pods = site.api.list(ALL_PODS, **query)
    return [p for p in pods if p["spec"].get("nodeName") == site.full(node)]


def _addresses(pod: Json) -> list[str]:
    return [one["ip"] for one in pod["status"].get("podIPs", ())]
