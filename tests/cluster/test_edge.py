"""What leads into a cluster is green where it works, and red where it does not."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from access import kubeconfig_for, rules_in
from conftest import NAME, made
from faults import seen
from faults.edge import EDGE_ROUNDS
from faults.ends import everywhere
from faults.expected import ENTERED_BY, ByRule
from faults.table import Sighting
from shipped_suite import Suite

from pytest_k8snet.faults.catalogue.edge import POOL_EXHAUSTED
from pytest_k8snet.localcluster import PROBE_IMAGE
from pytest_k8snet.model import Word
from pytest_k8snet.result import describe
from pytest_k8snet.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipped_suite import SuiteRun

    from pytest_k8snet.faults.site import Site

pytestmark = pytest.mark.cluster

EDGE_RULES = {r.id for r in RULES if r.needs & ENTERED_BY}
CHOSEN = ("-m", "rule4", "-k", "LOADBALANCER or INGRESS or GATEWAY")
CLAIM = "--k8snet-features=LoadBalancer,Ingress,Gateway"
PLUGINS = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, install: bool) -> Iterator[Site]:
    """The cluster of edge.yaml, which all these tests share."""
    folder = tmp_path_factory.mktemp("edge")
    with made("edge.yaml", f"{NAME}-other", folder, install=install) as site:
        yield site


@pytest.fixture
def suite_there(edge: Site, tmp_path: Path) -> Iterator[Suite]:
    yield Suite(edge, tmp_path)
    edge.wait_until_clean()


def words(run: SuiteRun, word: Word) -> set[str]:
    assert run.report, run.output
    return {check.rule for check in run.report.checks if check.result == word}


def test_where_it_works_everything_passes_for_who_may_do_no_more_than_is_planned(
    suite_there: Suite, tmp_path: Path
) -> None:
    planned = suite_there.run(*CHOSEN, "--k8snet-plan")
    role = rules_in(planned.output)
    with kubeconfig_for(suite_there.site, role, tmp_path) as file:
        run = suite_there.run(*CHOSEN, f"--k8snet-kubeconfig={file}")

    assert words(run, Word.PASS) == EDGE_RULES, run.output
    assert run.green, run.output


def test_what_is_found_and_gets_no_address_does_not_apply(
    suite_there: Suite, tmp_path: Path
) -> None:
    # Under another name nobody knows what the cluster's file claims.
    config = yaml.safe_load(suite_there.site.cluster.kubeconfig.read_text())
    for context in config["contexts"]:
        context["name"] = "somewhere"
    file = tmp_path / "elsewhere"
    file.write_text(yaml.safe_dump(config))
    there = ("--k8s-context=somewhere", f"--k8snet-kubeconfig={file}")

    # Of what asks the API alone: nor does anybody know where its outside is.
    chosen = ("-k", "LOADBALANCER-STATUS", f"--k8snet-image={PROBE_IMAGE}")

    with POOL_EXHAUSTED.inject(suite_there.site):
        run = suite_there.run(*chosen, *there)

    assert words(run, Word.NOT_APPLICABLE) == {"LOADBALANCER-STATUS"}, run.output
    assert run.report
    for check in run.report.checks:
        assert "nobody claims LoadBalancer (--k8snet-features)" in check.reason


@pytest.mark.parametrize(
    "faults", EDGE_ROUNDS, ids=lambda faults: "+".join(map(str, faults))
)
def test_what_is_wrong_is_seen(
    faults: tuple[ByRule, ...], suite_there: Suite, sightings: list[Sighting]
) -> None:
    arguments = [word for one in faults for word in one.args]
    with ExitStack() as stack:
        for one in faults:
            stack.enter_context(one.fault.inject(suite_there.site))
        run = suite_there.run(*CHOSEN, *arguments, PYTHONPATH=PLUGINS)

    wrong = {rule: said for one in faults for rule, said in one.red.items()}
    unclear = {rule for one in faults for rule in one.inconclusive}
    assert words(run, Word.FAIL) == set(wrong), run.output
    assert words(run, Word.INCONCLUSIVE) == unclear, run.output
    assert run.recording
    for check in run.recording.report.checks:
        if check.result == Word.FAIL:
            cells = run.recording.cells[check.id]
            details = [describe(cell.shown) for cell in cells if not cell.conforms]
            assert any(wrong[check.rule] in one for one in details), details
    seconds = round(run.recording.report.figures.total)
    for one in faults:
        rules = dict.fromkeys(one.red, everywhere)
        red = seen(rules, run.recording, suite_there.site)
        sightings.append(Sighting(one.fault.id, one.fault.breaks, seconds, red))


def test_where_everything_is_healed_it_is_green(suite_there: Suite) -> None:
    run = suite_there.run()

    assert run.green, run.output
    assert run.report
    assert {"Gateway", "Ingress", "LoadBalancer"} <= set(
        run.report.environment.features
    )


def test_where_nothing_leads_in_nothing_applies_and_says_why(suite: Suite) -> None:
    run = suite.run(*CHOSEN)

    assert run.report, run.output
    assert words(run, Word.NOT_APPLICABLE) == EDGE_RULES
    assert {check.reason for check in run.report.checks} == {
        "nothing known gives LoadBalancer Services an address",
        "there is no IngressClass (of a cloud, only when claimed)",
        "no GatewayClass is accepted (of a cloud, only when claimed)",
    }
    assert run.exit_code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_what_is_claimed_and_does_not_lead_in_is_red(suite: Suite) -> None:
    run = suite.run(*CHOSEN, CLAIM, "--k8snet-timeout-probe=2")

    red = {"LOADBALANCER-STATUS", "INGRESS-STATUS", "GATEWAY-STATUS"}
    assert words(run, Word.FAIL) == red, run.output
    assert words(run, Word.INCONCLUSIVE) == EDGE_RULES - red
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
