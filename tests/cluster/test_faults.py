"""Each fault turns red what it breaks, and nothing else; healed, all is green."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from faults import BY_THEMSELVES, ROUNDS, Round, injected, seen, surprises
from faults.catalogue import by_rule, network, pods, services
from faults.table import Sighting

from pytest_k8snet.localcluster import cgroups
from pytest_k8snet.model import Word

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shipped_suite import Suite

pytestmark = pytest.mark.cluster


def names(faults: Round) -> str:
    return "+".join(map(str, faults))


@pytest.mark.parametrize("faults", ROUNDS, ids=names)
def test_a_fault_is_seen_where_it_is_and_nowhere_else(
    faults: Round, suite: Suite, sightings: list[Sighting]
) -> None:
    (args,) = {one.args for one in faults}

    with injected(faults, suite.site):
        run = suite.run(*args)

    assert run.recording, run.output
    found = surprises(faults, run.recording, suite.site)
    assert not found, "\n".join(found)
    assert run.exit_code == pytest.ExitCode.TESTS_FAILED
    seconds = round(run.recording.report.figures.total)
    for one in faults:
        red = seen(one.red, run.recording, suite.site)
        sightings.append(Sighting(one.fault.id, one.fault.breaks, seconds, red))


def test_two_faults_on_different_nodes_give_two_findings(suite: Suite) -> None:
    both = (network.HAIRPIN_OFF, pods.WRONG_CLUSTER_DNS)

    with injected(both, suite.site):
        run = suite.run()

    assert run.report, run.output
    told = {(f.cause, *map(suite.site.short, f.nodes)) for f in run.report.findings}
    assert told == {(one.fault.id, *one.fault.nodes) for one in both}
    assert len({one.fault.nodes for one in both}) == len(both)


def k8snet(*words: str) -> str:
    """Run the command as a user does; it must succeed."""
    argv = [sys.executable, "-m", "pytest_k8snet.cli", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fault_that_is_held_shows_until_it_is_healed(suite: Suite) -> None:
    name = suite.site.cluster.name

    said = k8snet("fault", "inject", "hairpin-off", "--cluster", name)
    held = k8snet("fault", "list")
    broken = suite.run("-k", "SERVICE-HAIRPIN")
    healed = k8snet("fault", "heal", "--cluster", name)
    well = suite.run("-k", "SERVICE-HAIRPIN")

    assert f"k8snet fault heal hairpin-off --cluster {name}" in said
    assert [line.split()[0] for line in held.splitlines() if name in line] == [
        "hairpin-off"
    ]
    assert broken.count(Word.FAIL), broken.output
    assert healed == f'hairpin-off is healed on "{name}".\n'
    assert well.green, well.output
    assert not cgroups.processes(name, "fault-hairpin-off")


def test_a_cluster_goes_with_the_faults_that_are_held_on_it(
    other_cluster: Callable[[str], AbstractContextManager[Suite]],
) -> None:
    with other_cluster("single-node.yaml") as suite:
        name = suite.site.cluster.name
        k8snet("fault", "inject", "dns-service-ip-mismatch", "--cluster", name)
        holders = cgroups.processes(name, "fault-dns-service-ip-mismatch")

    assert holders
    assert all(cgroups.dead(pid) for pid in holders)


def test_what_was_stopped_goes_on_as_if_it_had_not_been(suite: Suite) -> None:
    with services.PROXY_STOPPED.fault.inject(suite.site):
        pass
    with network.RULES_MISSING.fault.inject(suite.site):
        pass


def test_a_cluster_whose_faults_are_healed_is_green(suite: Suite) -> None:
    for faults in ROUNDS:
        with injected(faults, suite.site):
            pass
    # What only the benchmark makes is made and healed here, too.
    others = [one.fault for one in BY_THEMSELVES]
    for fault in (*others, *(one.fault for one in by_rule.EXPECTED)):
        if fault.cluster == "three-node":
            with fault.inject(suite.site):
                pass

    run = suite.run()

    assert run.green, run.output
