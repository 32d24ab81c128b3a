"""Direct evidence: what confirms a cause or rules it out, asked for and answered.

A run gathers answers only for what failed, and its report keeps them: so a recording
gives the same findings again, without a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_k8snet.diagnose.cause import Place
    from pytest_k8snet.model import ClusterFacts


class Look(StrEnum):
    """Where is looked, with what an answer's values are."""

    # The API server is asked.
    CONDITIONS = "conditions"  # of a Node, that are not as they should be, in words
    EVENTS = "events"  # warnings about our Pods on a Node: "reason: message"
    WORKLOADS = "workloads"  # of the cluster itself, that a Node lacks, in words
    RANGES = "ranges"  # Nodes' ranges and Pods' addresses that clash, in words
    SERVICE = "service"  # "name: field value" of the Services of ours of that name
    FORWARD = "forward"  # "forward ADDRESS..." of the cluster DNS, "log LINE" of errors
    TUNNEL = "tunnel"  # "mac ADDRESS" that a Node's tunnel is published to have

    # An agent on the Node's own network looks, without privileges.
    SETTINGS = "settings"  # "name=value" of the kernel; no value where there is none
    LINKS = "links"  # "name type state mac=...", of a bridge's ports also "hairpin=..."
    FORWARDING = "forwarding"  # of a Node's tunnels: "name mac to ADDRESS"
    ROUTE = "route"  # to an address: "via ADDRESS dev NAME", or the errno
    NEIGHBOUR = "neighbour"  # next hop to an address: "ADDRESS dev NAME STATE MAC"
    HEALTH = "health"  # of kube-proxy: HTTP status, and its words; or why there is none
    KUBELET = "kubelet"  # the kubelet's health, likewise

    # Any agent asks.
    TRACE = "trace"  # to an address: who answers at each hop, "*" for nobody

    # A privileged Pod looks.
    RULES = "rules"  # "hook table chain: rule", "services table: count", "served WORDS"
    PLUGINS = "plugins"  # "folder: file", and "folder: count addresses"
    FLOWS = "flows"  # of UDP, tracked, to what is no endpoint of the Service, in words


PRIVILEGED = frozenset({Look.RULES, Look.PLUGINS, Look.FLOWS})
"""What only ``--k8snet-inspect-nodes`` lets us see."""


@dataclass(frozen=True, order=True)
class Question:
    """One thing to look at.

    Attributes:
        look: where.
        node: on which Node, or of which; "" for none.
        thing: an address, or a Service; "" likewise.

    """

    look: Look
    node: str = ""
    thing: str = ""

    def __str__(self) -> str:
        """Name it in a few words."""
        of = f" of {self.thing}" if self.thing else ""
        return f"{self.look}{of}" + (f" on {self.node}" if self.node else "")


@dataclass(frozen=True)
class Answer:
    """What was seen.

    Attributes:
        values: see ``Look``.
        problem: why nothing could be seen; "" when it could.

    """

    values: tuple[str, ...] = ()
    problem: str = ""


Evidence = Mapping[Question, Answer]


class Says(StrEnum):
    """What an answer says of a cause."""

    CONFIRMS = "confirms"
    RULES_OUT = "rules out"
    NOTHING = "says nothing"


@dataclass(frozen=True)
class Testimony:
    """What evidence says of a cause, with one line that shows it; "" for none."""

    says: Says
    line: str = ""


NOTHING = Testimony(Says.NOTHING)


def confirms(line: str) -> Testimony:
    """Say that it is so."""
    return Testimony(Says.CONFIRMS, line)


def rules_out(line: str) -> Testimony:
    """Say that it is not so."""
    return Testimony(Says.RULES_OUT, line)


def remarks(line: str) -> Testimony:
    """Say what is worth knowing where it is so, and decides nothing."""
    return Testimony(Says.NOTHING, line)


Values = tuple[str, ...]
Asks = Callable[["Place", "ClusterFacts"], tuple[Question, ...]]
Weighs = Callable[["Place", "ClusterFacts", tuple[Values, ...]], Testimony]


@dataclass(frozen=True)
class Proof:
    """What would confirm a cause at a place, or rule it out.

    Attributes:
        asks: the questions, given the place.
        weighs: what the answers' values say, in the order of the questions; asked
            only when all of them could be answered.

    """

    asks: Asks
    weighs: Weighs

    def says(self, place: Place, facts: ClusterFacts, evidence: Evidence) -> Testimony:
        """Weigh what was gathered."""
        answers = [evidence.get(question) for question in self.asks(place, facts)]
        known = tuple(a.values for a in answers if a is not None and not a.problem)
        if not answers or len(known) < len(answers):
            return NOTHING
        return self.weighs(place, facts, known)
