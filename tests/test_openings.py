"""How long a control stream is waited for, by what became of the others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_k8snet.cluster import openings
from pytest_k8snet.cluster.errors import NoStream
from pytest_k8snet.cluster.openings import AFTER_OTHERS, ONCE_MORE, Openings
from pytest_k8snet.model import Actor, Role

SECONDS = 20.0


@dataclass
class Kubelets:
    """Stands where streams are opened; ``waited`` is for how long, in vain.

    So many streams to the silent as ``together`` says give up at the same time.
    """

    silent: set[str] = field(default_factory=set)
    waited: list[float] = field(default_factory=list)
    together: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def exec_channel(self, *asked: Any, begin: float, timeout: float) -> object:
        assert timeout == SECONDS
        node = asked[2]
        if node in self.silent:
            self.waited.append(begin)
            self.together.wait(10)
            raise NoStream("https://api", "timed out")
        return object()


@pytest.fixture
def kubelets(monkeypatch: pytest.MonkeyPatch) -> Kubelets:
    made = Kubelets()
    monkeypatch.setattr(openings, "exec_channel", made.exec_channel)
    return made


def opens(opening: Openings, role: Role, node: str) -> bool:
    """Open a stream to a Pod, which is named after its Node here."""
    try:
        opening.open(Actor(role, node), "namespace", node)
    except NoStream:
        return False
    return True


def test_a_node_that_alone_is_silent_is_tried_once_more_and_then_no_more(
    kubelets: Kubelets,
) -> None:
    kubelets.silent = {"b"}
    opening = Openings(None, SECONDS)  # type: ignore[arg-type]

    assert opens(opening, Role.CLIENT, "a")
    assert not any(opens(opening, role, "b") for role in Role)

    assert kubelets.waited == [AFTER_OTHERS, ONCE_MORE]
    assert list(opening.hopeless) == ["b"]
    assert opens(opening, Role.SERVER, "a")


def test_of_two_that_wait_side_by_side_the_second_is_once_more(
    kubelets: Kubelets,
) -> None:
    kubelets.silent = {"b"}
    kubelets.together = threading.Barrier(2)
    opening = Openings(None, SECONDS)  # type: ignore[arg-type]
    assert opens(opening, Role.CLIENT, "a")

    with ThreadPoolExecutor(2) as pool:
        roles = (Role.CLIENT, Role.SERVER)
        opened = list(pool.map(lambda role: opens(opening, role, "b"), roles))

    assert opened == [False, False]
    assert not opens(opening, Role.HOST, "b")
    assert kubelets.waited == [AFTER_OTHERS, AFTER_OTHERS]


def test_where_nothing_opens_a_stream_has_all_of_the_time(kubelets: Kubelets) -> None:
    kubelets.silent = {"a", "b"}
    opening = Openings(None, SECONDS)  # type: ignore[arg-type]

    assert not opens(opening, Role.CLIENT, "a")

    assert sum(kubelets.waited) == SECONDS


def test_a_node_that_is_heard_has_all_of_the_time_for_the_next_stream(
    kubelets: Kubelets,
) -> None:
    opening = Openings(None, SECONDS)  # type: ignore[arg-type]
    assert all(opens(opening, Role.CLIENT, node) for node in "ab")

    kubelets.silent = {"b"}
    assert not opens(opening, Role.SERVER, "b")

    assert sum(kubelets.waited) == SECONDS


def test_streams_that_fail_side_by_side_end_each_other_on_a_node_that_was_heard(
    kubelets: Kubelets,
) -> None:
    opening = Openings(None, SECONDS)  # type: ignore[arg-type]
    assert all(opens(opening, Role.CLIENT, node) for node in "ab")

    def only_once() -> None:
        kubelets.together = threading.Barrier(1)

    kubelets.silent = {"b"}
    kubelets.together = threading.Barrier(2, only_once)
    with ThreadPoolExecutor(2) as pool:
        roles = (Role.SERVER, Role.HOST)
        opened = list(pool.map(lambda role: opens(opening, role, "b"), roles))

    assert opened == [False, False]
    assert sum(kubelets.waited) < 2 * SECONDS
    kubelets.waited.clear()
    assert not opens(opening, Role.SPARE, "b")
    assert not kubelets.waited
    assert list(opening.hopeless) == ["b"]


def test_a_node_that_answers_when_asked_once_more_is_as_any_other(
    kubelets: Kubelets,
) -> None:
    kubelets.silent = {"b"}
    opening = Openings(None, SECONDS)  # type: ignore[arg-type]
    opens(opening, Role.CLIENT, "a")
    opens(opening, Role.CLIENT, "b")

    kubelets.silent = set()
    assert opens(opening, Role.SERVER, "b")
    assert opens(opening, Role.CLIENT, "b")

    kubelets.silent = {"b"}
    kubelets.waited.clear()
    assert not opens(opening, Role.HOST, "b")
    assert sum(kubelets.waited) == SECONDS
