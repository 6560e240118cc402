"""An OAuth2 token endpoint on loopback that answers as a test tells it to."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.test_utils import TestServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping


@dataclass(frozen=True)
class Received:
    """One request."""

    content_type: str
    authorization: str | None
    parameters: dict[str, str]


@dataclass
class FakeTokenEndpoint:
    """An endpoint that grants ``access-1``, ``access-2`` …, or the next of ``answers``; ``gate`` delays them."""

    url: str = ""
    #: Makes the n-th token granted.
    make: Callable[[int], str] = "access-{}".format
    expires_in: object = 3600
    received: list[Received] = field(default_factory=list)
    answers: deque[web.Response] = field(default_factory=deque)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    granted: int = 0

    def will_answer(self, status: int, body: object = None, **headers: str) -> None:
        """Queue an answer: a JSON body, or text as it is."""
        if isinstance(body, str):
            self.answers.append(web.Response(status=status, text=body, content_type="text/html", headers=headers))
        else:
            self.answers.append(web.json_response(body, status=status, headers=headers))

    async def handle(self, request: web.Request) -> web.Response:
        """Record a request and answer it when the gate is open."""
        self.received.append(await _received(request))
        self.came.set()
        await self.gate.wait()
        return self.answers.popleft() if self.answers else self._grant()

    def _grant(self) -> web.Response:
        self.granted += 1
        fields: dict[str, object] = {"access_token": self.make(self.granted), "token_type": "Bearer"}
        if self.expires_in is not None:
            fields["expires_in"] = self.expires_in
        return web.json_response(fields)


async def _received(request: web.Request) -> Received:
    parameters: Mapping[str, object] = (
        await request.json() if request.content_type == "application/json" else await request.post()
    )
    return Received(
        request.content_type,
        request.headers.get("Authorization"),
        {name: str(value) for name, value in parameters.items()},
    )


@asynccontextmanager
async def token_endpoint(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeTokenEndpoint]:
    """Run an endpoint with its gate open; with ``tls`` it serves https as ``localhost``."""
    endpoint = FakeTokenEndpoint()
    endpoint.gate.set()
    app = web.Application()
    app.router.add_post("/v1/oauth2/token", endpoint.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=tls)
    endpoint.url = f"{'https' if tls else 'http'}://localhost:{server.port}/v1/oauth2/token"
    try:
        yield endpoint
    finally:
        endpoint.gate.set()
        await server.close()
