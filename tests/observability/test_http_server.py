"""The server is read-only, answers errors in JSON, and sends the security headers that browsers and scanners check."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bridge import settings
from bridge.app import Service
from bridge.errors import PortUnusable
from bridge.simulator.server import Simulator
from tests.observability.http_client import PATHS, client
from tests.support.process import process
from tests.support.service import environment, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.observability.http_client import Client


@pytest.fixture
async def http(broker: EmbeddedBroker, topic_prefix: str, topics: None) -> AsyncIterator[Client]:
    """Return a client of a bridge that is ready."""
    async with Simulator() as simulator:
        async with serving(environment(simulator, broker.bootstrap_servers, topic_prefix)) as service:
            async with client(service) as asking:
                await asking.becomes(200)
                yield asking


async def test_only_get_and_head_are_allowed(http: Client) -> None:
    """HEAD is GET without the body; every other method is rejected on every path."""
    for path in PATHS:
        head, got = await http.get(path, "HEAD"), await http.get(path)
        assert (head.status, head.text) == (got.status, "") == (200, "")
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        for path in (*PATHS, "/nowhere"):
            answer = await http.get(path, method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
            assert "only GET" in answer.document["error"]


@pytest.mark.parametrize("path", ["/nowhere", "/status/", "/..%2fetc/passwd", "/favicon.ico", "/%00"])
async def test_unknown_paths_are_answered_in_json(http: Client, path: str) -> None:
    """The error lists the paths that exist."""
    answer = await http.get(path)
    assert answer.status == 404
    assert "/readyz" in answer.document["error"]


async def test_every_response_has_the_security_headers(http: Client) -> None:
    """No caching, framing, sniffing or server version; only the page may run its own script and style."""
    for path in (*PATHS, "/nowhere"):
        headers = (await http.get(path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "aries-bridge"
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in str(policy)
        assert ("script-src" in policy) == ("style-src" in policy) == (path == "/")


async def test_a_port_in_use_ends_the_start_with_a_message() -> None:
    """The bridge does not run without its probes, and names the setting to change."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        environ = {
            "ARIES_ACCESS_TOKEN": "token",
            "ARIES_SYMBOLS": "AAPL",
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "BRIDGE_HTTP_HOST": "127.0.0.1",
            "BRIDGE_HTTP_PORT": str(taken.getsockname()[1]),
        }
        async with process(environ, "run") as run:
            assert await run.ended() == 1
            line = await run.logged("fatal error")
    assert "BRIDGE_HTTP_PORT" in line["problem"]
    assert environ["BRIDGE_HTTP_PORT"] in line["problem"]
    assert "Traceback" not in "".join(run.text)


async def test_an_address_of_another_machine_ends_the_start_with_a_message() -> None:
    """It names the setting to change."""
    environ = {"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1"}
    service = Service(settings.load({**environ, "BRIDGE_HTTP_HOST": "192.0.2.1", "BRIDGE_HTTP_PORT": "0"}))
    with pytest.raises(PortUnusable, match="BRIDGE_HTTP_HOST"):
        async with service.http.running():
            pass


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
        ("::", "http://127.0.0.1:"),
    ],
)
async def test_the_url_is_one_that_a_browser_can_open(host: str, reached: str) -> None:
    """A server on all addresses has the URL of the loopback address."""
    environ = {"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1"}
    service = Service(settings.load({**environ, "BRIDGE_HTTP_HOST": host, "BRIDGE_HTTP_PORT": "0"}))
    async with service.http.running():
        assert service.http.url is not None
        assert service.http.url.startswith(reached)
        async with client(service) as asking:
            assert (await asking.get("/livez")).status == 200
    assert service.http.url is None


async def test_a_process_serves_from_its_start(broker: EmbeddedBroker, topic_prefix: str, topics: None) -> None:
    """The log has the address and the port."""
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as run:
            line = await run.logged("HTTP server listening")
            assert (line["address"], line["level"]) == ("127.0.0.1", "info")
            assert line["port"] > 0
            await run.logged("subscribed")
    assert [entry["event"] for entry in run.logs][:2] == ["starting", "HTTP server listening"]
    assert run.logs[0]["encoder"] in ("compiled", "python")
