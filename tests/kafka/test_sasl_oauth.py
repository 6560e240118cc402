"""Access tokens for SASL/OAUTHBEARER: where they come from, and what arrives at a token endpoint and at a broker."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import KafkaConnectionError

from bridge.kafka.error_hints import error_hint
from bridge.kafka.sasl_oauth import TokenProvider
from bridge.kafka.security import security_options
from bridge.oauth.client_credentials import ClientCredentials
from bridge.secrets.secret import Secret
from tests.kafka.test_security import CLIENT_SECRET, Chosen
from tests.oauth.test_jwt import jwt
from tests.support.sasl_listener import SaslListener, sasl_listener
from tests.support.token_endpoint import FakeTokenEndpoint, token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EXTENSIONS = ("logicalCluster=lkc-1", "identityPoolId=pool a=b")


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeTokenEndpoint]:
    async with token_endpoint() as running:
        yield running


@pytest.fixture
async def listener() -> AsyncIterator[SaslListener]:
    async with sasl_listener() as running:
        yield running


def oauth(**settings: object) -> Chosen:
    return Chosen("SASL_PLAINTEXT", "OAUTHBEARER", **settings)  # type: ignore[arg-type]


def client(url: str, secret: str | None = CLIENT_SECRET, **changed: str) -> TokenProvider:
    kept = None if secret is None else Secret.fixed("KAFKA_OAUTH_CLIENT_SECRET", secret)
    chosen: dict[str, Any] = {"client_id": "bridge", "client_secret": kept, **changed}
    return TokenProvider(ClientCredentials(settings="KAFKA_OAUTH", url=url, **chosen))


class TestClientCredentials:
    async def test_secret_goes_into_the_header(self, endpoint: FakeTokenEndpoint) -> None:
        """The request is a form with grant and scope; the client authenticates by HTTP Basic."""
        assert await client(endpoint.url, scope="kafka read").token() == "access-1"

        [request] = endpoint.received
        assert request.content_type == "application/x-www-form-urlencoded"
        assert request.parameters == {"grant_type": "client_credentials", "scope": "kafka read"}
        assert request.authorization is not None
        assert base64.b64decode(request.authorization.removeprefix("Basic ")).decode() == f"bridge:{CLIENT_SECRET}"

    async def test_server_without_basic_gets_a_form(self, endpoint: FakeTokenEndpoint) -> None:
        """If the header is rejected, the secret is sent in the form instead."""
        endpoint.will_answer(401, {"error": "invalid_client"})

        assert await client(endpoint.url).token() == "access-1"
        assert endpoint.received[1].authorization is None
        assert endpoint.received[1].parameters == {
            "grant_type": "client_credentials",
            "client_id": "bridge",
            "client_secret": CLIENT_SECRET,
        }

    async def test_public_client(self, endpoint: FakeTokenEndpoint) -> None:
        """A client without a secret only sends its id."""
        await client(endpoint.url, secret=None).token()

        assert endpoint.received[0].authorization is None
        assert endpoint.received[0].parameters == {"grant_type": "client_credentials", "client_id": "bridge"}

    async def test_connections_share_one_token(self, endpoint: FakeTokenEndpoint) -> None:
        """Many connections at once, and later ones, cause one request."""
        provider = client(endpoint.url)

        tokens = await asyncio.gather(*(provider.token() for _ in range(10)))

        assert {*tokens, await provider.token()} == {"access-1"}
        assert len(endpoint.received) == 1

    async def test_short_lived_token_is_renewed(self, endpoint: FakeTokenEndpoint) -> None:
        """A token about to expire is not sent to a broker."""
        endpoint.expires_in = 20
        provider = client(endpoint.url)

        assert [await provider.token(), await provider.token()] == ["access-1", "access-2"]

    async def test_failure_is_a_failed_connection(self, endpoint: FakeTokenEndpoint) -> None:
        """A rejected request is a failed connection to aiokafka, which it retries; the error has no secret in it."""
        for _ in range(2):
            endpoint.will_answer(401, {"error": "invalid_client", "error_description": f"no {CLIENT_SECRET}"})

        with pytest.raises(KafkaConnectionError, match="Check KAFKA_OAUTH_CLIENT_ID") as raised:
            await client(endpoint.url).token()

        assert CLIENT_SECRET not in f"{raised.value!r} {raised.value.__cause__!r}"

    async def test_busy_endpoint_is_not_asked_twice(self, endpoint: FakeTokenEndpoint) -> None:
        """The secret is sent in the form only if the header was rejected."""
        endpoint.will_answer(503)

        with pytest.raises(KafkaConnectionError, match="is busy"):
            await client(endpoint.url).token()

        assert len(endpoint.received) == 1


def in_file(tmp_path: Path, token: str) -> Chosen:
    file = tmp_path / "token"
    file.write_text(token)
    return oauth(kafka_oauth_token=Secret.in_file("KAFKA_OAUTH_TOKEN", file))


async def failure(listener: SaslListener, settings: Chosen) -> str:
    """Return the error of a login, for which there must be no other hint."""
    with pytest.raises(KafkaConnectionError) as raised:
        await listener.log_in(security_options(settings))
    message = str(raised.value)
    assert error_hint(message) == ""
    assert listener.logins == []
    return message


class TestTokenFile:
    async def test_it_is_read_for_each_login(self, listener: SaslListener, tmp_path: Path) -> None:
        """One client sends the file's present token with each new connection."""
        first, second = jwt(exp=time.time() + 60, jti=1), jwt(exp=time.time() + 120, jti=2)
        options = security_options(in_file(tmp_path, f"{first}\n"))
        assert (await listener.log_in(options)).token == first
        (tmp_path / "token").write_text(second)
        assert (await listener.log_in(options)).token == second

    async def test_an_opaque_token(self, listener: SaslListener, tmp_path: Path) -> None:
        """A token that is not a JWT has no known expiry, and is sent."""
        assert (await listener.log_in(security_options(in_file(tmp_path, "opaque")))).token == "opaque"

    async def test_it_is_learnt_before_it_is_sent(self, listener: SaslListener, tmp_path: Path) -> None:
        """Redaction knows a token of which the log has heard nothing yet."""
        learned: list[str] = []
        await listener.log_in(security_options(in_file(tmp_path, "opaque"), learned.append))
        assert learned == ["opaque"]

    async def test_a_missing_file_may_come_later(self, listener: SaslListener, tmp_path: Path) -> None:
        """Until the file is there, each login fails with an error that names it and its setting."""
        settings = in_file(tmp_path, "opaque")
        (tmp_path / "token").unlink()
        options = security_options(settings)
        message = await failure(listener, settings)
        assert "KAFKA_OAUTH_TOKEN_FILE" in message
        assert f"{tmp_path / 'token'}" in message
        assert "No such file" in message
        (tmp_path / "token").write_text("opaque")
        assert (await listener.log_in(options)).token == "opaque"

    @pytest.mark.parametrize("content", ["", "\n \n"])
    async def test_an_empty_file(self, listener: SaslListener, tmp_path: Path, content: str) -> None:
        """A file that is being written is reported, and no empty token is sent."""
        assert "is empty" in await failure(listener, in_file(tmp_path, content))

    async def test_an_expired_token(self, listener: SaslListener, tmp_path: Path) -> None:
        """A token that is not renewed is not sent; the error says since when, and not the token."""
        token = jwt(exp=1_800_000_000 - 100_000_000)
        message = await failure(listener, in_file(tmp_path, token))
        assert message == (
            f"KafkaTokenError: KAFKA_OAUTH_TOKEN_FILE ({tmp_path / 'token'}) has a token that expired at "
            "2023-11-14T22:13:20Z. Check what renews the file. The bridge will retry."
        )

    async def test_an_expired_token_that_nothing_renews(self, listener: SaslListener) -> None:
        """For a token in the environment, the error says that a file is better."""
        token = Secret.fixed("KAFKA_OAUTH_TOKEN", jwt(exp=1.0))
        assert "Use KAFKA_OAUTH_TOKEN_FILE" in await failure(listener, oauth(kafka_oauth_token=token))

    @pytest.mark.parametrize("exp", [1e300, -1e300])
    async def test_an_expiry_of_no_calendar(self, listener: SaslListener, tmp_path: Path, exp: float) -> None:
        """A time that no calendar has is compared, and shown as a number."""
        settings = in_file(tmp_path, jwt(exp=exp))
        if exp > 0:
            assert (await listener.log_in(security_options(settings))).token == jwt(exp=exp)
        else:
            assert "-1e+300 s since 1970" in await failure(listener, settings)

    @pytest.mark.parametrize("content", ["Bearer abc", "abc\ndef", "abc\x01auth=x", "t\u00f6ken"])
    async def test_no_token(self, listener: SaslListener, tmp_path: Path, content: str) -> None:
        """What would break the message to the broker is not sent, and not shown."""
        message = await failure(listener, in_file(tmp_path, content))
        assert "is not a token" in message
        assert content not in message


class TestClientAssertion:
    async def test_it_authenticates_the_client(
        self, endpoint: FakeTokenEndpoint, listener: SaslListener, tmp_path: Path
    ) -> None:
        """The request has the assertion with its type, the client and the scope; no secret and no header."""
        assertion = jwt(exp=time.time() + 60)
        settings = self.settings(endpoint, tmp_path, assertion, kafka_oauth_client_id="bridge", kafka_oauth_scope="k")

        assert (await listener.log_in(security_options(settings))).token == "access-1"

        [request] = endpoint.received
        assert request.content_type == "application/x-www-form-urlencoded"
        assert request.authorization is None
        assert request.parameters == {
            "grant_type": "client_credentials",
            "client_id": "bridge",
            "scope": "k",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }

    async def test_the_client_may_be_named_by_the_assertion_alone(
        self, endpoint: FakeTokenEndpoint, listener: SaslListener, tmp_path: Path
    ) -> None:
        """The ID of the client is optional (RFC 7521 §4.2)."""
        await listener.log_in(security_options(self.settings(endpoint, tmp_path, "opaque")))

        assert "client_id" not in endpoint.received[0].parameters

    async def test_the_file_is_read_for_each_request(
        self, endpoint: FakeTokenEndpoint, listener: SaslListener, tmp_path: Path
    ) -> None:
        """A renewed assertion is in the next request; a token that is still valid needs none."""
        endpoint.expires_in = 20
        options = security_options(self.settings(endpoint, tmp_path, "first"))
        await listener.log_in(options)
        (tmp_path / "assertion").write_text("second")
        await listener.log_in(options)
        endpoint.expires_in = 3600
        await listener.log_in(options)
        await listener.log_in(options)

        assert [one.parameters["client_assertion"] for one in endpoint.received] == ["first", "second", "second"]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(None, "No such file"), ("", "is empty"), (jwt(exp=1.0), "expired at 1970-01-01"), ("a b", "is not a token")],
    )
    async def test_an_unusable_file(
        self,
        endpoint: FakeTokenEndpoint,
        listener: SaslListener,
        tmp_path: Path,
        content: str | None,
        problem: str,
    ) -> None:
        """Nothing is requested without a valid assertion; the error names the file and its setting."""
        settings = self.settings(endpoint, tmp_path, content or "")
        if content is None:
            (tmp_path / "assertion").unlink()
        message = await failure(listener, settings)

        assert problem in message
        assert "KAFKA_OAUTH_CLIENT_ASSERTION_FILE" in message
        assert str(tmp_path / "assertion") in message
        assert endpoint.received == []

    async def test_a_rejected_assertion(
        self, endpoint: FakeTokenEndpoint, listener: SaslListener, tmp_path: Path
    ) -> None:
        """The error says what to check, and withholds a description that repeats the assertion."""
        endpoint.will_answer(401, {"error": "invalid_client", "error_description": "no trust in an-assertion"})
        message = await failure(listener, self.settings(endpoint, tmp_path, "an-assertion"))

        assert "KAFKA_OAUTH_CLIENT_ASSERTION_FILE" in message
        assert "an-assertion" not in message
        assert len(endpoint.received) == 1

    @staticmethod
    def settings(endpoint: FakeTokenEndpoint, tmp_path: Path, assertion: str, **changed: object) -> Chosen:
        file = tmp_path / "assertion"
        file.write_text(assertion)
        secret = Secret.in_file("KAFKA_OAUTH_CLIENT_ASSERTION", file)
        return oauth(kafka_oauth_token_url=endpoint.url, kafka_oauth_client_assertion=secret, **changed)


class TestExtensions:
    async def test_they_are_sent_with_each_token(self, listener: SaslListener) -> None:
        """Names and values arrive as they are set; a value may have spaces and equals signs."""
        token = Secret.fixed("KAFKA_OAUTH_TOKEN", "opaque")
        options = security_options(oauth(kafka_oauth_token=token, kafka_oauth_extensions=EXTENSIONS))

        for _ in range(2):
            login = await listener.log_in(options)
            assert login.extensions == {"logicalCluster": "lkc-1", "identityPoolId": "pool a=b"}

    async def test_without_them_nothing_is_sent(self, listener: SaslListener) -> None:
        """By default, the message to the broker has the token alone."""
        token = Secret.fixed("KAFKA_OAUTH_TOKEN", "opaque")

        assert (await listener.log_in(security_options(oauth(kafka_oauth_token=token)))).extensions == {}

    async def test_they_come_with_a_granted_token(self, listener: SaslListener, endpoint: FakeTokenEndpoint) -> None:
        """Tokens of a token endpoint have them, too."""
        secret = Secret.fixed("KAFKA_OAUTH_CLIENT_SECRET", CLIENT_SECRET)
        settings = oauth(
            kafka_oauth_token_url=endpoint.url,
            kafka_oauth_client_id="bridge",
            kafka_oauth_client_secret=secret,
            kafka_oauth_extensions=EXTENSIONS,
        )

        login = await listener.log_in(security_options(settings))
        assert (login.token, len(login.extensions)) == ("access-1", 2)
