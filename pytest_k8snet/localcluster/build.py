"""Builds the components from their pinned Go modules, once per content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from . import paths
from .commands import environment, run
from .component import COMPONENTS
from .errors import BuildError
from .packages import find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .component import Component, Edit
    from .progress import Progress

FLAGS = "-buildvcs=false -trimpath"


@dataclass(frozen=True)
class Binaries:
    """Folders of built programs, one per component."""

    folders: dict[str, Path]

    def __getitem__(self, component: str) -> Path:
        return self.folders[component]


def build_all(progress: Progress, wanted: Sequence[Component] = COMPONENTS) -> Binaries:
    """Return the components' programs; build what the cache does not hold."""
    home = paths.cache_home() / "bin"
    keys: dict[str, str] = {}
    go = _Go.find()
    for component in wanted:
        keys[component.name] = f"{component.name}-{go.key(component)}"
    absent = [c for c in wanted if not (home / keys[c.name]).is_dir()]
    if absent:
        home.mkdir(parents=True, exist_ok=True)
        _require_space(go, len(set(absent) - set(COMPONENTS)))
        # One at a time: two builds side by side would only share the processors.
        with FileLock(home / ".lock"):
            paths.remove_unfinished(home)
            for number, component in enumerate(absent, 1):
                target = home / keys[component.name]
                if not target.is_dir():
                    progress.stage(f"build {component.name} ({number}/{len(absent)})")
                    go.build(component, target, progress)
    return Binaries({name: home / key for name, key in keys.items()})


@dataclass(frozen=True)
class _Go:
    program: str
    version: str
    arch: str

    @classmethod
    def find(cls) -> _Go:
        program = find("go") or find("/usr/local/go/bin/go")
        if program is None:
            raise BuildError(
                "Go was not found on PATH, but the cluster's components are built "
                f"from source; install Go {_wanted_go()} or newer from your "
                "distribution or from https://go.dev/dl/"
            )
        # Asked in a component's folder: with the default GOTOOLCHAIN, Go fetches the
        # release that its go.mod wants, and then that is the one that builds.
        done = run(
            [program, "env", "GOVERSION", "GOARCH"], check=False, env=_environment()
        )
        version, _, arch = done.stdout.strip().partition("\n")
        found, wanted = _numbers(version), _numbers(_wanted_go())
        automatic = os.environ.get("GOTOOLCHAIN", "auto") != "local"
        if done.returncode or (found < wanted and not automatic):
            raise BuildError(
                f"Go is {version or 'broken: ' + done.stderr.strip()} ({program}), but "
                f"should be {_wanted_go()} or newer; install one from your "
                "distribution or from https://go.dev/dl/"
            )
        return cls(program, version, arch)

    def key(self, component: Component) -> str:
        """Identify what a build would make, by all that goes into it."""
        digest = hashlib.sha256()
        made_of = (
            component.tags,
            component.edits,
            component.sources,
            component.tests,
        )
        for part in (
            *component.packages,
            component.ldflags,
            FLAGS,
            *filter(None, made_of),
        ):
            digest.update(f"{part}\0".encode())
        digest.update(f"{self.version}\0{self.arch}\0".encode())
        for file in sorted(component.folder.iterdir()):
            if file.name in {"go.mod", "go.sum"} or file.suffix == ".go":
                digest.update(f"{file.name}\0".encode() + file.read_bytes() + b"\0")
        return digest.hexdigest()[:16]

    def build(self, component: Component, target: Path, progress: Progress) -> None:
        # In a folder beside, renamed when complete: a killed build leaves no half.
        with tempfile.TemporaryDirectory(
            dir=target.parent, prefix=paths.UNFINISHED
        ) as new:
            folder = Path(new) / "bin"
            folder.mkdir()
            named = component.packages == (".",)
            output = folder / component.name if named else f"{folder}/"
            if component.name == "etcd":
                # Its package is called "server".
                output = folder / "etcd"
            options = ["-v", "-mod=readonly", "-tags", component.tags]
            options += [*self._edited(component, Path(new))]
            options += ["-ldflags", component.ldflags, "-o"]
            wanted = ["build", *options, str(output), *component.packages]
            self._run(wanted, component, progress)
            for package in component.tests:
                output = folder / f"{package.rpartition('/')[2]}.test"
                compiled = ["test", "-c", *options, str(output), package]
                self._run(compiled, component, progress)
            for source in component.sources:
                found = self._module(component, source.module) / source.path
                _copy(found, folder / source.name)
            folder.rename(target)

    def _module(self, component: Component, module: str) -> Path:
        """Return the folder of a module, in the version that the component pins."""
        argv = [self.program, "mod", "download", "-json", module]
        done = run(
            ["env", "-C", str(component.folder), *argv],
            env=_environment(),
            timeout=300,
        )
        return Path(json.loads(done.stdout)["Dir"])

    def _edited(self, component: Component, scratch: Path) -> list[str]:
        """Copy the modules that have to be changed; return how Go takes the copies."""
        if not component.edits:
            return []
        for name in ("go.mod", "go.sum"):
            _copy(component.folder / name, scratch / name)
        file = scratch / "go.mod"
        for module in sorted({edit.module for edit in component.edits}):
            copy = scratch / "src" / module
            _copy(self._module(component, module), copy)
            for edit in component.edits:
                if edit.module == module:
                    _apply(edit, copy / edit.file)
            with file.open("a") as text:
                text.write(f"\nreplace {module} => {copy}\n")
        return ["-modfile", str(file)]

    def _run(self, args: list[str], component: Component, progress: Progress) -> None:
        # The build dies with us: nobody would want its result.
        argv = ["setpriv", "--pdeathsig", "TERM", self.program, *args]
        tail: list[str] = []
        with subprocess.Popen(
            argv,
            cwd=component.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            try:
                for count, line in enumerate(process.stderr, 1):
                    tail = [*tail[-30:], line]
                    progress.detail(f"{count} packages done, newest {line.strip()}")
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            said = "".join(line for line in tail if not _is_package(line)).strip()
            raise BuildError(
                f"go {args[0]} of {component.name} failed (exit "
                f"{process.returncode}):\n{said or ''.join(tail)}\n"
                "if modules could not be fetched, check GOPROXY and the network"
            )


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder of the module cache, which is kept read-only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
    run(["chmod", "-R", "u+w", str(target)])


def _apply(edit: Edit, file: Path) -> None:
    text = file.read_text()
    if text.count(edit.old) != 1:
        raise BuildError(
            f"{edit.file} of {edit.module} is to be changed, but has {edit.old!r} "
            f"{text.count(edit.old)} times; has the module's version been changed?"
        )
    file.write_text(text.replace(edit.old, edit.new))


def _environment() -> dict[str, str]:
    return {**environment(), "GOFLAGS": FLAGS, "CGO_ENABLED": "0", "GOWORK": "off"}


def _is_package(line: str) -> bool:
    """Say whether `go build -v` only named a package that it compiled."""
    return re.fullmatch(r"[\w./~-]+", line.strip()) is not None


def _wanted_go() -> str:
    """Return the newest Go that a component's go.mod asks for."""
    found = (
        re.search(r"^go (\S+)$", (c.folder / "go.mod").read_text(), re.MULTILINE)
        for c in COMPONENTS
    )
    return max((match[1] for match in found if match), key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"(?:go)?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


_GIB = 1 << 30
# Go spreads its cache evenly over 256 folders; a first build fills each with ~50.
WARM_SHARD = 20


def _require_space(go: _Go, beyond: int) -> None:
    """Raise when there is no room to build, `beyond` components beside the usual."""
    cache = run([go.program, "env", "GOCACHE"], env=_environment()).stdout.strip()
    shard = Path(cache) / "00"
    warm = shard.is_dir() and len(list(shard.iterdir())) >= WARM_SHARD
    # Measured: 5.3 GB of modules and objects for a first build, 0.5 GB of programs;
    # 4 GB and 0.7 GB for the five components of all add-ons.
    wanted = (1 if warm else 6) + beyond
    for place in {Path(cache), paths.cache_home()}:
        existing = next(p for p in (place, *place.parents) if p.is_dir())
        free = shutil.disk_usage(existing).free
        if free < wanted * _GIB:
            raise BuildError(
                f"{free / _GIB:.1f} GiB are free at {existing}, but the build needs "
                f"{wanted} GiB; free some, or set GOCACHE, GOMODCACHE and "
                "K8SNET_CACHE_HOME to another disk"
            )
