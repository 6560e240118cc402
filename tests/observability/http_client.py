"""An HTTP client of a running service."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.support.service import DEADLINE_SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from bridge.app import Service

PATHS = ("/", "/livez", "/readyz", "/metrics", "/status")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with its body."""

    status: int
    headers: Mapping[str, str]
    text: str
    document: Any


class Client:
    """A client of one service."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Return the response to a request."""
        async with self._http.request(method, path, headers=headers) as answer:
            is_json = answer.content_type == "application/json" and method != "HEAD"
            document = await answer.json() if is_json else None
            return Answer(answer.status, answer.headers, await answer.text(), document)

    async def comes(self, path: str, holds: Callable[[Answer], object], what: str) -> Answer:
        """Repeat a request until a condition holds; the bridge must be alive throughout."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                assert (await self.get("/livez")).status == 200
                answer = await self.get(path)
                if holds(answer):
                    return answer
                assert answer.status in {200, 503}, what
                await asyncio.sleep(0.02)

    async def becomes(self, status: int) -> dict[str, Any]:
        """Wait until readiness has this status, and return its checks."""
        answer = await self.comes("/readyz", lambda answer: answer.status == status, f"/readyz with {status}")
        checks: dict[str, Any] = answer.document["checks"]
        return checks


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[Client]:
    """Yield a client of a service that was started."""
    await eventually(lambda: service.http.url, "HTTP")
    assert service.http.url is not None
    timeout = aiohttp.ClientTimeout(total=DEADLINE_SECONDS)
    async with aiohttp.ClientSession(service.http.url, timeout=timeout) as http:
        yield Client(http)
