from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from tests.simulator.plain_client import ENVELOPE_AUTH, PlainClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GRANT = {
    "grant_type": "refresh_token",
    "refresh_token": "refresh-0",
    "client_id": "client",
    "client_secret": "secret",
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(http: aiohttp.ClientSession, endpoint: TokenEndpointServer, **changes: str) -> tuple[int, Any]:
    async with http.post(endpoint.url, json={**GRANT, **changes}) as answer:
        return answer.status, await answer.json()


async def test_refresh_token_is_exchanged(http: aiohttp.ClientSession) -> None:
    """A grant returns an access token in the format of a JWT, and the next refresh token."""
    async with TokenEndpointServer(clock=lambda: 1_000_000) as endpoint:
        status, answer = await ask(http, endpoint)
    header, claims, _ = answer.pop("access_token").split(".")
    assert status == 200
    assert answer == {
        "refresh_token": "refresh-1",
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token_expires_in": 2_592_000,
        "scope": "market:information",
    }
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["exp"] == 4600


async def test_rotation(http: aiohttp.ClientSession) -> None:
    """A rotating endpoint accepts each refresh token once; another keeps accepting the same one."""
    async with TokenEndpointServer() as rotating, TokenEndpointServer(rotating=False) as steady:
        assert [(await ask(http, rotating))[0] for _ in range(2)] == [200, 400]
        assert (await ask(http, rotating, refresh_token="refresh-1"))[0] == 200
        assert [(await ask(http, steady))[1]["refresh_token"] for _ in range(2)] == ["refresh-0"] * 2
        assert len(set(steady.issued)) == 2


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
        ({"client_secret": "x"}, 401, "invalid_client"),
        ({"refresh_token": "x"}, 400, "invalid_grant"),
    ],
)
async def test_invalid_grants(http: aiohttp.ClientSession, changes: dict[str, str], status: int, error: str) -> None:
    """Each invalid part of a grant gets its error of RFC 6749."""
    async with TokenEndpointServer() as endpoint:
        answered, body = await ask(http, endpoint, **changes)
    assert (answered, body["error"]) == (status, error)


async def test_bodies_must_be_json(http: aiohttp.ClientSession) -> None:
    """A form-encoded request is rejected."""
    async with TokenEndpointServer() as endpoint, http.post(endpoint.url, data=GRANT) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_request")


async def test_planned_responses(http: aiohttp.ClientSession) -> None:
    """Planned responses are sent in order, and then normal ones."""
    async with TokenEndpointServer() as endpoint:
        endpoint.fail(500)
        endpoint.throttle(7)
        endpoint.fail(400, error="invalid_grant")
        endpoint.answer_html(502)
        seen = []
        for _ in range(5):
            async with http.post(endpoint.url, json=GRANT) as answer:
                seen.append((answer.status, answer.content_type, answer.headers.get("Retry-After")))
        assert endpoint.request_count == 5
    assert seen == [
        (500, "application/json", None),
        (429, "application/json", "7"),
        (400, "application/json", None),
        (502, "text/html", None),
        (200, "application/json", None),
    ]


async def test_delayed_response(http: aiohttp.ClientSession) -> None:
    """A delayed response does not delay the stop of the endpoint."""
    async with TokenEndpointServer() as endpoint:
        endpoint.delay(30)
        waiting = asyncio.create_task(ask(http, endpoint))
        await endpoint.requested()
        assert not waiting.done()
    assert (await waiting)[0] == 200


async def test_simulator_accepts_issued_tokens(http: aiohttp.ClientSession) -> None:
    """A simulator that shares the tokens accepts those issued until they expire, and no others."""
    now_ms = 1_000_000
    tokens = AcceptedTokens()

    async def outcome(sim: Simulator, token: str) -> Any:
        async with connect(sim.url, proxy=None) as ws:
            answer = await PlainClient(ws).request(ENVELOPE_AUTH.replace("good", token), "auth-001")
            return answer["payload"]["action"]

    async with (
        TokenEndpointServer(tokens, clock=lambda: now_ms, expires_in_seconds=60) as endpoint,
        Simulator(tokens=tokens, clock=lambda: now_ms) as sim,
    ):
        token = (await ask(http, endpoint))[1]["access_token"]
        assert await outcome(sim, token) == "authSuccess"
        assert await outcome(sim, "other") == "error"
        now_ms += 60_000
        assert await outcome(sim, token) == "error"
