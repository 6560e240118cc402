"""A real registry: Apicurio, by the API that it shares with Confluent's."""

from __future__ import annotations

import asyncio
import io
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import avro.io
import avro.schema
import pytest

from bridge.errors import RegistryUnreachable, SchemaMismatch
from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry, subject_of
from bridge.serialization.schemas import parse_schema
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support import consumer
from tests.support.apicurio import V2, V3, Apicurio, ApicurioMissing
from tests.support.brokers import unique
from tests.support.process import process
from tests.support.service import environment, eventually, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bridge.kafka.embedded_broker import EmbeddedBroker

#: Set to 1 where a real registry must be tested against: the absence of version 2 is then a failure.
REQUIRE_APICURIO = "TESTS_REQUIRE_APICURIO"
QUOTE = schemas.load()[Topic.QUOTES]
#: The first run fetches it; its start takes long on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=[V2, V3], ids=lambda distribution: distribution.version)
def apicurio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apicurio]:
    """Run one registry for the module's tests; they have subjects of their own."""
    try:
        registry = Apicurio(request.param, tmp_path_factory.mktemp("apicurio"))
    except ApicurioMissing as missing:
        if request.param is V2 and os.environ.get(REQUIRE_APICURIO) == "1":
            pytest.fail(f"{REQUIRE_APICURIO}=1, but there is no Apicurio: {missing}")
        pytest.skip(f"NOT TESTED AGAINST APICURIO {request.param.version}: {missing}")
    with registry:
        yield registry


@pytest.fixture
async def client(apicurio: Apicurio) -> AsyncIterator[Registry]:
    async with Registry(apicurio.url) as registry:
        yield registry


@pytest.fixture
def subject() -> str:
    return f"{unique('aries')}.quotes-value"


def call(method: str, url: str, body: object = None) -> Any:
    """Send a request as another client does, and return the JSON of the response."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}, method=method), timeout=30) as response:
        return json.load(response)


async def test_registered_schemas_are_found(apicurio: Apicurio, client: Registry, subject: str) -> None:
    """A schema has the same id at each look-up and registration, and is read back as it is."""
    with pytest.raises(SchemaMismatch, match="does not exist"):
        await client.lookup(subject, QUOTE)
    schema_id = await client.register(subject, QUOTE)
    assert await client.register(subject, QUOTE) == await client.lookup(subject, QUOTE) == schema_id
    stored = await client.fetch(schema_id)
    assert stored is not None
    assert parse_schema(stored).is_equivalent(QUOTE)
    assert await client.fetch(999_999) is None
    [version] = await asyncio.to_thread(call, "GET", f"{apicurio.url}/subjects/{subject}/versions")
    assert version == 1


async def test_a_schema_that_is_written_differently(apicurio: Apicurio, client: Registry, subject: str) -> None:
    """Another order, format and doc is the same schema; another scale is not."""
    declared = json.loads(QUOTE.text) | {"doc": "written by hand"}
    text = json.dumps(dict(reversed(declared.items())), indent=2)
    versions = f"{apicurio.url}/subjects/{subject}/versions"
    other_scale = text.replace('"scale": 9', '"scale": 4')
    await asyncio.to_thread(call, "POST", versions, {"schema": other_scale})
    with pytest.raises(SchemaMismatch, match="other schemas"):
        await client.lookup(subject, QUOTE)
    registered = await asyncio.to_thread(call, "POST", versions, {"schema": text})
    assert await client.lookup(subject, QUOTE) == registered["id"]


async def test_an_incompatible_schema(apicurio: Apicurio, client: Registry, subject: str) -> None:
    """The error has Apicurio's reason."""
    other = {"schema": QUOTE.text.replace('"symbol","type":"string"', '"symbol","type":"int"')}
    await asyncio.to_thread(call, "POST", f"{apicurio.url}/subjects/{subject}/versions", other)
    level = {"compatibility": "FULL_TRANSITIVE"}
    await asyncio.to_thread(call, "PUT", f"{apicurio.url}/config/{subject}", level)
    with pytest.raises(SchemaMismatch, match=r"not compatible .*Incompatible artifact"):
        await client.register(subject, QUOTE)
    with pytest.raises(SchemaMismatch, match="other schemas"):
        await client.lookup(subject, QUOTE)


@pytest.mark.parametrize("path", ["", "/apis/registry/v2", "/ui"])
async def test_a_url_with_the_wrong_path(apicurio: Apicurio, path: str) -> None:
    """Apicurio answers at any path; the error says which one is that of its API."""
    async with Registry(apicurio.address + path) as registry:
        with pytest.raises(RegistryUnreachable, match="Apicurio's is /apis/ccompat/v7"):
            await registry.lookup("aries.quotes-value", QUOTE)


async def test_a_subject_in_a_context(apicurio: Apicurio, subject: str) -> None:
    """A name with a context is a subject of its own."""
    topic = subject.removesuffix("-value")
    async with Registry(apicurio.url, context=".staging") as registry:
        ids = await registry.pin({Topic.QUOTES: topic}, schemas.load(), auto_register=True)
        assert await registry.fetch(ids[Topic.QUOTES]) is not None
    assert f":.staging:{subject}" in await asyncio.to_thread(call, "GET", f"{apicurio.url}/subjects")


async def test_the_commands(apicurio: Apicurio) -> None:
    """`schemas register` fills the registry, and `schemas compare` then finds nothing missing."""
    environ = {"SCHEMA_REGISTRY_URL": apicurio.url, "KAFKA_TOPIC_PREFIX": unique("aries")}
    for command, status in (("register", "registered"), ("compare", "same")):
        async with process(environ, "schemas", command) as done:
            assert await done.ended() == 0, done.text
        assert [line.split()[0] for line in done.output.splitlines()] == [status] * len(Topic)


@pytest.mark.usefixtures("topics")
async def test_records_are_read_by_another_client(
    apicurio: Apicurio, broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """The bridge registers its schemas, and Apache's reader decodes its records with what the registry has."""
    name = f"{topic_prefix}.quotes"
    settings = {"SCHEMA_REGISTRY_URL": apicurio.url, "SCHEMA_REGISTRY_AUTO_REGISTER": "true"}
    async with Simulator() as simulator:
        async with running(environment(simulator, broker.bootstrap_servers, topic_prefix, **settings)) as bridge:
            await simulator.subscribed("AAPL")
            await simulator.quote("AAPL", bidPrice="1.5", bidSize=7)
            await eventually(lambda: bridge.accounts.published[Topic.QUOTES], "a quote")
    subjects = await asyncio.to_thread(call, "GET", f"{apicurio.url}/subjects")
    assert {subject_of(f"{topic_prefix}.{topic}") for topic in Topic} <= set(subjects)
    messages = await asyncio.to_thread(consumer.read_all, broker.bootstrap_servers, [name])
    quotes = [await asyncio.to_thread(_decode, apicurio, message.value) for message in messages if message.value]
    wanted = ("AAPL", "1.500000000", 7)
    assert wanted in [(quote["symbol"], str(quote["bid_price"]), quote["bid_size"]) for quote in quotes]


def _decode(apicurio: Apicurio, value: bytes) -> Any:
    assert value[0] == 0
    schema_id = int.from_bytes(value[1:5], "big")
    declared = call("GET", f"{apicurio.url}/schemas/ids/{schema_id}")["schema"]
    reader = avro.io.DatumReader(avro.schema.parse(declared))
    return reader.read(avro.io.BinaryDecoder(io.BytesIO(value[5:])))
