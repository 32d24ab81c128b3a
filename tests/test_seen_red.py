"""What the faults are to show is said for every rule, and the table says the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from faults import BY_THEMSELVES, EXPECTED, ROUNDS, Expected
from faults.edge import EDGE_EXPECTED
from faults.table import Sighting, read, write

from pytest_k8snet.model import Level, Rule
from pytest_k8snet.rules import RULES

TABLE = Path(__file__).parents[1] / "docs" / "seen-red.md"
IDS = {rule.id for rule in RULES}


def faults_of(rule: str) -> set[str]:
    return {one.fault.id for one in EXPECTED if rule in one.red}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_must_has_a_fault_under_which_it_fails(rule: Rule) -> None:
    if rule.level is Level.MUST:
        assert faults_of(rule.id), f"add a fault to tests/faults/ that breaks {rule.id}"


@pytest.mark.parametrize("one", [*EXPECTED, *BY_THEMSELVES], ids=str)
def test_a_fault_names_rules_that_exist(one: Expected) -> None:
    named = {*one.red, *one.inconclusive, *one.may}

    assert one.red or one.inconclusive
    assert named <= IDS
    assert not set(one.red) & set(one.may)


def test_every_fault_is_made_once() -> None:
    made = Counter(one.fault.id for faults in ROUNDS for one in faults)

    assert made == Counter(one.fault.id for one in EXPECTED)
    assert set(made.values()) == {1}


def test_the_faults_of_a_round_want_the_same_of_the_suite() -> None:
    for faults in ROUNDS:
        assert len({one.args for one in faults}) == 1


def test_the_table_has_faults_with_the_rules_that_they_turn_red() -> None:
    rows = {s.fault: set(s.red) for s in read(TABLE.read_text())}
    wanted = {one.fault.id: set(one.red) for one in EXPECTED}
    wanted |= {one.fault.id: set(one.red) for one in EDGE_EXPECTED}

    assert rows == wanted, "docs/seen-red.md says how to write it"
    seen = set().union(*rows.values())
    assert {rule.id for rule in RULES if rule.level is Level.MUST} <= seen


def test_what_was_seen_is_put_beside_what_was_seen_before(tmp_path: Path) -> None:
    first = Sighting("one-fault", "This.", 12, {"POD-TO-POD": 4, "NODE-READY": 1})
    second = Sighting("two-faults", "That.", 9, {"POD-TO-POD": 2})
    again = Sighting("one-fault", "This.", 13, {"POD-TO-POD": 3})
    file = tmp_path / "table.md"
    known = {first.fault, second.fault}

    write(file, [first], known)
    assert read(file.read_text()) == [first]
    write(file, [second], known)
    assert read(file.read_text()) == [first, second]
    write(file, [again], known)

    assert read(file.read_text()) == [again, second]
    assert "| POD-TO-POD | MUST | one-fault 3, two-faults 2 |" in file.read_text()
    assert "| NODE-READY | MUST | never |" in file.read_text()
    write(file, [], {second.fault})
    assert read(file.read_text()) == [second]
