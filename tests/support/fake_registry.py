"""A fake schema registry: the part of Confluent's API that the bridge uses, and its errors."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass
class FakeRegistry:
    """A schema registry in this process; ``url`` is set while it serves.

    ``credentials`` (``user:password``), if set, are required, subjects in ``frozen`` accept no further schema,
    and ``answers`` are returned, once each, before real responses.
    """

    credentials: str | None = None
    frozen: set[str] = field(default_factory=set)
    answers: list[web.Response] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def add(self, subject: str, schema: str) -> int:
        """Register a schema without a request."""
        versions = self.subjects.setdefault(subject, [])
        if schema not in versions:
            versions.append(schema)
        return self.ids.setdefault(schema, 100_000 + len(self.ids))

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeRegistry]:
        """Serve on a free port of the loopback interface while the context is open."""
        app = web.Application()
        app.router.add_post("/subjects/{subject}", partial(self._authorized, self._lookup))
        app.router.add_post("/subjects/{subject}/versions", partial(self._authorized, self._register))
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
        self.requests.append((request.method, request.raw_path))
        if self.answers:
            return self.answers.pop(0)
        if self.credentials is not None:
            expected = "Basic " + base64.b64encode(self.credentials.encode()).decode()
            if request.headers.get("Authorization") != expected:
                return _error(401, 401, "Unauthorized")
        return await handler(request)

    async def _lookup(self, request: web.Request) -> web.Response:
        subject, schema = await _requested(request)
        if subject not in self.subjects:
            return _error(404, 40401, f"Subject '{subject}' not found.")
        if schema not in self.subjects[subject]:
            return _error(404, 40403, "Schema not found")
        return _json({"subject": subject, "id": self.ids[schema], "version": 1, "schema": schema})

    async def _register(self, request: web.Request) -> web.Response:
        subject, schema = await _requested(request)
        if subject in self.frozen:
            return _error(409, 409, "Schema being registered is incompatible with an earlier schema")
        return _json({"id": self.add(subject, schema)})

    async def _fetch(self, request: web.Request) -> web.Response:
        for schema, schema_id in self.ids.items():
            if schema_id == int(request.match_info["id"]):
                return _json({"schema": schema})
        return _error(404, 40403, "Schema not found")


async def _requested(request: web.Request) -> tuple[str, str]:
    assert request.content_type == MEDIA_TYPE
    return request.match_info["subject"], (await request.json())["schema"]


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type=MEDIA_TYPE)


def _error(status: int, code: int, message: str) -> web.Response:
    return _json({"error_code": code, "message": message}, status)
