"""Why a connection could not be opened, and the hints."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.aries.connect import connect
from bridge.aries.connect_errors import handshake_rejected
from bridge.aries.connection import Connection, PlainConnection
from bridge.errors import ConnectionLost, DisconnectCause
from bridge.network.event_loop import EventLoop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("status", "retry_after", "cause", "seconds"),
    [
        (401, None, DisconnectCause.AUTH_REFUSED, None),
        (403, None, DisconnectCause.AUTH_REFUSED, None),
        (404, None, DisconnectCause.HANDSHAKE, None),
        (429, None, DisconnectCause.THROTTLED, None),
        (429, "7", DisconnectCause.THROTTLED, 7.0),
        (429, " 7 ", DisconnectCause.THROTTLED, 7.0),
        (429, "soon", DisconnectCause.THROTTLED, None),
        (429, "-7", DisconnectCause.THROTTLED, None),
        (429, "9999999", DisconnectCause.THROTTLED, 86_400.0),
        (429, "Wed, 21 Oct 2015 07:28:30 GMT", DisconnectCause.THROTTLED, 30.0),
        (429, "Wed, 21 Oct 2015 07:27:00 GMT", DisconnectCause.THROTTLED, 0.0),
        (503, None, DisconnectCause.HANDSHAKE, None),
        (503, "0", DisconnectCause.THROTTLED, 0.0),
        (503, "120", DisconnectCause.THROTTLED, 120.0),
        (500, "", DisconnectCause.HANDSHAKE, None),
        (302, None, DisconnectCause.HANDSHAKE, None),
    ],
)
def test_a_rejected_handshake_is_classified_by_its_status(
    status: int, retry_after: str | None, cause: DisconnectCause, seconds: float | None
) -> None:
    """The status decides the cause; Retry-After may be seconds or a date."""
    lost = handshake_rejected(status, "/v1/market/ws", retry_after, "Wed, 21 Oct 2015 07:28:00 GMT")
    assert (lost.cause, lost.retry_after_seconds) == (cause, seconds)
    assert f"HTTP {status}" in str(lost)
    assert not lost.blames_token


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/v1/market/ws", ["/v1/marketdata/ws"]),
        ("/v1/marketdata/ws", ["/v1/market/ws"]),
        ("/v1/market/ws/", ["/v1/marketdata/ws"]),
        ("/", ["/v1/marketdata/ws", "/v1/market/ws"]),
        ("", ["/v1/marketdata/ws", "/v1/market/ws"]),
    ],
)
def test_http_404_names_the_other_path(path: str, others: list[str]) -> None:
    """The hint of a 404 names the paths of the dialects and the setting to fix."""
    text = str(handshake_rejected(404, path, None))
    assert "ARIES_WS_URL" in text
    assert all(other in text for other in others)


@given(st.text(), st.none() | st.text())
@example("0\x1f", None)
@example("Mon, 99999999999999999999 Jan 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT")
def test_any_retry_after_is_handled(retry_after: str, date: str | None) -> None:
    """No header of a server raises."""
    lost = handshake_rejected(429, "/", retry_after, date)
    assert lost.retry_after_seconds is None or lost.retry_after_seconds >= 0


@pytest.mark.parametrize("date", [None, "", "soon", "Wed, 21 Oct 2015 07:28:00 -0000"])
def test_a_retry_after_date_without_a_date_to_compare_is_ignored(date: str | None) -> None:
    """Without the server's own time a date cannot be used, as the two clocks may differ."""
    assert handshake_rejected(429, "/", "Wed, 21 Oct 2015 07:28:30 GMT", date).retry_after_seconds is None


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0-OpenSSH\r\n"])
def test_a_proxy_that_closes_the_connection_is_no_unexpected_error(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a lost connection; nothing is raised in a callback, where only a traceback would tell of it."""

    async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async def connect_twice() -> None:
        async with await asyncio.start_server(close_at_once, "127.0.0.1", 0) as server:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            for connection in (PlainConnection, Connection):
                with pytest.raises(ConnectionLost):
                    await connect("wss://aries.example/v1/market/ws", connection, 10)

    unexpected: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: unexpected.append(context))
        runner.run(connect_twice())
    assert unexpected == []


@pytest.mark.parametrize("proxy", ["gopher://user:secret-word@proxy.example:1", "socks5h://user:secret-word@proxy:1"])
async def test_a_proxy_that_cannot_be_used_is_a_lost_connection(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text names the variable, and nothing of it shows the password."""
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ConnectionLost) as raised:
        await connect("wss://aries.example/v1/market/ws", PlainConnection, 5)
    assert raised.value.cause is DisconnectCause.NETWORK
    assert "HTTPS_PROXY" in str(raised.value)
    assert "secret" not in f"{raised.value!r} {raised.value.__cause__!r}"


async def test_a_ca_file_that_is_gone_is_a_lost_connection(tmp_path: Path) -> None:
    """The file is read at each connection, and named if it cannot be."""
    with pytest.raises(ConnectionLost, match=r"ARIES_SSL_CAFILE: .*gone.pem cannot be read"):
        await connect("wss://127.0.0.1:1/", PlainConnection, 5, tmp_path / "gone.pem")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b""])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_the_wrong_scheme_is_named(scheme: str, answer: bytes) -> None:
    """A port that speaks TLS to a URL without it, and the other way around, leads to the setting."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost) as raised:
            await connect(f"{scheme}://127.0.0.1:{port}/v1/market/ws", PlainConnection, 5)
    assert "ARIES_WS_URL" in str(raised.value)
