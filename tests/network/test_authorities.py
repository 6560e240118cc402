"""Which authorities a connection trusts, and what is said about a handshake that fails."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.errors import SettingsError
from bridge.network.authorities import trusting
from bridge.network.faults import Fault, tls_fault
from tests.support.authorities import BareAuthority, authority_file, server_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SETTING, NAME = "ANY_CAFILE", "localhost"


@asynccontextmanager
async def greeting(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Run a server that greets each client, and return its port."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello, whoever you are")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


async def greeted(tls: ssl.SSLContext | None, trust: ssl.SSLContext) -> bytes:
    """Return what a server says to a client that trusts some authorities."""
    async with greeting(tls) as port:
        reader, writer = await asyncio.open_connection(NAME, port, ssl=trust)
        said = await reader.read(5)
        writer.close()
        return said


async def fault(tls: ssl.SSLContext | None, trust: ssl.SSLContext) -> Fault:
    """Return the fault of a handshake."""
    with pytest.raises(ssl.SSLError) as raised:
        await greeted(tls, trust)
    return tls_fault(raised.value, url_setting="ANY_URL", authorities_setting=SETTING)


@pytest.mark.parametrize("also_system", [False, True])
async def test_an_authority_without_key_identifiers(*, also_system: bool, tmp_path: Path) -> None:
    """It is trusted if a file names it, as Strimzi's is; Python 3.13 would reject it."""
    authority = BareAuthority(tmp_path)
    trust = trusting(SETTING, authority.file, also_system=also_system)
    assert await greeted(authority.server_tls(NAME), trust) == b"hello"


async def test_an_authority_that_openssl_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names one as well as a setting does."""
    authority = BareAuthority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert await greeted(authority.server_tls(NAME), trusting(SETTING, None)) == b"hello"


async def test_an_authority_in_the_middle_of_a_chain(tmp_path: Path) -> None:
    """It can be trusted without the one above it."""
    middle = trustme.CA().create_child_ca()
    trust = trusting(SETTING, authority_file(middle, tmp_path))
    assert await greeted(server_tls(middle, NAME), trust) == b"hello"


def test_the_system_is_trusted_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, nothing of Python's defaults changes; with one, names and certificates are still checked."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    default, ours = ssl.create_default_context(), trusting(SETTING, None)
    assert (ours.verify_flags, ours.verify_mode, ours.check_hostname) == (default.verify_flags, ssl.CERT_REQUIRED, True)


def test_a_file_replaces_the_system_or_adds_to_it(tmp_path: Path) -> None:
    """``also_system`` keeps the system's authorities."""
    file = authority_file(trustme.CA(), tmp_path)
    assert len(trusting(SETTING, file).get_ca_certs()) == 1
    both = trusting(SETTING, file, also_system=True)
    assert both.check_hostname
    assert both.verify_mode is ssl.CERT_REQUIRED
    assert len(both.get_ca_certs()) == 1 + len(ssl.create_default_context().get_ca_certs())


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("text", "contains no valid PEM certificate")]
)
def test_a_file_that_cannot_be_used(content: str | None, words: str, tmp_path: Path) -> None:
    """The error names the setting and the file."""
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=f"{SETTING}: .*{words}"):
        trusting(SETTING, file)


async def test_faults_of_certificates(tmp_path: Path) -> None:
    """Expired, not yet valid, for another name, of an unknown authority and self-signed are told apart."""
    authority = trustme.CA()
    trust = trusting(SETTING, authority_file(authority, tmp_path))
    found = {
        "expired": await fault(_server(authority, days=(-9, -1)), trust),
        "not yet valid": await fault(_server(authority, days=(1, 9)), trust),
        "not valid for 'localhost'": await fault(server_tls(authority, "other.example"), trust),
        "unable to get local issuer": await fault(server_tls(trustme.CA(), NAME), trust),
        "self-signed certificate": await fault(_self_signed(tmp_path), trust),
    }
    assert [
        words for words, one in found.items() if words not in one.problem.replace("self signed", "self-signed")
    ] == []
    hints = ["renewed", "clock", "ANY_URL", SETTING, SETTING]
    assert [one for one, hint in zip(found.values(), hints, strict=True) if hint not in one.hint] == []


async def test_a_port_without_tls(tmp_path: Path) -> None:
    """It is said to be one, with the setting of the URL."""
    found = await fault(None, trusting(SETTING, authority_file(trustme.CA(), tmp_path)))
    assert found.problem == "answers without TLS"
    assert "ANY_URL" in found.hint


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "has no TLS version that this machine allows"),
        ("UNSUPPORTED_PROTOCOL", "has no TLS version that this machine allows"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "requires a client certificate"),
        ("UNEXPECTED_EOF_WHILE_READING", "closed the connection in the TLS handshake"),
        ("BAD_SIGNATURE", "refuses the TLS handshake (bad signature)"),
    ],
)
def test_other_faults_of_a_handshake(reason: str, words: str) -> None:
    """OpenSSL's reasons are put into words."""
    error = ssl.SSLError(1, "failed")
    error.reason = reason
    assert tls_fault(error, url_setting="ANY_URL", authorities_setting=SETTING).problem == words


def _server(authority: trustme.CA, days: tuple[int, int]) -> ssl.SSLContext:
    begins, ends = (datetime.now(UTC) + timedelta(days=number) for number in days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME, not_before=begins, not_after=ends).configure_cert(context)
    return context


def _self_signed(directory: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    file = directory / "self-signed.pem"
    file.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
