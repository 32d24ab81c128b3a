"""Programs of this machine as the content of an image, with all they are linked to."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import MissingPackagesError
from .packages import find

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
# Loaded by name at run time, so that ldd does not list them.
_NAME_SERVICES = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# One program, under the names by which it is told what to do.
_IPTABLES = tuple(
    f"{version}tables{verb}"
    for version in ("ip", "ip6")
    for verb in ("", "-save", "-restore")
)


@dataclass(frozen=True)
class Found:
    """Files of this machine by their place in the image, and links between them."""

    files: dict[str, bytes | Path]
    links: dict[str, str]


def programs(names: Iterable[str]) -> Found:
    """Collect programs, each also under /usr/bin, and what they are linked to."""
    files: dict[str, bytes | Path] = {}
    links: dict[str, str] = {}
    linked = []
    for name in names:
        path = find(name)
        if path is None:
            raise MissingPackagesError(f"{name} is to go into an image, but is missing")
        real = Path(path).resolve()
        linked.append(real)
        files[str(real)] = real
        if f"/usr/bin/{name}" != str(real):
            links[f"/usr/bin/{name}"] = str(real)
    return with_libraries(files, links, linked)


def iptables() -> Found:
    """Collect iptables on nftables, under all its names, and its extensions."""
    path = find("xtables-nft-multi")
    if path is None:
        raise MissingPackagesError("xtables-nft-multi (of iptables) is missing")
    real = Path(path).resolve()
    files: dict[str, bytes | Path] = {str(real): real}
    links = {f"/usr/sbin/{name}": str(real) for name in _IPTABLES}
    extensions = next(
        library.resolve().parent / "xtables"
        for library in libraries([real])
        if library.name.startswith("libxtables.")
    )
    found = sorted(extensions.glob("*.so"))
    files |= {str(extension): extension.resolve() for extension in found}
    return with_libraries(files, links, [real, *found])


def joined(*parts: Found) -> Found:
    """Put several collections into one image."""
    files = {path: content for part in parts for path, content in part.files.items()}
    links = {path: target for part in parts for path, target in part.links.items()}
    return Found(files, {p: t for p, t in links.items() if p not in files})


def with_libraries(
    files: dict[str, bytes | Path], links: dict[str, str], linked: Iterable[Path]
) -> Found:
    """Add every shared library that the linked files need; give it all one /usr."""
    files, links = dict(files), dict(links)
    for library in libraries(linked):
        real = library.resolve()
        files[str(real)] = real
        if library != real:
            links[str(library)] = str(real)
    return merged(files, links)


def merged(files: dict[str, bytes | Path], links: dict[str, str]) -> Found:
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


def libraries(linked: Iterable[Path]) -> set[Path]:
    """Return every shared library that the files need, by the names they use."""
    found: set[Path] = set()
    # ldd exits 1 when one of the files is static; it lists the others all the same.
    said = subprocess.run(
        ["ldd", *map(str, linked)], capture_output=True, text=True, check=False
    ).stdout
    for line in said.splitlines():
        # A library is named "NAME => PATH (0x...)", the loader only "PATH (0x...)".
        match = re.search(r"(?:=>|^)\s*(/\S+) \(0x", line)
        if match:
            found.add(Path(match[1]))
    for folder in {Path(os.path.realpath(library)).parent for library in found}:
        found |= {folder / n for n in _NAME_SERVICES if (folder / n).exists()}
    return found
