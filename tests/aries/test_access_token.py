from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trustme

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
    """Be a clock that stands still until a test moves it."""

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
    """Return the error of asking ``source``, having seen that it shows no secret."""
    with pytest.raises(TokenEndpointError) as raised:
        await source.token()
    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert REFRESH not in shown
    assert CLIENT_SECRET not in shown
    return raised.value


class TestFixedToken:
    async def test_from_the_environment_it_never_changes(self) -> None:
        """A token from the environment is given as it is and cannot change."""
        source = FixedToken(Secret.fixed("ARIES_ACCESS_TOKEN", "abc"))

        assert await source.token() == "abc"
        assert not source.can_change
        assert source.expires_at is None

    async def test_from_a_file_it_is_read_each_time(self, tmp_path: Path) -> None:
        """A token in a file is what the file holds at that moment."""
        file = tmp_path / "token"
        file.write_text("first\n")
        source = FixedToken(Secret.in_file("ARIES_ACCESS_TOKEN", file))
        assert await source.token() == "first"

        file.write_text("second\n")
        source.invalidate()

        assert await source.token() == "second"
        assert source.can_change

    async def test_unreadable_file_is_told(self, tmp_path: Path) -> None:
        """A missing file is a token that cannot be had just now, by its name."""
        source = FixedToken(Secret.in_file("ARIES_ACCESS_TOKEN", tmp_path / "gone"))

        with pytest.raises(TokenUnavailable, match=r"ARIES_ACCESS_TOKEN.*gone"):
            await source.token()

    async def test_empty_token_is_told(self) -> None:
        """An empty token is never given."""
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
        """A public client sends no client_secret at all."""
        await refreshing(endpoint.url, client_secret=None).token()

        assert "client_secret" not in endpoint.received[0].parameters

    async def test_token_is_held_for_most_of_its_life(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """A token is given again until 80 % of its life are over, and then renewed."""
        source = refreshing(endpoint.url, clock=clock)
        assert await source.token() == "access-1"
        assert source.expires_at == clock.now + 3600

        clock.now += 2879
        assert await source.token() == "access-1"
        clock.now += 1
        assert await source.token() == "access-2"
        assert source.expires_at == clock.now + 3600

    async def test_short_life_is_renewed_before_it_ends(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """A token with less than 30 s to live is renewed rather than given."""
        endpoint.expires_in = 60
        source = refreshing(endpoint.url, clock=clock)
        await source.token()

        clock.now += 31

        assert await source.token() == "access-2"

    async def test_fresh_one_is_asked_for(self, endpoint: FakeTokenEndpoint) -> None:
        """Re-authentication gets a new token though the held one is good."""
        source = refreshing(endpoint.url)

        assert await source.token() == "access-1"
        assert await source.token(fresh=True) == "access-2"
        assert await source.token() == "access-2"

    async def test_refused_one_is_not_given_again(self, endpoint: FakeTokenEndpoint) -> None:
        """A token that Aries refused is replaced."""
        source = refreshing(endpoint.url)
        assert await source.token() == "access-1"

        source.invalidate()

        assert source.expires_at is None
        assert await source.token() == "access-2"

    async def test_callers_share_one_refresh(self, endpoint: FakeTokenEndpoint) -> None:
        """Ten callers at once cause one request and get one token."""
        source = refreshing(endpoint.url)

        tokens = await asyncio.gather(*(source.token(fresh=True) for _ in range(10)))

        assert set(tokens) == {"access-1"}
        assert len(endpoint.received) == 1

    async def test_cancelled_caller_loses_no_rotated_token(self, endpoint: FakeTokenEndpoint) -> None:
        """An answer under way is kept when its caller is gone: it may hold the only good refresh token."""
        source = refreshing(endpoint.url)
        endpoint.will_answer(200, {"access_token": "a", "refresh_token": "rotated"})
        endpoint.gate.clear()
        caller = asyncio.create_task(source.token())
        await endpoint.came.wait()

        caller.cancel()
        endpoint.gate.set()

        assert await source.token() == "a"
        await source.token(fresh=True)
        assert [request.parameters["refresh_token"] for request in endpoint.received] == [REFRESH, "rotated"]

    @pytest.mark.parametrize(("told", "lifetime"), [("1800", 1800), (1800.5, 1800.5), ("12e2", 1200)])
    async def test_lifetime_may_be_text(
        self, endpoint: FakeTokenEndpoint, clock: Clock, told: object, lifetime: float
    ) -> None:
        """expires_in counts as number and as text."""
        endpoint.expires_in = told
        source = refreshing(endpoint.url, clock=clock)
        await source.token()

        assert source.expires_at == clock.now + lifetime

    @pytest.mark.parametrize("told", [None, "soon", -1, 0, True, [], 10**400, "nan"])
    async def test_unknown_lifetime_is_taken_as_an_hour(
        self, endpoint: FakeTokenEndpoint, clock: Clock, told: object
    ) -> None:
        """Without a usable expires_in the expiry is unknown, and the token renewed as if it were an hour."""
        endpoint.expires_in = told
        source = refreshing(endpoint.url, clock=clock)
        await source.token()
        assert source.expires_at is None

        clock.now += 2879
        assert await source.token() == "access-1"
        clock.now += 1
        assert await source.token() == "access-2"


class TestRefreshToken:
    async def test_newest_is_used_and_rotation_is_told(self, endpoint: FakeTokenEndpoint) -> None:
        """A refresh token in an answer replaces the one before; the log says so once, without showing it."""
        for number in (1, 2):
            endpoint.will_answer(200, {"access_token": "a", "refresh_token": f"rotated-{number}"})
        source = refreshing(endpoint.url)

        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await source.token(fresh=True)

        assert [request.parameters["refresh_token"] for request in endpoint.received] == [
            REFRESH,
            "rotated-1",
            "rotated-2",
        ]
        assert [line["event"] for line in logs] == ["refresh token rotated by the server"]
        assert "rotated-" not in str(logs)

    async def test_file_wins_when_it_changes(self, endpoint: FakeTokenEndpoint, tmp_path: Path) -> None:
        """A refresh token newly put into the file replaces the rotated one; the old content does not."""
        file = tmp_path / "refresh"
        file.write_text("from-file-1")
        endpoint.will_answer(200, {"access_token": "a", "refresh_token": "rotated"})
        source = refreshing(endpoint.url, refresh_token=Secret.in_file("ARIES_REFRESH_TOKEN", file))
        await source.token()
        await source.token(fresh=True)

        file.write_text("from-file-2")
        await source.token(fresh=True)

        assert [request.parameters["refresh_token"] for request in endpoint.received] == [
            "from-file-1",
            "rotated",
            "from-file-2",
        ]

    async def test_unreadable_file_is_told(self, tmp_path: Path) -> None:
        """A missing refresh-token file is a token that cannot be had just now."""
        secret = Secret.in_file("ARIES_REFRESH_TOKEN", tmp_path / "gone")

        with pytest.raises(TokenUnavailable, match=r"ARIES_REFRESH_TOKEN.*gone"):
            await refreshing("http://localhost:1/", refresh_token=secret).token()


class TestFailure:
    async def test_unlapsed_token_serves_on(self, endpoint: FakeTokenEndpoint, clock: Clock) -> None:
        """While the endpoint fails, a token is given until it lapses, with a warning."""
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

    async def test_recovers(self, endpoint: FakeTokenEndpoint) -> None:
        """After a failure the next call asks again."""
        endpoint.will_answer(500)
        source = refreshing(endpoint.url)
        await failure(source)

        assert await source.token() == "access-1"

    async def test_used_up_refresh_token_needs_a_person(self, endpoint: FakeTokenEndpoint) -> None:
        """invalid_grant is permanent, and the message says who must do what."""
        endpoint.will_answer(400, {"error": "invalid_grant", "error_description": "token expired\r\nfaked: line"})

        error = await failure(refreshing(endpoint.url))

        assert error.permanent
        assert "invalid_grant: token expired  faked: line" in str(error)
        assert "log in to Aries again" in str(error)

    async def test_wrong_client_names_its_settings(self, endpoint: FakeTokenEndpoint) -> None:
        """invalid_client points to the client's settings."""
        endpoint.will_answer(401, {"error": "invalid_client"})

        error = await failure(refreshing(endpoint.url))

        assert error.permanent
        assert "ARIES_CLIENT_SECRET" in str(error)

    async def test_echoed_secret_is_withheld(self, endpoint: FakeTokenEndpoint) -> None:
        """A description that repeats the refresh token or the client secret is not shown."""
        endpoint.will_answer(400, {"error": "invalid_request", "error_description": f"bad token {REFRESH}"})
        endpoint.will_answer(400, {"error": CLIENT_SECRET, "error_description": "x" * 10_000})
        source = refreshing(endpoint.url)

        assert "withheld" in str(await failure(source))
        assert len(str(await failure(source))) < 600

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("7", 7.0), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("9" * 500, 86_400.0)],
    )
    @pytest.mark.parametrize("status", [429, 503])
    async def test_busy_endpoint_says_when_to_come_back(
        self, endpoint: FakeTokenEndpoint, status: int, header: str, seconds: float | None
    ) -> None:
        """429 and 503 pass on a Retry-After in seconds or as a date, within a day."""
        endpoint.will_answer(status, {}, **{"Retry-After": header})

        error = await failure(refreshing(endpoint.url))

        assert error.retry_after_seconds == seconds
        assert not error.permanent

    async def test_login_page_is_told(self, endpoint: FakeTokenEndpoint) -> None:
        """HTML where JSON should be points to the URL, and none of it is shown."""
        endpoint.will_answer(200, "<html>Log in here</html>")

        message = str(await failure(refreshing(endpoint.url)))

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
    async def test_answer_without_token_is_told(self, endpoint: FakeTokenEndpoint, fields: dict[str, object]) -> None:
        """An answer without a usable access_token is an error."""
        endpoint.will_answer(200, fields)

        assert "without a usable access_token" in str(await failure(refreshing(endpoint.url)))

    @pytest.mark.parametrize("body", ["[" * 60_000, '{"access_token"', '"text"', "\x00", ""])
    async def test_garbage_is_told(self, endpoint: FakeTokenEndpoint, body: str) -> None:
        """Whatever else comes with status 200 is no JSON object."""
        endpoint.will_answer(200, body)

        assert "instead of a JSON object" in str(await failure(refreshing(endpoint.url)))

    async def test_endless_answer_is_cut(self, endpoint: FakeTokenEndpoint) -> None:
        """No more than the limit is read of an answer."""
        endpoint.will_answer(200, {"access_token": "x" * 1_000_000})

        assert "more than 65536 bytes" in str(await failure(refreshing(endpoint.url)))

    async def test_redirect_is_not_followed(self, endpoint: FakeTokenEndpoint) -> None:
        """Credentials go nowhere but to the configured URL."""
        endpoint.will_answer(307, Location=endpoint.url)

        assert "redirects (HTTP 307)" in str(await failure(refreshing(endpoint.url)))
        assert len(endpoint.received) == 1

    async def test_slow_endpoint_meets_the_deadline(self, endpoint: FakeTokenEndpoint) -> None:
        """An endpoint that does not answer is given up at the deadline."""
        endpoint.gate.clear()

        error = await failure(refreshing(endpoint.url, deadline_seconds=0.05))

        assert "no answer within 0.05 s" in str(error)

    async def test_nobody_listens(self) -> None:
        """A refused connection names the setting; a password in the URL is not shown."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]

            message = str(await failure(refreshing(f"http://user:{CLIENT_SECRET}@127.0.0.1:{port}/t?k={REFRESH}")))

        assert f"http://127.0.0.1:{port}/t: cannot be reached" in message
        assert "ARIES_TOKEN_URL" in message

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("http://name.invalid/token", "host name has no address"),
            ("ftp://localhost/token", "not an http"),
            ("token", "not an http"),
            (f"http://{'a' * 300}.invalid/", "host name has no address"),
        ],
    )
    async def test_useless_url_is_told(self, url: str, problem: str) -> None:
        """A host without address, or no web address at all, is said to be that."""
        assert problem in str(await failure(refreshing(url)))

    async def test_connection_broken_off(self) -> None:
        """An endpoint that hangs up without an answer is told as such."""

        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]

            assert "closed the connection" in str(await failure(refreshing(f"http://127.0.0.1:{port}/")))


class TestTls:
    async def test_trusted_authority(self) -> None:
        """Over https a token is granted when the authority is trusted."""
        authority = trustme.CA()
        trust = ssl.create_default_context()
        authority.configure_trust(trust)

        async with token_endpoint(server_tls(authority, "localhost")) as endpoint:
            assert await refreshing(endpoint.url, tls=trust).token() == "access-1"

    async def test_unknown_authority(self) -> None:
        """A certificate of an unknown authority is refused, with the way to trust it."""
        async with token_endpoint(server_tls(trustme.CA(), "localhost")) as endpoint:
            message = str(await failure(refreshing(endpoint.url)))

        assert "certificate that is not trusted" in message
        assert "SSL_CERT_FILE" in message
        assert endpoint.received == []

    async def test_wrong_name(self) -> None:
        """A certificate for another host is refused."""
        authority = trustme.CA()
        trust = ssl.create_default_context()
        authority.configure_trust(trust)

        async with token_endpoint(server_tls(authority, "other.example")) as endpoint:
            message = str(await failure(refreshing(endpoint.url, tls=trust)))

        assert "not valid for 'localhost'" in message

    async def test_no_tls_where_https_is_spoken_to(self, endpoint: FakeTokenEndpoint) -> None:
        """Speaking https to a plain port is a TLS failure, not a mystery."""
        message = str(await failure(refreshing(endpoint.url.replace("http:", "https:"))))

        assert "TLS failed" in message


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
