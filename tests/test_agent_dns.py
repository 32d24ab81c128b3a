"""DNS, as the agent asks for it and reads it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from agents import answering, ask, listening

from pytest_k8snet.agent import dns
from pytest_k8snet.agent.dns_messages import decode_name, encode_question, reverse_name
from pytest_k8snet.agent.probe import resolver_stop
from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_cut_answer_is_asked_for_again_by_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = encode_question(7, "x.example", 1)

    def cut(question: bytes) -> bytes:
        return question[:2] + b"\x83\x80" + question[4:]

    def by_stream(_: object, __: str, question: bytes) -> bytes:
        return question[:2] + b"\x81\x80" + whole[4:]

    monkeypatch.setattr(dns, "ask_by_stream", by_stream)
    with answering(cut) as port:
        fields: dict[str, Any] = {"name": "x.example", "server": "127.0.0.1"}
        first = ask("dns", port=port, **fields)
    with answering(cut) as port:
        again = ask("dns", port=port, whole=True, **fields)

    assert (first["detail"], again["detail"]) == ("TC", "")


def encode_name(name: str) -> bytes:
    labels = [part.encode() for part in name.split(".") if part]
    return b"".join(bytes([len(part)]) + part for part in labels) + b"\0"


@dataclass
class Zone:
    """A name server that gives one answer to every question, by UDP and by TCP."""

    records: list[tuple[int, bytes]] = field(default_factory=list)
    flags: int = 0x8400
    identity: int = 0  # added to the id of the question
    port: int = 0
    question: bytes = b""

    def answer(self, question: bytes) -> bytes:
        self.question = question
        (number,) = struct.unpack_from("!H", question)
        end = question.index(b"\0", 12) + 5
        header = (number + self.identity & 0xFFFF, self.flags, 1, len(self.records))
        answer = struct.pack("!6H", *header, 0, 0) + question[12:end]
        for kind, data in self.records:
            answer += struct.pack("!HHHIH", 0xC00C, kind, 1, 5, len(data)) + data
        return answer

    @contextlib.contextmanager
    def serve(self) -> Iterator[Zone]:
        with answering(self.answer) as self.port:
            yield self

    def answer_stream(self, client: socket.socket) -> None:
        answer = self.answer(client.recv(4096)[2:])
        framed = struct.pack("!H", len(answer)) + answer
        for position in range(0, len(framed), 7):  # however the stream is cut
            client.sendall(framed[position : position + 7])


def resolve(zone: Zone, kind: str, name: str = "db.prod.svc", **more: Any) -> Any:
    with zone.serve():
        fields: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": zone.port,
            "name": name,
            "type": kind,
        }
        return ask("dns", **fields, **more)


A_RECORD = (1, bytes([10, 96, 0, 10]))


@pytest.mark.parametrize(
    ("kind", "records", "values"),
    [
        ("A", [(1, b"\x0a\0\0\x02"), (1, b"\x0a\0\0\x01")], ["10.0.0.1", "10.0.0.2"]),
        ("AAAA", [(28, ip_address("fd00::1").packed)], ["fd00::1"]),
        ("PTR", [(12, encode_name("Pod.Example."))], ["pod.example"]),
        ("CNAME", [(5, encode_name("other.example"))], ["other.example"]),
        ("TXT", [(16, b"\x03dns\x051.1.0")], ["dns1.1.0"]),
        (
            "SRV",
            [(33, struct.pack("!3H", 0, 100, 8080) + b"\x01x\xc0\x0f")],
            ["0 100 8080 x.prod.svc"],
        ),
    ],
)
def test_dns_answers_are_read(
    kind: str, records: list[tuple[int, bytes]], values: list[str]
) -> None:
    seen = resolve(Zone(records), kind)
    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, values), seen


def test_the_question_is_as_the_rfcs_say() -> None:
    zone = Zone([A_RECORD])
    resolve(zone, "A", "Db.prod.svc.")
    assert zone.question[2:12] == struct.pack("!5H", 0x0100, 1, 0, 0, 1)
    assert zone.question[12:].startswith(encode_name("Db.prod.svc") + b"\0\1\0\1")
    assert zone.question.endswith(struct.pack("!BHHIH", 0, 41, 1232, 0, 0))


def test_a_chain_of_aliases_is_told_apart_from_the_addresses() -> None:
    zone = Zone([(5, encode_name("real.example")), A_RECORD])
    seen = resolve(zone, "A")
    assert seen["values"] == ["10.96.0.10"]
    assert seen["detail"] == "CNAME real.example"


@pytest.mark.parametrize(
    ("flags", "outcome", "detail"),
    [
        (0x8403, Outcome.NAME_NOT_FOUND, "NXDOMAIN"),
        (0x8402, Outcome.ANSWERED_WRONGLY, "SERVFAIL"),
        (0x8405, Outcome.ANSWERED_WRONGLY, "REFUSED"),
        (0x8400, Outcome.ANSWERED, ""),
        (0x8600, Outcome.ANSWERED, "TC"),
    ],
)
def test_an_answer_without_records_is_named(
    flags: int, outcome: Outcome, detail: str
) -> None:
    seen = resolve(Zone(flags=flags), "A")
    assert (seen["outcome"], seen["detail"], seen["values"]) == (outcome, detail, [])


@pytest.mark.parametrize(
    ("closed", "outcome", "values"),
    [
        (0, Outcome.ANSWERED, ["10.96.0.10"]),
        (1, Outcome.ANSWERED, ["10.96.0.10"]),
        (2, Outcome.ANSWERED_WRONGLY, []),
    ],
)
def test_dns_by_tcp_is_asked_again_once_where_the_server_closes(
    closed: int, outcome: Outcome, values: list[str]
) -> None:
    zone = Zone([A_RECORD])
    impatient = iter(range(closed))

    def serve(client: socket.socket) -> None:
        if next(impatient, None) is None:
            zone.answer_stream(client)
        else:
            client.recv(4096)

    with listening(serve, clients=min(closed + 1, 2)) as port:
        fields: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": port,
            "name": "x",
            "type": "A",
        }
        seen = ask("dns", **fields, transport="tcp")
    assert (seen["outcome"], seen.get("values", [])) == (outcome, values), seen


def test_an_answer_with_another_id_is_not_taken() -> None:
    seen = resolve(Zone([A_RECORD], identity=1), "A", timeout=0.2)
    assert seen["outcome"] == Outcome.TIMED_OUT


def test_a_reverse_name_is_made_of_an_address() -> None:
    assert reverse_name("10.1.2.3") == "3.2.1.10.in-addr.arpa"
    for address in ("10.1.2.3", "fd00::12"):
        expected = ip_address(address).reverse_pointer
        assert reverse_name(address) == expected
        zone = Zone([(12, encode_name("pod.example"))])
        resolve(zone, "PTR", address, reverse=True)
        assert encode_name(expected) in zone.question


@pytest.mark.parametrize(
    "data",
    [b"\xc0\x0c" * 3, b"\xc0\xff", b"\x3fabc", b"\x40", b"", b"\x01a\xc0"],
    ids=lambda data: data.hex() or "empty",
)
def test_a_malformed_name_is_a_wrong_answer_and_no_loop(data: bytes) -> None:
    # The last record: its data begins where the pointers of the first case point.
    seen = resolve(Zone([(5, data)]), "CNAME", "a")
    known = data.startswith(b"\xc0\x0c")
    expected = Outcome.ANSWERED if known else Outcome.ANSWERED_WRONGLY
    assert seen["outcome"] == expected, seen


def test_pointers_that_point_at_themselves_end() -> None:
    message = b"\0" * 12 + b"\xc0\x0c"
    with pytest.raises(ValueError, match="forward"):
        decode_name(message, 12)


def test_no_random_bytes_break_the_decoder() -> None:
    with answering(lambda question: question[:2] + b"\x84" + os.urandom(300)) as port:
        fields: dict[str, Any] = {
            "server": "127.0.0.1",
            "port": port,
            "name": "x",
            "type": "A",
        }
        seen = ask("dns", **fields)
    assert seen["outcome"] in {Outcome.ANSWERED_WRONGLY, Outcome.NAME_NOT_FOUND}, seen


def test_a_name_server_that_is_not_there_refuses() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen = ask("dns", server="127.0.0.1", port=port, name="x", type="A")
    assert seen["outcome"] == Outcome.REFUSED


def test_lookup_goes_through_the_c_library() -> None:
    seen = ask("lookup", name="localhost", family="ipv4")
    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, ["127.0.0.1"])


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (socket.EAI_NONAME, Outcome.NAME_NOT_FOUND),
        (socket.EAI_AGAIN, Outcome.TIMED_OUT),
        (socket.EAI_FAIL, Outcome.ANSWERED_WRONGLY),
        (socket.EAI_MEMORY, Outcome.NOT_PROBED),
    ],
)
def test_the_c_librarys_errors_are_named(code: int, outcome: Outcome) -> None:
    stop = resolver_stop(socket.gaierror(code, "why"))
    assert stop.outcome == outcome
    assert stop.detail.startswith("EAI_")
