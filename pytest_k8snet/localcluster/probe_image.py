"""The content of the probe image: this machine's Python, and a few programs.

Pods of a local cluster need some image with a Python in it, and there is no registry
to ask. The interpreter at hand is put into one: its standard library as byte code
and every shared library that it is linked to.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from .commands import run
from .errors import UnsupportedMachineError
from .packages import find
from .userland import Found, joined, programs, with_libraries

OLDEST_PYTHON = (3, 9)
# For people who `kubectl exec` into a probe.
TOOLS = ("sh", "cat", "ls", "env", "sleep", "ip")

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
    tools = programs(tool for tool in TOOLS if find(tool))
    return joined(tools, with_libraries(files, links, linked))


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
