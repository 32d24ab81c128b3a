"""A name server that knows every name: its IPv4 address is 192.0.2.53."""

from __future__ import annotations

import ipaddress
import socket
import sys

HEADER, A = 12, 1


def answer(asked: bytes) -> bytes:
    """Answer a query: with an address to a question about IPv4, else with nothing."""
    end = asked.index(0, HEADER) + 5
    kind = int.from_bytes(asked[end - 4 : end - 2])
    count = int(kind == A)
    said = asked[:2] + b"\x81\x80" + asked[4:6] + bytes([0, count, 0, 0, 0, 0])
    record = (
        b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + ipaddress.ip_address("192.0.2.53").packed
    )
    return said + asked[HEADER:end] + record * count


def serve(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        while True:
            asked, client = server.recvfrom(4096)
            server.sendto(answer(asked), client)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
