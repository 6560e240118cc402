"""Tokens: whether there is one, how long it lasts, and what to do about either."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

import pytest

from bridge.app import token_source
from bridge.check import token
from bridge.check.report import Status
from bridge.settings import Settings, load
from tests.check.findings import NO_KAFKA, Findings
from tests.support.token_endpoint import FakeTokenEndpoint, token_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def jwt(**claims: object) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims))
    return ".".join([*parts, "signature"])


def settings(**environ: str) -> Settings:
    return load({"ARIES_SYMBOLS": "AAPL", **NO_KAFKA, **environ})


async def obtained(loaded: Settings) -> tuple[str | None, Findings, list[str]]:
    findings, learned = Findings(), list[str]()
    got = await token.obtain(findings.report, loaded, token_source(loaded), learned.append)
    return got, findings, learned


class TestFixed:
    async def test_one_that_does_not_tell_its_end(self) -> None:
        """A token that is no JWT is taken as it is."""
        got, findings, learned = await obtained(settings(ARIES_ACCESS_TOKEN="opaque-token"))

        assert got == "opaque-token"
        assert learned == ["opaque-token"]
        findings.must("Aries token", Status.OK, "does not tell when it lapses")

    async def test_one_that_will_lapse(self) -> None:
        """A fixed token with an end leads to an end of the service: that is a warning."""
        _, findings, _ = await obtained(settings(ARIES_ACCESS_TOKEN=jwt(exp=time.time() + 3600.5)))

        findings.must("Aries token", Status.WARN, "lapses in 60 min", "ARIES_REFRESH_TOKEN", "ARIES_ACCESS_TOKEN_FILE")

    async def test_one_in_a_file_may_be_replaced(self, tmp_path: Path) -> None:
        """A file is somebody's to keep fresh, so its token's end is no warning."""
        (tmp_path / "token").write_text(jwt(exp=time.time() + 3600.5))
        _, findings, _ = await obtained(settings(ARIES_ACCESS_TOKEN_FILE=str(tmp_path / "token")))

        findings.must("Aries token", Status.OK, "lapses in 60 min", "read anew")

    async def test_one_that_has_lapsed(self) -> None:
        """A token past its end is not shown to Aries."""
        got, findings, _ = await obtained(settings(ARIES_ACCESS_TOKEN=jwt(exp=time.time() - 7201)))

        assert got is None
        findings.must("Aries token", Status.FAIL, "lapsed 2 h ago", "ARIES_ACCESS_TOKEN")

    async def test_one_whose_file_is_gone(self, tmp_path: Path) -> None:
        """A file that vanished since the settings were read is told by its setting."""
        file = tmp_path / "token"
        file.write_text("a-token")
        loaded = settings(ARIES_ACCESS_TOKEN_FILE=str(file))
        file.unlink()
        got, findings, _ = await obtained(loaded)

        assert got is None
        findings.must("Aries token", Status.FAIL, "ARIES_ACCESS_TOKEN_FILE")


class TestRefreshed:
    @pytest.fixture
    async def endpoint(self) -> AsyncIterator[FakeTokenEndpoint]:
        async with token_endpoint() as running:
            yield running

    def settings(self, endpoint: FakeTokenEndpoint) -> Settings:
        return settings(ARIES_REFRESH_TOKEN="refresh-me", ARIES_CLIENT_ID="me", ARIES_TOKEN_URL=endpoint.url)

    async def test_one_that_is_granted(self, endpoint: FakeTokenEndpoint) -> None:
        """The grant's life is told, and the token is known as a secret."""
        got, findings, learned = await obtained(self.settings(endpoint))

        assert [got] == learned == ["access-1"]
        findings.must("Aries token", Status.OK, "granted for 60 min")

    async def test_one_whose_refresh_token_was_replaced(self, endpoint: FakeTokenEndpoint) -> None:
        """Where a refresh token is good once, this check has used it up, and says so."""
        endpoint.will_answer(200, {"access_token": "access", "refresh_token": "a-newer-one"})
        got, findings, _ = await obtained(self.settings(endpoint))

        assert got == "access"
        findings.must("Aries token", Status.WARN, "replaced the refresh token", "ARIES_REFRESH_TOKEN", "--no-session")
        assert "a-newer-one" not in str(findings.all)

    @pytest.mark.parametrize(
        ("status", "error", "words"),
        [
            (400, "invalid_grant", "ARIES_REFRESH_TOKEN"),
            (401, "invalid_client", "ARIES_CLIENT_ID"),
            (500, "server_error", "The bridge will retry"),
            (400, "invalid_request", "ARIES_TOKEN_URL"),
        ],
    )
    async def test_one_that_is_refused(self, endpoint: FakeTokenEndpoint, status: int, error: str, words: str) -> None:
        """Each refusal has the remedy of its error code."""
        endpoint.will_answer(status, {"error": error})
        got, findings, _ = await obtained(self.settings(endpoint))

        assert got is None
        findings.must("Aries token", Status.FAIL, error, words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "opaque",
        "a.b.c",
        "..",
        f"{'A' * 9}.{'B' * 9}.",
        jwt(),
        jwt(exp=None),
        jwt(exp="soon"),
        jwt(exp=[1]),
        "ä.ö.ü",
    ],
)
def test_only_a_jwt_with_an_end_tells_it(text: str) -> None:
    """Whatever else a token is, it tells nothing, and does no harm."""
    assert token.expires_at(text) is None


def test_a_jwt_tells_its_end() -> None:
    """The claim is in seconds since the epoch, whole or not."""
    assert token.expires_at(jwt(exp=1_800_000_000)) == 1_800_000_000
    assert token.expires_at(jwt(exp=1_800_000_000.5)) == 1_800_000_000.5
