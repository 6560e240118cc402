"""The access token is checked: whether there is one, and when it expires."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from bridge.check.report import Status
from bridge.check.token import check_token
from bridge.settings import Settings, load
from tests.check.results import NO_KAFKA, Results
from tests.oauth.test_jwt import jwt
from tests.support.token_endpoint import FakeTokenEndpoint, token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def settings(**environ: str) -> Settings:
    return load({"ARIES_SYMBOLS": "AAPL", **NO_KAFKA, **environ})


async def obtained(loaded: Settings) -> tuple[str | None, Results, list[str]]:
    results, learned = Results(), list[str]()
    got = await check_token(results.report, loaded, learned.append)
    return got, results, learned


class TestFixed:
    async def test_an_opaque_token(self) -> None:
        """A token that is not a JWT has no known expiry."""
        got, results, learned = await obtained(settings(ARIES_ACCESS_TOKEN="opaque-token"))

        assert got == "opaque-token"
        assert learned == ["opaque-token"]
        results.expect("Aries token", Status.OK, "without a known expiry")

    async def test_a_token_that_will_expire(self) -> None:
        """The service cannot outlive a fixed token, so its expiry is a warning."""
        _, results, _ = await obtained(settings(ARIES_ACCESS_TOKEN=jwt(exp=time.time() + 3600.5)))

        results.expect(
            "Aries token", Status.WARN, "expires in 60 min", "ARIES_REFRESH_TOKEN", "ARIES_ACCESS_TOKEN_FILE"
        )

    async def test_a_token_in_a_file(self, tmp_path: Path) -> None:
        """A file can be updated, so its token's expiry is no warning."""
        (tmp_path / "token").write_text(jwt(exp=time.time() + 3600.5))
        _, results, _ = await obtained(settings(ARIES_ACCESS_TOKEN_FILE=str(tmp_path / "token")))

        results.expect("Aries token", Status.OK, "expires in 60 min", "read at each authentication")

    async def test_an_expired_token(self) -> None:
        """An expired token is not sent to Aries."""
        got, results, _ = await obtained(settings(ARIES_ACCESS_TOKEN=jwt(exp=time.time() - 7201)))

        assert got is None
        results.expect("Aries token", Status.FAIL, "expired 2 h ago", "ARIES_ACCESS_TOKEN")

    async def test_a_missing_file(self, tmp_path: Path) -> None:
        """A file that was removed after the settings were read is reported with its setting."""
        file = tmp_path / "token"
        file.write_text("a-token")
        loaded = settings(ARIES_ACCESS_TOKEN_FILE=str(file))
        file.unlink()
        got, results, _ = await obtained(loaded)

        assert got is None
        results.expect("Aries token", Status.FAIL, "ARIES_ACCESS_TOKEN_FILE")


class TestRefreshed:
    @pytest.fixture
    async def endpoint(self) -> AsyncIterator[FakeTokenEndpoint]:
        async with token_endpoint() as running:
            yield running

    def settings(self, endpoint: FakeTokenEndpoint) -> Settings:
        return settings(ARIES_REFRESH_TOKEN="refresh-me", ARIES_CLIENT_ID="me", ARIES_TOKEN_URL=endpoint.url)

    async def test_a_granted_token(self, endpoint: FakeTokenEndpoint) -> None:
        """The lifetime is reported, and the token is known as a secret."""
        got, results, learned = await obtained(self.settings(endpoint))

        assert [got] == learned == ["access-1"]
        results.expect("Aries token", Status.OK, "granted for 60 min")

    async def test_a_replaced_refresh_token(self, endpoint: FakeTokenEndpoint) -> None:
        """If a refresh token is valid only once, this check has used it, and warns; the new one is a secret."""
        endpoint.will_answer(200, {"access_token": "access", "refresh_token": "a-newer-one"})
        got, results, learned = await obtained(self.settings(endpoint))

        assert got == "access"
        assert "a-newer-one" in learned
        results.expect("Aries token", Status.WARN, "replaced the refresh token", "ARIES_REFRESH_TOKEN", "--no-session")
        assert "a-newer-one" not in str(results.all)

    @pytest.mark.parametrize(
        ("status", "error", "words"),
        [
            (400, "invalid_grant", "ARIES_REFRESH_TOKEN"),
            (401, "invalid_client", "ARIES_CLIENT_ID"),
            (500, "server_error", "The bridge will retry"),
            (400, "invalid_request", "ARIES_TOKEN_URL"),
        ],
    )
    async def test_a_rejected_refresh_token(
        self, endpoint: FakeTokenEndpoint, status: int, error: str, words: str
    ) -> None:
        """Each error code has its hint."""
        endpoint.will_answer(status, {"error": error})
        got, results, _ = await obtained(self.settings(endpoint))

        assert got is None
        results.expect("Aries token", Status.FAIL, error, words)
