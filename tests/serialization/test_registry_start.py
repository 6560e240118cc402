"""The start of the bridge with a schema registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry, subject_of
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.fake_registry import FakeRegistry
from tests.support.process import process
from tests.support.service import environment, eventually, read, running

if TYPE_CHECKING:
    from bridge.kafka.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.usefixtures("topics")


async def test_values_have_the_registrys_ids_which_are_fetched_once(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Ids are fetched at start; after that the registry is not needed."""
    registry = FakeRegistry()
    async with Simulator() as simulator:
        async with registry.serving():
            for topic, schema in schemas.load().items():
                registry.add(subject_of(f"{topic_prefix}.{topic}"), schema.text)
            environ = environment(simulator, broker.bootstrap_servers, topic_prefix, SCHEMA_REGISTRY_URL=registry.url)
            async with running(environ) as bridge:
                await simulator.subscribed("AAPL")
                asked = len(registry.requests)
                await simulator.quote("AAPL", bidPrice="1.5")
                await eventually(lambda: bridge.accounts.published[Topic.QUOTES], "a quote")
                assert len(registry.requests) == asked
            async with Registry(registry.url) as client:
                found = await read(broker.bootstrap_servers, topic_prefix, Topic.QUOTES, registry=client)
    assert found[-1].name == "aries.marketdata.Quote"


async def test_missing_schemas_are_registered_if_allowed(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """With SCHEMA_REGISTRY_AUTO_REGISTER an empty registry has every subject after the start."""
    registry = FakeRegistry()
    async with Simulator() as simulator, registry.serving():
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            SCHEMA_REGISTRY_URL=registry.url,
            SCHEMA_REGISTRY_AUTO_REGISTER="true",
        )
        async with running(environ):
            await simulator.subscribed("AAPL")
        async with Registry(registry.url) as client:
            for topic, schema in schemas.load().items():
                assert await client.lookup(subject_of(f"{topic_prefix}.{topic}"), schema) > 0


async def test_a_missing_schema_is_fatal(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Without SCHEMA_REGISTRY_AUTO_REGISTER the bridge exits; the error names the subject and says what to do."""
    registry = FakeRegistry()
    async with Simulator() as simulator, registry.serving():
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, SCHEMA_REGISTRY_URL=registry.url)
        async with process(environ, "run") as bridge:
            assert await bridge.ended() == 1
            problem = (await bridge.logged("fatal error"))["problem"]
    assert f"{topic_prefix}." in problem
    assert "-value" in problem
    assert "SCHEMA_REGISTRY_AUTO_REGISTER" in problem


async def test_conflicting_logins_are_invalid_settings(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The bridge exits with 2 and one message, which names every login and the other problems; no secret is shown."""
    async with Simulator() as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            SCHEMA_REGISTRY_URL="https://registry",
            SCHEMA_REGISTRY_USERNAME="me",
            SCHEMA_REGISTRY_PASSWORD="hunter22",
            SCHEMA_REGISTRY_BEARER_TOKEN="t0ken-t0ken",
            SCHEMA_REGISTRY_CERTFILE="/nowhere.pem",
            SCHEMA_REGISTRY_CONTEXT="a b",
        )
        async with process(environ, "run") as bridge:
            assert await bridge.ended() == 2
    message = "".join(bridge.text)
    assert "3 problems in the settings" in message
    assert "2 logins (SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD; SCHEMA_REGISTRY_BEARER_TOKEN)" in message
    assert "SCHEMA_REGISTRY_CERTFILE='/nowhere.pem': cannot be read" in message
    assert "hunter22" not in message
    assert "t0ken" not in message


async def test_an_unreachable_registry_is_retried(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """The bridge logs that the registry cannot be reached, and retries."""
    registry = FakeRegistry()
    async with Simulator() as simulator:
        async with registry.serving():
            url = registry.url
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, SCHEMA_REGISTRY_URL=url)
        async with process(environ, "run") as bridge:
            await bridge.logged("schema registry unavailable, retrying", 2)
