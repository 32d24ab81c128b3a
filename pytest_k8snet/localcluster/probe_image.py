"""The content of the probe image: this machine's Python, and a few programs.

Pods of a local cluster need some image with a Python in it, and there is no registry
to ask. The interpreter at hand is put into one: its standard library as byte code
and every shared library that it is linked to.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from .commands import run
from .errors import UnsupportedMachineError
from .packages import find

OLDEST_PYTHON = (3, 9)
# For people who `kubectl exec` into a probe.
TOOLS = ("sh", "cat", "ls", "env", "sleep", "ip")
# Loaded by name at run time, so that ldd does not list them.
_NAME_SERVICES = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# What no agent needs, and what would need libraries that nothing else needs.
_SKIPPED_FOLDERS = [
    "__pycache__",
    "config-*",
    "dbm",
    "distutils",
    "dist-packages",
    "ensurepip",
    "curses",
    "idlelib",
    "lib2to3",
    "msilib",
    "pydoc_data",
    "site-packages",
    "sqlite3",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
    "unittest",
    "venv",
    "wsgiref",
    "xmlrpc",
]
_SKIPPED_EXTENSIONS = [
    "_bz2",
    "_codecs_",
    "_crypt",
    "_ctypes_test",
    "_curses",
    "_dbm",
    "_gdbm",
    "_lzma",
    "_sqlite3",
    "_test",
    "_tkinter",
    "_uuid",
    "_xxtest",
    "audioop",
    "nis",
    "ossaudiodev",
    "readline",
    "xxlimited",
    "xxsubtype",
]

# Runs in the interpreter that goes into the image: byte code fits only its maker.
_COMPILER = r"""
import fnmatch, importlib.util, json, marshal, os, sys, sysconfig
target, skipped = sys.argv[1], sys.argv[2:]
standard = sysconfig.get_path("stdlib")
extensions = []
for folder, folders, names in os.walk(standard):
    folders[:] = sorted(
        name for name in folders
        if not any(fnmatch.fnmatch(name, pattern) for pattern in skipped)
    )
    for name in sorted(names):
        path = os.path.join(folder, name)
        if name.endswith(".so"):
            extensions.append(path)
        if not name.endswith(".py"):
            continue
        relative = os.path.relpath(path, standard)
        try:
            with open(path, "rb") as file:
                code = compile(file.read(), "<stdlib>/" + relative, "exec",
                               dont_inherit=True, optimize=2)
        except (OSError, SyntaxError, ValueError):
            continue
        output = os.path.join(target, relative + "c")
        os.makedirs(os.path.dirname(output), exist_ok=True)
        with open(output, "wb") as file:
            file.write(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
print(json.dumps({"executable": os.path.realpath(sys.executable),
                  "standard": standard, "extensions": extensions}))
"""


@dataclass(frozen=True)
class Found:
    """Files of this machine by their place in the image, and links between them."""

    files: dict[str, bytes | Path]
    links: dict[str, str]


def probe_files(cache: Path) -> Found:
    """Collect the content of the probe image; byte code is kept in the cache."""
    python = _python()
    files: dict[str, bytes | Path] = {}
    links: dict[str, str] = {}
    described, code = _compiled(python, cache)
    standard = str(described["standard"])
    for file in sorted(p for p in code.rglob("*.pyc")):
        files[f"{standard}/{file.relative_to(code)}"] = file
    linked = [Path(described["executable"])]
    for extension in described["extensions"]:
        if not Path(extension).name.startswith(tuple(_SKIPPED_EXTENSIONS)):
            files[extension] = Path(extension)
            linked.append(Path(extension))
    files[described["executable"]] = linked[0]
    links["/usr/bin/python3"] = described["executable"]
    for tool in TOOLS:
        path = find(tool)
        if path:
            real = Path(path).resolve()
            files[str(real)] = real
            linked.append(real)
            if f"/usr/bin/{tool}" != str(real):
                links[f"/usr/bin/{tool}"] = str(real)
    for library in _libraries(linked):
        real = library.resolve()
        files[str(real)] = real
        if library != real:
            links[str(library)] = str(real)
    return _merged(files, links)


def _merged(files: dict[str, bytes | Path], links: dict[str, str]) -> Found:
    """Give the image one /usr, whatever the machine has; the old names are links."""

    def place(path: str) -> str:
        path = path.lstrip("/")
        return f"usr/{path}" if path.partition("/")[0] in _MERGED else path

    placed = {place(path): content for path, content in files.items()}
    linked = {place(path): target for path, target in links.items()}
    for folder in _MERGED:
        if any(path.startswith(f"usr/{folder}/") for path in (*placed, *linked)):
            linked[folder] = f"usr/{folder}"
    # A link from /lib/x to /usr/lib/x would now point to itself.
    return Found(placed, {p: t for p, t in linked.items() if p not in placed})


def _python() -> Path:
    """Choose the interpreter: the distribution's, else the one that runs this."""
    system = Path("/usr/bin/python3")
    if system.exists():
        asked = "import sys; print(*sys.version_info[:2])"
        said = run([str(system), "-I", "-c", asked], check=False).stdout.split()
        if tuple(map(int, said)) >= OLDEST_PYTHON:
            return system.resolve()
    own = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    if own.exists():
        return own.resolve()
    raise UnsupportedMachineError(
        "no Python for the probe image: neither /usr/bin/python3 (3.9 or newer) nor "
        f"{own} exists; install your distribution's python3"
    )


def _compiled(python: Path, cache: Path) -> tuple[dict[str, Any], Path]:
    """Compile the interpreter's standard library, once per interpreter."""
    told = python.stat()
    key = re.sub(r"\W+", "-", f"{python}-{told.st_size}-{told.st_mtime_ns}").strip("-")
    folder = cache / f"stdlib-{key}"
    with FileLock(cache / ".lock"):
        if not folder.is_dir():
            new = folder.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            skipped = _SKIPPED_FOLDERS
            argv = [str(python), "-I", "-c", _COMPILER, str(new / "code"), *skipped]
            (new / "about.json").write_text(run(argv).stdout)
            new.rename(folder)
    return json.loads((folder / "about.json").read_text()), folder / "code"


def _libraries(programs: list[Path]) -> set[Path]:
    """Return every shared library that the programs need, by the names they use."""
    found: set[Path] = set()
    # ldd exits 1 when one of the files is static; it lists the others all the same.
    said = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, check=False
    ).stdout
    for line in said.splitlines():
        # A library is named "NAME => PATH (0x...)", the loader only "PATH (0x...)".
        match = re.search(r"(?:=>|^)\s*(/\S+) \(0x", line)
        if match:
            found.add(Path(match[1]))
    for folder in {Path(os.path.realpath(library)).parent for library in found}:
        found |= {folder / n for n in _NAME_SERVICES if (folder / n).exists()}
    return found
