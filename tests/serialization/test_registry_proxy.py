"""A registry behind the proxy of the environment."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from bridge.errors import RegistryUnreachable
from bridge.oauth.configured_token import RenewedElsewhere
from bridge.secrets.secret import Secret
from bridge.serialization.registry_login import TokenLogin
from bridge.serialization.schema_registry import Registry
from bridge.serialization.schemas import load
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUOTE = load()[Topic.QUOTES]
SUBJECT = "aries.quotes-value"
LOGIN = TokenLogin(RenewedElsewhere(Secret.fixed("SCHEMA_REGISTRY_BEARER_TOKEN", "t0ken")), "")


@asynccontextmanager
async def proxy(monkeypatch: pytest.MonkeyPatch, scheme: str = "http") -> AsyncIterator[FakeRegistry]:
    """Run a registry that is named as the proxy, with a password; a proxied request arrives as its target's."""
    async with FakeRegistry(bearer="t0ken").serving() as server:
        monkeypatch.setenv(f"{scheme}_proxy", server.url.replace("://", "://user:hunter2@"))
        yield server


async def test_requests_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy gets the request for another host, with the credentials for both."""
    async with proxy(monkeypatch) as server, Registry("http://registry.example:8081", login=LOGIN) as client:
        schema_id = server.add(SUBJECT, QUOTE.text)
        assert await client.lookup(SUBJECT, QUOTE) == schema_id
    (received,) = server.received
    assert received.headers["Host"] == "registry.example:8081"
    assert received.headers["Proxy-Authorization"].startswith("Basic ")


async def test_loopback_is_not_proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry on this machine is reached directly."""
    async with FakeRegistry().serving() as server, proxy(monkeypatch) as proxied:
        schema_id = server.add(SUBJECT, QUOTE.text)
        async with Registry(server.url) as client:
            assert await client.lookup(SUBJECT, QUOTE) == schema_id
    assert proxied.received == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The error names the proxy without its password, and how to do without it."""
    async with proxy(monkeypatch, scheme) as server, Registry(f"{scheme}://registry.example") as client:
        server.answers.append(web.Response(status=407))
        address = server.url.removeprefix("http://")
        with pytest.raises(RegistryUnreachable, match=rf"the proxy {address} .*HTTP 40\d") as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert "NO_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_an_answer_that_may_be_the_proxys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the proxy, as it may be the one at fault."""
    async with proxy(monkeypatch) as server, Registry("http://registry.example") as client:
        server.answers.append(web.Response(status=502, text="<html>Bad Gateway</html>"))
        address = server.url.removeprefix("http://")
        with pytest.raises(RegistryUnreachable, match=rf"HTTP 502, through the proxy {address}\)") as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert "hunter2" not in str(caught.value)


async def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the proxy, not the registry's host alone."""
    monkeypatch.setenv("http_proxy", "http://user:hunter2@127.0.0.1:1")
    async with Registry("http://registry.example") as client:
        with pytest.raises(RegistryUnreachable, match=r"the proxy 127\.0\.0\.1:1 cannot be reached") as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert "hunter2" not in str(caught.value)


async def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid proxy in the environment is an error that names the variable, without the password."""
    monkeypatch.setenv("http_proxy", "socks5://user:hunter2@127.0.0.1:1080")
    async with Registry("http://registry.example") as client:
        with pytest.raises(RegistryUnreachable, match="HTTP_PROXY") as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert "hunter2" not in str(caught.value)
