"""What leads into the cluster is made, and waited for, whatever the API says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.verification import PolicyBuilder, Store
from scenes import facts, plan_of, spec

from pytest_k8snet.cluster.errors import ApiError, Conflict, NotFound
from pytest_k8snet.model import EntryState, Kind
from pytest_k8snet.plan import checks
from pytest_k8snet.publishing import await_states, certify, publish
from pytest_k8snet.rules import RULES
from pytest_k8snet.rules.entry import SECURE

if TYPE_CHECKING:
    from pytest_k8snet.cluster.api import Api

Json = dict[str, Any]
SPEC = spec()
PLAN = plan_of(
    facts(3), checks([r for r in RULES if "GATEWAY" in r.id or "LOAD" in r.id])
)
INGRESS, GATEWAY = (Kind.INGRESS, "plain"), (Kind.GATEWAY, "gate")
ADDRESSED = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}


class Server:
    """Takes what it is given, but for kinds that it refuses, and lists by kind."""

    def __init__(
        self, refused: dict[str, Exception], **lists: list[list[Json]]
    ) -> None:
        self.refused, self.lists = refused, lists
        self.made: list[str] = []
        self.looks = 0

    def create(self, path: str, item: Json) -> Json:
        if error := self.refused.get(path.rpartition("/")[2]):
            raise error
        self.made.append(item["kind"])
        return {**item, "metadata": {**item["metadata"], "namespace": "server"}}

    def list(self, path: str, **_: object) -> list[Json]:
        kind = path.rpartition("/")[2]
        if error := self.refused.get(kind):
            raise error
        self.looks += 1
        there = self.lists.get(kind, [[]])
        return there.pop(0) if len(there) > 1 else there[0]


def api(refused: dict[str, Exception] | None = None, **lists: Any) -> Server:
    return Server(refused or {}, **lists)


def no_such(kind: str) -> NotFound:
    return NotFound(kind, status=404, reason="NotFound", message="no such kind")


def denied() -> ApiError:
    return ApiError("services", status=422, reason="Invalid", message="by a webhook")


def named(name: str, **rest: Any) -> Json:
    return {"metadata": {"name": name}, **rest}


def looked(server: Server, wanted: dict[Any, frozenset[str]], seconds: float) -> Any:
    return await_states(cast("Api", server), "r1", wanted, seconds, lambda: False)


# ------------------------------------------------------------------------ certificates


def test_a_site_is_verified_by_who_trusts_the_root_alone() -> None:
    root, fingerprints, secrets = certify(SPEC, SECURE.sites)
    store = Store(x509.load_pem_x509_certificates(root.encode()))
    chain = x509.load_pem_x509_certificates(
        secrets[0]["stringData"]["tls.crt"].encode()
    )
    host = "secure-one.k8snet-r1-server.test"

    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(host))

    assert len(verifier.verify(chain[0], chain[1:])) == 3
    with pytest.raises(x509.verification.VerificationError):
        verifier.verify(chain[0], [])
    shown = chain[0].fingerprint(hashes.SHA256()).hex()
    assert shown == fingerprints["secure-one"] != fingerprints["secure-two"]


# ------------------------------------------------------------------------------ making


def test_everything_is_made_and_services_are_on_the_scene() -> None:
    server = api()

    fields, problems = publish(cast("Api", server), PLAN, SPEC, ("198.51.100.7",))

    assert problems == {}
    assert sorted(set(server.made)) == ["Gateway", "HTTPRoute", "Secret", "Service"]
    assert {"balanced-tcp", "balanced-udp", "for-outside-tcp"} <= set(
        fields["services"]
    )
    assert set(fields["fingerprints"]) == {"gate-three", "gate-four"}


def test_what_cannot_be_made_keeps_nothing_else_from_being_made() -> None:
    server = api({"services": denied(), "gateways": no_such("gateways")})

    _, problems = publish(cast("Api", server), PLAN, SPEC, ())

    assert server.made.count("HTTPRoute") == 4
    assert problems.pop(GATEWAY) == EntryState()
    assert {kind for kind, _ in problems} == {Kind.LOAD_BALANCER}
    assert all("by a webhook" in state.problem for state in problems.values())


def test_a_secret_that_is_there_already_is_not_read() -> None:
    there = Conflict("secrets", status=409, reason="AlreadyExists", message="exists")

    _, problems = publish(cast("Api", api({"secrets": there})), PLAN, SPEC, ())

    assert problems == {}


# ----------------------------------------------------------------------------- waiting


def test_the_api_is_asked_until_it_says_what_has_to_hold() -> None:
    item = named("plain")
    server = api(ingresses=[[], [item], [item | ADDRESSED]])

    states = looked(server, {INGRESS: frozenset({"address"})}, 5)

    assert states[INGRESS] == EntryState(("192.0.2.9",), ("address",))
    assert server.looks == 3


def test_what_never_comes_is_waited_for_no_longer_than_may_be() -> None:
    states = looked(api(), {INGRESS: frozenset({"address"})}, 0)

    assert states == {INGRESS: EntryState()}


def test_a_kind_that_the_api_does_not_know_has_no_objects() -> None:
    server = api({"gateways": no_such("gateways")})

    assert looked(server, {GATEWAY: frozenset({"address"})}, 0) == {
        GATEWAY: EntryState()
    }


def test_what_may_not_be_read_is_not_known() -> None:
    states = looked(api({"ingresses": denied()}), {INGRESS: frozenset()}, 0)

    assert "by a webhook" in states[INGRESS].problem
