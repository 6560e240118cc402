"""A client of a schema registry with Confluent's API: Confluent's, Karapace, Redpanda, Apicurio (ccompat)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from bridge.errors import RegistryUnreachable, SchemaMismatch
from bridge.serialization import registry_settings
from bridge.serialization.registry_responses import (
    CHECK_PATH,
    CHECK_SERVER,
    CONFLICT,
    NOT_FOUND,
    OK,
    SUBJECT_NOT_FOUND,
    Response,
)
from bridge.serialization.registry_transport import RegistryTransport
from bridge.serialization.schemas import INVALID_SCHEMA_ERRORS, parse_schema
from bridge.serialization.serializer import confluent_prefix

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from bridge.serialization.registry_login import Login
    from bridge.serialization.registry_settings import RegistrySettings
    from bridge.serialization.schemas import Schema, Schemas
    from bridge.topics import Topic

_MAX_ID = 2**31 - 1
#: How many of a subject's versions are compared, the newest first.
_MAX_VERSIONS = 100
#: Registries that know this parameter compare schemas regardless of how they are written; others ignore it.
_NORMALIZE = "?normalize=true"

_HOW_TO_REGISTER = "Register it with `aries-bridge schemas register`, or set SCHEMA_REGISTRY_AUTO_REGISTER=true."


class Registry:
    """A client of a schema registry, given the comma-separated URLs of its servers; an async context manager.

    ``context`` is that of the subjects, like ``.staging``. The constructor raises SettingsError for an invalid URL.
    Requests raise RegistryUnreachable if no server answers as a registry does, or there is no token at the moment
    (retry later), and RegistryRefused if one rejects the credentials. No message contains a secret.
    """

    def __init__(
        self,
        urls: str,
        *,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        context: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._transport = RegistryTransport(urls, login, tls, headers, timeout_seconds)
        self._context = context

    @classmethod
    def of(cls, settings: RegistrySettings, urls: str) -> Self:
        """Return a client with the login, certificates and context of the settings; raises SettingsError, too."""
        return cls(
            urls,
            login=registry_settings.login(settings),
            tls=registry_settings.tls(settings),
            headers=registry_settings.cloud_headers(settings),
            context=settings.schema_registry_context,
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.__aexit__()

    async def pin(self, names: Mapping[Topic, str], schemas: Schemas, *, auto_register: bool) -> dict[Topic, int]:
        """Return the registry's ids of the schemas, by topic; ``names`` are the topics' names in Kafka.

        Raise SchemaMismatch if a subject does not have the schema and ``auto_register`` is off, or if the registry
        rejects it.
        """
        return {
            topic: await self._pin_one(subject_of(name, self._context), schemas[topic], auto_register=auto_register)
            for topic, name in names.items()
        }

    async def prefixes(
        self, names: Mapping[Topic, str], schemas: Schemas, *, auto_register: bool
    ) -> dict[Topic, bytes]:
        """Return the prefixes of the topics' values, with the ids that ``pin`` returns; raise what it raises."""
        ids = await self.pin(names, schemas, auto_register=auto_register)
        return {topic: confluent_prefix(schema_id) for topic, schema_id in ids.items()}

    async def lookup(self, subject: str, schema: Schema) -> int:
        """Return the id of this schema, however it is written; raise SchemaMismatch if the subject does not have it."""
        response = await self._transport.request("POST", f"{_path(subject)}{_NORMALIZE}", {"schema": schema.text})
        if response.status == OK and _has(response, schema):
            return _schema_id(response, subject)
        if response.status not in (OK, NOT_FOUND):
            raise _rejected(subject, response)
        versions = () if response.error_code == SUBJECT_NOT_FOUND else await self._versions(subject)
        for version in sorted(versions, reverse=True)[:_MAX_VERSIONS]:
            stored = await self._transport.request("GET", f"{_path(subject)}/versions/{version}")
            if stored.status == OK and _has(stored, schema, by_default=False):
                return _schema_id(stored, subject)
        raise SchemaMismatch(
            subject,
            f"it has other schemas, but not this bridge's {schema.name}" if versions else "it does not exist",
            _HOW_TO_REGISTER,
            missing=not versions,
        )

    async def register(self, subject: str, schema: Schema) -> int:
        """Register the schema and return its id; raise SchemaMismatch if the registry rejects it."""
        response = await self._transport.request(
            "POST", f"{_path(subject)}/versions{_NORMALIZE}", {"schema": schema.text}
        )
        if response.status == CONFLICT:
            raise SchemaMismatch(
                subject,
                f"{schema.name} is not compatible with the schemas it has ({response.message})",
                "If the topic belongs to another application, rename the bridge's topics with KAFKA_TOPIC_PREFIX. "
                "If the older schema is no longer in use, delete its versions or relax the subject's compatibility "
                "level.",
            )
        if response.status == NOT_FOUND:  # a registry makes the subject
            problem = f"the schema registry has no subject {subject!r} to register at (HTTP 404: {response.message})"
            raise RegistryUnreachable(problem, CHECK_PATH)
        if response.status != OK:
            raise _rejected(subject, response)
        return _schema_id(response, subject)

    async def fetch(self, schema_id: int) -> str | None:
        """Return the text of the schema with this id, or None if the registry has no such id."""
        # Ids belong to a context; the name of a subject may be empty (Confluent's API reference, GET /schemas/ids).
        of_context = f"?subject={quote(subject_prefix(self._context), safe='')}" if self._context else ""
        response = await self._transport.request("GET", f"/schemas/ids/{schema_id}{of_context}")
        if response.status == NOT_FOUND:
            return None
        text = response.value("schema")
        if not isinstance(text, str):
            raise RegistryUnreachable(
                f"the schema registry's response for id {schema_id} contains no schema", CHECK_SERVER
            )
        return text

    async def _pin_one(self, subject: str, schema: Schema, *, auto_register: bool) -> int:
        try:
            return await self.lookup(subject, schema)
        except SchemaMismatch:
            if not auto_register:
                raise
        return await self.register(subject, schema)

    async def _versions(self, subject: str) -> tuple[int, ...]:
        response = await self._transport.request("GET", f"{_path(subject)}/versions")
        found = response.body if isinstance(response.body, list) else []
        return tuple(version for version in found if type(version) is int)


def subject_of(kafka_topic: str, context: str | None = None) -> str:
    """Return the subject of the values of a Kafka topic (Confluent's TopicNameStrategy), in a context if it has one."""
    return f"{subject_prefix(context)}{kafka_topic}-value"


def subject_prefix(context: str | None) -> str:
    """Return what the subjects of a context begin with, like ``:.staging:``."""
    return f":{context}:" if context else ""


def _path(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _has(response: Response, schema: Schema, *, by_default: bool = True) -> bool:
    """Return whether the schema in a response is this one; ``by_default`` is for a response without one."""
    text = response.value("schema")
    if not isinstance(text, str):
        return by_default
    try:
        return parse_schema(text).is_equivalent(schema)
    except INVALID_SCHEMA_ERRORS:
        return False


def _rejected(subject: str, response: Response) -> SchemaMismatch:
    problem = f"the registry rejects the schema (HTTP {response.status}: {response.message})"
    return SchemaMismatch(subject, problem, "Fix that in the registry, then restart.")


def _schema_id(response: Response, subject: str) -> int:
    schema_id = response.value("id")
    if type(schema_id) is not int or not 0 <= schema_id <= _MAX_ID:
        raise RegistryUnreachable(
            f"the schema registry's response for subject {subject!r} contains no schema id", CHECK_SERVER
        )
    return schema_id
