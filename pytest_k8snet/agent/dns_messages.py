"""DNS messages, written and read."""

from __future__ import annotations

import socket
import struct

from .addresses import family_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    Record = tuple[int, str]

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33}
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
EDNS = struct.pack("!BHHIH", 0, 41, 1232, 0, 0)


def encode_question(number: int, name: str, kind: int) -> bytes:
    """Write a recursive question with EDNS0, so that answers of 1232 bytes fit."""
    header = struct.pack("!6H", number, 0x0100, 1, 0, 0, 1)
    return header + encode_name(name) + struct.pack("!2H", kind, 1) + EDNS


def encode_name(name: str) -> bytes:
    """Write a name, label by label."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    if any(len(label) > 63 for label in labels):
        raise ValueError(f"a label of {name!r} is longer than 63")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(message: bytes, offset: int) -> tuple[str, int]:
    """Read a name, and say where the next field begins.

    Pointers only ever lead backwards, so that no message makes this loop.
    """
    labels: list[str] = []
    end, limit = -1, offset
    while True:
        length = message[offset]
        if length >= 0xC0:
            target = struct.unpack_from("!H", message, offset)[0] & 0x3FFF
            end = offset + 2 if end < 0 else end
            if target >= limit:
                raise ValueError("a DNS name points forward")
            offset = limit = target
        elif length > 63:
            raise ValueError("a DNS label of an unknown kind")
        elif length == 0:
            return ".".join(labels).lower(), end if end >= 0 else offset + 1
        else:
            label = message[offset + 1 : offset + 1 + length]
            if len(label) < length:
                raise ValueError("a DNS name ends early")
            labels.append(label.decode("latin-1"))
            offset += 1 + length


def decode_record(message: bytes, offset: int) -> tuple[Record, int]:
    """Read one record: its type and its value as text."""
    _, offset = decode_name(message, offset)
    kind, _, _, length = struct.unpack_from("!HHIH", message, offset)
    offset += 10
    data = message[offset : offset + length]
    if len(data) < length:
        raise ValueError("a DNS record ends early")
    value = ""
    if kind == TYPES["A"]:
        value = socket.inet_ntop(socket.AF_INET, data)
    elif kind == TYPES["AAAA"]:
        value = socket.inet_ntop(socket.AF_INET6, data)
    elif kind in (TYPES["CNAME"], TYPES["PTR"]):
        value = decode_name(message, offset)[0]
    elif kind == TYPES["SRV"]:
        numbers = struct.unpack_from("!3H", data)
        target = decode_name(message, offset + 6)[0]
        value = "{} {} {} {}".format(*numbers, target)
    elif kind == TYPES["TXT"]:
        value = decode_text(data)
    return (kind, value), offset + length


def decode_text(data: bytes) -> str:
    """Join the strings of a TXT record."""
    parts, offset = [], 0
    while offset < len(data):
        parts.append(data[offset + 1 : offset + 1 + data[offset]])
        offset += 1 + data[offset]
    return b"".join(parts).decode("utf-8", "replace")


def decode_answer(message: bytes) -> tuple[int, bool, list[Record]]:
    """Read an answer: its rcode, whether it was cut, and its records."""
    _, flags, questions, answers, _, _ = struct.unpack_from("!6H", message)
    offset = 12
    for _ in range(questions):
        offset = decode_name(message, offset)[1] + 4
    records: list[Record] = []
    truncated = bool(flags & 0x0200)
    for _ in range(answers):
        try:
            record, offset = decode_record(message, offset)
        except (ValueError, IndexError, struct.error):
            if truncated:
                break  # cut in the middle of a record: what is whole is kept
            raise
        records.append(record)
    return flags & 15, truncated, records


def reverse_name(address: str) -> str:
    """Give the name under which the PTR record of an address is found."""
    packed = socket.inet_pton(family_of(address), address)
    if len(packed) == 4:
        return ".".join(str(byte) for byte in reversed(packed)) + ".in-addr.arpa"
    return ".".join(reversed(packed.hex())) + ".ip6.arpa"
