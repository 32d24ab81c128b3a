"""A run has the containers it asks, and judges no Pod before it looked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fake_api import FakeApi, served
from scenes import facts, plan_of, spec
from test_apply import NO_NETWORK, pod

from pytest_k8snet.cluster import apply
from pytest_k8snet.cluster.api import Api
from pytest_k8snet.manifests import RUN
from pytest_k8snet.model import Role, Word
from pytest_k8snet.plan import checks
from pytest_k8snet.result import conclude
from pytest_k8snet.rules import RULES
from pytest_k8snet.stage import Stage, Waits
from pytest_k8snet.wire import not_probed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_k8snet.model import Scene
    from pytest_k8snet.result import Result

REFUSED = "no IP addresses available"


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with served() as found:
        yield found


def place(fake: FakeApi, given: dict[str, Any], *addresses: str) -> None:
    """Have a Pod of the run's servers."""
    namespace = spec().namespace("server")
    given["metadata"] |= {"namespace": namespace, "labels": {RUN: spec().run}}
    given["spec"] = {"containers": [{"name": "main"}]}
    given["status"]["podIPs"] = [{"ip": address} for address in addresses]
    name = given["metadata"]["name"]
    fake.objects[f"/api/v1/namespaces/{namespace}/pods/{name}"] = given


def test_a_pod_that_comes_late_is_judged_by_that(
    fake: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"GLANCE": 0.2, "SOON": 0.5}.items():
        monkeypatch.setattr(apply, name, seconds)
    event = {"metadata": {"name": "e"}, "message": REFUSED}
    fake.objects[f"/api/v1/namespaces/{spec().namespace('server')}/events/e"] = event
    place(fake, pod("server-0", running=True, ready=True), "10.244.0.2")
    place(fake, pod("server-1", running=False, ready=False, lacks=NO_NETWORK))
    place(fake, pod("server-2", running=True, ready=False), "10.244.2.2")
    api = Api.connect("fake", str(fake.kubeconfig(tmp_path)))
    stage = Stage(api, plan_of(facts(3)), spec(), Waits(connect=1.0))

    stage.bring_up({Role.SERVER})
    stage.look_again()

    ((node, why),) = stage.scene.without_address
    assert node == "b"
    assert REFUSED in why
    assert stage.unready.keys() == {"server@c"}
    assert stage.scene.ready_pods == {"server-0"}

    place(fake, pod("server-1", running=True, ready=True), "10.244.1.2")
    place(fake, pod("server-2", running=True, ready=True), "10.244.2.2")
    stage.look_again()
    api.close()

    assert stage.scene.without_address == ()
    assert not stage.unready
    assert stage.scene.ready_pods >= {"server-0", "server-2"}


def test_a_service_that_is_refused_is_missing_where_it_is_needed_alone(
    fake: FakeApi, tmp_path: Path
) -> None:
    fake.refused.add(("POST", "/services/two-protocols"))
    api = Api.connect("fake", str(fake.kubeconfig(tmp_path)))
    stage = Stage(api, plan_of(facts(3)), spec(), Waits())

    stage.lay_out({Role.CLIENT})
    api.close()

    assert "admission denied" in stage.scene.unmade["two-protocols"]
    assert stage.scene.service("headless")
    needs, other = (
        concluded(rule, stage.scene) for rule in ("DNS-SERVICE", "DNS-API-SERVER")
    )
    assert needs.word is Word.INCONCLUSIVE
    assert "no Service two-protocols: " in needs.reason
    assert "two-protocols" not in other.reason


def concluded(rule: str, scene: Scene) -> Result:
    """Judge a rule's first check by probes that were not sent."""
    planned = next(c for c in plan_of(facts(3)).checks if c.check.rule.id == rule)
    seen = tuple(not_probed(probe, scene, "gone") for probe in planned.probes)
    return conclude(planned.check, [], seen, scene)


@pytest.mark.parametrize(
    ("rule", "names"),
    [("LOCALHOST-TCP", ["main", "sibling"]), ("POD-TO-POD", ["main"])],
)
def test_a_second_container_is_made_where_a_rule_asks_it(
    fake: FakeApi, tmp_path: Path, rule: str, names: list[str]
) -> None:
    api = Api.connect("fake", str(fake.kubeconfig(tmp_path)))
    selected = checks([one for one in RULES if one.id == rule])
    stage = Stage(api, plan_of(facts(3), selected), spec(), Waits())

    stage.lay_out({Role.CLIENT})
    api.close()

    namespace = spec().namespace("client")
    for rank in range(3):
        made = fake.objects[f"/api/v1/namespaces/{namespace}/pods/client-{rank}"]
        assert [one["name"] for one in made["spec"]["containers"]] == names
