"""The bytes of a transfer, which both of its ends know beforehand."""

from __future__ import annotations

import errno
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

BLOCK = 65536
MAX_BULK = 256 << 20


def content(seed: str, size: int) -> Any:
    """Yield the bytes that both ends of a transfer know beforehand."""
    import hashlib  # noqa: PLC0415 - 5 ms that only transfers need

    block = hashlib.shake_256(seed.encode()).digest(BLOCK)
    for number in range((size + BLOCK - 1) // BLOCK):
        # No two blocks are alike: a lost or doubled one changes the digest.
        part = struct.pack("!Q", number) + block[8:]
        yield part[: size - number * BLOCK]


DIGESTS: dict[tuple[str, int], str] = {}


def known_digest(seed: str, size: int) -> str:
    """Give the digest of a content; transfers of one size are many, hashing is dear."""
    if (seed, size) not in DIGESTS:
        DIGESTS[seed, size] = digest_of(content(seed, size))
    return DIGESTS[seed, size]


def digest_of(parts: Any) -> str:
    """Give the SHA-256 of all parts."""
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def receive_exactly(sock: socket.socket, buffer: bytearray, size: int) -> Any:
    """Yield exactly SIZE bytes, those already in the buffer first."""
    ready = bytes(buffer[:size])
    del buffer[:size]
    if ready:
        yield ready
    left = size - len(ready)
    while left:
        data = sock.recv(min(left, BLOCK))
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed early")
        left -= len(data)
        yield data
