"""Makes what leads into the cluster, and waits until the API says where it does."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pytest_k8snet import entries, manifests, service_manifests
from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.errors import ClusterError, NotFound
from pytest_k8snet.model import EntryState, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_k8snet.cluster.api import Api
    from pytest_k8snet.manifests import LabSpec
    from pytest_k8snet.model import Site
    from pytest_k8snet.plan import Plan

    Key = tuple[Kind, str]
    States = dict[Key, EntryState]

LIFETIME = timedelta(days=1)
PAUSES = (0.1, 0.1, 0.2, 0.2, 0.4)
"""Seconds between looks at the API; the last one again and again."""


def certify(
    spec: LabSpec, sites: Iterable[Site]
) -> tuple[str, dict[str, str], list[dict[str, Any]]]:
    """Give each site a certificate that an intermediate authority signs.

    Returns:
        (the root's certificate in PEM, fingerprints by site, Secrets).

    """
    from pytest_k8snet import pki  # noqa: PLC0415 - 50 ms that only this needs

    root = pki.authority("k8snet root")
    between = pki.authority("k8snet intermediate", root)
    fingerprints, secrets = {}, []
    for site in sites:
        host = entries.host(site, spec)
        made = pki.issue(
            between,
            site.name,
            usages=[pki.SERVER],
            alternatives=[host],
            lifetime=LIFETIME,
        )
        chain = made.cert_pem + between.cert_pem
        secrets.append(entries.secret(spec, site, chain, made.key_pem))
        fingerprints[site.name] = made.fingerprint
    return root.cert_pem, fingerprints, secrets


def publish(
    api: Api, plan: Plan, spec: LabSpec, outside: tuple[str, ...]
) -> tuple[dict[str, Any], States]:
    """Make the plan's load balancers, Ingresses and Gateways.

    One that cannot be made is no reason not to make the others.

    Args:
        api: the client.
        plan: what to make.
        spec: what all objects have in common.
        outside: its addresses.

    Returns:
        (the scene's new fields, the states of those that could not be made).

    """
    secure = [s for entry in plan.entries for s in entry.sites if s.secure]
    fields: dict[str, Any] = {}
    problems: States = {}
    if secure:
        fields["authority"], fields["fingerprints"], secrets = certify(spec, secure)
        namespace = entries.namespace_of(spec)
        apply.create_all(api, [(namespace, secret) for secret in secrets])
    wanted: list[tuple[Key, dict[str, Any]]] = [
        ((Kind.LOAD_BALANCER, item["metadata"]["name"]), item)
        for service in plan.services
        if service.balanced
        for item in service_manifests.services(spec, service, plan.facts, outside)
    ]
    wanted += [
        ((entry.kind, entry.name), item)
        for entry in plan.entries
        for item in entries.objects(spec, entry, plan.facts)
    ]

    def make(one: tuple[Key, dict[str, Any]]) -> dict[str, Any]:
        key, item = one
        try:
            return apply.create_all(api, [(entries.namespace_of(spec), item)])[0]
        except NotFound:
            # Not even the kind of object: there is none, that is all.
            problems.setdefault(key, EntryState())
        except ClusterError as error:
            problems[key] = EntryState(problem=str(error))
        return {}

    with ThreadPoolExecutor(apply.WORKERS) as pool:
        made = list(pool.map(make, wanted))
    found = [entries.service_state(m) for m in made if m.get("kind") == "Service"]
    fields["services"] = {service.name: service for service in found}
    return fields, problems


def await_states(
    api: Api,
    run: str,
    wanted: Mapping[Key, frozenset[str]],
    seconds: float,
    stopped: Callable[[], bool],
) -> States:
    """Look at the API until everything holds that has to, or the time is up.

    Args:
        api: the client.
        run: the run's id.
        wanted: what has to hold of each, as in EntryState.
        seconds: for all together.
        stopped: whether to give up.

    """
    deadline = time.monotonic() + seconds
    pauses = list(PAUSES)
    while True:
        found = {key: EntryState() for key in wanted}
        for kind, _ in groupby(sorted(kind for kind, _ in wanted)):
            mine = {key for key in wanted if key[0] is kind}
            found |= _look(api, run, kind, mine)
        unlike = [k for k, holds in wanted.items() if not holds <= {*found[k].holds}]
        if not unlike or time.monotonic() > deadline or stopped():
            return found
        time.sleep(pauses.pop(0) if len(pauses) > 1 else pauses[0])


def _look(api: Api, run: str, kind: Kind, mine: set[Key]) -> States:
    selector = f"{manifests.RUN}={run}"
    try:
        lists = [api.list(path, labelSelector=selector) for path in entries.LISTS[kind]]
    except NotFound:
        return {}
    except ClusterError as error:
        return dict.fromkeys(mine, EntryState(problem=str(error)))
    states = entries.states(kind, *lists)
    return {key: states[key] for key in mine & states.keys()}
