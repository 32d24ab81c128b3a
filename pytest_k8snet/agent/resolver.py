"""What the files say that the C library resolves names by."""

from __future__ import annotations


def resolv_conf(keyword: str) -> list[str]:
    """Give the words after a keyword of /etc/resolv.conf; the last search line wins."""
    found: list[str] = []
    with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.partition("#")[0].split()
            if not words or words[0] != keyword:
                continue
            found = words[1:] if keyword == "search" else found + words[1:]
    return found


def hosts_of(name: str) -> list[str]:
    """Give the addresses that /etc/hosts has for a name."""
    found = []
    with open("/etc/hosts", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.partition("#")[0].lower().split()
            if name.lower() in words[1:]:
                found.append(words[0])
    return found
