"""A client of a Confluent-compatible schema registry.

Endpoints and error codes are those of Confluent's Schema Registry API reference; Karapace and Apicurio
(its ccompat API) have the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from bridge.errors import RegistryRefused, RegistryUnreachable, SchemaMismatch, SettingsError, shorten
from bridge.network.authorities import trusting

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from bridge.secrets.secret import Revealable
    from bridge.serialization.schemas import Schema, Schemas
    from bridge.topics import Topic

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_SUBJECT_NOT_FOUND, _SCHEMA_NOT_FOUND = 40401, 40403
_NOT_FOUND, _CONFLICT, _UNPROCESSABLE = 404, 409, 422
_EXPECTED_STATUSES = (200, _NOT_FOUND, _CONFLICT, _UNPROCESSABLE)
_UNAUTHORIZED_STATUSES = (401, 403)
_MAX_ID = 2**31 - 1
_MAX_MESSAGE_CHARACTERS = 300
#: A schema has some KiB; Confluent's registry stores each in a Kafka record, which has at most 1 MiB by default.
_MAX_RESPONSE_BYTES = 1 << 21

_HOW_TO_REGISTER = "Register it with `aries-bridge schemas register`, or set SCHEMA_REGISTRY_AUTO_REGISTER=true."


class _ServerError(Exception):
    """A failed request to one of the servers: the next one is tried."""


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        return _one_line(str(self.body.get("message", f"HTTP {self.status}")))


class RegistrySettings(Protocol):
    """The settings of the client of a schema registry."""

    @property
    def schema_registry_username(self) -> str | None: ...
    @property
    def schema_registry_password(self) -> Revealable | None: ...
    @property
    def schema_registry_cafile(self) -> str | os.PathLike[str] | None: ...


class Registry:
    """A client of a schema registry, given the comma-separated URLs of its servers; an async context manager.

    Each request goes to the first server that answers. The constructor raises SettingsError for an invalid URL or
    CA file. Requests raise RegistryUnreachable if no server answers as a registry does (retry later), and
    RegistryRefused if one rejects the credentials. No message contains a secret.
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
        self._tls = trusting("SCHEMA_REGISTRY_CAFILE", cafile)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._http: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: RegistrySettings, urls: str) -> Self:
        """Return a client with the credentials and the CA file of the settings."""
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
        """Return the registry's ids of the schemas, by topic; ``names`` are the topics' names in Kafka.

        Raise SchemaMismatch if a subject does not have the schema and ``auto_register`` is off, or if the registry
        rejects it.
        """
        return {
            topic: await self._pin_one(subject_of(name), schemas[topic], auto_register=auto_register)
            for topic, name in names.items()
        }

    async def lookup(self, subject: str, schema: Schema) -> int:
        """Return the id of exactly this schema; raise SchemaMismatch if the subject does not have it."""
        response = await self._request("POST", f"/subjects/{quote(subject, safe='')}", {"schema": schema.text})
        if response.status == _NOT_FOUND:
            no_subject = response.body["error_code"] == _SUBJECT_NOT_FOUND
            raise SchemaMismatch(
                subject,
                "it does not exist" if no_subject else f"it has other schemas, but not this bridge's {schema.name}",
                _HOW_TO_REGISTER,
                missing=no_subject,
            )
        return _schema_id(response, subject)

    async def register(self, subject: str, schema: Schema) -> int:
        """Register the schema and return its id; raise SchemaMismatch if the registry rejects it."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        response = await self._request("POST", path, {"schema": schema.text})
        if response.status == _CONFLICT:
            raise SchemaMismatch(
                subject,
                f"{schema.name} is not compatible with the schemas it has ({response.message})",
                "If the topic belongs to another application, rename the bridge's topics with KAFKA_TOPIC_PREFIX. "
                "If the older schema is no longer in use, delete its versions or relax the subject's compatibility "
                "level.",
            )
        return _schema_id(response, subject)

    async def fetch(self, schema_id: int) -> str | None:
        """Return the text of the schema with this id, or None if the registry has no such id."""
        response = await self._request("GET", f"/schemas/ids/{schema_id}", None)
        if response.status == _NOT_FOUND:
            return None
        text = response.body.get("schema")
        if not isinstance(text, str):
            raise RegistryUnreachable(f"the schema registry's response for id {schema_id} contains no schema.")
        return text

    async def _pin_one(self, subject: str, schema: Schema, *, auto_register: bool) -> int:
        try:
            return await self.lookup(subject, schema)
        except SchemaMismatch:
            if not auto_register:
                raise
        return await self.register(subject, schema)

    async def _request(self, method: str, path: str, body: dict[str, str] | None) -> _Response:
        problems = []
        for server in self._servers:
            try:
                return await self._request_one(server, method, path, body)
            except _ServerError as error:
                problems.append(f"{server.url}: {error}")
        raise RegistryUnreachable(
            f"the schema registry cannot be used ({'; '.join(problems)}). "
            "Check SCHEMA_REGISTRY_URL, and that the registry is running."
        )

    async def _request_one(self, server: _Server, method: str, path: str, body: dict[str, str] | None) -> _Response:
        assert self._http is not None, "use the registry as an async context manager"
        data = None if body is None else json.dumps(body).encode()
        url = URL(server.url + path, encoded=True)
        try:
            # Redirects are not followed: they would turn POST into GET.
            async with self._http.request(
                method, url, data=data, headers=server.headers, ssl=self._tls, allow_redirects=False
            ) as response:
                return _parse_response(server, response.status, await _read_body(response))
        except aiohttp.ClientConnectorCertificateError as error:
            raise _ServerError(f"{error}; set SCHEMA_REGISTRY_CAFILE to the certificate of its authority") from None
        except TimeoutError:
            raise _ServerError(f"no response within {self._timeout.total:g} s") from None
        except aiohttp.ClientError as error:
            raise _ServerError(_one_line(str(error) or type(error).__name__)) from None


def subject_of(kafka_topic: str) -> str:
    """Return the subject of the values of a Kafka topic (Confluent's TopicNameStrategy)."""
    return f"{kafka_topic}-value"


def _schema_id(response: _Response, subject: str) -> int:
    if response.status == _UNPROCESSABLE:
        raise SchemaMismatch(
            subject, f"the registry rejects the schema ({response.message})", "Fix that in the registry, then restart."
        )
    schema_id = response.body.get("id")
    if type(schema_id) is not int or not 0 <= schema_id <= _MAX_ID:
        raise RegistryUnreachable(f"the schema registry's response for subject {subject!r} contains no schema id.")
    return schema_id


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_RESPONSE_BYTES:
            raise _ServerError(f"HTTP {response.status} with more than {_MAX_RESPONSE_BYTES} bytes")
    return body


def _parse_response(server: _Server, status: int, data: bytes) -> _Response:
    if status in _UNAUTHORIZED_STATUSES:
        raise RegistryRefused(server.url, status)
    if status not in _EXPECTED_STATUSES:
        raise _ServerError(f"HTTP {status}")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        _raise_not_a_registry(status)
    if not isinstance(body, dict):
        _raise_not_a_registry(status)
    if status == _NOT_FOUND and body.get("error_code") not in (_SUBJECT_NOT_FOUND, _SCHEMA_NOT_FOUND):
        _raise_not_a_registry(status)
    return _Response(status, body)


def _raise_not_a_registry(status: int) -> NoReturn:
    raise _ServerError(f"HTTP {status}, but not from a schema registry")


def _servers(urls: str, username: str | None, password: str | None) -> tuple[_Server, ...]:
    servers = tuple(_server(url.strip(), username, password) for url in urls.split(",") if url.strip())
    if not servers:
        raise SettingsError(("SCHEMA_REGISTRY_URL: it contains no URL.",))
    return servers


def _server(text: str, username: str | None, password: str | None) -> _Server:
    """Return the server with its credentials moved from the URL to the headers, so that the URL can be logged."""
    url = _parse_url(text)
    user, secret = (username, password) if username else (url.user, url.password)
    headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
    if user:
        headers["Authorization"] = aiohttp.encode_basic_auth(user, secret or "", encoding="utf-8")
    loggable = url.with_user(None).with_query(None).with_fragment(None)
    return _Server(str(loggable).rstrip("/"), headers)


def _parse_url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        without_credentials = text.rpartition("@")[2]
        raise SettingsError((f"SCHEMA_REGISTRY_URL: {without_credentials!r} is not an http:// or https:// URL.",))
    return url


def _one_line(text: str) -> str:
    return shorten(" ".join(text.split()), _MAX_MESSAGE_CHARACTERS)
