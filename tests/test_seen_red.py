"""What the faults are to show is said for every rule, and the table says the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from faults import FAULTS, ROUNDS, Fault
from faults.table import Sighting, read, render

from pytest_k8snet.model import Level, Rule
from pytest_k8snet.rules import RULES

TABLE = Path(__file__).parents[1] / "docs" / "seen-red.md"
IDS = {rule.id for rule in RULES}


def faults_of(rule: str) -> set[str]:
    return {fault.id for fault in FAULTS if rule in fault.red}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_must_has_a_fault_under_which_it_fails(rule: Rule) -> None:
    if rule.level is Level.MUST:
        assert faults_of(rule.id), f"add a fault to tests/faults/ that breaks {rule.id}"


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_names_rules_that_exist(fault: Fault) -> None:
    named = {*fault.red, *fault.inconclusive, *fault.may}

    assert fault.red
    assert named <= IDS
    assert not set(fault.red) & set(fault.may)


def test_every_fault_is_made_once() -> None:
    made = Counter(fault.id for faults in ROUNDS for fault in faults)

    assert made == Counter(fault.id for fault in FAULTS)
    assert set(made.values()) == {1}


def test_the_faults_of_a_round_want_the_same_of_the_suite() -> None:
    for faults in ROUNDS:
        assert len({fault.args for fault in faults}) == 1


def test_the_table_names_the_faults_of_each_rule() -> None:
    assert read(TABLE.read_text()) == {rule: faults_of(rule) for rule in IDS}


def test_what_was_seen_is_read_as_it_was_written() -> None:
    first, second, *_ = FAULTS
    sightings = [
        Sighting(first, {"POD-TO-POD": 4, "NODE-READY": 1}, 12.3),
        Sighting(second, {"POD-TO-POD": 2}, 14.0),
    ]

    text = render(sightings)
    found = read(text)

    assert found["POD-TO-POD"] == {first.id, second.id}
    assert found["NODE-READY"] == {first.id}
    assert found["NP-SELF"] == set()
    assert f"| `{first}` | {first.breaks} | 2 | 5 | 12 |" in text
