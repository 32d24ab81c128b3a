"""Real clusters for the tests, each up only while it is needed.

Leave all of this out with ``-m "not cluster"``: where no cluster can be made, these
tests fail and say why, because what was skipped was not shown to work.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asked_for import leave_out
from faults import EXPECTED
from faults.edge import EDGE_EXPECTED
from faults.table import Sighting, write
from interruptible import ctrl_c_counts  # noqa: F401 - for every test
from shipped_suite import Suite

from pytest_k8snet import localcluster
from pytest_k8snet.faults.site import Site
from pytest_k8snet.localcluster import LocalClusterError
from pytest_k8snet.plugin import options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

CLUSTERS = Path(__file__).parents[2] / "clusters"
# Sessions go on side by side, and none may take another one's clusters away.
PREFIX = "tests"
NAME = f"{PREFIX}-{os.getpid()}"
OF_A_SESSION = re.compile(rf"{PREFIX}-(\d+)(-other)?")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    leave_out("upgrade", config, items)


@contextmanager
def made(file: str, name: str, folder: Path, *, install: bool) -> Iterator[Site]:
    """Have a cluster; then have it no more, nor what killed sessions left."""
    try:
        for left in left_behind():
            localcluster.down(left)
        cluster = localcluster.up(
            CLUSTERS / file,
            name=name,
            provider="netns",
            install_packages=install,
            # Not the user's own, whose current context is theirs.
            kubeconfig=folder / "kubeconfig",
        )
    except LocalClusterError as error:
        pytest.fail(f'{error} (leave these tests out with -m "not cluster")', False)
    site = Site.of(cluster)
    try:
        yield site
    finally:
        site.api.close()
        localcluster.down(name)


def left_behind() -> list[str]:
    """Name the clusters of sessions that run no more."""
    running = [cluster.name for cluster in localcluster.clusters()]
    return [
        name
        for name in (*running, *localcluster.incomplete())
        if (found := OF_A_SESSION.fullmatch(name))
        and not Path(f"/proc/{found[1]}").exists()
    ]


@pytest.fixture(scope="session")
def install(pytestconfig: pytest.Config) -> bool:
    """Whether the user lets us install packages, by the plugin's own option."""
    return bool(options.read(pytestconfig)["install-packages"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, install: bool) -> Iterator[Site]:
    """The three-node cluster that all tests share which do not destroy it."""
    folder = tmp_path_factory.mktemp("cluster")
    with made("three-node.yaml", NAME, folder, install=install) as site:
        site.gather_dns("control-plane")
        yield site


@pytest.fixture
def suite(site: Site, tmp_path: Path) -> Iterator[Suite]:
    """The shipped suite for the shared cluster; whatever happens, nothing stays."""
    yield Suite(site, tmp_path)
    site.wait_until_clean()


@pytest.fixture
def other_cluster(
    tmp_path: Path, install: bool
) -> Callable[[str], AbstractContextManager[Suite]]:
    """The shipped suite for a cluster of the test's own, by its file in clusters/."""

    @contextmanager
    def make(file: str) -> Iterator[Suite]:
        with made(file, f"{NAME}-other", tmp_path, install=install) as site:
            yield Suite(site, tmp_path)

    return make


@pytest.fixture(scope="session")
def sightings() -> Iterator[list[Sighting]]:
    """What is seen of the faults; put into the table that $SEEN_RED names."""
    found: list[Sighting] = []
    yield found
    if file := os.environ.get("SEEN_RED"):
        known = {str(one) for one in (*EXPECTED, *EDGE_EXPECTED)}
        write(Path(file), found, known)
