"""Components are built once per content, and a failure says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_k8snet.localcluster import BuildError, build
from pytest_k8snet.localcluster.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

GO = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$1 $2" in
"env GOVERSION") printf '{version}\\namd64\\n' ;;
"env GOCACHE") echo {folder}/gocache ;;
build*)
  {fail}
  echo example.org/some/package >&2
  for word; do
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
    assert len(go.builds()) == len(build.COMPONENTS)
    assert all("-mod=readonly" in call for call in go.builds())
    assert (first["coredns"] / "coredns").exists()
    assert (first["etcd"] / "etcd").exists()
    assert (first["kubernetes"] / "program").exists()


def test_another_go_release_is_another_build(go: Go) -> None:
    first = build.build_all(Silent())
    go.write(version="go1.27.0")

    assert build.build_all(Silent()) != first
    assert len(go.builds()) == 2 * len(build.COMPONENTS)


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

    assert "build" not in (go.folder / "calls").read_text()


def test_every_component_is_pinned_and_complete() -> None:
    for component in build.COMPONENTS:
        assert (component.folder / "go.mod").is_file()
        pinned = (component.folder / "go.sum").is_file()
        assert pinned or "require" not in (component.folder / "go.mod").read_text()
