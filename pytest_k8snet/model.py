"""The vocabulary: what every other module says, and nothing that does anything.

The layering rule, which ``tests/test_layers.py`` reads here and enforces: *a module
imports only from layers below its own*; modules of one package may import each other.

``model``, ``defaults`` <- ``verdict``, ``manifests``, ``pki`` <- ``pod_manifests``,
``service_manifests`` <- ``rules``, ``policies``, ``entries`` <- ``plan``, ``wire`` <-
``result``, ``access``, ``status``, ``schedule``, ``outages``, ``convergence`` <-
``diagnose``, ``deviations``, ``watch_objects``, ``watched`` <- ``report``,
``watch_options`` <- ``cluster``, ``localcluster``, ``reading`` <- ``faults``,
``publishing``, ``api_probes``, ``pulses`` <- ``probing``, ``stage``, ``evidence`` <-
``watching``, ``turns`` <- ``lab``, ``workbench``, ``watch_command`` <- ``plugin``,
``cli`` <- ``checks``

``agent`` stands aside: a program of standard library, which runs in the Pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How much a rule asks, in the words of RFC 2119."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    FEATURE = "FEATURE"  # a MUST, once the feature is claimed or detected


class Profile(StrEnum):
    """How much a run asks: each profile has all that the ones before it have."""

    QUICK = "quick"  # the core of rules 1 to 4 and of DNS, with the fewest Pods
    DEFAULT = "default"
    FULL = "full"  # also what waits by nature: idle connections, time-outs


class Word(StrEnum):
    """The five result words. A run without a single pass or fail is never green."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not-applicable"
    KNOWN_DEVIATION = "known-deviation"


class Family(StrEnum):
    """An IP family, spelled as in test ids."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Protocol(StrEnum):
    """A transport, spelled as in test ids."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class PathKind(StrEnum):
    """Where the two ends of a cell stand to each other."""

    SAME_NODE = "same-node"
    CROSS_NODE = "cross-node"


class Role(StrEnum):
    """The parts that are played, each by at most one Pod per Node."""

    CLIENT = "client"  # pod network, first namespace, two containers
    SERVER = "server"  # pod network, second namespace, behind the Services
    HOST = "host"  # host network: stands for an agent on the Node
    EDGE = "edge"  # everything unusual: hostPorts, init container, dnsPolicy None
    SPARE = "spare"  # made late and restarted; dnsPolicy Default
    UNREADY = "unready"  # runs, but never becomes ready
    GUARDED = "guarded"  # policies isolate it for ingress, and for that alone
    NEIGHBOUR = "neighbour"  # in the same namespace; no policy selects it
    CONFINED = "confined"  # policies isolate it for egress; a namespace of its own
    NEWCOMER = "newcomer"  # made after the policy that isolates it in both directions
    OUTSIDE = "outside"  # neither a Node nor a Pod
    API = "api"  # the API server, asked by the controller


class Outcome(StrEnum):
    """What became of one probe. NOT_PROBED is never evidence of anything."""

    CONNECTED = "connected"  # data went both ways and the peer named itself
    ANSWERED = "answered"  # a question that is not a connection got its answer
    REFUSED = "refused"
    RESET = "reset"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    TOO_BIG = "too big"
    NAME_NOT_FOUND = "name not found"
    ANSWERED_WRONGLY = "answered wrongly"
    UNSUPPORTED = "not supported"  # by the kernel, or not without privileges
    NOT_PROBED = "not probed"


NO_ANSWER = frozenset(
    {Outcome.REFUSED, Outcome.RESET, Outcome.TIMED_OUT, Outcome.UNREACHABLE}
)
"""The outcomes of a connection that nobody served."""


class Op(StrEnum):
    """What a probe does. The first group runs in an agent, the second on the API."""

    CONNECT = "connect"  # connect (TCP) or exchange a datagram (UDP)
    HOLD = "hold"  # connect by TCP, and keep the connection
    RESUME = "resume"  # ask again over the connection that is kept
    BULK = "bulk"  # connect, then megabytes in each direction
    FULL_SIZE = "full-size"  # a datagram of exactly the path's MTU, DF set
    PING = "ping"  # an ICMP echo, and its reply from the address that was asked
    HTTP = "http"  # the status of one GET
    FETCH = "fetch"  # a GET that an agent answers, through whatever is in between
    DNS = "dns"  # one question to one name server
    LOOKUP = "lookup"  # the C library's resolver, search path included
    FACT = "fact"  # what the container sees of itself
    BIND = "bind"  # try to bind a port
    TLS = "tls"  # connect, verify the certificate, ask for /version
    RESTART = "restart"  # end the container's first process
    LOOK = "look"  # at the Node that it runs on: for evidence, no rule asks
    TRACE = "trace"  # who answers on the way to an address: likewise

    EXEC = "exec"
    LOGS = "logs"
    PORT_FORWARD = "port-forward"
    PROXY = "proxy"  # through the API server, to a Pod or a Service
    STATUS = "status"  # what the API says about a Node or Pod


class Kind(StrEnum):
    """What kind of address a target stands for."""

    POD = "Pod"
    LOOPBACK = "loopback"
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    HOST_PORT = "hostPort"
    NODE = "Node"
    LOAD_BALANCER = "LoadBalancer"
    INGRESS = "Ingress"
    GATEWAY = "Gateway"
    NAME = "name"  # resolved by the source, then dialled
    DNS_SERVER = "DNS server"
    NONE = "-"


LEADS_IN = frozenset({Kind.LOAD_BALANCER, Kind.INGRESS, Kind.GATEWAY})
"""What leads into the cluster, at an address that the API tells once it has one."""


@dataclass(frozen=True, order=True)
class Actor:
    """One end of a probe: a container of the Pod that plays a role on a Node."""

    role: Role
    node: str = ""
    container: str = "main"

    def __str__(self) -> str:
        """Give the identity that the agent states in its answers."""
        place = f"@{self.node}" if self.node else ""
        part = f"/{self.container}" if self.container != "main" else ""
        return f"{self.role}{place}{part}"


@dataclass(frozen=True, order=True)
class Target:
    """What is dialled, by name: addresses are known only once the Pods run.

    Attributes:
        kind: which of its addresses.
        name: a role, a Service of ours, or a DNS name.
        port: the name of one of the target's ports.
        node: the Node it is on, or whose address is dialled; "" for any.

    """

    kind: Kind
    name: str = ""
    port: str = "main"
    node: str = ""

    def __str__(self) -> str:
        """Name the target as a person would."""
        place = f"@{self.node}" if self.node else ""
        port = f":{self.port}" if self.port != "main" else ""
        label = {Kind.POD: "", Kind.NONE: ""}.get(self.kind, f"{self.kind} ")
        return f"{label}{self.name}{place}{port}" or "-"


class Spread(StrEnum):
    """Over which Nodes an Ask is spread. Each combination is one cell."""

    PAIRS = "every ordered pair of Nodes"
    NODES = "every Node, and what is on it"
    ALL_NODES = "every Node, those included that take no probe Pods"
    OWN = "every Node, to itself"
    RING = "every Node, to itself and to the next"
    NEXT = "every Node, to the next"
    ONCE = "once, whatever the Nodes"
    AT_FIRST = "the first Node only, and what is on it"
    AT_SECOND = "the second Node only, and what is on it"
    AT_OTHERS = "every Node but the first, and what is on it"
    REPLICAS = "from every Node to every replica of the cluster DNS"


@dataclass(frozen=True)
class Ask:
    """A probe without Nodes: the plan makes one Probe per cell out of it.

    Attributes:
        source: who asks.
        op: what is done.
        to: who is asked, without its Node.
        spread: over which Nodes.
        container: the source's container.
        protocol, family: fixed here, or None to follow the check's variant.
        expect: the values that conform, given the scene; () when there are none.
        who: who may answer, given the scene; None when the target itself.
        settings: further fields of the agent's request, as (name, value) pairs.
        count: how many times, as separate probes.
        min_nodes: Nodes without which it is not asked.
        timeout: a name in ``TIMEOUTS``.
        blocked: no policy allows it, but one isolates an end of it.

    """

    source: Role
    op: Op
    to: Target = field(default_factory=lambda: Target(Kind.NONE))
    spread: Spread = Spread.PAIRS
    container: str = "main"
    protocol: Protocol | None = None
    family: Family | None = None
    expect: Expectation | None = None
    who: Expectation | None = None
    settings: tuple[tuple[str, object], ...] = ()
    count: int = 1
    min_nodes: int = 1
    timeout: str = "dead"
    blocked: bool = False


TIMEOUTS: Mapping[str, float] = {
    # ARP gives up after 3.1 s: below that a dead Pod IP looks like a drop.
    "dead": 4.0,
    # Asked again and again until something has changed.
    "poll": 1.0,
    # Nothing is expected to answer, and a twin that does answers in milliseconds.
    "silence": 2.0,
    # A resolver repeats a lost question after 2.5 s (musl) or 5 s (glibc).
    "stall": 2.0,
    # A minute of silence on a connection, and then the answer.
    "idle": 70.0,
    # No progress for this long ends a transfer; see the agent.
    "bulk": 15.0,
}
"""Seconds, by name. ``--k8snet-timeout-probe`` scales them together."""


@dataclass(frozen=True)
class Probe:
    """One attempt, by names: an Ask at one cell.

    ``number`` tells apart the attempts of one cell.
    """

    ask: Ask
    source: Actor
    target: Target
    protocol: Protocol | None = None
    family: Family | None = None
    number: int = 0

    def __str__(self) -> str:
        """Name the cell in one line."""
        how = "/".join(x for x in (self.protocol, self.family) if x)
        where = f" -> {self.target}" if self.target.kind is not Kind.NONE else ""
        return f"{self.source}{where}" + (f" {how}" if how else "")


@dataclass(frozen=True)
class Observation:
    """What one probe saw.

    Attributes:
        probe: the probe.
        outcome: what became of it.
        phase: where it ended: resolve, connect, send, receive, tls.
        detail: errno name or a word of explanation.
        seconds: how long it took.
        dialled: the address dialled, as "address port".
        answered_by: the identity in the reply, "" when nobody named itself.
        peer: the client's address as the server saw it.
        local: the server's address as the client dialled it.
        source_addresses: the source's own addresses, as the API has them.
        values: answers of DNS, facts and control plane probes.
        expected: the values that conform; () when the rule names none.
        may_answer: identities that conform; () when any does.
        after: seconds from the change that was watched to this answer.

    """

    probe: Probe
    outcome: Outcome
    phase: str = ""
    detail: str = ""
    seconds: float = 0.0
    dialled: str = ""
    answered_by: str = ""
    peer: str = ""
    local: str = ""
    source_addresses: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    may_answer: tuple[str, ...] = ()
    after: float | None = None


Observations = tuple[Observation, ...]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of the observations of one check.

    Attributes:
        violations: the observations that break the rule.
        unjudged: those that say nothing about it: with any of them and no
            violation the check is inconclusive.
        note: one line on what was wrong, or a figure worth reporting.

    """

    violations: Observations = ()
    unjudged: Observations = ()
    note: str = ""

    @property
    def conforms(self) -> bool:
        """Whether the rule holds, as far as it was judged."""
        return not self.violations


Judge = Callable[[Observations], Verdict]


@dataclass(frozen=True)
class Control:
    """A probe whose answer must be known, or the check says nothing.

    Attributes:
        ask: the probe.
        holds: whether one observation of it is as it has to be.
        says: what has to hold, in words.
        several: every source has to be answered by more than one.

    """

    ask: Ask
    holds: Callable[[Observation], bool]
    says: str
    several: bool = False


Selector = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Requirements on labels, as (key, operator, values). The operators are those of
matchExpressions, and ``=``, which makes it a matchLabels."""

OUTSIDE = "outside"
"""Stands, among ranges of addresses, for those of the outside."""


@dataclass(frozen=True)
class Peer:
    """Whom a policy allows: Pods by labels, or ranges of addresses.

    Attributes:
        pods: podSelector; None for a peer without it.
        namespaces: namespaceSelector; None for the policy's own namespace.
        blocks: ranges, each an ipBlock; OUTSIDE stands for the outside's address.
        but: what is excepted from them.

    """

    pods: Selector | None = None
    namespaces: Selector | None = None
    blocks: tuple[str, ...] = ()
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allow:
    """One rule of a policy: these peers at these ports.

    Attributes:
        peers: any of them; () for everybody.
        ports: any of (protocol, number or name, endPort or 0); () for every port.

    """

    peers: tuple[Peer, ...] = ()
    ports: tuple[tuple[Protocol, int | str, int], ...] = ()


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy that rules ask for.

    Attributes:
        name: its name.
        role: it selects the Pods of this role, in their namespace.
        ingress, egress: what is allowed; None where it does not isolate.
        all_pods: it selects by the empty selector.

    """

    name: str
    role: Role
    ingress: tuple[Allow, ...] | None = None
    egress: tuple[Allow, ...] | None = None
    all_pods: bool = False

    @property
    def names_outside(self) -> bool:
        """Whether it can be made only once the outside's addresses are known."""
        allowed = (*(self.ingress or ()), *(self.egress or ()))
        peers = [peer for one in allowed for peer in one.peers]
        return any(OUTSIDE in (*peer.blocks, *peer.but) for peer in peers)


@dataclass(frozen=True)
class Change:
    """Something done to the lab between two steps of a rule.

    Attributes:
        kind: ``label`` (set Pods' labels), ``label namespace`` (those of the role's
            namespace), ``create`` (make the Pods of a role), ``restart`` (end a
            container's first process), ``terminate`` (delete a Pod that takes its
            time to end) or ``delete`` (a Pod, at once); ``serve`` (make a Service, or
            make it another one) or ``withdraw`` (it); ``apply`` (change a policy) or
            ``revoke`` (it).
        role: of the Pods.
        spread: on which Nodes: AT_FIRST, AT_SECOND or NODES.
        labels: what to set; None removes.
        service: for ``serve`` and ``withdraw``.
        policy: for ``apply`` and ``revoke``.

    """

    kind: str
    role: Role
    spread: Spread = Spread.NODES
    labels: tuple[tuple[str, str | None], ...] = ()
    service: Service | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class Step:
    """A change, and what must be seen after it.

    Attributes:
        changes: made in order, before anything is asked.
        asks: asked again and again until every cell conforms.
        until: when one observation conforms.
        consecutive: how many times in a row it has to.
        budget: a name in ``BUDGETS``.

    """

    asks: tuple[Ask, ...]
    until: Callable[[Observation], bool]
    changes: tuple[Change, ...] = ()
    consecutive: int = 1
    budget: str = "programming"


BUDGETS: Mapping[str, float] = {
    # kube-proxy syncs within 1 s unless it is told otherwise; upstream waits 2 min.
    "programming": 10.0,
    # Policies that were made before the Pods they select.
    "enforcement": 5.0,
    # Cilium waits for 5 s until a label that changed counts; upstream waits minutes.
    "policy": 15.0,
    # A container is started again at once the first time; PLEG looks once a second.
    "restart": 20.0,
    # A name server may keep an answer for as long as its TTL says: 30 s by convention.
    "names": 40.0,
    # A series of probes with pauses that are longer than what is timed out.
    "affinity": 60.0,
    # One attempt: it is silent for as long, and waits for its answer after that.
    "idle": 60.0,
    # MetalLB takes a fraction of a second, a cloud a few minutes: see the option
    # --k8snet-timeout-probe, which scales this.
    "address": 15.0,
    # Controls and Services of all rules together, before the probes run once.
    "settle": 6.0,
}
"""Seconds within which a change has to show, by name."""


class Feature(StrEnum):
    """What a cluster has or claims, beyond the core."""

    NETWORK_POLICY = "NetworkPolicy"
    DUAL_STACK = "DualStack"
    LOAD_BALANCER = "LoadBalancer"
    INGRESS = "Ingress"
    GATEWAY = "Gateway"
    TRAFFIC_DISTRIBUTION = "TrafficDistribution"
    HEALTH_CHECK_NODE_PORT = "HealthCheckNodePort"
    POD_RECORDS = "PodRecords"
    SERVICE_RANGE = "ServiceRange"  # the range of ClusterIPs is published
    SCTP = "SCTP"  # only ever claimed: a kernel shows it to a socket alone


@dataclass(frozen=True)
class Service:
    """A Service that rules ask for. ``per_node`` makes one for every server.

    Attributes:
        name: its name; with ``per_node`` the rank is appended.
        selector: labels beside the role's; None for a Service without selector.
        ports: (name, port, targetPort, protocol).
        spec: further fields of the Service's spec.
        headless: no virtual IP.
        external_name: makes it an ExternalName; ``{domain}`` is filled in.
        per_node: one for each server, selecting only that one.
        manual: the servers' EndpointSlices are made by hand, at this targetPort.
        terminating: in those slices, no endpoint is ready and all are terminating.
        made_up: in those slices, this many addresses that nobody has.
        affinity_seconds: after which ClientIP affinity ends; 0 for the default.
        external_ip: has the address that the user gave as an externalIP.
        balanced: of type LoadBalancer: one for each transport, as many load balancers
            serve no more at one address; the transport is appended to the name.
        sources: its loadBalancerSourceRanges; OUTSIDE stands for the outside's.
        role: whose Pods are behind it; it is in their namespace.

    """

    name: str
    ports: tuple[tuple[str, int, int | str, Protocol], ...]
    selector: tuple[tuple[str, str], ...] | None = ()
    spec: tuple[tuple[str, object], ...] = ()
    headless: bool = False
    external_name: str = ""
    per_node: bool = False
    manual: bool = False
    terminating: bool = False
    made_up: int = 0
    affinity_seconds: int = 0
    external_ip: bool = False
    balanced: bool = False
    sources: tuple[str, ...] = ()
    role: Role = Role.SERVER


@dataclass(frozen=True)
class Site:
    """A host that an Ingress or a Gateway publishes.

    Attributes:
        name: of its route, its listener and its Secret; begins its host name.
        paths: (path prefix, name of a Service of ours, its port).
        secure: by HTTPS, with a certificate of its own; not by HTTP.

    """

    name: str
    paths: tuple[tuple[str, str, int], ...]
    secure: bool = False

    @property
    def host(self) -> str:
        """Give the host name, of which ``{ns}`` is to be filled in."""
        return f"{self.name}.{{ns}}.test"


@dataclass(frozen=True)
class Entry:
    """What rules ask to lead HTTP into the cluster.

    Attributes:
        kind: INGRESS, or GATEWAY with an HTTPRoute for every site.
        name: its name.
        sites: what it publishes.

    """

    kind: Kind
    name: str
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class Deviation:
    """What a network plugin is known to do otherwise, and why it is let pass.

    Attributes:
        network_plugin: as discovery names it; "" for what is reported of any.
        reason: where it is said so.
        excuses: whether one violation is of this kind; any other one still fails.
        before: the first minor version that does it no more, such as "1.17"; "" for
            none.

    """

    network_plugin: str
    reason: str
    excuses: Callable[[Observation], bool]
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One requirement: a value, not a procedure.

    Attributes:
        id: upper case, never changed, never reused.
        requirement: one sentence in the words of RFC 2119.
        spec: where Kubernetes says so.
        level: how much it asks.
        mark: the pytest marker of its area.
        profile: the smallest profile that it is part of.
        services: the Services it needs.
        policies: the NetworkPolicies it needs, made before the Pods they select.
        entries: the Ingresses and Gateways it needs.
        roles: Pods it needs beside those its probes name.
        needs: features without which it does not apply.
        option: what the user has to give, or it does not apply; "" for nothing.
        min_nodes: Nodes without which it does not apply.
        protocols, families, paths: the axes of its checks; () when not split.
        provided: its controls.
        probes: asked once, after everything has settled.
        steps: for a rule that watches a change.
        judge: observations (of probes, then steps) to verdict.
        deviations: what some network plugins are known to do otherwise.
        usually: what usually breaks it, for people.

    """

    id: str
    requirement: str
    spec: str
    mark: str
    judge: Judge
    level: Level = Level.MUST
    profile: Profile = Profile.DEFAULT
    services: tuple[Service, ...] = ()
    policies: tuple[Policy, ...] = ()
    entries: tuple[Entry, ...] = ()
    roles: tuple[Role, ...] = ()
    needs: frozenset[Feature] = frozenset()
    option: str = ""
    min_nodes: int = 1
    protocols: tuple[Protocol, ...] = ()
    families: tuple[Family, ...] = ()
    paths: tuple[PathKind, ...] = ()
    provided: tuple[Control, ...] = ()
    probes: tuple[Ask, ...] = ()
    steps: tuple[Step, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    usually: str = ""

    def __str__(self) -> str:
        """Give the id, which is also the start of the test's id."""
        return self.id


@dataclass(frozen=True)
class Check:
    """One rule for one protocol, family and path kind: one test."""

    rule: Rule
    protocol: Protocol | None = None
    family: Family | None = None
    path: PathKind | None = None

    @property
    def id(self) -> str:
        """Give the id, the same on every cluster and in every run."""
        axes = (self.protocol, self.family, self.path)
        return "-".join((self.rule.id, *(x for x in axes if x)))

    def __str__(self) -> str:
        """Give the id."""
        return self.id


@dataclass(frozen=True)
class Node:
    """What discovery found about a Node.

    Attributes:
        name: its name.
        addresses: its InternalIPs.
        pod_cidrs: its pod ranges, where published.
        ready: the Ready condition is True.
        network_unavailable: the condition of that name is True.
        schedulable: takes Pods, as far as cordons say.
        taints: (key, value, effect).
        problem: why it takes no probe Pods; "" when it does.
        zone: its topology zone; "" when it has none.
        roles: as kubectl shows them, from its labels.

    """

    name: str
    addresses: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    ready: bool = True
    network_unavailable: bool = False
    schedulable: bool = True
    taints: tuple[tuple[str, str, str], ...] = ()
    problem: str = ""
    kubelet_version: str = ""
    zone: str = ""
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterFacts:
    """What discovery found, once, in the controller.

    Attributes:
        context: the kubeconfig context.
        server: the API server's URL.
        version: its gitVersion.
        nodes: every selected Node that takes probe Pods, in the order of names.
        families: the IP families of Pods and Services, primary first.
        dns_addresses: the cluster DNS Service's ClusterIPs.
        dns_replicas: its endpoints' addresses.
        domain: the cluster domain.
        api_addresses: the ClusterIPs of ``kubernetes.default``.
        service_cidrs: the Service ranges, where published.
        network_plugin: a guess from what runs; "unknown" when nothing is known.
        network_plugin_version: of its image's tag, such as "1.15.19"; "" when that
            says nothing.
        service_proxy: likewise.
        features: what was found or claimed.
        claimed: those of them that were claimed: what does not work is a failure.
        ingress_class: the IngressClass to use; "" for the cluster's default.
        gateway_class: the GatewayClass to use.
        gateway_ports: of listeners for HTTP and HTTPS, as the controller counts them.
        left_out: the Nodes that take no probe Pods; their ``problem`` says why.
        given: what the user gave for rules that need it, by the option's name.

    """

    context: str
    server: str
    version: str = ""
    nodes: tuple[Node, ...] = ()
    families: tuple[Family, ...] = (Family.IPV4,)
    dns_addresses: tuple[str, ...] = ()
    dns_replicas: tuple[str, ...] = ()
    domain: str = "cluster.local"
    api_addresses: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    network_plugin: str = "unknown"
    network_plugin_version: str = ""
    service_proxy: str = "unknown"
    features: frozenset[Feature] = frozenset()
    claimed: frozenset[Feature] = frozenset()
    ingress_class: str = ""
    gateway_class: str = ""
    gateway_ports: tuple[int, int] = (80, 443)
    left_out: tuple[Node, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        """Give the Node of that name, left out or not."""
        return next(n for n in (*self.nodes, *self.left_out) if n.name == name)


@dataclass(frozen=True)
class PodState:
    """A Pod of ours as the API and its agent describe it."""

    role: Role
    node: str
    namespace: str
    name: str
    addresses: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceState:
    """A Service of ours as the API has it."""

    name: str
    namespace: str
    addresses: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    node_ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EntryState:
    """What the API says of something that leads into the cluster.

    Attributes:
        addresses: IP addresses, or names where a load balancer has no others.
        holds: the conditions that are true, as words.
        problem: why nothing is known of it.

    """

    addresses: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Scene:
    """Everything that names stand for, once the Pods run.

    Attributes:
        facts: what discovery found.
        namespaces: "client", "server", ... to their names in this run.
        pods: what runs, by role and Node.
        services: by name, those per Node with their rank appended.
        unmade: why there are no such Services, by the names that rules have for them.
        entries: by kind and name, load balancers by that of their Service.
        authority: the certificate, in PEM, of who signed those of the sites.
        fingerprints: the SHA-256 of each site's certificate, in hex.
        all_pod_addresses: (Node, "address owner") of every Pod in the cluster.
        ready_pods: names of our Pods that became ready.
        without_address: (Node, "Pod: why") of our Pods that got no network there.
        host_port: the hostPort of this run.
        outside: begins the command line of the agent outside; "" without one.
        outside_addresses: its own addresses, towards the Nodes.

    """

    facts: ClusterFacts
    namespaces: Mapping[str, str] = field(default_factory=dict)
    pods: Mapping[tuple[Role, str], PodState] = field(default_factory=dict)
    services: Mapping[str, ServiceState] = field(default_factory=dict)
    unmade: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[tuple[Kind, str], EntryState] = field(default_factory=dict)
    authority: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    all_pod_addresses: tuple[tuple[str, str], ...] = ()
    ready_pods: frozenset[str] = frozenset()
    without_address: tuple[tuple[str, str], ...] = ()
    host_port: int = 0
    outside: str = ""
    outside_addresses: tuple[str, ...] = ()

    def rank(self, node: str) -> int:
        """Give the place of a Node, which labels carry; those left out come last."""
        nodes = (*self.facts.nodes, *self.facts.left_out)
        return next(i for i, n in enumerate(nodes) if n.name == node)

    def pod(self, role: Role, node: str) -> PodState | None:
        """Give the Pod that plays a role on a Node, if it runs."""
        return self.pods.get((role, node))

    def service(self, name: str, node: str = "") -> ServiceState | None:
        """Give a Service of ours; with a Node, the one of that Node's server."""
        if node and (own := self.services.get(f"{name}-{self.rank(node)}")):
            return own
        return self.services.get(name)


Expectation = Callable[[Scene, "Probe"], tuple[str, ...]]


class Inconclusive(Exception):  # noqa: N818 - the glossary's word
    """No verdict: a control did not hold, or a probe was not executed."""


class NotApplicable(Exception):  # noqa: N818 - the glossary's word
    """The rule does not apply to this cluster or this run."""
