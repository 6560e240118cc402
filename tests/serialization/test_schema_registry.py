"""The registry's client: ids pinned or a clear reason why not, and never a secret in it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import web

from bridge.errors import RegistryRefused, RegistryUnreachable, SchemaMismatch, SettingsError
from bridge.serialization.schema_registry import Registry, subject_of
from bridge.serialization.schemas import load
from bridge.topics import Topic, topic_names
from tests.support.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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
    """Return a URL on which nobody listens."""
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return f"http://127.0.0.1:{port}"


async def test_ids_of_schemas_that_are_there_are_pinned(server: FakeRegistry, client: Registry) -> None:
    """Each topic gets the id that its subject has for exactly our schema, without anything being written."""
    ids = {topic: server.add(subject_of(NAMES[topic]), SCHEMAS[topic].text) for topic in Topic}
    assert await client.pin(NAMES, SCHEMAS, auto_register=False) == ids
    assert {path for _, path in server.requests} == {f"/subjects/{NAMES[topic]}-value" for topic in Topic}


async def test_a_missing_subject_names_itself_and_the_remedy(client: Registry) -> None:
    """Without leave to register, a missing subject is an error that says what to do."""
    with pytest.raises(SchemaMismatch, match="does not exist") as caught:
        await client.pin(NAMES, SCHEMAS, auto_register=False)
    assert caught.value.subject == SUBJECT
    assert "aries-bridge schemas register" in str(caught.value)
    assert "SCHEMA_REGISTRY_AUTO_REGISTER=true" in str(caught.value)


async def test_a_different_schema_names_its_subject(server: FakeRegistry, client: Registry) -> None:
    """A subject that holds another schema is told from one that is missing."""
    server.add(SUBJECT, '{"type":"record","name":"Other","fields":[]}')
    with pytest.raises(SchemaMismatch, match=r"other schemas, but not this bridge's aries\.marketdata\.Quote"):
        await client.lookup(SUBJECT, QUOTE)


async def test_schemas_are_registered_when_allowed(server: FakeRegistry, client: Registry) -> None:
    """What is missing is registered, what is there is left alone, and the ids are those of the registry."""
    known = server.add(SUBJECT, QUOTE.text)
    ids = await client.pin(NAMES, SCHEMAS, auto_register=True)
    assert ids[Topic.QUOTES] == known
    assert server.subjects == {f"{NAMES[topic]}-value": [SCHEMAS[topic].text] for topic in Topic}
    assert ids == {topic: server.ids[SCHEMAS[topic].text] for topic in Topic}
    assert ("POST", f"/subjects/{SUBJECT}/versions") not in server.requests


async def test_an_incompatible_schema_is_refused(server: FakeRegistry, client: Registry) -> None:
    """The registry's own words say why it does not take the schema."""
    server.frozen.add(SUBJECT)
    with pytest.raises(SchemaMismatch, match="Schema being registered is incompatible with an earlier") as caught:
        await client.pin(NAMES, SCHEMAS, auto_register=True)
    assert caught.value.subject == SUBJECT


async def test_a_registry_in_read_only_mode_is_told(server: FakeRegistry, client: Registry) -> None:
    """HTTP 422 carries the registry's message to the user."""
    server.answers.append(web.json_response({"error_code": 42205, "message": "read-only mode"}, status=422))
    with pytest.raises(SchemaMismatch, match="read-only mode"):
        await client.register(SUBJECT, QUOTE)


async def test_subjects_are_escaped(server: FakeRegistry, client: Registry) -> None:
    """A name with slashes, spaces or percent signs stays one subject."""
    subject = "a/b ü%2F?x#y-value"
    schema_id = await client.register(subject, QUOTE)
    assert list(server.subjects) == [subject]
    assert await client.lookup(subject, QUOTE) == schema_id


async def test_schemas_are_fetched_by_id(server: FakeRegistry, client: Registry) -> None:
    """An id gives its schema's text; one that nobody has gives None."""
    schema_id = server.add(SUBJECT, QUOTE.text)
    assert await client.fetch(schema_id) == QUOTE.text
    assert await client.fetch(schema_id + 1) is None


@pytest.mark.parametrize("credentials", ["user:pässword:with:colons", "user:"])
async def test_credentials_are_sent(credentials: str) -> None:
    """User and password reach the registry, from arguments or from the URL."""
    username, _, password = credentials.partition(":")
    async with FakeRegistry(credentials=credentials).serving() as server:
        schema_id = server.add(SUBJECT, QUOTE.text)
        async with Registry(server.url, username=username, password=password) as client:
            assert await client.lookup(SUBJECT, QUOTE) == schema_id
        in_url = server.url.replace("://", f"://{username}:{password}@")
        async with Registry(in_url) as client:
            assert await client.lookup(SUBJECT, QUOTE) == schema_id


async def test_refused_credentials_are_an_error_without_them() -> None:
    """A wrong password is told with the settings' names, and shows neither itself nor the one in the URL."""
    async with FakeRegistry(credentials="user:right").serving() as server:
        url = server.url.replace("://", "://user:hunter2@")
        async with Registry(url) as client:
            with pytest.raises(RegistryRefused, match="SCHEMA_REGISTRY_PASSWORD") as caught:
                await client.pin(NAMES, SCHEMAS, auto_register=False)
        assert server.url in str(caught.value)
        assert "hunter2" not in f"{caught.value}{caught.value!r}{client!r}{vars(caught.value)}"


async def test_a_forbidden_subject_is_refused(server: FakeRegistry, client: Registry) -> None:
    """HTTP 403 is a matter of rights, too: waiting does not help."""
    server.answers.append(web.Response(status=403, text="<html>no</html>"))
    with pytest.raises(RegistryRefused, match="HTTP 403"):
        await client.lookup(SUBJECT, QUOTE)


async def test_an_unreachable_registry_is_told(closed_url: str) -> None:
    """Nobody listening is an error that names the URL without its credentials, to be tried again."""
    async with Registry(closed_url.replace("://", "://user:hunter2@")) as client:
        with pytest.raises(RegistryUnreachable, match="Cannot connect") as caught:
            await client.lookup(SUBJECT, QUOTE)
    assert closed_url in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_the_next_url_is_asked(server: FakeRegistry, closed_url: str) -> None:
    """Of several URLs, the first that gives a usable answer counts."""
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
        (429, '{"error_code": 429}'),
        (500, '{"error_code": 50001}'),
        (502, "<html>bad gateway</html>"),
    ],
)
async def test_a_useless_answer_is_told(server: FakeRegistry, client: Registry, status: int, body: str) -> None:
    """Pages, garbage, redirects and server errors count as no answer, to be tried again."""
    headers = {"Location": f"{server.url}/elsewhere"} if status == 301 else {}
    server.answers.append(web.Response(status=status, body=body.encode("latin-1"), headers=headers))
    with pytest.raises(RegistryUnreachable):
        await client.lookup(SUBJECT, QUOTE)
    assert len(server.requests) == 1


async def test_an_answer_without_schema_is_told(server: FakeRegistry, client: Registry) -> None:
    """A schema that is no text is no usable answer."""
    server.answers.append(web.json_response({"schema": 5}))
    with pytest.raises(RegistryUnreachable, match="without a schema"):
        await client.fetch(7)


async def test_a_silent_registry_is_given_up() -> None:
    """A registry that accepts and never answers costs the named time only."""
    connections: list[asyncio.StreamWriter] = []
    listener = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with Registry(f"http://127.0.0.1:{port}", timeout_seconds=0.05) as client:
        with pytest.raises(RegistryUnreachable, match=r"no answer within 0\.05 s"):
            await client.lookup(SUBJECT, QUOTE)
    for writer in connections:
        writer.close()
        await writer.wait_closed()
    listener.close()


async def test_a_private_authority_is_trusted_by_its_file(tmp_path: Path) -> None:
    """TLS works with the authority's file, and without it the error names the setting."""
    authority = trustme.CA()
    cafile = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(cafile)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with FakeRegistry().serving(context) as server:
        schema_id = server.add(SUBJECT, QUOTE.text)
        async with Registry(server.url, cafile=str(cafile)) as client:
            assert await client.lookup(SUBJECT, QUOTE) == schema_id
        async with Registry(server.url) as client:
            with pytest.raises(RegistryUnreachable, match="SCHEMA_REGISTRY_CAFILE"):
                await client.lookup(SUBJECT, QUOTE)


@pytest.mark.parametrize("urls", ["", " , ", "localhost:8081", "ftp://h", "http://", "http://user:hunter2@", "h:p@x"])
def test_a_url_that_is_none_is_a_setting_to_mend(urls: str) -> None:
    """A useless URL is told at once, by the setting's name and without credentials."""
    with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_URL") as caught:
        Registry(urls)
    assert "hunter2" not in str(caught.value)


def test_an_unusable_ca_file_is_a_setting_to_mend(tmp_path: Path) -> None:
    """A CA file that is missing or holds no certificate is told at once."""
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing here")
    for cafile in (empty, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match="SCHEMA_REGISTRY_CAFILE"):
            Registry("http://localhost:8081", cafile=str(cafile))
