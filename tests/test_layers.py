"""The layering rule at the top of ``model.py``, executed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_k8snet
from pytest_k8snet import model

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

PACKAGE = "pytest_k8snet"
ROOT = Path(pytest_k8snet.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

STEPS = (model.__doc__ or "").partition("\n\n``model``")[2].partition("\n\n")[0]
LADDER = tuple(
    frozenset(re.findall(r"``(\w+)``", step))
    for step in f"``model``{STEPS}".split("<-")
)
STANDS_ASIDE = "agent"

REACHES_OUT = frozenset(
    {
        *("asyncore", "http", "kubernetes", "select", "socket", "ssl", "subprocess"),
        *("urllib", "urllib3", "websocket"),
    }
)
MAY_REACH_OUT = frozenset(
    {
        *("cluster", "localcluster", STANDS_ASIDE),
        # One of its files stands where a Node has its runc.
        "faults",
        # It runs the command that is watched.
        "watch_command",
    }
)
CLOCKS = frozenset({"asyncio", "time"})
MAY_READ_THE_CLOCK = MAY_REACH_OUT | {
    "publishing",
    "probing",
    "stage",
    "evidence",
    "watching",
    "turns",
    "lab",
    "workbench",
    "plugin",
}
KNOWS_PYTEST = frozenset({"plugin", "checks"})
MAKES_LOCAL_CLUSTERS = frozenset(
    {"localcluster", "faults", "plugin", "cli", "watch_command"}
)


def noun(path: Path) -> str:
    """Name the module or package of ours that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Give the absolute names that a file imports, those for types included."""
    package = [PACKAGE, *path.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            # Of "from pytest_k8snet import x" the x is what matters.
            bare = source == PACKAGE
            found |= {f"{source}.{a.name}" for a in node.names} if bare else {source}
    return found


def ours(path: Path) -> set[str]:
    """Name the modules and packages of ours that a file imports, but its own."""
    mine = {name.split(".")[1] for name in imports(path) if name.startswith(PACKAGE)}
    return mine - {noun(path)}


def theirs(path: Path) -> set[str]:
    """Name the foreign packages that a file imports."""
    return {name.partition(".")[0] for name in imports(path)} - {PACKAGE}


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LADDER) if name in names)


def test_every_module_has_its_place_on_the_ladder() -> None:
    placed = frozenset().union(*LADDER) | {STANDS_ASIDE}

    assert {noun(path) for path in MODULES} - {"__init__"} == placed


def offenders(
    foul: Callable[[Path], AbstractSet[str]],
    *,
    but: frozenset[str] = frozenset(),
) -> dict[str, set[str]]:
    """Give what is foul in every module, but for those that may."""
    return {
        str(path.relative_to(ROOT)): set(found)
        for path in MODULES
        if noun(path) not in but and (found := foul(path))
    }


def test_a_module_imports_only_from_layers_below_its_own() -> None:
    aside = frozenset({STANDS_ASIDE, "__init__"})

    def not_below(path: Path) -> set[str]:
        return {n for n in ours(path) if n in aside or layer(n) >= layer(noun(path))}

    assert offenders(not_below, but=aside) == {}


def test_only_the_seams_reach_out_of_the_process() -> None:
    assert offenders(lambda p: theirs(p) & REACHES_OUT, but=MAY_REACH_OUT) == {}


def test_only_what_waits_reads_the_clock() -> None:
    assert offenders(lambda p: theirs(p) & CLOCKS, but=MAY_READ_THE_CLOCK) == {}


def test_only_the_plugin_and_the_checks_know_pytest() -> None:
    assert offenders(lambda p: theirs(p) & {"pytest"}, but=KNOWS_PYTEST) == {}


def test_only_the_plugin_and_the_command_make_local_clusters() -> None:
    may = MAKES_LOCAL_CLUSTERS

    assert offenders(lambda p: ours(p) & {"localcluster"}, but=may) == {}


def test_the_agent_is_one_folder_of_standard_library() -> None:
    files = [path for path in MODULES if noun(path) == STANDS_ASIDE]

    assert {path.parent for path in files} == {ROOT / STANDS_ASIDE}
    assert {n for path in files for n in theirs(path)} <= sys.stdlib_module_names
    assert not any(imports(path) & {PACKAGE} or ours(path) for path in files)


def test_the_agent_imports_relatively_as_it_has_another_name_in_a_pod() -> None:
    for path in (path for path in MODULES if noun(path) == STANDS_ASIDE):
        assert PACKAGE not in path.read_text(encoding="utf-8"), path


def test_the_agents_modules_import_in_one_direction() -> None:
    own = f"{PACKAGE}.{STANDS_ASIDE}."
    below = {
        path.stem: {n.removeprefix(own) for n in imports(path) if n.startswith(own)}
        for path in (ROOT / STANDS_ASIDE).glob("*.py")
    }

    TopologicalSorter(below).prepare()  # which refuses a cycle

    assert "sockets" in below["asking"]


def loaded_by(statement: str) -> set[str]:
    """Name the top-level packages that a statement loads, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}})"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


def test_having_the_plugin_installed_costs_nothing() -> None:
    heavy = {"cryptography", "filelock", "jinja2", "kubernetes", "pydantic"}
    heavy |= {"rich", "urllib3", "websocket", "yaml"}

    assert not loaded_by("import pytest_k8snet.plugin") & heavy


def test_the_pure_core_needs_nothing_but_the_standard_library() -> None:
    core = "import pytest_k8snet.rules, pytest_k8snet.plan, pytest_k8snet.wire"

    loaded = loaded_by(f"{core}, pytest_k8snet.result")

    assert not loaded & {"pytest", "kubernetes", "pydantic", "rich", "socket", "yaml"}


def test_the_package_exports_what_it_lists_and_no_more() -> None:
    body = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")).body
    taken = [
        alias.name for n in body if isinstance(n, ast.ImportFrom) for alias in n.names
    ]

    listed = getattr(pytest_k8snet, "__all__", [])

    assert listed == sorted(set(taken) - {"annotations"})
