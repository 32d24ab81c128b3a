"""IP addresses as they are written, and what they mean."""

from __future__ import annotations

import socket


def plain(address: str) -> str:
    """Give an address without its scope and without the IPv4-mapped prefix."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:")


def family_of(address: str) -> socket.AddressFamily:
    """Give the family of a literal address; a name is a mistake of the caller."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address.partition("%")[0])
    except OSError:
        raise ValueError(f"not an IP address: {address!r}") from None
    return family


def same_address(one: str, other: str) -> bool:
    """Whether two spellings mean the same address."""
    one, other = plain(one), plain(other)
    family = family_of(one)
    if family != family_of(other):
        return False
    return socket.inet_pton(family, one) == socket.inet_pton(family, other)


def spelled(address: bytes) -> str:
    """Write an address as people do."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address)
