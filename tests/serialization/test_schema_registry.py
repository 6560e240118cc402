"""The client of the schema registry: ids or clear errors, which never contain a secret."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from bridge.errors import RegistryRefused, RegistryUnreachable, SchemaMismatch, SettingsError
from bridge.serialization.schema_registry import Registry, subject_of
from bridge.serialization.schemas import load
from bridge.topics import Topic, topic_names
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCHEMAS = load()
NAMES = topic_names("aries", {})
QUOTE = SCHEMAS[Topic.QUOTES]
SUBJECT = "aries.quotes-value"


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry().serving() as registry:
        yield registry


@pytest.fixture
async def client(server: FakeRegistry) -> AsyncIterator[Registry]:
    async with Registry(server.url) as registry:
        yield registry


@pytest.fixture
async def closed_url() -> str:
    """Return the URL of a port that nothing listens on."""
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return f"http://127.0.0.1:{port}"


async def test_ids_of_registered_schemas(server: FakeRegistry, client: Registry) -> None:
    """Each topic gets the id that its subject has for exactly the bridge's schema, and nothing is registered."""
    ids = {topic: server.add(subject_of(NAMES[topic]), SCHEMAS[topic].text) for topic in Topic}
    assert await client.pin(NAMES, SCHEMAS, auto_register=False) == ids
    assert {path for _, path in server.requests} == {f"/subjects/{NAMES[topic]}-value" for topic in Topic}


async def test_a_missing_subject(client: Registry) -> None:
    """If registering is off, a missing subject is an error that says what to do."""
    with pytest.raises(SchemaMismatch, match="does not exist") as caught:
        await client.pin(NAMES, SCHEMAS, auto_register=False)
    assert caught.value.subject == SUBJECT
    assert "aries-bridge schemas register" in str(caught.value)
    assert "SCHEMA_REGISTRY_AUTO_REGISTER=true" in str(caught.value)


async def test_a_different_schema(server: FakeRegistry, client: Registry) -> None:
    """A subject with another schema is a different error than a missing subject."""
    server.add(SUBJECT, '{"type":"record","name":"Other","fields":[]}')
    with pytest.raises(SchemaMismatch, match=r"other schemas, but not this bridge's aries\.marketdata\.Quote"):
        await client.lookup(SUBJECT, QUOTE)


async def test_schemas_are_registered_when_allowed(server: FakeRegistry, client: Registry) -> None:
    """Missing schemas are registered, others are left as they are, and the ids are the registry's."""
    known = server.add(SUBJECT, QUOTE.text)
    ids = await client.pin(NAMES, SCHEMAS, auto_register=True)
    assert ids[Topic.QUOTES] == known
    assert server.subjects == {f"{NAMES[topic]}-value": [SCHEMAS[topic].text] for topic in Topic}
    assert ids == {topic: server.ids[SCHEMAS[topic].text] for topic in Topic}
    assert ("POST", f"/subjects/{SUBJECT}/versions") not in server.requests


async def test_an_incompatible_schema(server: FakeRegistry, client: Registry) -> None:
    """The error contains the registry's message."""
    server.frozen.add(SUBJECT)
    with pytest.raises(SchemaMismatch, match="Schema being registered is incompatible with an earlier") as caught:
        await client.pin(NAMES, SCHEMAS, auto_register=True)
    assert caught.value.subject == SUBJECT


async def test_a_registry_in_read_only_mode(server: FakeRegistry, client: Registry) -> None:
    """The error for HTTP 422 contains the registry's message."""
    server.answers.append(web.json_response({"error_code": 42205, "message": "read-only mode"}, status=422))
    with pytest.raises(SchemaMismatch, match="read-only mode"):
        await client.register(SUBJECT, QUOTE)


async def test_subjects_are_escaped(server: FakeRegistry, client: Registry) -> None:
    """Slashes, spaces and percent signs are part of the subject."""
    subject = "a/b ü%2F?x#y-value"
    schema_id = await client.register(subject, QUOTE)
    assert list(server.subjects) == [subject]
    assert await client.lookup(subject, QUOTE) == schema_id


async def test_schemas_are_fetched_by_id(server: FakeRegistry, client: Registry) -> None:
    """An id returns its schema's text, an unknown one None."""
    schema_id = server.add(SUBJECT, QUOTE.text)
    assert await client.fetch(schema_id) == QUOTE.text
    assert await client.fetch(schema_id + 1) is None


async def test_a_forbidden_subject(server: FakeRegistry, client: Registry) -> None:
    """HTTP 403 is an error of the credentials, too."""
    server.answers.append(web.Response(status=403, text="<html>no</html>"))
    with pytest.raises(RegistryRefused, match="HTTP 403"):
        await client.lookup(SUBJECT, QUOTE)


async def test_an_unreachable_registry(closed_url: str) -> None:
    """A refused connection is a retriable error that names the URL."""
    async with Registry(closed_url) as client:
        with pytest.raises(RegistryUnreachable, match="cannot be reached") as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert closed_url in str(caught.value)


async def test_the_next_url_is_tried(server: FakeRegistry, closed_url: str) -> None:
    """Of several URLs, the first with a usable response is used."""
    schema_id = server.add(SUBJECT, QUOTE.text)
    async with FakeRegistry(answers=[web.Response(status=503)]).serving() as broken:
        urls = f"{closed_url}, {broken.url}/ ,{server.url}"
        async with Registry(urls) as client:
            assert await client.lookup(SUBJECT, QUOTE) == schema_id
    assert broken.requests == server.requests


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>Welcome</html>"),
        (200, ""),
        (200, "[]"),
        (200, "null"),
        (200, "\xff\xfe"),
        (200, "[" * 100_000),
        (200, "{}"),
        (200, '{"id": "7"}'),
        (200, '{"id": true}'),
        (200, '{"id": -1}'),
        (200, '{"id": 4294967296}'),
        (301, "moved"),
        (404, "<html>not found</html>"),
        (404, '{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (404, '{"error_code": [40401]}'),
        (404, '{"error_code": true}'),
        (404, "[]"),
        (404, ""),
        (405, ""),
        (429, '{"error_code": 429}'),
        (500, '{"error_code": 50001}'),
        (502, "<html>bad gateway</html>"),
    ],
)
async def test_an_unusable_response(server: FakeRegistry, client: Registry, status: int, body: str) -> None:
    """Web pages, invalid JSON, redirects and server errors are retriable errors."""
    headers = {"Location": f"{server.url}/elsewhere"} if status == 301 else {}
    server.answers.append(web.Response(status=status, body=body.encode("latin-1"), headers=headers))
    with pytest.raises(RegistryUnreachable):
        await client.lookup(SUBJECT, QUOTE)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "content_type", "problem"),
    [
        (404, "<html>not found</html>", "text/html", "HTTP 404 with text/html instead of JSON"),
        (404, "", "text/plain", "HTTP 404 with an empty body"),
        (404, '{"error": "no route"}', "application/json", "HTTP 404 with JSON that is not a registry's"),
        # Confluent's registry and two versions of Apicurio, at a path that they do not have
        (404, '{"error_code":404,"message":"HTTP 404 Not Found"}', "application/json", "HTTP 404"),
        (404, '{"error_code":404,"message":"RESTEASY003210: Could not find resource"}', "application/json", "HTTP 404"),
        (404, '{"status":404,"title":"RESTEASY003210: Could not find resource"}', "application/json", "HTTP 404"),
        (200, "<html>Welcome</html>", "text/html", "HTTP 200 with text/html instead of JSON"),
        (200, "", "application/json", "HTTP 200 with an empty body"),
        (200, "{", "application/json", "HTTP 200 with invalid JSON"),
        (405, "", "text/plain", "HTTP 405, method not allowed"),
    ],
)
async def test_a_server_that_is_not_a_registry(status: int, body: str, content_type: str, problem: str) -> None:
    """The error says what the server answered, and to check the path, with Apicurio's as an example."""
    answer = web.Response(status=status, body=body.encode(), content_type=content_type)
    async with FakeRegistry(answers=[answer]).serving() as server, Registry(server.url) as client:
        with pytest.raises(RegistryUnreachable) as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert problem in str(caught.value)
    assert "check the path of SCHEMA_REGISTRY_URL" in str(caught.value)
    assert "/apis/ccompat/v7" in str(caught.value)


async def test_a_server_that_has_nothing_at_any_path(server: FakeRegistry, client: Registry) -> None:
    """A 404 to a registration is not about the subject, which a registry would make: it is the path, too."""
    server.answers.append(web.json_response({"error_code": 404, "message": "nothing here"}, status=404))
    with pytest.raises(RegistryUnreachable, match=r"nothing here.*check the path of SCHEMA_REGISTRY_URL"):
        await client.register(SUBJECT, QUOTE)


async def test_a_server_in_trouble(server: FakeRegistry, client: Registry) -> None:
    """The error has the server's message, and does not blame the path."""
    body = {"error_code": 50003, "message": "Error while forwarding the request to the primary"}
    server.answers.append(web.json_response(body, status=500))
    with pytest.raises(RegistryUnreachable, match=r"HTTP 500 \(Error while forwarding") as caught:
        await client.lookup(SUBJECT, QUOTE)
    assert "the path" not in str(caught.value)


@pytest.mark.parametrize("code", [40401, 40402, 40403, 404, "40401", "NOT_FOUND", 4040101])
async def test_whatever_is_not_there_has_an_error_code(code: object) -> None:
    """Registries have different codes: a missing subject is missing, and a missing schema different, with any."""
    registry = FakeRegistry(subject_not_found=code, schema_not_found=code)
    async with registry.serving(), Registry(registry.url) as client:
        with pytest.raises(SchemaMismatch, match="does not exist") as caught:
            await client.lookup(SUBJECT, QUOTE)
        assert caught.value.missing
        registry.add(SUBJECT, '{"type":"record","name":"Other","fields":[]}')
        if code != 40401:  # which is the subject's own
            with pytest.raises(SchemaMismatch, match="other schemas") as caught:
                await client.lookup(SUBJECT, QUOTE)
            assert not caught.value.missing
        assert await client.fetch(7) is None


# -- what counts as the same schema -----------------------------------------------------------------------------------


def rewritten(**changes: object) -> str:
    """Return the schema of quotes with its attributes in another order and other texts, and with these changes."""
    declared = json.loads(QUOTE.text)
    declared |= {"doc": "written by hand", "aliases": ["Tick"], **changes}
    return json.dumps(dict(reversed(declared.items())), indent=2)


@pytest.mark.parametrize("normalizes", [True, False])
async def test_a_schema_that_is_written_differently(normalizes: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """Another order, format, doc or alias is the same schema, also if the registry compares texts."""
    server = FakeRegistry(normalizes=normalizes)
    async with server.serving(), Registry(server.url) as client:
        server.add(SUBJECT, '{"type":"record","name":"Other","fields":[]}')
        schema_id = server.add(SUBJECT, rewritten())
        server.add(SUBJECT, '"string"')
        server.add(SUBJECT, "not a schema")
        assert await client.pin({Topic.QUOTES: "aries.quotes"}, SCHEMAS, auto_register=True) == {
            Topic.QUOTES: schema_id
        }
    assert ("POST", f"/subjects/{SUBJECT}/versions") not in server.requests
    assert server.received[0].query == {"normalize": "true"}


@pytest.mark.parametrize("normalizes", [True, False])
async def test_another_logical_type_is_another_schema(normalizes: bool) -> None:  # noqa: FBT001 - see above
    """With another scale consumers would read other prices, although the canonical form is the same."""
    text = QUOTE.text.replace('"scale":9', '"scale":4')
    assert text != QUOTE.text
    server = FakeRegistry(normalizes=normalizes)
    async with server.serving(), Registry(server.url) as client:
        server.add(SUBJECT, text)
        with pytest.raises(SchemaMismatch, match="other schemas"):
            await client.lookup(SUBJECT, QUOTE)


async def test_registering_normalizes(server: FakeRegistry, client: Registry) -> None:
    """Registries that can normalise are asked to, so that other clients' text of the schema is found."""
    await client.register(SUBJECT, QUOTE)
    assert server.received[-1].query == {"normalize": "true"}


# -- contexts ---------------------------------------------------------------------------------------------------------


async def test_subjects_in_a_context(server: FakeRegistry) -> None:
    """Every subject is in the context, and ids are those of the context."""
    async with Registry(server.url, context=".staging") as client:
        ids = await client.pin(NAMES, SCHEMAS, auto_register=True)
        assert await client.fetch(ids[Topic.QUOTES]) == QUOTE.text
    assert server.subjects.keys() == {f":.staging:{name}-value" for name in NAMES.values()}
    assert server.received[-1].query == {"subject": ":.staging:"}


async def test_a_response_without_a_schema(server: FakeRegistry, client: Registry) -> None:
    """A schema that is not text is an unusable response."""
    server.answers.append(web.json_response({"schema": 5}))
    with pytest.raises(RegistryUnreachable, match="contains no schema"):
        await client.fetch(7)


async def test_requests_time_out() -> None:
    """A registry that accepts the connection and never responds is an error after the timeout."""
    connections: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with Registry(f"http://127.0.0.1:{port}", timeout_seconds=0.05) as client:
        with pytest.raises(RegistryUnreachable, match=r"no response within 0\.05 s"):
            await client.lookup(SUBJECT, QUOTE)
    for writer in connections:
        writer.close()
        await writer.wait_closed()
    listener.close()


@pytest.mark.parametrize(
    "urls", ["", " , ", "localhost:8081", "ftp://h", "http://", "http://user:hunter2@", "h:p@x", "http://u:hunter2@h"]
)
def test_an_invalid_url_is_an_invalid_setting(urls: str) -> None:
    """The error of the constructor names the setting, and contains no credentials."""
    with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_URL") as caught:
        Registry(urls)
    assert "hunter2" not in str(caught.value)
