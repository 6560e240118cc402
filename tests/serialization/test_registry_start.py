"""The bridge and a schema registry: ids are pinned at start, and what is amiss is told."""

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


async def test_values_carry_the_registrys_ids_and_it_may_be_gone_afterwards(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """The ids are asked for once; a registry that goes away later stops nothing."""
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


async def test_missing_schemas_are_registered_where_that_is_allowed(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """With auto-registration an empty registry has every subject after the start."""
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


async def test_a_missing_schema_ends_the_start_naming_subject_and_remedy(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """Without auto-registration the bridge does not start on a guess."""
    registry = FakeRegistry()
    async with Simulator() as simulator, registry.serving():
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, SCHEMA_REGISTRY_URL=registry.url)
        async with process(environ, "run") as bridge:
            assert await bridge.ended() == 1
            problem = (await bridge.logged("fatal error"))["problem"]
    assert f"{topic_prefix}." in problem
    assert "-value" in problem
    assert "SCHEMA_REGISTRY_AUTO_REGISTER" in problem


async def test_a_registry_that_is_not_there_yet_is_waited_for(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """An unreachable registry at start is a visible retry, not an end."""
    registry = FakeRegistry()
    async with Simulator() as simulator:
        async with registry.serving():
            url = registry.url
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, SCHEMA_REGISTRY_URL=url)
        async with process(environ, "run") as bridge:
            await bridge.logged("schema registry unavailable, retrying", 2)
