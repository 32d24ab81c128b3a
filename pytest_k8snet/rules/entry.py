"""Rule 4: Ingresses and Gateways lead to the right Service, and show who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_k8snet.model import (
    NO_ANSWER,
    Ask,
    Control,
    Entry,
    Feature,
    Kind,
    Level,
    Op,
    Outcome,
    Protocol,
    Role,
    Rule,
    Service,
    Site,
    Spread,
    Target,
)
from pytest_k8snet.rules._world import (
    FAMILIES,
    KUBERNETES,
    NOBODY,
    PORT,
    server_at,
    serves,
    words,
)
from pytest_k8snet.rules.external import OUTSIDE_SEES_NODES
from pytest_k8snet.verdict import (
    all_answered,
    all_connected,
    all_included,
)

if TYPE_CHECKING:
    from pytest_k8snet.model import Expectation, Observation, Probe, Scene

INGRESS = f"{KUBERNETES}/concepts/services-networking/ingress/"
GATEWAY = "https://gateway-api.sigs.k8s.io/reference/spec/"
FIRST = (("rank", "0"),)
ALTERNATIVE = 8086
"""Another port of the server: who answers there was led to the other Service."""

FRONT = Service("front", (("main-tcp", PORT, 8080, Protocol.TCP),), selector=FIRST)
BACK = Service("back", (("main-tcp", PORT, ALTERNATIVE, Protocol.TCP),), selector=FIRST)
TO_FRONT, TO_BACK = ((s.name, PORT) for s in (FRONT, BACK))

PLAIN_PATHS = (("/", *TO_FRONT), ("/deep", *TO_BACK))
# Not secure ones beside the others: many controllers would redirect them to HTTPS.
PLAIN = Entry(
    Kind.INGRESS,
    "plain",
    (
        Site("plain-one", (*PLAIN_PATHS, ("/nobody", NOBODY.name, PORT))),
        Site("plain-two", (("/", *TO_BACK),)),
    ),
)
SECURE = Entry(
    Kind.INGRESS,
    "secure",
    (
        Site("secure-one", (("/", *TO_FRONT),), secure=True),
        Site("secure-two", (("/", *TO_BACK),), secure=True),
    ),
)
GATE = Entry(
    Kind.GATEWAY,
    "gate",
    (
        Site("gate-one", PLAIN_PATHS),
        Site("gate-two", (("/", *TO_BACK),)),
        Site("gate-three", (("/", *TO_FRONT),), secure=True),
        Site("gate-four", (("/", *TO_BACK),), secure=True),
    ),
)
UNPUBLISHED = Site("unpublished", ())
SOURCES = ((Role.OUTSIDE, Spread.ONCE), (Role.CLIENT, Spread.NODES))


def of_entry(entry: Entry, secure: bool) -> Target:
    """Dial an Ingress or a Gateway."""
    return Target(entry.kind, entry.name, "https" if secure else "http")


def the_port(number: int, site: Site) -> Expectation:
    """Give the server's port, and the certificate of a site that has one."""

    def expect(scene: Scene, _: Probe) -> tuple[str, ...]:
        shown = (scene.fingerprints.get(site.name, ""),) if site.secure else ()
        return (str(number), *shown)

    return expect


def fetch(
    entry: Entry, site: Site, number: int = 8080, path: str = "/"
) -> tuple[Ask, ...]:
    """Ask a site for a path that leads to a port, from outside and from every Node."""
    return tuple(
        Ask(
            source,
            Op.FETCH,
            of_entry(entry, site.secure),
            spread,
            expect=the_port(number, site),
            who=server_at(0),
            settings=(("host", site.host), ("path", path)),
        )
        for source, spread in SOURCES
    )


def leads(entry: Entry) -> tuple[Ask, ...]:
    """Ask the plain sites for their paths, and for what only looks like one."""
    one, two, *_ = entry.sites
    return (
        *fetch(entry, one),
        *fetch(entry, one, ALTERNATIVE, "/deep"),
        *fetch(entry, one, ALTERNATIVE, "/deep/down"),
        *fetch(entry, one, 8080, "/deeper"),
        *fetch(entry, two, ALTERNATIVE),
        *fetch(entry, two, ALTERNATIVE, "/deep"),
    )


def verify(entry: Entry, site: Site) -> tuple[Ask, ...]:
    """Ask a site for a certificate that a client can trust, knowing the root alone."""
    return tuple(
        Ask(
            source,
            Op.TLS,
            of_entry(entry, secure=True),
            spread,
            expect=words("200"),
            who=words(site.host),
            settings=(("server_name", site.host), ("path", "/")),
        )
        for source, spread in SOURCES
    )


def is_led_nowhere(seen: Observation) -> bool:
    """Whether none of our Pods answered."""
    return seen.outcome in {Outcome.ANSWERED_WRONGLY, *NO_ANSWER}


def not_every_host(entry: Entry) -> Control:
    """Where every host leads to our Pods, a host that does says nothing."""
    ask = fetch(entry, UNPUBLISHED)[0]
    return Control(ask, is_led_nowhere, "a host that nobody published leads nowhere")


def status(entry: Entry, *holds: str) -> Ask:
    """Ask what the API says of an Ingress or a Gateway."""
    to = of_entry(entry, secure=False)
    return Ask(Role.API, Op.STATUS, to, Spread.ONCE, expect=words(*holds))


ENTERED = (serves(Role.SERVER), OUTSIDE_SEES_NODES)

INGRESS_STATUS = Rule(
    id="INGRESS-STATUS",
    requirement="An Ingress MUST get an address in its status.",
    spec=f"{KUBERNETES}/reference/kubernetes-api/service-resources/ingress-v1/",
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.INGRESS}),
    services=(FRONT, BACK, NOBODY),
    entries=(PLAIN,),
    probes=(status(PLAIN, "address"),),
    judge=all_answered,
    usually="the Ingress controller does not run, or another one has the class",
)

INGRESS_HOST_PATH = Rule(
    id="INGRESS-HOST-PATH",
    requirement=(
        "An Ingress MUST lead to the Service that it names for the host and for the "
        "longest path that match."
    ),
    spec=INGRESS + "#the-ingress-resource",
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.INGRESS}),
    services=(FRONT, BACK, NOBODY),
    entries=(PLAIN,),
    families=FAMILIES,
    provided=(*ENTERED, not_every_host(PLAIN)),
    probes=leads(PLAIN),
    judge=all_connected,
    usually="a controller that does not run, or takes /deep for a prefix of /deeper",
)

INGRESS_TLS = Rule(
    id="INGRESS-TLS",
    requirement=(
        "An Ingress MUST show the certificate of the host that the client names, and "
        "lead to the Service of that host."
    ),
    spec=INGRESS + "#tls",
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.INGRESS}),
    services=(FRONT, BACK),
    entries=(SECURE,),
    families=FAMILIES,
    provided=ENTERED,
    probes=(
        *fetch(SECURE, SECURE.sites[0]),
        *fetch(SECURE, SECURE.sites[1], ALTERNATIVE),
    ),
    judge=all_connected,
    usually="the controller does not read the Secret, and shows its own certificate",
)

INGRESS_CERT_VALID = Rule(
    id="INGRESS-CERT-VALID",
    requirement=(
        "A client that trusts the root alone MUST be able to verify what an Ingress "
        "shows: name, chain and dates."
    ),
    spec=INGRESS + "#tls",
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.INGRESS}),
    services=(FRONT, BACK),
    entries=(SECURE,),
    families=FAMILIES,
    provided=ENTERED,
    probes=tuple(ask for site in SECURE.sites for ask in verify(SECURE, site)),
    judge=all_connected,
    usually="an intermediate certificate that is left out, or a clock that is wrong",
)

INGRESS_NO_BACKEND = Rule(
    id="INGRESS-NO-BACKEND",
    requirement=(
        "For a Service without endpoints an Ingress MUST answer 503, and not leave the "
        "client waiting."
    ),
    spec=INGRESS + "#ingress-rules",
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.INGRESS}),
    services=(FRONT, BACK, NOBODY),
    entries=(PLAIN,),
    families=FAMILIES,
    provided=(
        *ENTERED,
        Control(
            fetch(PLAIN, PLAIN.sites[0])[0],
            lambda seen: seen.outcome is Outcome.CONNECTED,
            "another path of that host leads to a Pod",
        ),
    ),
    probes=tuple(
        Ask(
            source,
            Op.HTTP,
            of_entry(PLAIN, secure=False),
            spread,
            expect=words("503"),
            settings=(("host", PLAIN.sites[0].host), ("path", "/nobody")),
        )
        for source, spread in SOURCES
    ),
    judge=all_answered,
    usually="a controller that drops what has no endpoints, or waits for some",
)

PROMISED = (
    *("address", "Gateway Accepted", "Gateway Programmed"),
    *(
        f"listener {name} {condition}"
        for name in ("http", *(site.name for site in GATE.sites if site.secure))
        for condition in ("Accepted", "Programmed", "ResolvedRefs")
    ),
    *(
        f"HTTPRoute {site.name} {condition}"
        for site in GATE.sites
        for condition in ("Accepted", "ResolvedRefs")
    ),
)

GATEWAY_STATUS = Rule(
    id="GATEWAY-STATUS",
    requirement=(
        "A Gateway and its HTTPRoutes MUST get an address, and every condition for "
        "what was asked of them last."
    ),
    spec=GATEWAY,
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.GATEWAY}),
    services=(FRONT, BACK),
    entries=(GATE,),
    probes=(status(GATE, *PROMISED),),
    judge=all_included,
    usually="the controller does not run, or its listeners need --k8snet-gateway-ports",
)

GATEWAY_HTTP = Rule(
    id="GATEWAY-HTTP",
    requirement=(
        "A Gateway MUST lead to the Service that an HTTPRoute names for the host and "
        "for the longest path that match."
    ),
    spec=GATEWAY,
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.GATEWAY}),
    services=(FRONT, BACK),
    entries=(GATE,),
    families=FAMILIES,
    provided=(*ENTERED, not_every_host(GATE)),
    probes=leads(GATE),
    judge=all_connected,
    usually="a route that the listener does not allow, or a data plane that is behind",
)

GATEWAY_TLS = Rule(
    id="GATEWAY-TLS",
    requirement=(
        "A Gateway MUST show the certificate of the host that the client names, which "
        "it can verify, and lead to the Service of that host."
    ),
    spec=GATEWAY,
    mark="rule4",
    level=Level.FEATURE,
    needs=frozenset({Feature.GATEWAY}),
    services=(FRONT, BACK),
    entries=(GATE,),
    families=FAMILIES,
    provided=ENTERED,
    probes=(
        *fetch(GATE, GATE.sites[2]),
        *fetch(GATE, GATE.sites[3], ALTERNATIVE),
        *(ask for site in GATE.sites[2:] for ask in verify(GATE, site)),
    ),
    judge=all_connected,
    usually="the controller may not read the Secret, or shows its own certificate",
)

RULES = (
    INGRESS_STATUS,
    INGRESS_HOST_PATH,
    INGRESS_TLS,
    INGRESS_CERT_VALID,
    INGRESS_NO_BACKEND,
    GATEWAY_STATUS,
    GATEWAY_HTTP,
    GATEWAY_TLS,
)
