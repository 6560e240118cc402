"""The schema registry: reached, its credentials, and each subject's schema."""

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
from tests.check.findings import NO_ARIES, NO_KAFKA, Findings, authority_file, found, server_tls
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from pathlib import Path


def filled(*but: Topic, credentials: str | None = None) -> FakeRegistry:
    """Return a registry that has our schemas, but for some topics."""
    fake = FakeRegistry(credentials=credentials)
    for topic, schema in schemas.load().items():
        if topic not in but:
            fake.add(subject_of(f"aries.{topic}"), schema.text)
    return fake


async def looked(url: str, **more: str) -> Findings:
    return await found({**NO_ARIES, **NO_KAFKA, "SCHEMA_REGISTRY_URL": url, **more})


async def test_a_registry_that_has_it_all() -> None:
    """Nothing is written: every request is a look-up."""
    async with filled().serving() as fake:
        findings = await looked(fake.url)

    findings.must("Schema registry TCP", Status.OK)
    findings.must(registry.ANSWER, Status.OK)
    findings.must(registry.SCHEMAS, Status.OK)
    assert not [path for _, path in fake.requests if path.endswith("/versions")]


async def test_missing_and_other_schemas() -> None:
    """Each subject that does not fit is a line, with the command that mends it."""
    async with filled(Topic.QUOTES, Topic.TRADES).serving() as fake:
        fake.add("aries.trades-value", '{"type":"string"}')
        findings = await looked(fake.url)

    register = "`aries-bridge schemas register`"
    findings.must("Schema registry subject aries.quotes-value", Status.FAIL, "does not exist", register)
    findings.must("Schema registry subject aries.trades-value", Status.FAIL, "other schemas", register)
    findings.must(registry.ANSWER, Status.OK)


async def test_missing_schemas_that_the_bridge_will_register() -> None:
    """With the leave to register, a missing schema is no fault, and the check leaves it missing."""
    async with filled(Topic.QUOTES).serving() as fake:
        findings = await looked(fake.url, SCHEMA_REGISTRY_AUTO_REGISTER="true")

    findings.must(registry.SCHEMAS, Status.OK, "aries.quotes-value", "SCHEMA_REGISTRY_AUTO_REGISTER")
    assert "aries.quotes-value" not in fake.subjects


async def test_refused_credentials() -> None:
    """The remedy names both settings, and shows neither."""
    async with filled(credentials="bridge:right").serving() as fake:
        login = {"SCHEMA_REGISTRY_USERNAME": "bridge", "SCHEMA_REGISTRY_PASSWORD": "wrong-word"}
        findings = await looked(fake.url, **login)

    findings.must(registry.ANSWER, Status.FAIL, "HTTP 401", "SCHEMA_REGISTRY_USERNAME", "SCHEMA_REGISTRY_PASSWORD")
    assert "wrong-word" not in str(findings.all)


async def test_an_answer_that_is_none() -> None:
    """A server of another kind is told with its status."""
    fake = filled()
    fake.answers.append(web.Response(status=502))
    async with fake.serving():
        findings = await looked(fake.url)

    findings.must(registry.ANSWER, Status.FAIL, "HTTP 502", "SCHEMA_REGISTRY_URL")


async def test_a_registry_that_is_not_there() -> None:
    """Nobody at the address is told by the setting."""
    findings = await looked("http://127.0.0.1:1")

    findings.must("Schema registry TCP", Status.FAIL, "SCHEMA_REGISTRY_URL")
    assert registry.ANSWER not in findings


async def test_one_of_two_is_enough(tmp_path: Path) -> None:
    """Several URLs are each looked at, with the certificate of those that have one; one that answers will do."""
    authority = trustme.CA()
    until = datetime.now(UTC) + timedelta(days=2.5)
    findings = Findings()
    async with filled().serving(server_tls(authority, until=until)) as fake:
        trust = {"SCHEMA_REGISTRY_URL": fake.url, "SCHEMA_REGISTRY_CAFILE": authority_file(authority, tmp_path)}
        settings = load({**NO_ARIES, **NO_KAFKA, **trust})
        await registry.check(findings.report, settings, f"https://127.0.0.1:1, {fake.url}", 5)

    assert [finding.status for finding in findings.named("Schema registry TCP")] == [Status.FAIL, Status.OK]
    findings.must("Schema registry TLS", Status.WARN, "lapses in 2 days")
    findings.must(registry.SCHEMAS, Status.OK)


async def test_a_certificate_of_an_unknown_authority() -> None:
    """The remedy is the setting that names it."""
    async with filled().serving(server_tls(trustme.CA())) as fake:
        findings = await looked(fake.url)

    findings.must("Schema registry TLS", Status.FAIL, "SCHEMA_REGISTRY_CAFILE")


async def test_without_a_url_there_is_nothing_to_look_at() -> None:
    """A bridge without a registry has no line about it."""
    findings = await found({**NO_ARIES, **NO_KAFKA})

    assert not [finding for finding in findings.all if finding.check.startswith("Schema")]
