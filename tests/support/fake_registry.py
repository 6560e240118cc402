"""A fake schema registry: the part of Confluent's API that the bridge uses, and its errors."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from bridge.serialization.schemas import parse_schema

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    #: The name in the client's certificate, empty without one.
    client: str = ""


@dataclass
class FakeRegistry:
    """A schema registry in this process; ``url`` is set while it serves.

    ``credentials`` (``user:password``) or a ``bearer`` token, if set, are required, subjects in ``frozen`` accept no
    further schema, and ``answers`` are returned, once each, before real responses. It compares schemas as texts, or, if
    it ``normalizes``, by their parsing canonical form, where it is asked to.
    """

    credentials: str | None = None
    bearer: str | None = None
    frozen: set[str] = field(default_factory=set)
    answers: list[web.Response] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, list[str]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    normalizes: bool = False
    #: The error codes for what is not there.
    subject_not_found: object = 40401
    schema_not_found: object = 40403
    url: str = ""

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Return the method and the path of each request."""
        return [(one.method, one.path) for one in self.received]

    def add(self, subject: str, schema: str) -> int:
        """Register a schema without a request."""
        versions = self.subjects.setdefault(subject, [])
        if schema not in versions:
            versions.append(schema)
        return self.ids.setdefault(schema, 100_000 + len(self.ids))

    def refuse(self, status: int, **headers: str) -> None:
        """Answer the next request with a status and no body."""
        self.answers.append(web.Response(status=status, headers=headers))

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeRegistry]:
        """Serve on a free port of the loopback interface while the context is open."""
        app = web.Application()
        app.router.add_post("/subjects/{subject}", partial(self._authorized, self._lookup))
        app.router.add_post("/subjects/{subject}/versions", partial(self._authorized, self._register))
        app.router.add_get("/subjects/{subject}/versions", partial(self._authorized, self._list))
        app.router.add_get("/subjects/{subject}/versions/{version}", partial(self._authorized, self._version))
        app.router.add_get("/schemas/ids/{id}", partial(self._authorized, self._fetch))
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _authorized(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        path, query = request.rel_url.raw_path, dict(request.query)
        self.received.append(Received(request.method, path, query, dict(request.headers), _client(request)))
        if self.answers:
            return self.answers.pop(0)
        if request.headers.get("Authorization") not in self._accepted():
            return _error(401, 401, "Unauthorized")
        return await handler(request)

    def _accepted(self) -> set[str | None]:
        """Return the values of the Authorization header that open this registry."""
        accepted: set[str | None] = set()
        if self.credentials is not None:
            accepted.add("Basic " + base64.b64encode(self.credentials.encode()).decode())
        if self.bearer is not None:
            accepted.add(f"Bearer {self.bearer}")
        return accepted or {None}

    async def _lookup(self, request: web.Request) -> web.Response:
        subject, schema = await _requested(request)
        if subject not in self.subjects:
            return _error(404, self.subject_not_found, f"Subject '{subject}' not found.")
        found = self._same(subject, schema, request)
        if found is None:
            return _error(404, self.schema_not_found, "Schema not found")
        return _json({"subject": subject, "id": self.ids[found], "version": 1, "schema": found})

    def _same(self, subject: str, schema: str, request: web.Request) -> str | None:
        normalizes = self.normalizes and request.query.get("normalize") == "true"
        for stored in self.subjects[subject]:
            if stored == schema or (normalizes and _canonical(stored) == _canonical(schema)):
                return stored
        return None

    async def _list(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject not in self.subjects:
            return _error(404, self.subject_not_found, f"Subject '{subject}' not found.")
        return _json([*range(1, len(self.subjects[subject]) + 1)])

    async def _version(self, request: web.Request) -> web.Response:
        subject, version = request.match_info["subject"], int(request.match_info["version"])
        schema = self.subjects[subject][version - 1]
        return _json({"subject": subject, "id": self.ids[schema], "version": version, "schema": schema})

    async def _register(self, request: web.Request) -> web.Response:
        subject, schema = await _requested(request)
        if subject in self.frozen:
            return _error(409, 409, "Schema being registered is incompatible with an earlier schema")
        return _json({"id": self.add(subject, schema)})

    async def _fetch(self, request: web.Request) -> web.Response:
        for schema, schema_id in self.ids.items():
            if schema_id == int(request.match_info["id"]):
                return _json({"schema": schema})
        return _error(404, self.schema_not_found, "Schema not found")


def _client(request: web.Request) -> str:
    certificate = (request.transport and request.transport.get_extra_info("peercert")) or {}
    return "".join(name for kind, name in certificate.get("subjectAltName", ()) if kind == "email")


async def _requested(request: web.Request) -> tuple[str, str]:
    assert request.content_type == MEDIA_TYPE
    return request.match_info["subject"], (await request.json())["schema"]


def _canonical(schema: str) -> bytes:
    return parse_schema(schema).fingerprint


def _json(body: dict[str, Any] | list[int], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type=MEDIA_TYPE)


def _error(status: int, code: object, message: str) -> web.Response:
    return _json({"error_code": code, "message": message}, status)
