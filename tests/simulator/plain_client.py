"""A client that only knows WebSocket and JSON lines: the tests contain its messages literally."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.simulator.server import Simulator

ENVELOPE_AUTH = """{"type":"request","id":"auth-001","payload":
 {"method":"post","path":"/auth","body":{"action":"auth","token":"good"}}}""".replace("\n", "")
ACTION_AUTH = '{"action":"auth","token":"good"}'


class PlainClient:
    """A client that sends text and reads lines; fractional numbers are parsed as ``Decimal``."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.frames: list[bytes] = []
        self._lines: deque[bytes] = deque()

    async def send(self, *texts: str) -> None:
        for text in texts:
            await self.ws.send(text)

    async def line(self) -> bytes:
        """Return the next line."""
        while not self._lines:
            async with asyncio.timeout(10):
                frame = await self.ws.recv(decode=False)
            self.frames.append(frame)
            self._lines.extend(frame.split(b"\n"))
        return self._lines.popleft()

    async def document(self) -> Any:
        """Return the next line, decoded."""
        return json.loads(await self.line(), parse_float=Decimal)

    async def documents(self, count: int) -> list[Any]:
        return [await self.document() for _ in range(count)]

    async def next_with(self, text: str) -> Any:
        """Return the next document that contains a text, skipping those before it."""
        while True:
            line = await self.line()
            if text.encode() in line:
                return json.loads(line, parse_float=Decimal)

    async def request(self, message: str, response_text: str) -> Any:
        """Send a message and return the next document that contains a text."""
        await self.send(message)
        return await self.next_with(response_text)


@asynccontextmanager
async def envelope_client(sim: Simulator, *subscriptions: str, acknowledged: bool = True) -> AsyncIterator[PlainClient]:
    """Authenticate in the envelope dialect, subscribe, and read up to the acknowledgements."""
    async with connect(sim.url_for("envelope"), ping_interval=None, proxy=None) as ws:
        client = PlainClient(ws)
        await client.request(ENVELOPE_AUTH, "marketStatus")
        for symbols in subscriptions:
            await client.send('{"type":"subscribe","id":"sub-1","payload":' + symbols + "}")
            if acknowledged:
                await client.next_with('"response"')
        yield client


@asynccontextmanager
async def action_client(sim: Simulator, *subscriptions: str) -> AsyncIterator[PlainClient]:
    """Authenticate in the action dialect, subscribe, and read up to the acknowledgements."""
    async with connect(sim.url_for("action"), ping_interval=None, proxy=None) as ws:
        client = PlainClient(ws)
        await client.request(ACTION_AUTH, "marketStatus")
        for subscription in subscriptions:
            await client.request(subscription, '"message":"success"')
        yield client
