"""Requests to a token endpoint: the errors of the response and of the connection, and TLS."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.oauth.endpoint import TokenEndpoint, TokenEndpointError, TokenRequest
from tests.support.token_endpoint import FakeTokenEndpoint, token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REFRESH = "the-refresh-token"
CLIENT_SECRET = "the-client-secret"
REQUEST = TokenRequest({"refresh_token": REFRESH, "client_secret": CLIENT_SECRET}, secrets=(REFRESH, CLIENT_SECRET))


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeTokenEndpoint]:
    async with token_endpoint() as running:
        yield running


def at(url: str, *, deadline_seconds: float = 10, tls: ssl.SSLContext | None = None) -> TokenEndpoint:
    """Return the endpoint with this URL."""
    return TokenEndpoint(url, "ARIES_TOKEN_URL", {}, deadline_seconds=deadline_seconds, tls=tls)


async def failure(endpoint: TokenEndpoint) -> TokenEndpointError:
    """Return the error of a request, after checking that it shows no secret."""
    with pytest.raises(TokenEndpointError) as raised:
        await endpoint.grant(REQUEST)
    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert REFRESH not in shown
    assert CLIENT_SECRET not in shown
    return raised.value


class TestFailure:
    async def test_repeated_secret_is_withheld(self, endpoint: FakeTokenEndpoint) -> None:
        """A description that repeats the refresh token or the client secret is not shown."""
        endpoint.will_answer(400, {"error": "invalid_request", "error_description": f"bad token {REFRESH}"})
        endpoint.will_answer(400, {"error": CLIENT_SECRET, "error_description": "x" * 10_000})
        source = at(endpoint.url)

        assert "withheld" in str(await failure(source))
        assert len(str(await failure(source))) < 600

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("7", 7.0), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("9" * 500, 86_400.0)],
    )
    @pytest.mark.parametrize("status", [429, 503])
    async def test_retry_after_of_a_busy_endpoint_is_passed_on(
        self, endpoint: FakeTokenEndpoint, status: int, header: str, seconds: float | None
    ) -> None:
        """A Retry-After of 429 and 503, in seconds or as a date, is passed on, limited to a day."""
        endpoint.will_answer(status, {}, **{"Retry-After": header})

        error = await failure(at(endpoint.url))

        assert error.retry_after_seconds == seconds
        assert not error.permanent

    async def test_html_response_is_reported(self, endpoint: FakeTokenEndpoint) -> None:
        """For HTML instead of JSON, the message names the URL's setting and shows no content."""
        endpoint.will_answer(200, "<html>Log in here</html>")

        message = str(await failure(at(endpoint.url)))

        assert "text/html instead of a JSON object" in message
        assert "ARIES_TOKEN_URL" in message
        assert "Log in here" not in message

    @pytest.mark.parametrize(
        "fields",
        [
            {"token": "x"},
            {"access_token": None},
            {"access_token": ""},
            {"access_token": "a\nb"},
            {"access_token": 1},
        ],
    )
    async def test_response_without_token_is_reported(
        self, endpoint: FakeTokenEndpoint, fields: dict[str, object]
    ) -> None:
        """A response without a valid access_token is an error."""
        endpoint.will_answer(200, fields)

        assert "without a usable access_token" in str(await failure(at(endpoint.url)))

    @pytest.mark.parametrize("body", ["[" * 60_000, '{"access_token"', '"text"', "\x00", ""])
    async def test_invalid_json_is_reported(self, endpoint: FakeTokenEndpoint, body: str) -> None:
        """Any other body with status 200 is not a JSON object."""
        endpoint.will_answer(200, body)

        assert "instead of a JSON object" in str(await failure(at(endpoint.url)))

    async def test_size_of_the_response_is_limited(self, endpoint: FakeTokenEndpoint) -> None:
        """A response is not read beyond the limit."""
        endpoint.will_answer(200, {"access_token": "x" * 1_000_000})

        assert "more than 65536 bytes" in str(await failure(at(endpoint.url)))

    async def test_redirect_is_not_followed(self, endpoint: FakeTokenEndpoint) -> None:
        """Credentials are only sent to the configured URL."""
        endpoint.will_answer(307, Location=endpoint.url)

        assert "redirects (HTTP 307)" in str(await failure(at(endpoint.url)))
        assert len(endpoint.received) == 1

    async def test_slow_endpoint_times_out(self, endpoint: FakeTokenEndpoint) -> None:
        """A request ends at the deadline if the endpoint does not respond."""
        endpoint.gate.clear()

        error = await failure(at(endpoint.url, deadline_seconds=0.05))

        assert "no answer within 0.05 s" in str(error)

    async def test_refused_connection_is_reported(self) -> None:
        """For a refused connection, the message names the setting and shows no password of the URL."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]

            message = str(await failure(at(f"http://user:{CLIENT_SECRET}@127.0.0.1:{port}/t?k={REFRESH}")))

        assert f"http://127.0.0.1:{port}/t: cannot be reached" in message
        assert "ARIES_TOKEN_URL" in message

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("http://name.invalid/token", "host name without an address"),
            ("ftp://localhost/token", "not an http"),
            ("token", "not an http"),
            (f"http://{'a' * 300}.invalid/", "host name without an address"),
        ],
    )
    async def test_invalid_url_is_reported(self, url: str, problem: str) -> None:
        """A host without address and an invalid URL are reported as such."""
        assert problem in str(await failure(at(url)))

    async def test_closed_connection_is_reported(self) -> None:
        """An endpoint that closes the connection without a response is reported."""

        async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            assert "closed the connection" in str(await failure(at(f"http://127.0.0.1:{port}/")))


class TestProxy:
    @pytest.fixture(autouse=True)
    def netrc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Create a ``.netrc`` with an entry for every host."""
        file = tmp_path / ".netrc"
        file.write_text("default login somebody password netrc-secret\n")
        monkeypatch.setenv("NETRC", str(file))

    @pytest.mark.parametrize("basic", [None, ("client", "secret")])
    async def test_netrc_is_not_read(self, endpoint: FakeTokenEndpoint, basic: tuple[str, str] | None) -> None:
        """A password for other programs is sent to no token endpoint, and ends no request."""
        assert (await at(endpoint.url).grant(replace(REQUEST, basic=basic))).access_token == "access-1"
        ours = f"Basic {base64.b64encode(b'client:secret').decode()}" if basic else None
        assert [request.authorization for request in endpoint.received] == [ours]

    async def test_the_proxy_of_the_environment_is_used(
        self, endpoint: FakeTokenEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the credentials of its URL, and none from ``.netrc``."""
        heads: list[bytes] = []

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b'{"access_token":"p"}')
            writer.close()

        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("no_proxy", "")
            for credentials in ("", "user:p%40ss@"):
                monkeypatch.setenv("http_proxy", f"http://{credentials}127.0.0.1:{port}")
                assert (await at("http://aries.example/token").grant(REQUEST)).access_token == "p"
            monkeypatch.setenv("no_proxy", "localhost")
            assert (await at(endpoint.url).grant(REQUEST)).access_token == "access-1"
        assert all(head.startswith(b"POST http://aries.example/token ") for head in heads)
        assert [b"Proxy-Authorization" in head for head in heads] == [False, True]
        assert base64.b64encode(b"user:p@ss") in heads[1]

    @pytest.mark.parametrize(
        "proxy",
        [
            "gopher://user:proxy-secret@127.0.0.1:1",
            "http://user:proxy-secret@127.0.0.1:port",
            "socks5://user:proxy-secret@127.0.0.1:1",
            "http://",
        ],
    )
    async def test_an_invalid_proxy_is_reported(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message names the variable, and not the proxy's password."""
        monkeypatch.setenv("http_proxy", proxy)
        error = await failure(at("http://aries.example/token"))
        assert "HTTP_PROXY" in str(error)
        assert "proxy-secret" not in f"{error!r} {error.__cause__!r}"


class TestTls:
    async def test_trusted_authority(self) -> None:
        """A token is granted over https if the authority is trusted."""
        authority = trustme.CA()
        trust = ssl.create_default_context()
        authority.configure_trust(trust)

        async with token_endpoint(server_tls(authority, "localhost")) as endpoint:
            assert (await at(endpoint.url, tls=trust).grant(REQUEST)).access_token == "access-1"

    async def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is rejected, and the message says how to trust it."""
        async with token_endpoint(server_tls(trustme.CA(), "localhost")) as endpoint:
            message = str(await failure(at(endpoint.url)))

        assert "certificate that is not accepted" in message
        assert "ARIES_SSL_CAFILE" in message
        assert endpoint.received == []

    async def test_authorities_of_a_file_are_read_at_each_request(self, tmp_path: Path) -> None:
        """A file that comes later, or is replaced, counts at the next request, and is named while it is missing."""
        authority, file = trustme.CA(), tmp_path / "authority.pem"
        async with token_endpoint(server_tls(authority, "localhost")) as endpoint:
            trusting_file = TokenEndpoint(endpoint.url, "ARIES_TOKEN_URL", {}, cafile=file)
            assert f"ARIES_SSL_CAFILE: {file} cannot be read" in str(await failure(trusting_file))
            authority.cert_pem.write_to_path(str(file))
            assert (await trusting_file.grant(REQUEST)).access_token == "access-1"

    async def test_wrong_name(self) -> None:
        """A certificate for another host is rejected."""
        authority = trustme.CA()
        trust = ssl.create_default_context()
        authority.configure_trust(trust)

        async with token_endpoint(server_tls(authority, "other.example")) as endpoint:
            message = str(await failure(at(endpoint.url, tls=trust)))

        assert "not valid for 'localhost'" in message

    async def test_plain_port_is_reported(self, endpoint: FakeTokenEndpoint) -> None:
        """A request over https to a port without TLS is reported as a TLS failure."""
        message = str(await failure(at(endpoint.url.replace("http:", "https:"))))

        assert "answers without TLS. Check ARIES_TOKEN_URL" in message


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
