"""The connections that the kernel tracks, asked for by netlink (ctnetlink)."""

from __future__ import annotations

import socket
import struct

from .addresses import family_of, spelled
from .netlink import DUMP, TRACKED, attributes, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CT_GET = 0x101  # IPCTNL_MSG_CT_GET of NFNL_SUBSYS_CTNETLINK

THERE, BACK = 1, 2  # CTA_TUPLE_ORIG and CTA_TUPLE_REPLY

ADDRESSES, PORTS = 1, 2  # CTA_TUPLE_IP and CTA_TUPLE_PROTO

SOURCE, DESTINATION = (1, 3), (2, 4)  # CTA_IP_V4_SRC or _V6_SRC, and so on

NUMBER, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3  # CTA_PROTO_NUM and so on

Side = tuple[int, str, int, str, int]
"""A protocol's number, a source with its port, and a destination with its port."""


def flows(addresses: Iterable[str], left: Callable[[], float]) -> Iterator[str]:
    """Yield "udp SOURCE PORT to ADDRESS PORT by ADDRESS PORT": who answers is last."""
    wanted = {a: socket.inet_pton(family_of(a), a) for a in addresses}
    asked = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
    for _kind, entry in netlink(CT_GET, DUMP, asked, left, TRACKED):
        # There may be a quarter of a million: few of them are taken apart.
        if not any(packed in entry for packed in wanted.values()):
            continue
        told = dict(attributes(entry, 4))
        protocol, source, source_port, to, port = side(told[THERE])
        if protocol == socket.IPPROTO_UDP and to in wanted:
            _, by, by_port, _, _ = side(told[BACK])
            yield f"udp {source} {source_port} to {to} {port} by {by} {by_port}"


def side(packed: bytes) -> Side:
    """Read one direction of a flow."""
    told = dict(attributes(packed, 0))
    addresses = dict(attributes(told[ADDRESSES], 0))
    ports = dict(attributes(told[PORTS], 0))
    # An address is there in one of the two families, and not all have ports.
    source, to = (
        next(spelled(addresses[key]) for key in keys if key in addresses)
        for keys in (SOURCE, DESTINATION)
    )
    first, second = (
        int.from_bytes(ports.get(key, b""), "big")
        for key in (SOURCE_PORT, DESTINATION_PORT)
    )
    return ports[NUMBER][0], source, first, to, second
