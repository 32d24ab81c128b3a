"""The two ends of a cell, and predicates over them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_k8snet.faults.site import Site
    from pytest_k8snet.report.recording import Cell

NODE = re.compile(r"@([a-z0-9-]+)")


@dataclass(frozen=True)
class Ends:
    """Where a cell begins and ends.

    Attributes:
        source: the Node that asks; "" outside.
        target: the Node that is dialled; "" when the target is on none.
        dialled: the target as the report names it.
        site: where the cell is.
        family: the IP family of the cell's check, if it has one.

    """

    source: str
    target: str
    dialled: str
    site: Site = field(compare=False)
    family: str | None = None

    def __str__(self) -> str:
        return f"{self.source or 'outside'} -> {self.dialled}"

    @classmethod
    def of(cls, cell: Cell, site: Site, family: str | None = None) -> Ends:
        source, target = (
            site.short(found[1]) if (found := NODE.search(end)) else ""
            for end in (cell.source, cell.target)
        )
        return cls(source, target, cell.target, site, family)


Cells = Callable[[Ends], bool]


def everywhere(_: Ends) -> bool:
    return True


def asked_on(node: str) -> Cells:
    """Cells whose source is on a Node."""
    return lambda ends: ends.source == node


def dialled_at(node: str) -> Cells:
    """Cells whose target is on a Node, or is one of its addresses."""
    return lambda ends: ends.target == node


def touching(node: str) -> Cells:
    """Cells that begin or end on a Node, those within it included."""
    return lambda ends: node in (ends.source, ends.target)


def leaving(node: str) -> Cells:
    """Cells from a Node to another one."""
    return lambda ends: ends.source == node != ends.target


def entering(node: str) -> Cells:
    """Cells from another Node to a Node."""
    return lambda ends: ends.source != node == ends.target


def within(node: str) -> Cells:
    """Cells from a Node to itself."""
    return lambda ends: ends.source == node == ends.target


def either(*several: Cells) -> Cells:
    """Cells that are among these or among those."""
    return lambda ends: any(cells(ends) for cells in several)


def over(family: str, cells: Cells) -> Cells:
    """Of some cells, those in checks of that IP family."""
    return lambda ends: cells(ends) and ends.family == family


def about(what: str, cells: Cells) -> Cells:
    """Of some cells, those that are about a fact of that name."""
    return lambda ends: cells(ends) and ends.dialled.partition("@")[0] == what


def at_port(port: str, cells: Cells) -> Cells:
    """Of some cells, those whose target's port is called so."""
    return lambda ends: cells(ends) and ends.dialled.endswith(f":{port}")


def to(name: str, cells: Cells) -> Cells:
    """Of some cells, those whose target is called so."""
    return lambda ends: cells(ends) and f" {name}@" in ends.dialled


def crossing(node: str) -> Cells:
    """Cells between a Node and another one, either way."""
    return lambda ends: (
        node in {ends.source, ends.target} and ends.source != ends.target
    )


def one_way(source: str, target: str) -> Cells:
    return lambda ends: (ends.source, ends.target) == (source, target)


def between(one: str, other: str) -> Cells:
    return lambda ends: {ends.source, ends.target} == {one, other}


def on_either(one: str, other: str) -> Cells:
    """Cells whose source is on one of two Nodes."""
    return lambda ends: ends.source in (one, other)


def resolved_on(node: str) -> Cells:
    """Cells in which a Node's Pods ask for a name; facts about them are no such."""
    return lambda ends: ends.source == node and ends.dialled.startswith("name ")


def named(begin: str, cells: Cells) -> Cells:
    """Of some cells, those that ask for a name that begins so."""
    return lambda ends: cells(ends) and ends.dialled.startswith(f"name {begin}")
