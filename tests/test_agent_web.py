"""HTTP and TLS, as the agent sees them."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from agents import Server, ask, by_hand, listening, serving

from pytest_k8snet.model import Outcome

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s"), "server@n1", "--loopback", "0") as found:
        yield found


def test_a_server_speaks_http_to_who_asks_for_it(server: Server) -> None:
    seen = ask("http", address="127.0.0.1", port=server.ports["main/tcp"], path="/x")

    assert (seen["outcome"], seen["values"]) == (Outcome.ANSWERED, ["200"])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


IDENTITY = b'{"who": "server@n1", "peer": "192.0.2.1", "local": "192.0.2.2", "port": 1}'


def proxy(answer: bytes, asked: list[bytes]) -> Callable[[socket.socket], None]:
    """Answer whatever is asked as a proxy would, and note what it was."""

    def talk(client: socket.socket) -> None:
        asked.append(client.recv(1000))
        client.sendall(answer)

    return talk


def test_who_answers_behind_a_proxy_is_seen() -> None:
    asked: list[bytes] = []
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(IDENTITY), IDENTITY)

    with listening(proxy(CHUNKED + body, asked)) as port:
        seen = ask("fetch", address="127.0.0.1", port=port, host="a.test", path="/x")

    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, "server@n1")
    assert seen["values"] == ["1"]
    assert asked[0].startswith(b"GET /x HTTP/1.1\r\nHost: a.test\r\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\nwelcome", "HTTP status 404"),
        (b"HTTP/1.1 200 OK\r\n\r\nwelcome", "not an agent: 'welcome'"),
        (b"hello\r\n", "not HTTP"),
        (b"", "not HTTP"),
        (CHUNKED + b"zz\r\n", "not HTTP"),
    ],
)
def test_what_no_agent_answers_is_a_wrong_answer(answer: bytes, said: str) -> None:
    with listening(proxy(answer, [])) as port:
        seen = ask("fetch", address="127.0.0.1", port=port, host="a.test", path="/")

    assert seen["outcome"] == Outcome.ANSWERED_WRONGLY
    assert said in seen["detail"]


def test_an_agent_is_fetched_by_hand(server: Server) -> None:
    port = str(server.ports["main/tcp"])

    code, line = by_hand("fetch", "127.0.0.1", port, "a.test/x")

    assert code == 0
    assert line.endswith("server@n1 at 127.0.0.1 saw 127.0.0.1")


def test_what_is_not_http_is_a_wrong_answer() -> None:
    with listening(lambda client: client.sendall(b"hello\r\n")) as port:
        seen = ask("http", address="127.0.0.1", port=port)

    assert seen["outcome"] == Outcome.ANSWERED_WRONGLY


@dataclass
class Authority:
    """A certificate for "kubernetes.default", and the file of who signed it."""

    ca_file: Path
    pem: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    from cryptography import x509  # noqa: PLC0415 - only this test needs it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = x509.SubjectAlternativeName([x509.DNSName("kubernetes.default")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    shown = certificate.public_bytes(encoding)
    secret = key.private_bytes(
        encoding,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    folder = tmp_path_factory.mktemp("tls")
    found = Authority(folder / "ca.crt", folder / "server.pem")
    found.ca_file.write_bytes(shown)
    found.pem.write_bytes(shown + secret)
    return found


def secured(context: ssl.SSLContext) -> Callable[[socket.socket], None]:
    """Answer one request by TLS."""

    def answer(client: socket.socket) -> None:
        with (
            contextlib.suppress(ssl.SSLError),
            context.wrap_socket(client, server_side=True) as inside,
        ):
            inside.recv(1000)
            inside.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")

    return answer


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("kubernetes.default", Outcome.CONNECTED, ""),
        ("other.default", Outcome.ANSWERED_WRONGLY, "not valid for 'other.default'"),
    ],
)
def test_tls_is_verified_against_the_name_and_the_authority(
    authority: Authority, name: str, outcome: Outcome, said: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem)

    with listening(secured(context)) as port:
        fields: dict[str, Any] = {
            "address": "127.0.0.1",
            "port": port,
            "server_name": name,
        }
        seen = ask("tls", **fields, ca_file=str(authority.ca_file))
    assert seen["outcome"] == outcome, seen
    assert said in seen["detail"]
    if outcome == Outcome.CONNECTED:
        assert (seen["who"], seen["values"]) == (name, ["200"])
    else:
        assert (seen["who"], seen["phase"]) == ("", "tls")


def test_the_certificate_that_a_site_shows_is_told_good_or_not(
    authority: Authority,
) -> None:
    import hashlib  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem)
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)

    def answer(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secured:
            secured.recv(1000)
            secured.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + IDENTITY)

    with listening(answer) as port:
        site = {"host": "other.test", "path": "/"}
        seen = ask("fetch", address="127.0.0.1", port=port, tls=True, **site)

    shown = ssl.PEM_cert_to_DER_cert(authority.ca_file.read_text())
    assert (seen["outcome"], seen["who"]) == (Outcome.CONNECTED, "server@n1"), seen
    assert seen["values"] == ["1", hashlib.sha256(shown).hexdigest()]
    assert named == ["other.test"]


@pytest.mark.parametrize(
    ("host", "lifetime", "said"),
    [
        ("site.test", timedelta(hours=1), ""),
        ("site.test", timedelta(minutes=-30), "certificate has expired"),
        ("else.test", timedelta(hours=1), "not valid for 'site.test'"),
    ],
)
def test_a_chain_is_verified_with_its_dates_from_a_root_that_is_given(
    host: str, lifetime: timedelta, said: str, tmp_path: Path
) -> None:
    from pytest_k8snet import pki  # noqa: PLC0415

    root = pki.authority("root")
    between = pki.authority("between", root)
    leaf = pki.issue(
        between, "site", usages=[pki.SERVER], alternatives=[host], lifetime=lifetime
    )
    (tmp_path / "pem").write_text(leaf.cert_pem + between.cert_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")

    with listening(secured(context)) as port:
        trusted = {"ca": root.cert_pem, "server_name": "site.test"}
        seen = ask("tls", address="127.0.0.1", port=port, **trusted)

    expected = Outcome.ANSWERED_WRONGLY if said else Outcome.CONNECTED
    assert seen["outcome"] == expected, seen
    assert said in seen["detail"]


def test_a_missing_ca_file_is_no_evidence() -> None:
    seen = ask("tls", address="127.0.0.1", port=1, ca_file="/no/such/file")
    assert seen["outcome"] == Outcome.NOT_PROBED
