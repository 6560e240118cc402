"""The token endpoint is down, slow or returns invalid responses, and tokens expire meanwhile."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bridge.aries.access_token import RefreshingToken
from bridge.aries.protocol import authentication
from bridge.errors import DisconnectCause
from bridge.simulator import faults
from bridge.simulator.accepted_tokens import AcceptedTokens
from bridge.simulator.server import Simulator
from bridge.simulator.token_endpoint import TokenEndpointServer
from tests.faults.feed.scene import take_away_jitter
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bridge.app import Bridge
    from tests.faults.feed.scene import Stage

RENEWAL_FAILED = "token refresh failed, using current token"


@asynccontextmanager
async def granting(
    *, dialect: str = "envelope", lasts_seconds: int = 3600
) -> AsyncIterator[tuple[TokenEndpointServer, Simulator]]:
    """Run a token endpoint, and a server that accepts the tokens it issues."""
    tokens = AcceptedTokens()
    async with (
        TokenEndpointServer(tokens=tokens, expires_in_seconds=lasts_seconds) as endpoint,
        Simulator(dialect=dialect, tokens=tokens) as simulator,  # type: ignore[arg-type]  # a dialect
    ):
        yield endpoint, simulator


def by_grant(endpoint: TokenEndpointServer, **more: str) -> dict[str, str]:
    """Return the settings of a bridge that gets its tokens from this endpoint."""
    return {
        "ARIES_ACCESS_TOKEN": "",
        "ARIES_TOKEN_URL": endpoint.url,
        "ARIES_REFRESH_TOKEN": endpoint.refresh_token,
        "ARIES_CLIENT_ID": endpoint.client_id,
        "ARIES_CLIENT_SECRET": endpoint.client_secret,
        **more,
    }


def shorten_timeouts(bridge: Bridge) -> None:
    """Shorten the timeout of token requests."""
    assert isinstance(bridge.tokens, RefreshingToken)
    bridge.tokens._endpoint = replace(bridge.tokens._endpoint, deadline_seconds=0.2)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("500", "failed (HTTP 500"),
        ("HTML", "with text/html instead of a JSON object"),
        ("HTML 502", "failed (HTTP 502"),
        ("busy", "is busy (HTTP 429)"),
        ("slow", "gave no answer within 0.2 s"),
    ],
)
async def test_a_failing_endpoint_is_retried(trouble: str, words: str, stage: Stage) -> None:
    """Without a token the bridge does not connect; it retries the endpoint, not before Retry-After."""
    async with granting() as (endpoint, simulator):
        {
            "500": lambda: endpoint.fail(500, times=2),
            "HTML": lambda: endpoint.answer_html(times=2),
            "HTML 502": lambda: endpoint.answer_html(502, times=2),
            "busy": lambda: endpoint.throttle(1),
            "slow": lambda: endpoint.delay(30, times=2),
        }[trouble]()
        async with stage.bridge(simulator, **by_grant(endpoint)) as scene:
            shorten_timeouts(scene.bridge)
            await scene.flows(sessions=1)
        assert set(scene.causes) == {DisconnectCause.TOKEN}
        assert words in scene.losses[0]["reason"]
        assert scene.losses[0]["retry_seconds"] >= (1 if trouble == "busy" else 0)
        assert len(simulator.all_sessions) == 1
    await scene.proof()


async def test_an_unreachable_endpoint_is_retried(stage: Stage) -> None:
    """A refused connection is reported with the address and the setting."""
    async with granting() as (endpoint, simulator):
        with socket.socket() as taken:  # and not listening
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/oauth2/token"
            async with stage.bridge(simulator, **by_grant(endpoint, ARIES_TOKEN_URL=url)) as scene:
                await scene.loses(3)
        assert set(scene.causes) == {DisconnectCause.TOKEN}
        assert "cannot be reached" in scene.losses[0]["reason"]
        assert "ARIES_TOKEN_URL" in scene.losses[0]["reason"]
    await scene.proof()


async def test_a_failed_renewal_does_not_end_the_session(stage: Stage) -> None:
    """While the current token is valid, it renews the session, although the endpoint is down."""
    async with granting() as (endpoint, simulator):
        async with stage.bridge(simulator, **by_grant(endpoint)) as scene:
            await scene.flows(sessions=1)
            endpoint.fail(500, times=1)
            await simulator.inject(faults.Expire(warning_seconds=5))
            await simulator.authenticated(2)
            await scene.flows()
        assert len(scene.logged(RENEWAL_FAILED)) == 1
        assert len(endpoint.issued) == 1
    await scene.proof()


async def test_a_session_that_cannot_be_renewed_ends_with_a_gap(stage: Stage) -> None:
    """Endpoint down, token revoked, session expired: it ends with a gap, and a new one starts when there is a token."""
    async with granting() as (endpoint, simulator):
        async with stage.bridge(simulator, **by_grant(endpoint)) as scene:
            await scene.flows(sessions=1)
            endpoint.fail(503, times=4)
            simulator.tokens.reject(*endpoint.issued)
            await simulator.inject(faults.Expire(warning_seconds=5))
            await scene.flows(sessions=2)
        assert scene.causes[0] is DisconnectCause.AUTH_REFUSED
        assert set(scene.causes[1:]) == {DisconnectCause.TOKEN}
        assert len(endpoint.issued) == 2
    await scene.proof(DisconnectCause.AUTH_REFUSED)


async def test_no_token_at_all_for_a_renewal(stage: Stage) -> None:
    """The current token has expired, too: the session continues until the server ends it."""
    async with granting(lasts_seconds=1) as (endpoint, simulator):
        async with stage.bridge(simulator, **by_grant(endpoint)) as scene:
            await scene.flows(sessions=1)
            expires_at = scene.bridge.tokens.expires_at
            assert expires_at is not None
            assert isinstance(scene.bridge.tokens, RefreshingToken)
            scene.bridge.tokens._current._clock = lambda: expires_at + 1
            endpoint.fail(500, times=1)
            await simulator.inject(faults.Expire(warning_seconds=0.8))
            await scene.flows(sessions=2)
        assert len(scene.logged("reauthentication failed, session continues with current token")) == 1
        assert scene.causes == [DisconnectCause.CLOSED]
        assert "session expired" in scene.losses[0]["reason"]
    await scene.proof(DisconnectCause.CLOSED)


async def test_a_rotated_refresh_token_replaces_the_old_one(stage: Stage) -> None:
    """The server rotates it and rejects the old one: each renewal uses the newest, and it is logged once."""
    async with granting() as (endpoint, simulator):
        assert endpoint.rotating
        async with stage.bridge(simulator, **by_grant(endpoint)) as scene:
            await scene.flows(sessions=1)
            await simulator.inject(faults.Expire(warning_seconds=5))
            await simulator.authenticated(2)
            await simulator.inject(faults.RefuseTokens(tokens=tuple(endpoint.issued)))
            await simulator.inject(faults.Drop())
            await scene.flows(sessions=2)
        assert len(endpoint.issued) == endpoint.request_count == 3
        assert len(scene.logged("refresh token rotated by the server")) == 1
        assert scene.causes == [DisconnectCause.NETWORK, DisconnectCause.AUTH_REFUSED]
        assert scene.losses[1]["retry_seconds"] == 0  # another token may do, and does
        assert endpoint.refresh_token not in str(scene.logs)
    await scene.proof(DisconnectCause.NETWORK)


async def test_an_invalid_refresh_token_is_retried_slowly(stage: Stage, tmp_path: Path) -> None:
    """``invalid_grant`` is retried slowly for ever; a new token in the file is used."""
    file = tmp_path / "refresh"
    file.write_text("used-up")
    async with granting() as (endpoint, simulator):
        settings = by_grant(endpoint, ARIES_REFRESH_TOKEN="", ARIES_REFRESH_TOKEN_FILE=str(file))
        slow = {"ARIES_BACKOFF_MIN_SECONDS": "0.01", "ARIES_BACKOFF_MAX_SECONDS": "0.03"}
        async with stage.bridge(simulator, **settings, **slow) as scene:
            take_away_jitter(scene.bridge)
            await scene.loses(5)
            file.write_text(endpoint.refresh_token)
            await scene.flows(sessions=1)
        assert set(scene.causes) == {DisconnectCause.TOKEN_REFUSED}
        assert [line["retry_seconds"] for line in scene.losses[:5]] == [0.04, 0.08, 0.12, 0.12, 0.12]
        assert "log in to Aries again" in scene.losses[0]["reason"]
    await scene.proof()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("maximum connections reached", DisconnectCause.CONNECTION_LIMIT),
        ("rate limit exceeded", DisconnectCause.THROTTLED),
        ("under maintenance, try again later", DisconnectCause.MAINTENANCE),
        ("internal server error", DisconnectCause.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize("dialect", ["action", "envelope"])
async def test_a_refusal_for_another_reason_costs_no_token(
    text: str, cause: DisconnectCause, dialect: str, stage: Stage
) -> None:
    """The same token is offered again until it is accepted, and no other is requested."""
    async with granting(dialect=dialect) as (endpoint, simulator):
        await simulator.inject(faults.RefuseAuth(error=text, close=True, times=4))
        async with stage.bridge(simulator, **by_grant(endpoint, ARIES_BACKOFF_MAX_SECONDS="0.02")) as scene:
            await scene.flows(sessions=1)
        assert scene.causes == [cause] * 4
        assert text in scene.losses[0]["reason"]
        assert endpoint.request_count == 1
    await scene.proof()


async def test_a_fixed_token_survives_refusals_for_another_reason(stage: Stage) -> None:
    """The process does not exit, however often the session is refused."""
    async with Simulator(dialect="envelope") as simulator:
        await simulator.inject(faults.RefuseAuth(error="too many connections", times=5))
        async with stage.bridge(simulator, ARIES_BACKOFF_MAX_SECONDS="0.02") as scene:
            await scene.flows(sessions=1)
        assert scene.causes == [DisconnectCause.CONNECTION_LIMIT] * 5
        assert scene.bridge.client._reconnect_policy.token_rejections == 0
    await scene.proof()


async def test_a_session_of_unknown_lifetime_is_renewed_by_that_of_its_token(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older dialect does not report a session's lifetime, so the token's is used, on the open connection."""
    monkeypatch.setattr(authentication, "REAUTHENTICATE_AT", 0.2)
    async with granting(dialect="action", lasts_seconds=2) as (endpoint, simulator):
        async with stage.bridge(simulator, **by_grant(endpoint)) as scene:
            await simulator.authenticated(3)
            await eventually(lambda: len(endpoint.issued) >= 3, "a token for each")
            await scene.flows(sessions=1)
        assert len(scene.logged("session started")) == 1
    await scene.proof()
