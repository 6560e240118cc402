"""Sources of the access token: fixed, from a file, and by the refresh-token grant."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from bridge.aries.access_token import FixedToken, RefreshingToken
from bridge.errors import TokenUnavailable
from bridge.oauth.endpoint import TokenEndpointError
from bridge.secrets.secret import Secret
from tests.support.token_endpoint import FakeTokenEndpoint, token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REFRESH = "the-refresh-token"
CLIENT_SECRET = "the-client-secret"


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeTokenEndpoint]:
    async with token_endpoint() as running:
        yield running


def refreshing(url: str, **changed: Any) -> RefreshingToken:
    settings: dict[str, Any] = {
        "url": url,
        "client_id": "bridge",
        "client_secret": Secret.fixed("ARIES_CLIENT_SECRET", CLIENT_SECRET),
        "refresh_token": Secret.fixed("ARIES_REFRESH_TOKEN", REFRESH),
    }
    return RefreshingToken(**{**settings, **changed})


async def failure(source: RefreshingToken) -> TokenEndpointError:
    """Return the error of a token request, after checking that it shows no secret."""
    with pytest.raises(TokenEndpointError) as raised:
        await source.token()
    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert REFRESH not in shown
    assert CLIENT_SECRET not in shown
    return raised.value


class TestFixedToken:
    async def test_from_the_environment_it_never_changes(self) -> None:
        """A token from the environment is returned unchanged and cannot change."""
        source = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", "abc"))

        assert await source.token() == "abc"
        assert not source.can_change
        assert source.expires_at is None

    async def test_from_a_file_it_is_read_each_time(self, tmp_path: Path) -> None:
        """A token in a file is the file's current content."""
        file = tmp_path / "token"
        file.write_text("first\n")
        source = FixedToken(Secret.in_file("ARIES_ACCESS_TOKEN", file))
        assert await source.token() == "first"

        file.write_text("second\n")
        source.invalidate()

        assert await source.token() == "second"
        assert source.can_change

    async def test_unreadable_file_is_reported(self, tmp_path: Path) -> None:
        """A missing file makes the token unavailable, and the message names it."""
        source = FixedToken(Secret.in_file("ARIES_ACCESS_TOKEN", tmp_path / "gone"))

        with pytest.raises(TokenUnavailable, match=r"ARIES_ACCESS_TOKEN.*gone"):
            await source.token()

    async def test_empty_token_is_reported(self) -> None:
        """An empty token is never returned."""
        with pytest.raises(TokenUnavailable, match="ARIES_ACCESS_TOKEN is empty"):
            await FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", "")).token()


class TestGrant:
    async def test_request_is_the_documented_one(self, endpoint: FakeTokenEndpoint) -> None:
        """The request is a JSON object with the grant, the refresh token and the client."""
        await refreshing(endpoint.url).token()

        [request] = endpoint.received
        assert request.content_type == "application/json"
        assert request.authorization is None
        assert request.parameters == {
            "grant_type": "refresh_token",
            "refresh_token": REFRESH,
            "client_id": "bridge",
            "client_secret": CLIENT_SECRET,
        }

    async def test_client_without_secret(self, endpoint: FakeTokenEndpoint) -> None:
        """A public client sends no client_secret."""
        await refreshing(endpoint.url, client_secret=None).token()

        assert "client_secret" not in endpoint.received[0].parameters

    async def test_token_is_reused_for_most_of_its_lifetime(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """A token is reused for 80 % of its lifetime, and then renewed."""
        source = refreshing(endpoint.url, clock=clock)
        assert await source.token() == "access-1"
        assert source.expires_at == clock.now + 3600

        clock.now += 2879
        assert await source.token() == "access-1"
        clock.now += 1
        assert await source.token() == "access-2"
        assert source.expires_at == clock.now + 3600

    async def test_short_lived_token_is_renewed_before_it_expires(
        self, endpoint: FakeTokenEndpoint, clock: Clock
    ) -> None:
        """A token that expires within 30 s is renewed."""
        endpoint.expires_in = 60
        source = refreshing(endpoint.url, clock=clock)
        await source.token()

        clock.now += 31

        assert await source.token() == "access-2"

    async def test_fresh_token_can_be_requested(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """Reauthentication gets a new token although the current one is valid, unless that is new itself."""
        source = refreshing(endpoint.url, clock=clock)

        assert await source.token() == "access-1"
        clock.now += 59
        assert await source.token(fresh=True) == "access-1"
        clock.now += 1
        assert await source.token(fresh=True) == "access-2"
        assert await source.token() == "access-2"

    async def test_a_rejected_token_is_offered_again_until_it_may_be_replaced(
        self, endpoint: FakeTokenEndpoint, clock: Clock
    ) -> None:
        """A server in trouble rejects good tokens, too; a new token is requested, but not at once if this was new."""
        source = refreshing(endpoint.url, clock=clock)
        assert await source.token() == "access-1"

        source.invalidate()

        clock.now += 12
        assert await source.token() == "access-1"
        with pytest.raises(TokenUnavailable, match="the next is requested in 18 s") as raised:
            await source.token(fresh=True)
        assert raised.value.retry_after_seconds == 18
        assert not raised.value.permanent
        clock.now += 18
        assert await source.token() == "access-2"
        assert await source.token() == "access-2"
        assert len(endpoint.received) == 2

    async def test_a_rejected_token_that_has_expired_is_not_offered(
        self, endpoint: FakeTokenEndpoint, clock: Clock
    ) -> None:
        """Once it has expired there is no token until the next one may be requested."""
        endpoint.expires_in = 60
        source = refreshing(endpoint.url, clock=clock)
        for pause_seconds in (30, 60):
            await source.token()
            source.invalidate()
            clock.now += pause_seconds
        assert await source.token() == "access-3"
        source.invalidate()

        clock.now += 59
        assert await source.token() == "access-3"
        clock.now += 1
        with pytest.raises(TokenUnavailable, match="the next is requested in 60 s"):
            await source.token()

    async def test_callers_share_one_refresh(self, endpoint: FakeTokenEndpoint) -> None:
        """Ten concurrent callers cause one request and get the same token."""
        source = refreshing(endpoint.url)

        tokens = await asyncio.gather(*(source.token(fresh=True) for _ in range(10)))

        assert set(tokens) == {"access-1"}
        assert len(endpoint.received) == 1

    async def test_cancellation_loses_no_rotated_refresh_token(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """The response is used although its caller was cancelled: it may have the only valid refresh token."""
        source = refreshing(endpoint.url, clock=clock)
        endpoint.will_answer(200, {"access_token": "a", "refresh_token": "rotated"})
        endpoint.gate.clear()
        caller = asyncio.create_task(source.token())
        await endpoint.came.wait()

        caller.cancel()
        endpoint.gate.set()

        assert await source.token() == "a"
        clock.now += 60
        await source.token(fresh=True)
        assert [request.parameters["refresh_token"] for request in endpoint.received] == [REFRESH, "rotated"]

    @pytest.mark.parametrize(("expires_in", "lifetime"), [("1800", 1800), (1800.5, 1800.5), ("12e2", 1200)])
    async def test_lifetime_may_be_a_string(
        self, endpoint: FakeTokenEndpoint, clock: Clock, expires_in: object, lifetime: float
    ) -> None:
        """expires_in may be a number or a string."""
        endpoint.expires_in = expires_in
        source = refreshing(endpoint.url, clock=clock)
        await source.token()

        assert source.expires_at == clock.now + lifetime

    @pytest.mark.parametrize("expires_in", [None, "soon", -1, 0, True, [], 10**400, "nan"])
    async def test_unknown_lifetime_is_assumed_to_be_an_hour(
        self, endpoint: FakeTokenEndpoint, clock: Clock, expires_in: object
    ) -> None:
        """Without a valid expires_in the expiry is unknown, and the token is renewed as if it were an hour."""
        endpoint.expires_in = expires_in
        source = refreshing(endpoint.url, clock=clock)
        await source.token()
        assert source.expires_at is None

        clock.now += 2879
        assert await source.token() == "access-1"
        clock.now += 1
        assert await source.token() == "access-2"

    @pytest.mark.parametrize("expires_in", [59, 3_600_000])
    async def test_implausible_lifetime_counts_as_unknown(
        self, endpoint: FakeTokenEndpoint, clock: Clock, expires_in: int
    ) -> None:
        """Under a minute or over 30 days cannot be meant: this is logged once, and the token serves for an hour."""
        endpoint.expires_in = expires_in
        source = refreshing(endpoint.url, clock=clock)

        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await source.token()
                assert source.expires_at is None
                clock.now += 2879
                await source.token()
                clock.now += 1

        assert len(endpoint.received) == 3
        assert [(line["event"], line["seconds"]) for line in logs] == [("implausible lifetime ignored", expires_in)]

    @pytest.mark.parametrize("expires_in", [1, 60, 3600, None])
    @pytest.mark.parametrize("rejected", [True, False])
    async def test_grants_are_few_however_often_a_token_is_requested(
        self,
        endpoint: FakeTokenEndpoint,
        clock: Clock,
        expires_in: int | None,
        rejected: bool,  # noqa: FBT001 - a case
    ) -> None:
        """They are at least 30 s apart, and rarer each time, unless a token's lifetime is shorter."""
        endpoint.expires_in = expires_in
        source = refreshing(endpoint.url, clock=clock)
        at: list[float] = []
        for second in range(3600):
            before = len(endpoint.received)
            with suppress(TokenUnavailable):
                await source.token(fresh=True)
            at += [second] * (len(endpoint.received) - before)
            if rejected:
                source.invalidate()
            clock.now += 1

        pauses = [later - earlier for earlier, later in pairwise(at)]
        assert min(pauses) >= 30
        assert len(at) <= (12 if rejected or expires_in != 60 else 121)


class TestRefreshToken:
    async def test_newest_is_used_and_rotation_is_logged(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """A refresh token in a response replaces the one before; this is logged once, without the token."""
        for number in (1, 2):
            endpoint.will_answer(200, {"access_token": "a", "refresh_token": f"rotated-{number}"})
        source = refreshing(endpoint.url, clock=clock)

        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await source.token(fresh=True)
                clock.now += 120

        assert [request.parameters["refresh_token"] for request in endpoint.received] == [
            REFRESH,
            "rotated-1",
            "rotated-2",
        ]
        assert [line["event"] for line in logs] == ["refresh token rotated by the server"]
        assert "rotated-" not in str(logs)

    async def test_changed_file_takes_precedence(
        self, endpoint: FakeTokenEndpoint, tmp_path: Path, clock: Clock
    ) -> None:
        """New content of the file replaces the rotated refresh token; the old content does not."""
        file = tmp_path / "refresh"
        file.write_text("from-file-1")
        endpoint.will_answer(200, {"access_token": "a", "refresh_token": "rotated"})
        source = refreshing(endpoint.url, refresh_token=Secret.in_file("ARIES_REFRESH_TOKEN", file), clock=clock)
        await source.token()
        clock.now += 60
        await source.token(fresh=True)

        file.write_text("from-file-2")
        clock.now += 120
        await source.token(fresh=True)

        assert [request.parameters["refresh_token"] for request in endpoint.received] == [
            "from-file-1",
            "rotated",
            "from-file-2",
        ]

    async def test_unreadable_file_is_reported(self, tmp_path: Path) -> None:
        """A missing refresh-token file makes the token unavailable."""
        secret = Secret.in_file("ARIES_REFRESH_TOKEN", tmp_path / "gone")

        with pytest.raises(TokenUnavailable, match=r"ARIES_REFRESH_TOKEN.*gone"):
            await refreshing("http://localhost:1/", refresh_token=secret).token()


class TestFailure:
    async def test_current_token_is_used_until_it_expires(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """While the endpoint fails, the current token is used until it expires, with a warning."""
        source = refreshing(endpoint.url, clock=clock)
        await source.token()
        endpoint.will_answer(502)
        endpoint.will_answer(502)
        clock.now += 3599

        with structlog.testing.capture_logs() as logs:
            assert await source.token() == "access-1"
        clock.now += 1
        error = await failure(source)

        assert "HTTP 502" in str(logs)
        assert "HTTP 502" in str(error)
        assert not error.permanent

    async def test_next_call_retries(self, endpoint: FakeTokenEndpoint) -> None:
        """After a failure, the next call requests a token again."""
        endpoint.will_answer(500)
        source = refreshing(endpoint.url)
        await failure(source)

        assert await source.token() == "access-1"

    async def test_invalid_refresh_token_requires_a_new_login(self, endpoint: FakeTokenEndpoint) -> None:
        """invalid_grant is permanent, and the message says what to do."""
        endpoint.will_answer(400, {"error": "invalid_grant", "error_description": "token expired\r\nfaked: line"})

        error = await failure(refreshing(endpoint.url))

        assert error.permanent
        assert "invalid_grant: token expired  faked: line" in str(error)
        assert "log in to Aries again" in str(error)

    async def test_invalid_client_names_its_settings(self, endpoint: FakeTokenEndpoint) -> None:
        """invalid_client names the client's settings."""
        endpoint.will_answer(401, {"error": "invalid_client"})

        error = await failure(refreshing(endpoint.url))

        assert error.permanent
        assert "ARIES_CLIENT_SECRET" in str(error)
