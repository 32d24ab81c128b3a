"""Components are built once per content, and a failure says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.localcluster import BuildError, build
from pytest_k8snet.localcluster.component import (
    COMPONENTS,
    KUBERNETES_VERSION,
    NODE_VERSIONS,
    Component,
    Edit,
    Source,
)
from pytest_k8snet.localcluster.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

GO = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$1 $2" in
"env GOVERSION") printf '{version}\\namd64\\n' ;;
"env GOCACHE") echo {folder}/gocache ;;
"mod download") echo '{{"Dir": "{folder}/module"}}' ;;
build*|"test -c")
  {fail}
  echo example.org/some/package >&2
  for word; do
    if [ "$previous" = -modfile ]; then
      cp "$word" {folder}/seen.mod
      cp -r "$(dirname "$word")/src/example.org/m" {folder}/seen
    fi
    if [ "$previous" = -o ]; then
      case $word in */) touch "$word/program" ;; *) touch "$word" ;; esac
    fi
    previous=$word
  done ;;
esac
"""


class Go:
    """A recorded `go` on PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.write()
        (folder / "setpriv").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
        (folder / "setpriv").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("K8SNET_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setattr(build, "_GIB", 1)

    def write(self, version: str = "go1.26.8", fail: str = ":") -> None:
        program = self.folder / "go"
        text = GO.format(folder=self.folder, version=version, fail=fail)
        program.write_text(text)
        program.chmod(0o755)

    def builds(self) -> list[str]:
        calls = (self.folder / "calls").read_text().splitlines()
        return [call for call in calls if call.startswith("build")]


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    return Go(tmp_path, monkeypatch)


def test_every_component_is_built_once_and_then_found(go: Go) -> None:
    first = build.build_all(Silent())
    second = build.build_all(Silent())

    assert first == second
    assert len(go.builds()) == len(COMPONENTS)
    assert all("-mod=readonly" in call for call in go.builds())
    assert (first["coredns"] / "coredns").exists()
    assert (first["etcd"] / "etcd").exists()
    assert (first["kubernetes"] / "program").exists()


def test_another_go_release_is_another_build(go: Go) -> None:
    first = build.build_all(Silent())
    go.write(version="go1.27.0")

    assert build.build_all(Silent()) != first
    assert len(go.builds()) == 2 * len(COMPONENTS)


def test_a_failed_build_says_why_and_leaves_no_half(go: Go) -> None:
    go.write(fail='echo "main.go:1: no such thing" >&2; exit 1')

    with pytest.raises(BuildError, match=r"(?s)go build of pause .*no such thing"):
        build.build_all(Silent())

    left = [path.name for path in (go.folder / "cache/bin").iterdir()]
    assert left in ([], [".lock"])


def test_what_a_killed_build_left_is_removed_by_the_next(go: Go) -> None:
    unfinished = go.folder / "cache/bin/.new-killed"
    unfinished.mkdir(parents=True)

    build.build_all(Silent())

    assert not unfinished.exists()


def test_a_machine_without_go_is_told_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "find", lambda _: None)

    with pytest.raises(BuildError, match=r"Go was not found on PATH.*go1\.|Go 1\.2"):
        build.build_all(Silent())


def test_an_old_go_is_named_when_it_must_not_fetch_a_newer(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    go.write(version="go1.19.8")

    with pytest.raises(BuildError, match=r"Go is go1\.19\.8 .* but should be 1\."):
        build.build_all(Silent())


def test_too_full_a_disk_is_noticed_before_the_build(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_GIB", 1 << 60)

    with pytest.raises(BuildError, match="the build needs 6 GiB; free some"):
        build.build_all(Silent())
    with pytest.raises(BuildError, match="the build needs 7 GiB"):
        build.build_all(Silent(), [*COMPONENTS, EDITED])

    assert "build" not in (go.folder / "calls").read_text()


def test_every_component_is_pinned_and_complete() -> None:
    for component in (*COMPONENTS, *NODE_VERSIONS.values()):
        assert (component.folder / "go.mod").is_file()
        pinned = (component.folder / "go.sum").is_file()
        assert pinned or "require" not in (component.folder / "go.mod").read_text()


def test_what_calls_itself_a_version_is_built_from_it() -> None:
    for version, component in NODE_VERSIONS.items():
        pinned = (component.folder / "go.mod").read_text()
        assert f"require k8s.io/kubernetes {version}\n" in pinned
        assert f".gitVersion={version} " in component.ldflags
    assert KUBERNETES_VERSION in NODE_VERSIONS


EDITED = Component(
    "flannel",
    ("example.org/m",),
    edits=(Edit("example.org/m", "main.go", "old\n", "new\n"),),
    sources=(Source("example.org/m", "docs/a.yaml"), Source("example.org/m", "bpf")),
)


@pytest.fixture
def module(go: Go) -> Path:
    folder = go.folder / "module"
    (folder / "docs").mkdir(parents=True)
    (folder / "bpf").mkdir()
    (folder / "docs/a.yaml").write_text("a: 1")
    (folder / "bpf/b.h").write_text("b")
    (folder / "main.go").write_text("one\nold\n")
    # As Go keeps its modules.
    (folder / "main.go").chmod(0o444)
    return folder


def test_what_goes_with_the_programs_is_kept_beside_them(go: Go, module: Path) -> None:
    built = build.build_all(Silent(), [EDITED])["flannel"]

    assert (built / "a.yaml").read_text() == "a: 1"
    assert (built / "bpf/b.h").read_text() == "b"
    assert (built / "program").exists()
    assert (module / "bpf/b.h").exists()
    assert len(go.builds()) == 1


def test_a_changed_module_is_built_from_a_copy(go: Go, module: Path) -> None:
    build.build_all(Silent(), [EDITED])

    assert (go.folder / "seen/main.go").read_text() == "one\nnew\n"
    assert (module / "main.go").read_text() == "one\nold\n"
    replaced = (go.folder / "seen.mod").read_text()
    assert "replace example.org/m => " in replaced


def test_a_change_that_does_not_fit_its_module_says_so(go: Go, module: Path) -> None:
    del go
    (module / "main.go").chmod(0o644)
    (module / "main.go").write_text("old\nold\n")

    with pytest.raises(BuildError, match=r"main.go of example.org/m .* 2 times"):
        build.build_all(Silent(), [EDITED])


def test_another_change_or_file_is_another_build(go: Go, module: Path) -> None:
    plain = Component("flannel", ("example.org/m",))

    first = build.build_all(Silent(), [EDITED])["flannel"]

    assert build.build_all(Silent(), [EDITED])["flannel"] == first
    assert build.build_all(Silent(), [plain])["flannel"] != first
    assert len(go.builds()) == 2
    assert module.is_dir()


def test_the_tests_of_a_package_are_a_program_too(go: Go) -> None:
    component = Component("flannel", ("example.org/m",), tests=("example.org/m/all",))

    built = build.build_all(Silent(), [component])["flannel"]

    assert "example.org/m/all" in (go.folder / "calls").read_text()
    assert (built / "all.test").exists()
    assert (built / "program").exists()


def test_a_component_is_pinned_where_its_home_is(go: Go) -> None:
    home = go.folder / "home"
    (home / "mine").mkdir(parents=True)
    (home / "mine/go.mod").write_text("module one\n")
    component = Component("mine", ("example.org/m",), home=home)

    first = build.build_all(Silent(), [component])["mine"]
    (home / "mine/go.mod").write_text("module two\n")

    assert build.build_all(Silent(), [component])["mine"] != first
