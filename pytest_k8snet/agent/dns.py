"""Operations that ask what a name stands for."""

from __future__ import annotations

import os
import struct

from .asking import dial, exchange
from .dns_messages import (
    EDNS,
    RCODES,
    TYPES,
    decode_answer,
    encode_question,
    reverse_name,
)
from .outcomes import ANSWERED, ANSWERED_WRONGLY, NAME_NOT_FOUND, Stop
from .resolver import resolv_conf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .probe import Probe


def ask_by_stream(probe: Probe, server: str, question: bytes) -> bytes:
    """Ask by TCP, and again where the server closed first: RFC 7766, section 6.2.4.

    Servers wait for a question for seconds alone, CoreDNS for 3: on a machine that
    does not let the agent run, it comes too late, and nothing is broken.
    """
    answer = _answered(probe, server, question) or _answered(probe, server, question)
    if not answer:
        raise Stop(ANSWERED_WRONGLY, "closed without an answer")
    return answer


def _answered(probe: Probe, server: str, question: bytes) -> bytes:
    """Ask over a connection, with a length before every message; b"" if it closed."""
    probe.request.setdefault("port", 53)
    with dial(probe, server) as sock:
        probe.phase("send")
        sock.sendall(struct.pack("!H", len(question)) + question)
        probe.phase("receive")
        answer = b""
        while len(answer) < 2 or len(answer) < 2 + struct.unpack("!H", answer[:2])[0]:
            sock.settimeout(probe.left())
            data = sock.recv(65535)
            if not data:
                return b""
            answer += data
    return answer[2:]


def op_dns(probe: Probe) -> str:
    """Ask one name server one question."""
    name, kind = probe.text("name"), TYPES[probe.text("type", "A").upper()]
    if probe.request.get("reverse"):
        name = reverse_name(name)
    server = probe.text("server", "-")
    if server == "-":
        server = next(iter(resolv_conf("nameserver")), "")
    number = struct.unpack("!H", os.urandom(2))[0]
    question = encode_question(number, name, kind)
    echo = question[12 : -len(EDNS)].lower()

    def accept(data: bytes) -> bytes | None:
        ours = data[:2] == question[:2] and len(data) >= 12 and data[2] & 0x80
        return data if ours else None

    if probe.text("transport", "udp") == "tcp":
        answer = ask_by_stream(probe, server, question)
        if accept(answer) is None:
            raise Stop(ANSWERED_WRONGLY, "not an answer to this question")
    else:
        answer = exchange(probe, server, question, accept)
    asked = answer[12 : 12 + len(echo)].lower()
    # A server that cannot read the question may leave it out of its FORMERR.
    if struct.unpack_from("!H", answer, 4)[0] and asked != echo:
        raise Stop(ANSWERED_WRONGLY, "the answer repeats another question")
    if answer[2] & 2 and probe.request.get("whole"):
        # Cut, as it says itself: resolvers then ask by TCP, on their own.
        answer = ask_by_stream(probe, server, question)
    return judge_answer(probe, kind, answer)


def judge_answer(probe: Probe, kind: int, message: bytes) -> str:
    """Put a DNS answer into the reply."""
    try:
        rcode, truncated, records = decode_answer(message)
    except (ValueError, IndexError, struct.error, OSError) as error:
        raise Stop(ANSWERED_WRONGLY, f"not DNS: {error}") from None
    if rcode == 3:
        raise Stop(NAME_NOT_FOUND, "NXDOMAIN")
    if rcode:
        raise Stop(ANSWERED_WRONGLY, RCODES.get(rcode, f"rcode {rcode}"))
    notes = ["TC"] if truncated else []
    if kind != TYPES["CNAME"]:
        notes += [f"CNAME {value}" for k, value in records if k == TYPES["CNAME"]]
    probe.reply["detail"] = ", ".join(notes)
    probe.reply["values"] = sorted({value for k, value in records if k == kind})
    return ANSWERED


def op_lookup(probe: Probe) -> str:
    """Resolve a name as programs do, search path included."""
    probe.phase("resolve")
    found = probe.resolve(probe.text("name"), probe.text("family", ""))
    probe.reply["values"] = sorted(found)
    return ANSWERED
