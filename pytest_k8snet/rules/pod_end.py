"""Rule 2, at a Pod's end: while it terminates, and once it is gone.

Of the full profile: all that others ask of these Pods has to be over before.
"""

from __future__ import annotations

from pytest_k8snet.model import (
    Ask,
    Change,
    Family,
    Level,
    Profile,
    Protocol,
    Role,
    Rule,
    Spread,
    Step,
)
from pytest_k8snet.rules._world import FAMILIES, PODS, connect, pod, serves
from pytest_k8snet.verdict import as_asked, is_connected, is_silent, settled

MADE = Change("create", Role.SPARE, Spread.NODES)


def to_spare(family: Family, timeout: str = "poll") -> Ask:
    """Ask every Pod that is about to end."""
    return connect(
        Role.CLIENT,
        pod(Role.SPARE),
        protocol=Protocol.TCP,
        family=family,
        timeout=timeout,
    )


POD_TERMINATING = Rule(
    id="POD-TERMINATING",
    requirement=(
        "A Pod that terminates SHOULD still send and receive during its grace period."
    ),
    spec=PODS + "pod-lifecycle/#pod-termination",
    mark="rule2",
    level=Level.SHOULD,
    profile=Profile.FULL,
    provided=(serves(Role.SERVER),),
    steps=(
        Step(
            changes=(MADE,),
            asks=tuple(map(to_spare, FAMILIES)),
            until=is_connected,
        ),
        Step(
            changes=(Change("terminate", Role.SPARE, Spread.NODES),),
            asks=(
                *map(to_spare, FAMILIES),
                *(
                    connect(
                        Role.SPARE,
                        pod(Role.SERVER),
                        protocol=Protocol.TCP,
                        family=family,
                        timeout="poll",
                    )
                    for family in FAMILIES
                ),
            ),
            until=is_connected,
            # Half a second of it at least, whatever happens first.
            consecutive=10,
        ),
    ),
    judge=settled(is_connected),
    usually="a network plugin that takes a Pod down when its deletion is asked for",
)

POD_ADDRESS_RELEASED = Rule(
    id="POD-ADDRESS-RELEASED",
    requirement="The address of a Pod that is gone SHOULD NOT answer.",
    spec=PODS + "pod-lifecycle/#pod-termination-forced",
    mark="rule2",
    level=Level.SHOULD,
    profile=Profile.FULL,
    provided=(serves(Role.CLIENT),),
    steps=(
        Step(
            changes=(MADE,),
            asks=tuple(map(to_spare, FAMILIES)),
            until=is_connected,
        ),
        Step(
            changes=(Change("delete", Role.SPARE, Spread.NODES),),
            asks=tuple(to_spare(family, "silence") for family in FAMILIES),
            until=is_silent,
        ),
    ),
    judge=settled(as_asked),
    usually="a sandbox that the runtime did not remove, or addresses given out twice",
)

RULES = (POD_TERMINATING, POD_ADDRESS_RELEASED)
