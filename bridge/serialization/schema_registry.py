"""A Confluent-compatible schema registry: ids for our schemas, schemas for ids found in topics.

Endpoints and error codes are those of Confluent's Schema Registry API reference; Karapace and Apicurio
(ccompat) answer alike.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from bridge.errors import RegistryRefused, RegistryUnreachable, SchemaMismatch, SettingsError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from bridge.secrets.secret import Revealable
    from bridge.serialization.schemas import Schema, Schemas
    from bridge.topics import Topic

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_NO_SUBJECT = 40401
_NO_SCHEMA = 40403
_NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 404, 409, 422
_ANSWERS = (200, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE)
_REFUSALS = (401, 403)
_MOST_ID = 2**31 - 1
_SHOWN_CHARS = 300
#: A schema is some KiB; Confluent's registry keeps each in a Kafka record, which has at most 1 MiB by default.
_MOST_BYTES = 1 << 21

_REGISTER = "Register it with `aries-bridge schemas register`, or set SCHEMA_REGISTRY_AUTO_REGISTER=true."


class _Unusable(Exception):
    """Say why one URL gave no usable answer, so that the next may be asked."""


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        return _shortened(str(self.body.get("message", f"HTTP {self.status}")))


class RegistrySettings(Protocol):
    """The settings that say how to reach a schema registry."""

    @property
    def schema_registry_username(self) -> str | None: ...
    @property
    def schema_registry_password(self) -> Revealable | None: ...
    @property
    def schema_registry_cafile(self) -> str | os.PathLike[str] | None: ...


class Registry:
    """Ask a registry, at the first of its comma-separated URLs that answers; use as an async context.

    Raise SettingsError for a URL or CA file that cannot be used, RegistryUnreachable while no URL gives a
    usable answer (try again later), RegistryRefused for refused credentials. No message has a secret in it.
    """

    def __init__(
        self,
        urls: str,
        *,
        username: str | None = None,
        password: str | None = None,
        cafile: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._servers = _servers(urls, username, password)
        self._tls = _tls(cafile)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: RegistrySettings, urls: str) -> Self:
        """Return a client with the credentials and the authority of the settings."""
        password, cafile = settings.schema_registry_password, settings.schema_registry_cafile
        return cls(
            urls,
            username=settings.schema_registry_username,
            password=None if password is None else password.reveal(),
            cafile=None if cafile is None else str(cafile),
        )

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def pin(self, names: Mapping[Topic, str], schemas: Schemas, *, auto_register: bool) -> dict[Topic, int]:
        """Return the registry's id of every topic's schema, under subject ``<Kafka topic>-value``.

        Raise SchemaMismatch where the subject lacks exactly our schema and ``auto_register`` is off, or where
        the registry does not take it.
        """
        return {
            topic: await self._pinned(subject_of(name), schemas[topic], auto_register=auto_register)
            for topic, name in names.items()
        }

    async def lookup(self, subject: str, schema: Schema) -> int:
        """Return the id of exactly this schema; raise SchemaMismatch where the subject does not hold it."""
        answer = await self._ask("POST", f"/subjects/{quote(subject, safe='')}", {"schema": schema.text})
        if answer.status == _NOT_FOUND:
            missing = answer.body["error_code"] == _NO_SUBJECT
            raise SchemaMismatch(
                subject,
                "it does not exist" if missing else f"it holds other schemas, but not this bridge's {schema.name}",
                _REGISTER,
            )
        return self._id(answer, subject)

    async def register(self, subject: str, schema: Schema) -> int:
        """Register the schema and return its id; raise SchemaMismatch where the registry does not take it."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        answer = await self._ask("POST", path, {"schema": schema.text})
        if answer.status == _CONFLICT:
            raise SchemaMismatch(
                subject,
                f"{schema.name} is not compatible with what it holds ({answer.message})",
                "If the topic is another application's, rename ours with KAFKA_TOPIC_PREFIX. "
                "If nobody reads the older schema any more, delete its versions or relax "
                "the subject's compatibility rule.",
            )
        return self._id(answer, subject)

    async def fetch(self, schema_id: int) -> str | None:
        """Return the text of the schema with this id, None where the registry has no such id."""
        answer = await self._ask("GET", f"/schemas/ids/{schema_id}", None)
        if answer.status == _NOT_FOUND:
            return None
        text = answer.body.get("schema")
        if not isinstance(text, str):
            raise RegistryUnreachable(f"the schema registry answered for id {schema_id} without a schema in it.")
        return text

    async def _pinned(self, subject: str, schema: Schema, *, auto_register: bool) -> int:
        try:
            return await self.lookup(subject, schema)
        except SchemaMismatch:
            if not auto_register:
                raise
        return await self.register(subject, schema)

    def _id(self, answer: _Answer, subject: str) -> int:
        if answer.status == _UNPROCESSABLE:
            raise SchemaMismatch(
                subject, f"the registry does not take it ({answer.message})", "Mend that, then restart."
            )
        schema_id = answer.body.get("id")
        if type(schema_id) is not int or not 0 <= schema_id <= _MOST_ID:
            raise RegistryUnreachable(f"the schema registry answered for subject {subject!r} without an id in it.")
        return schema_id

    async def _ask(self, method: str, path: str, body: dict[str, str] | None) -> _Answer:
        reasons = []
        for server in self._servers:
            try:
                return await self._ask_one(server, method, path, body)
            except _Unusable as unusable:
                reasons.append(f"{server.url}: {unusable}")
        raise RegistryUnreachable(
            f"no usable answer from the schema registry ({'; '.join(reasons)}). "
            "Does SCHEMA_REGISTRY_URL name it, and is it up?"
        )

    async def _ask_one(self, server: _Server, method: str, path: str, body: dict[str, str] | None) -> _Answer:
        assert self._http is not None, "use the registry as an async context"
        data = None if body is None else json.dumps(body).encode()
        url = URL(server.url + path, encoded=True)
        try:
            # A redirect would turn POST into GET; none is followed.
            async with self._http.request(
                method, url, data=data, headers=server.headers, ssl=self._tls, allow_redirects=False
            ) as response:
                return _answer(server, response.status, await _whole(response))
        except aiohttp.ClientConnectorCertificateError as error:
            raise _Unusable(f"{error}; SCHEMA_REGISTRY_CAFILE names the authority to trust") from None
        except TimeoutError:
            raise _Unusable(f"no answer within {self._timeout.total:g} s") from None
        except aiohttp.ClientError as error:
            raise _Unusable(_shortened(str(error) or type(error).__name__)) from None


def subject_of(kafka_topic: str) -> str:
    """Return the subject of a topic's values (Confluent's TopicNameStrategy)."""
    return f"{kafka_topic}-value"


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in response.content.iter_any():
        body += part
        if len(body) > _MOST_BYTES:
            raise _Unusable(f"HTTP {response.status} with more than {_MOST_BYTES} bytes")
    return body


def _answer(server: _Server, status: int, data: bytes) -> _Answer:
    if status in _REFUSALS:
        raise RegistryRefused(server.url, status)
    if status not in _ANSWERS:
        raise _Unusable(f"HTTP {status}")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        _not_a_registry(status)
    if not isinstance(body, dict):
        _not_a_registry(status)
    if status == _NOT_FOUND and body.get("error_code") not in (_NO_SUBJECT, _NO_SCHEMA):
        _not_a_registry(status)
    return _Answer(status, body)


def _not_a_registry(status: int) -> NoReturn:
    raise _Unusable(f"HTTP {status} with an answer that no schema registry gives")


def _servers(urls: str, username: str | None, password: str | None) -> tuple[_Server, ...]:
    servers = tuple(_server(url.strip(), username, password) for url in urls.split(",") if url.strip())
    if not servers:
        raise SettingsError(("SCHEMA_REGISTRY_URL: it names no URL.",))
    return servers


def _server(text: str, username: str | None, password: str | None) -> _Server:
    """Return the server with credentials taken out of its URL, so that it can be shown."""
    url = _parsed(text)
    user, word = (username, password) if username else (url.user, url.password)
    headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
    if user:
        headers["Authorization"] = aiohttp.encode_basic_auth(user, word or "", encoding="utf-8")
    shown = url.with_user(None).with_query(None).with_fragment(None)
    return _Server(str(shown).rstrip("/"), headers)


def _parsed(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        shown = text.rpartition("@")[2]
        raise SettingsError((f"SCHEMA_REGISTRY_URL: {shown!r} is no http:// or https:// URL.",))
    return url


def _tls(cafile: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except OSError as error:  # a missing file, and a file that holds no certificate (ssl.SSLError)
        raise SettingsError((f"SCHEMA_REGISTRY_CAFILE: {cafile!r} cannot be used: {error}.",)) from None


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."
