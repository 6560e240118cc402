"""The feed and the token endpoint through a proxy of the environment, and what is said if it fails."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
import trustme
from websockets.asyncio.client import ClientConnection

from bridge.aries.connect import close, connect
from bridge.errors import BridgeError
from bridge.oauth.endpoint import TokenEndpoint, TokenRequest
from bridge.simulator.server import Simulator
from tests.support.authorities import authority_file, server_tls
from tests.support.http_proxy import http_proxy
from tests.support.token_endpoint import token_endpoint

if TYPE_CHECKING:
    from pathlib import Path

ARIES = "aries.test"
USER = "user:secret%20word@"


async def open_feed(scheme: str, port: int, cafile: Path | None = None) -> None:
    """Open and close a WebSocket to the host that only a proxy can reach."""
    await close(await connect(f"{scheme}://{ARIES}:{port}/v1/market/ws", ClientConnection, 10, cafile))


async def grant(scheme: str, port: int, cafile: Path | None = None) -> str:
    """Request a token from the host that only a proxy can reach."""
    endpoint = TokenEndpoint(f"{scheme}://{ARIES}:{port}/v1/oauth2/token", "ARIES_TOKEN_URL", {}, cafile=cafile)
    return (await endpoint.grant(TokenRequest({}))).access_token


async def problem(scheme: str) -> str:
    """Return what is said about a connection that a proxy prevents, after checking that it shows no credentials."""
    with pytest.raises(BridgeError) as raised:
        await (grant if scheme.startswith("http") else open_feed)(scheme, 443)
    text = str(raised.value)
    assert "secret" not in f"{text} {raised.value!r} {raised.value.__cause__!r}"
    return text


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_the_feed(scheme: str, *, proxy_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A WebSocket is opened through a tunnel, with the user of the proxy's URL; the CA file counts for both ends."""
    authority = trustme.CA()
    tls = server_tls(authority, ARIES, "127.0.0.1")
    cafile = authority_file(authority, tmp_path)
    async with (
        http_proxy(tls=tls if proxy_tls else None) as proxy,
        Simulator(ssl=tls if scheme == "wss" else None) as to,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"{'https' if proxy_tls else 'http'}://{USER}{proxy.address}")
        await open_feed(scheme, to.port, cafile)
    assert [head.split(" ")[:2] for head in proxy.heads] == [["CONNECT", f"{ARIES}:{to.port}"]]
    assert "Proxy-Authorization: Basic " in proxy.heads[0]


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_token_endpoint(
    scheme: str, *, proxy_tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is granted through a tunnel, or for http by a request to the proxy."""
    authority = trustme.CA()
    tls = server_tls(authority, ARIES, "127.0.0.1", "localhost")
    cafile = authority_file(authority, tmp_path)
    async with (
        http_proxy(tls=tls if proxy_tls else None) as proxy,
        token_endpoint(tls if scheme == "https" else None) as endpoint,
    ):
        monkeypatch.setenv("ALL_PROXY", f"{'https' if proxy_tls else 'http'}://{USER}{proxy.address}")
        port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
        assert await grant(scheme, port, cafile) == "access-1"
    assert [head.split(" ")[0] for head in proxy.heads] == ["CONNECT" if scheme == "https" else "POST"]
    assert "Proxy-Authorization: Basic " in proxy.heads[0]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (407, "rejects the user and password (HTTP 407)"),
        (403, f"does not allow connections to {ARIES}"),
        (502, f"cannot reach {ARIES}"),
        (504, f"cannot reach {ARIES}"),
        (400, f"refused to connect to {ARIES}"),
    ],
)
@pytest.mark.parametrize("scheme", ["ws", "wss", "https"])
async def test_a_proxy_that_refuses(scheme: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is named, not Aries, and how to do without it."""
    async with http_proxy(status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}{proxy.address}")
        text = await problem(scheme)
    assert f"the proxy {proxy.address} {words}" in text
    assert "NO_PROXY" in text


@pytest.mark.parametrize("scheme", ["wss", "https", "http"])
async def test_a_proxy_that_wants_a_login(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable to put it into is named."""
    async with http_proxy(407) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")
        text = await problem(scheme)
    assert f"the proxy {proxy.address} requires a user and a password (HTTP 407)" in text
    assert "ALL_PROXY" in text


@pytest.mark.parametrize("scheme", ["ws", "wss", "https"])
async def test_a_proxy_that_cannot_be_reached(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection and a name without an address are the proxy's."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}{address}")
        assert f"the proxy {address} cannot be reached: Connection refused. Check HTTPS_PROXY" in await problem(scheme)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}proxy.invalid:3128")
    assert "the proxy proxy.invalid:3128 cannot be reached: " in await problem(scheme)


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_tls_to_a_proxy_fails(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown authority of the proxy, and a proxy without TLS, are the proxy's faults."""
    async with http_proxy(tls=server_tls(trustme.CA(), "127.0.0.1")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{USER}{proxy.address}")
        text = await problem(scheme)
        assert f"the proxy {proxy.address} has a certificate that is not accepted" in text
        assert "ARIES_SSL_CAFILE" in text


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_a_proxy_without_tls(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL of a proxy that begins with https although it speaks no TLS is said to be wrong."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"https://{USER}{address}")
        text = await problem(scheme)
    assert f"the proxy {address} answers without TLS. Check HTTPS_PROXY" in text
