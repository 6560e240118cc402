"""The schema registry is checked: its servers, the credentials, and each subject's schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import trustme
from aiohttp import web

from bridge.check import registry
from bridge.check.report import Status
from bridge.serialization import schemas
from bridge.serialization.schema_registry import subject_of
from bridge.settings import load
from bridge.topics import Topic
from tests.check.results import NO_ARIES, NO_KAFKA, Results, authority_file, run_preflight, server_tls
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from pathlib import Path


def filled(*but: Topic, credentials: str | None = None) -> FakeRegistry:
    """Return a registry with the bridge's schemas, except those of some topics."""
    fake = FakeRegistry(credentials=credentials)
    for topic, schema in schemas.load().items():
        if topic not in but:
            fake.add(subject_of(f"aries.{topic}"), schema.text)
    return fake


async def checked(url: str, **more: str) -> Results:
    return await run_preflight({**NO_ARIES, **NO_KAFKA, "SCHEMA_REGISTRY_URL": url, **more})


async def test_a_registry_with_all_schemas() -> None:
    """Everything passes, and every request is a lookup."""
    async with filled().serving() as fake:
        results = await checked(fake.url)

    results.expect(registry.REGISTRY, Status.OK)
    results.expect(registry.SUBJECTS, Status.OK)
    assert not [path for method, path in fake.requests if method == "POST" and path.endswith("/versions")]


async def test_missing_and_different_schemas() -> None:
    """Each wrong subject is a line, with the command that fixes it."""
    async with filled(Topic.QUOTES, Topic.TRADES).serving() as fake:
        fake.add("aries.trades-value", '{"type":"string"}')
        results = await checked(fake.url)

    register = "`aries-bridge schemas register`"
    results.expect("Schema registry subject aries.quotes-value", Status.FAIL, "does not exist", register)
    results.expect("Schema registry subject aries.trades-value", Status.FAIL, "other schemas", register)
    results.expect(registry.REGISTRY, Status.OK)


async def test_missing_schemas_that_the_bridge_will_register() -> None:
    """With auto-registration a missing schema is not a failure, and the check does not register it."""
    async with filled(Topic.QUOTES).serving() as fake:
        results = await checked(fake.url, SCHEMA_REGISTRY_AUTO_REGISTER="true")

    results.expect(registry.SUBJECTS, Status.OK, "aries.quotes-value", "SCHEMA_REGISTRY_AUTO_REGISTER")
    assert "aries.quotes-value" not in fake.subjects


async def test_rejected_credentials() -> None:
    """The hint names both settings; neither value is shown."""
    async with filled(credentials="bridge:right").serving() as fake:
        login = {"SCHEMA_REGISTRY_USERNAME": "bridge", "SCHEMA_REGISTRY_PASSWORD": "wrong-word"}
        results = await checked(fake.url, **login)

    results.expect(registry.REGISTRY, Status.FAIL, "HTTP 401", "SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD")
    assert "wrong-word" not in str(results.all)


async def test_a_rejected_token() -> None:
    """The hint names the login that is set, and no other; the token is not shown."""
    async with filled(credentials="bridge:right").serving() as fake:
        results = await checked(fake.url, SCHEMA_REGISTRY_BEARER_TOKEN="wrong-word")

    results.expect(registry.REGISTRY, Status.FAIL, "HTTP 401", "SCHEMA_REGISTRY_BEARER_TOKEN")
    assert "SCHEMA_REGISTRY_PASSWORD" not in str(results.all)
    assert "wrong-word" not in str(results.all)


async def test_a_token_that_cannot_be_granted() -> None:
    """The line has the token endpoint's problem, and the registry gets no request."""
    login = {
        "SCHEMA_REGISTRY_OAUTH_TOKEN_URL": "http://127.0.0.1:1/token",
        "SCHEMA_REGISTRY_OAUTH_CLIENT_ID": "bridge",
        "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET": "client-s3cret",
    }
    async with filled().serving() as fake:
        results = await checked(fake.url, **login)

    results.expect(registry.REGISTRY, Status.FAIL, "no credentials", "127.0.0.1:1", "SCHEMA_REGISTRY_OAUTH_TOKEN_URL")
    assert fake.received == []


async def test_a_context() -> None:
    """Only the subjects of the context are checked."""
    async with filled().serving() as fake:
        results = await checked(fake.url, SCHEMA_REGISTRY_CONTEXT="staging")

    subject = "Schema registry subject :.staging:aries.quotes-value"
    results.expect(subject, Status.FAIL, "does not exist", "`aries-bridge schemas register`")


async def test_a_server_that_is_not_a_registry() -> None:
    """The hint is to check the path."""
    fake = filled()
    fake.refuse(404)
    async with fake.serving():
        results = await checked(fake.url)

    results.expect(registry.REGISTRY, Status.FAIL, "HTTP 404 with an empty body", "/apis/ccompat/v7")


async def test_an_http_error() -> None:
    """A server that answers with an error is reported with its status."""
    fake = filled()
    fake.answers.append(web.Response(status=502))
    async with fake.serving():
        results = await checked(fake.url)

    results.expect(registry.REGISTRY, Status.FAIL, "HTTP 502", "SCHEMA_REGISTRY_URL")


async def test_an_unreachable_registry() -> None:
    """The hint names the setting with the address, and no subject is reported."""
    results = await checked("http://127.0.0.1:1")

    results.expect(registry.REGISTRY, Status.FAIL, "127.0.0.1:1", "SCHEMA_REGISTRY_URL")
    assert registry.SUBJECTS not in results


async def test_one_of_several_urls_is_enough(tmp_path: Path) -> None:
    """Each URL is checked, with its certificate; the subjects are checked at the first that answers."""
    authority = trustme.CA()
    until = datetime.now(UTC) + timedelta(days=2.5)
    results = Results()
    async with filled().serving(server_tls(authority, until=until)) as fake:
        trust = {"SCHEMA_REGISTRY_URL": fake.url, "SCHEMA_REGISTRY_CAFILE": authority_file(authority, tmp_path)}
        settings = load({**NO_ARIES, **NO_KAFKA, **trust})
        await registry.check_registry(results.report, settings, f"https://127.0.0.1:1, {fake.url}", 5)

    assert [result.status for result in results.named(registry.REGISTRY)] == [Status.FAIL, Status.OK]
    results.expect(registry.TLS, Status.WARN, "expires in 2 days")
    results.expect(registry.SUBJECTS, Status.OK)


async def test_a_certificate_of_an_unknown_authority() -> None:
    """The line names the setting for it."""
    async with filled().serving(server_tls(trustme.CA())) as fake:
        results = await checked(fake.url)

    results.expect(registry.REGISTRY, Status.FAIL, "SCHEMA_REGISTRY_CAFILE")


async def test_without_a_url_there_is_no_check() -> None:
    """Without a registry there is no line about it."""
    results = await run_preflight({**NO_ARIES, **NO_KAFKA})

    assert not [result for result in results.all if result.check.startswith("Schema")]
